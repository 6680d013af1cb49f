// Asks the backend what a moved point means for the others, and puts these where it says.
//
// An answer may be late. It counts if it is the newest about that person, if the same annotation is still open and the
// moved point still where it was put; and then only for points that are where they were, and that nobody placed.

import { findScreen } from "./editor.js";
import { amendStep, nameNewestStep } from "./history.js";
import { projectNumber } from "./progress.js";
import { cleanId, isHeldIn, personIdOf, placeIn, setValues, withValues } from "./regions.js";

const [SAVING_MS, SAVING_LIMIT_MS] = [50, 10_000];
const backends = new Map(); // ids by project: to ask for them, Label Studio asks the backend twice

/** Refines one screen.
 *
 * @param hand An answer waits until it has let go of what it drags or types.
 * @param report Called with the number of answers awaited, or with an Error.
 */
export class Refiner {
  constructor(screen, hand, report) {
    this.screen = screen;
    this.hand = hand;
    this.report = report;
    this.newest = new Map(); // number of the newest question, by person
    this.questions = 0;
    this.awaited = 0;
    this.isReleased = false;
  }

  /** Let go of the screen: no answer counts any more. */
  release() {
    this.isReleased = true;
  }

  /** Ask once for everybody of whom points were moved. */
  refine(moved) {
    const step = nameNewestStep(this.screen.annotation);
    const persons = new Map(moved.map((point) => [personIdOf(point) ?? point.cleanId, point]));
    for (const [person, point] of persons) this.refinePerson(person, point, step);
  }

  async refinePerson(person, point, step) {
    const { annotation } = this.screen;
    const question = ++this.questions;
    const sent = { moved: point.cleanId, places: new Map(annotation.regions.map((r) => [r.cleanId, placeIn(r)])) };
    this.newest.set(person, question);
    this.tell(++this.awaited);
    try {
      const items = await askBackend(annotation, point);
      await this.hand.isAway();
      const counts = this.newest.get(person) === question && !this.isReleased && isOpen(annotation);
      if (counts) takeOver(annotation, items, sent, step);
      this.tell(--this.awaited);
    } catch (error) {
      this.awaited--;
      this.tell(error);
    }
    if (!this.isReleased) await saveAgain(annotation);
  }

  tell(news) {
    if (!this.isReleased) this.report(news);
  }
}

/** Ask Label Studio to ask the backend, as its own smart tools do, but with the whole screen. */
async function askBackend(annotation, point) {
  const result = annotation.serializeAnnotation();
  const held = annotation.regions.filter(isHeldIn).map((region) => region.cleanId);
  const context = { result, moved: point.cleanId, person: personIdOf(point), held };
  const body = JSON.stringify({ task: window.Htx.task.id, context });
  const [, token = ""] = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/) ?? [];
  const headers = { "Content-Type": "application/json", "X-CSRFToken": token };
  const url = `/api/ml/${await findBackend()}/interactive-annotating`;
  const response = await fetch(url, { method: "POST", headers, body });
  if (!response.ok) backends.clear(); // it may have been removed, and another connected
  const answer = await response.json();
  const items = answer.data?.result; // there is none, and the status is 200, when the backend failed
  if (!items) throw new Error(answer.errors?.join("; ") ?? `status ${response.status}`);
  return items;
}

/** Return the id of the project's interactive backend; Label Studio's own tools ask the first one, too. */
async function findBackend() {
  const project = projectNumber();
  if (!backends.has(project)) {
    const found = await (await fetch(`/api/ml?project=${project}`)).json();
    const backend = found.find((one) => one.is_interactive);
    if (!backend) throw new Error("the project has no interactive backend");
    backends.set(project, backend.id);
  }
  return backends.get(project);
}

const isOpen = (annotation) => findScreen()?.annotation === annotation && !annotation.submissionStarted;

function takeOver(annotation, items, sent, step) {
  const regions = new Map(annotation.regions.map((region) => [region.cleanId, region]));
  const isUntouched = (id, state) => sent.places.get(id) === placeIn(state) && !isHeldIn(state);
  const moved = regions.get(sent.moved);
  if (!moved || sent.places.get(sent.moved) !== placeIn(moved)) return;

  const changes = new Map(); // by id, with the annotation's
  for (const item of aboutPersonOf(sent.moved, items)) {
    const region = regions.get(item.id);
    if (region && isUntouched(item.id, region)) changes.set(region.id, valuesOf(item));
  }
  const change = () => annotation.regions.forEach((r) => changes.has(r.id) && setValues(r, changes.get(r.id)));
  amendStep(annotation, step, change, (id, state) =>
    changes.has(id) && isUntouched(cleanId(id), state) ? withValues(state, changes.get(id)) : state,
  );
}

/** Return the points and the box of the person to whom the answer gives a point. */
function aboutPersonOf(id, items) {
  const labelled = items.filter(({ type, value }) => type?.endsWith("labels") && isPlace(value));
  const person = labelled.find((item) => item.id === id)?.parentID;
  return labelled.filter((item) => person && (item.parentID === person || item.id === person));
}

const isPlace = (value) => Number.isFinite(value?.x) && Number.isFinite(value?.y);

/** Return an answer's values for a point; for a box, which was not moved, all but its place. */
function valuesOf({ type, value, score, meta }) {
  return {
    ...(type === "keypointlabels" ? { place: { x: value.x, y: value.y } } : {}),
    ...(Number.isFinite(score) ? { score } : {}),
    ...(meta ? { meta } : {}),
  };
}

/** Save a draft again that was on its way when something changed: Label Studio takes it for the newest. */
async function saveAgain(annotation) {
  if (!annotation.isDraftSaving) return;
  for (let waited = 0; annotation.isDraftSaving && waited < SAVING_LIMIT_MS; waited += SAVING_MS) {
    await new Promise((goOn) => setTimeout(goOn, SAVING_MS));
  }
  if (isOpen(annotation) && annotation.editable) await annotation.saveDraft();
}
