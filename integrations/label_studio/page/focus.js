// Who is in focus, and the point to look at. The point is the one that Label Studio has selected.

import { isPoint, personIdOf, placeIn } from "./regions.js";

/** The focus on one screen. */
export class Focus {
  constructor({ annotation }, people) {
    this.annotation = annotation;
    this.people = people;
    this.id = null; // it stays when she is deleted: an undo brings her back
    this.hidesOthers = false;
    this.selected = null;
    this.seen = new Map(); // where points were when Tab came to them, by id
  }

  /** Return the person in focus, or null. */
  get person() {
    return (this.id && this.people.byId(this.id)) ?? null;
  }

  /** Return the selected point of the person in focus, or null. */
  get point() {
    return this.person?.points.find(({ region }) => region === this.selected) ?? null;
  }

  /** Follow what was selected, with the mouse or in the side panel, and who was clicked while nobody was in focus. */
  look() {
    if (!this.person && this.people.touched) this.on(this.people.touched);
    const [region, ...more] = this.annotation.selectedRegions;
    const selected = region && !more.length ? region : null;
    if (selected && selected !== this.selected && personIdOf(selected)) this.id = personIdOf(selected);
    if (this.selected && !region) this.annotation.unselectAll(); // else its label stays picked, and a click draws it
    this.selected = selected;
    if (!this.person) this.hidesOthers = false;
  }

  on(person) {
    if (person?.id === this.id) return;
    this.id = person?.id ?? null;
    if (this.point === null && this.selected) this.unselect();
  }

  clear() {
    this.id = null;
    this.hidesOthers = false;
  }

  unselect() {
    this.annotation.unselectAll();
    this.look();
  }

  /** Select a point; the visibility keys and the next Ctrl-click are about it. */
  select({ region }) {
    if (this.annotation.selectedRegions.length) this.annotation.unselectAll();
    this.annotation.selectArea(region);
    this.look();
  }

  /** Select a keypoint of the person in focus; false if she has none of that name. */
  selectKeypoint(keypoint) {
    const point = this.person?.points.find((one) => one.keypoint === keypoint);
    if (point) this.select(point);
    return Boolean(point);
  }

  /** Go to the least sure point that was not looked at since it moved; to a person first. */
  nextPoint() {
    if (!this.person) this.on(this.people.open[0] ?? this.people.all[0]);
    const next = this.next ?? this.lookAgain();
    if (!next) return;
    this.seen.set(next.id, placeIn(next.region));
    this.select(next);
  }

  /** Return the point that the model is least sure of, of those that nobody placed or looked at. */
  get next() {
    const persons = this.person ? [this.person] : this.people.open;
    const open = persons.flatMap(({ points }) => points).filter((point) => isOpen(point) && !this.hasSeen(point));
    return open.reduce((least, point) => (least && least.score <= point.score ? least : point), null);
  }

  /** Go to the next person to the right who is not accepted, then to any; return false if there is none. */
  nextPerson() {
    const { all } = this.people;
    const start = all.findIndex(({ id }) => id === this.id) + 1;
    const after = [...all.slice(start), ...all.slice(0, start)].filter(({ id }) => id !== this.id);
    const next = after.find(({ isAccepted }) => !isAccepted);
    if (!next) return false;
    this.on(next);
    this.nextPoint();
    return true;
  }

  hasSeen({ id, region }) {
    return this.seen.get(id) === placeIn(region);
  }

  lookAgain() {
    this.person?.points.forEach(({ id }) => this.seen.delete(id));
    return this.next;
  }
}

const isOpen = (point) => !point.isHeld && point.visibility !== "absent" && isPoint(point.region);
