// Notices that a hand moved points: it dragged one or several, stretched a selection, typed in the side panel, or
// pointed with the mouse where the selected one belongs.

import { isAlive } from "./editor.js";
import { amendStep, asOneStep, nameNewestStep } from "./history.js";
import { HELD, isPoint, placeIn, pointsOf, setValues, withValues } from "./regions.js";

const DRAGGING = "clickpose-dragging";
const TYPED_MS = 500; // after this long without a key, a number is complete
const SIDE_PANEL = ".lsf-region-editor";

/** Watches one screen. What the hand moved is held from then on.
 *
 * @param onMoved Called with the points that were moved, once the history has a step for it.
 */
export class Hand {
  constructor(screen, onMoved) {
    this.screen = screen;
    this.onMoved = onMoved;
    this.drag = null; // places at its start
    this.typing = null; // places of the points in the side panel before its first key, and what ends it
    this.waiting = [];
    this.typed = this.typed.bind(this);
    screen.stage.on("dragstart.clickpose transformstart.clickpose", () => this.dragStarts());
    const whenAllHaveEnded = () => setTimeout(() => this.dragEnds());
    screen.stage.on("dragend.clickpose transformend.clickpose", whenAllHaveEnded);
    for (const kind of ["keydown", "input"]) document.addEventListener(kind, this.typed, true);
  }

  /** Let go of the screen, in mid-drag if need be. */
  release() {
    this.screen.stage.off(".clickpose");
    for (const kind of ["keydown", "input"]) document.removeEventListener(kind, this.typed, true);
    clearTimeout(this.typing?.timer);
    if (this.drag && isAlive(this.screen.annotation)) this.letGo("safeUnfreeze");
    this.drag = this.typing = null;
    this.goOn();
  }

  /** End a drag whose end was not told. */
  look() {
    if (this.drag && !window.Konva.isDragging() && !window.Konva.Transformer?.isTransforming?.()) this.dragEnds();
  }

  /** Wait until no point is dragged, and no number typed. */
  async isAway() {
    while (this.drag || this.typing) await new Promise((goOn) => this.waiting.push(goOn));
  }

  /** Put a point somewhere, in percent, as if it had been dragged there. */
  put(region, place) {
    asOneStep(this.screen.annotation, () => setValues(region, { place, ...HELD }));
    this.onMoved([region]);
  }

  dragStarts() {
    const { annotation } = this.screen;
    if (this.drag || !annotation.editable) return;
    this.drag = placesOf(annotation);
    annotation.history.freeze(DRAGGING); // else a predicted point's first drag takes two steps
    annotation.pauseAutosave(); // else a draft may be saved between the move and the held mark, and none after it
  }

  dragEnds() {
    if (!this.drag) return;
    const moved = movedSince(this.drag, this.screen.annotation);
    this.drag = null;
    this.letGo("unfreeze", () => moved.forEach((point) => setValues(point, HELD)));
    this.goOn();
    if (moved.length) this.onMoved(moved);
  }

  /** Let drafts be saved again, make a last change that is worth one, and make the step. */
  letGo(unfreeze, change = () => {}) {
    const { autosave, history } = this.screen.annotation;
    if (autosave) autosave.paused = false;
    try {
      change();
    } finally {
      history[unfreeze](DRAGGING);
    }
  }

  typed(event) {
    const { annotation } = this.screen;
    if (!event.target.closest?.(SIDE_PANEL) || !annotation.editable) return;
    this.typing ??= { places: new Map() };
    const shown = annotation.selectedRegions.filter((region) => isPoint(region) && !this.typing.places.has(region.id));
    shown.forEach((point) => this.typing.places.set(point.id, placeIn(point)));
    clearTimeout(this.typing.timer);
    this.typing.timer = setTimeout(() => this.typingEnds(), TYPED_MS);
  }

  typingEnds() {
    const { annotation } = this.screen;
    const moved = movedSince(this.typing.places, annotation);
    this.typing = null;
    if (moved.length) this.hold(moved);
    this.goOn();
  }

  /** Mark points that were moved by the newest step as held, as part of that step. */
  hold(moved) {
    const { annotation } = this.screen;
    const ids = new Set(moved.map((point) => point.id));
    const mark = () => moved.forEach((point) => setValues(point, HELD));
    const marked = (id, state) => (ids.has(id) ? withValues(state, HELD) : state);
    amendStep(annotation, nameNewestStep(annotation), mark, marked);
    this.onMoved(moved);
  }

  goOn() {
    for (const goOn of this.waiting.splice(0)) goOn();
  }
}

const placesOf = (annotation) => new Map(pointsOf(annotation).map((point) => [point.id, placeIn(point)]));

const movedSince = (places, annotation) =>
  pointsOf(annotation).filter((point) => places.has(point.id) && places.get(point.id) !== placeIn(point));
