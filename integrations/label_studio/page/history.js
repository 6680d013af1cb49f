// What one undo takes back. The history keeps the states of all regions, by their ids, for each step.

const CHANGING = "clickpose-changing";
const stepNames = new WeakMap(); // by the history's entry

/** Return the history's entry for what is on the screen: another object after every change. */
export const newestEntry = (history) => history.history[history.undoIdx];

/** Tell whether nothing was undone that could be done again. */
export const isAtItsEnd = (history) => history.undoIdx === history.history.length - 1;

/** Make all that a change does one step. */
export function asOneStep({ history }, change) {
  history.freeze(CHANGING);
  try {
    change();
  } finally {
    history.unfreeze(CHANGING);
  }
}

/** Make a change part of the newest step. */
export function withNewestStep(annotation, change) {
  annotation.history.setReplaceNextUndoState(true);
  asOneStep(annotation, change);
}

/** Return a name by which the newest step is found again, whatever is changed in it or done after it. */
export function nameNewestStep({ history }) {
  const entry = newestEntry(history);
  if (!stepNames.get(entry)) stepNames.set(entry, Symbol("step"));
  return stepNames.get(entry);
}

/** Change regions as part of a step that is made already: undoing that step undoes the change.
 *
 * Every later step gets the change, too, also those that were undone and can be done again.
 *
 * @param change Changes the regions on the screen.
 * @param changed Returns a state with that same change, given the region's id.
 */
export function amendStep({ history }, name, change, changed) {
  history.freeze(CHANGING);
  try {
    change();
  } finally {
    history.safeUnfreeze(CHANGING); // records nothing, unlike unfreeze
  }
  const entries = history.history;
  const first = entries.findIndex((entry) => stepNames.get(entry) === name);
  for (let i = first; i >= 0 && i < entries.length; i++) {
    const states = Object.entries(entries[i].areas).map(([id, state]) => [id, changed(id, state)]);
    const entry = { ...entries[i], areas: Object.fromEntries(states) };
    stepNames.set(entry, stepNames.get(entries[i]));
    entries[i] = entry;
  }
  if (!history.canRedo && !history.isFrozen) recordAgain(history); // only what is younger than the draft gets saved
}

function recordAgain(history) {
  const name = stepNames.get(newestEntry(history));
  history.setReplaceNextUndoState(true);
  history.recordNow();
  history.setReplaceNextUndoState(false); // it may not have recorded, right after an undo
  stepNames.set(newestEntry(history), name);
}
