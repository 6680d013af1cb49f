// Who is on the screen: a person is a box and the points that name it as their parent.

import { asOneStep, isAtItsEnd, newestEntry, withNewestStep } from "./history.js";
import { isHeldIn, isPoint, metaIn, personIdOf, pointsOf, scoreOf, setValues, visibilityOf } from "./regions.js";

/** The people of one annotation, from left to right, read again after every change.
 *
 *     person    id, number (the backend's, or null), box, points, isAccepted
 *     point     region, id, keypoint, score, visibility, isHeld
 */
export class People {
  constructor({ annotation }) {
    this.annotation = annotation;
    this.all = [];
    this.entry = null;
    this.touched = null; // who was added, or had a point placed, by the newest change
  }

  /** Read the screen if it has changed; delete points whose box was deleted just now. */
  look() {
    const entry = newestEntry(this.annotation.history);
    if (entry === this.entry) return;
    this.entry = entry;
    const before = this.all;
    this.all = read(this.annotation); // 10 ms for ten persons
    this.touched = before.length ? this.all.find(isTouchedSince(before)) : null;
    this.deleteOrphans(before);
  }

  byId(id) {
    return this.all.find((person) => person.id === id);
  }

  /** Return the people that no human accepted yet. */
  get open() {
    return this.all.filter((person) => !person.isAccepted);
  }

  /** Return the version of the model that placed them, or "". */
  get modelVersion() {
    return this.all.map(({ box }) => metaIn(box).model).find(Boolean) ?? "";
  }

  /** Note that a human takes a person as she is now. */
  accept({ box }) {
    asOneStep(this.annotation, () => setValues(box, { meta: { accepted: true } }));
    this.look();
  }

  /** Delete a person with all her points, as one step. */
  delete(person) {
    this.annotation.unselectAll();
    const regions = [...person.points.map(({ region }) => region), person.box]; // the editor moves children of a box
    asOneStep(this.annotation, () => regions.forEach((region) => region.deleteRegion()));
    this.look();
  }

  deleteOrphans(before) {
    if (!this.annotation.editable || !isAtItsEnd(this.annotation.history)) return; // an undo decides for itself
    const gone = before.filter(({ id }) => !this.byId(id)).flatMap(({ points }) => points.map((point) => point.id));
    const orphans = pointsOf(this.annotation).filter((region) => gone.includes(region.cleanId));
    if (!orphans.length) return;
    withNewestStep(this.annotation, () => orphans.forEach((region) => region.deleteRegion()));
    this.look();
  }
}

const isTouchedSince = (before) => (person) => heldIn(person) > heldIn(before.find(({ id }) => id === person.id));

/** Return how many points of a person a human placed; -1 if she is not there. */
const heldIn = (person) => (person ? person.points.filter(({ isHeld }) => isHeld).length : -1);

function read(annotation) {
  const points = new Map();
  for (const region of annotation.regions.filter(isPoint)) {
    const id = personIdOf(region);
    points.set(id, [...(points.get(id) ?? []), describe(region)]);
  }
  const boxes = annotation.regions.filter((region) => region.type === "rectangleregion");
  return boxes.map((box) => person(box, points.get(box.cleanId) ?? [])).sort((a, b) => a.box.x - b.box.x);
}

function person(box, points) {
  const { person: number, accepted } = metaIn(box);
  return { id: box.cleanId, number: number ?? numberIn(box.cleanId), box, points, isAccepted: Boolean(accepted) };
}

/** Return the number in an id that the backend gave, or null. */
const numberIn = (id) => (/^p\d+$/.test(id) ? Number(id.slice(1)) : null);

const describe = (region) => ({
  region,
  id: region.cleanId,
  keypoint: region.labelName,
  score: scoreOf(region),
  visibility: visibilityOf(region),
  isHeld: isHeldIn(region),
});
