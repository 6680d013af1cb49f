// The keyboard. What is not listed in actionOf is Label Studio's own.

import { keypointKeys } from "./editor.js";
import { isPoint } from "./regions.js";

const SUBMIT = "button[name=submit]"; // for an annotation that was handed in before, too
const LABEL_NAME = ".lsf-label__text";
const LABEL = ".lsf-label";
const TEXT_FIELD = "textarea, select, [contenteditable=true], input:not([type=checkbox]):not([type=radio])";
const PERSON_KEY = "p";
const VISIBILITY_KEYS = ["z", "x", "c"]; // of Label Studio, about the selected region

/** Hears the keys, and the mouse on labels, for one screen.
 *
 * @param onDeleted Called when a person was deleted.
 */
export class Keys {
  constructor({ annotation }, people, focus, onDeleted) {
    Object.assign(this, { annotation, people, focus, onDeleted });
    this.keypoints = new Map(keypointKeys(annotation).map(({ key, keypoint }) => [key, keypoint]));
    this.names = new Set(this.keypoints.values());
    this.pressed = this.pressed.bind(this);
    this.clicked = this.clicked.bind(this);
    window.addEventListener("keydown", this.pressed, true);
    window.addEventListener("click", this.clicked, true);
  }

  release() {
    window.removeEventListener("keydown", this.pressed, true);
    window.removeEventListener("click", this.clicked, true);
  }

  pressed(event) {
    const isOurs = this.annotation.editable && !event.target.closest?.(TEXT_FIELD);
    if (!isOurs || event.ctrlKey || event.metaKey || event.altKey) return;
    takeAnd(this.actionOf(event.key.toLowerCase(), event.shiftKey), event);
  }

  /** Let a click on a label do what its key does, and give the keyboard back to the image. */
  clicked(event) {
    const label = event.target.closest?.(LABEL);
    const keypoint = label?.querySelector(LABEL_NAME)?.textContent;
    if (this.annotation.editable && this.names.has(keypoint)) takeAnd(this.keypointAction(keypoint), event);
    if (!event.target.closest?.(TEXT_FIELD)) setTimeout(() => document.activeElement?.blur?.());
  }

  /** Return what a key does, or null: then Label Studio gets it. */
  actionOf(key, withShift) {
    const { focus } = this;
    if (key === "tab") return () => (withShift ? focus.nextPerson() : focus.nextPoint());
    if (withShift) return key === "backspace" ? () => this.deletePerson() : null;
    if (key === "enter") return () => this.accept();
    if (key === "h") return () => (focus.hidesOthers = Boolean(focus.person) && !focus.hidesOthers);
    if (key === "delete" || (key === "backspace" && this.isBoxSelected)) return () => this.deletePerson();
    if (key === "escape" && !focus.selected) return () => focus.clear();
    if (key === PERSON_KEY) return this.pickLabel();
    if (VISIBILITY_KEYS.includes(key)) return focus.point ? null : () => {};
    return this.keypoints.has(key) ? this.keypointAction(this.keypoints.get(key)) : null;
  }

  get isBoxSelected() {
    return Boolean(this.focus.selected && !isPoint(this.focus.selected));
  }

  /** Go to a keypoint of the person in focus. If there is none, the next Ctrl-click makes one. */
  keypointAction(keypoint) {
    const { focus } = this;
    if (focus.person?.points.some((point) => point.keypoint === keypoint)) return () => focus.selectKeypoint(keypoint);
    return this.pickLabel();
  }

  /** Leave a label's key to Label Studio, which would rename what is selected. */
  pickLabel() {
    if (this.annotation.selectedRegions.length) this.focus.unselect();
    return null;
  }

  /** Accept the person in focus and go to the next; submit once everybody is accepted. */
  accept() {
    const { focus, people } = this;
    if (!people.open.length) return document.querySelector(SUBMIT)?.click();
    if (focus.person && !focus.person.isAccepted) people.accept(focus.person);
    if (!focus.nextPerson()) {
      focus.unselect();
      focus.clear();
    }
  }

  deletePerson() {
    const { person } = this.focus;
    if (!person) return;
    this.people.delete(person);
    this.focus.look();
    this.onDeleted();
  }
}

/** Act instead of Label Studio, if there is something to do. */
function takeAnd(act, event) {
  if (!act) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  act();
}
