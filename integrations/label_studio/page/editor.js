// What this script knows of the insides of Label Studio's editor, all of it here, to be checked at each new version.
//
//     screen    the open annotation, with the picture and the Konva stage that show it
//     region    a point or a box; its cleanId is the id that the backend gave it
//     state     a region's plain values
//     step      what one undo takes back; the history keeps all states, by the regions' ids, for each

export const TESTED_VERSIONS = ["1.23.2"];

const CHANGING = "clickpose-changing";
const stepNames = new WeakMap(); // by the history's entry

/** Return Label Studio's version; undefined on its login page, and on pages that are not its own. */
export const labelStudioVersion = () => window.APP_SETTINGS?.version?.release;

/** Return the screen, or null: no editor, several annotations side by side, or the picture still on its way. */
export function findScreen() {
  const store = window.Htx?.annotationStore;
  const annotation = store?.selected;
  if (!annotation || store.viewingAll) return null;
  const image = [...annotation.names.values()].find((tag) => tag.type === "image");
  const stage = image?.stageRef;
  return stage?.getLayers().length ? { annotation, image, stage } : null;
}

export const isAlive = (model) => Boolean(model.$treenode?.isAlive);

export const isSameScreen = (one, other) => one?.annotation === other?.annotation && one?.stage === other?.stage;

/** Return the names of what this script needs and the editor does not have. */
export function missingInternals({ annotation, image, stage }) {
  const { history, regions } = annotation;
  const has = (owner, ...names) => names.every((name) => typeof owner?.[name] === "function");
  const needed = {
    "Htx.task.id": Number.isInteger(window.Htx.task?.id),
    Konva: has(window.Konva, "Layer", "Shape", "isDragging"),
    annotation: has(annotation, "serializeAnnotation", "pauseAutosave", "saveDraft"),
    "annotation.editable": typeof annotation.editable === "boolean",
    history: has(history, "freeze", "unfreeze", "safeUnfreeze", "recordNow", "setReplaceNextUndoState"),
    "history.history": Array.isArray(history?.history) && !Object.isFrozen(history.history),
    "history.areas": history?.history?.every((entry) => typeof entry.areas === "object"),
    "history.undoIdx": Number.isInteger(history?.undoIdx),
    tools: has(image, "getToolsManager") && has(image.getToolsManager(), "findSelectedTool", "allTools", "selectTool"),
    "image.stageWidth": image.stageWidth > 0 && image.stageHeight > 0,
    stage: has(stage, "on", "off", "add", "scaleX"),
    region: regions.every((region) => has(region, "toJSON") && has(region.$treenode, "applySnapshot")),
    "region.cleanId": regions.every((region) => typeof region.cleanId === "string"),
  };
  return Object.keys(needed).filter((name) => !needed[name]);
}

/** Pick the tool that moves regions where none is picked: then Label Studio lets nobody drag. It will not recall it. */
export function pickMoveTool({ image }) {
  const tools = image.getToolsManager();
  const moveTool = tools.allTools().find((tool) => tool.fullName === "MoveTool");
  if (moveTool && !tools.findSelectedTool()) tools.selectTool(moveTool, true, true);
}

// Regions.

export const pointsOf = (annotation) => annotation.regions.filter((region) => region.type === "keypointregion");

export const personOf = (region) => (region.parentID ? cleanId(region.parentID) : null);

/** Return a region's id without the annotation's, which the editor appends. */
export const cleanId = (id) => id.replace(/#.*/, "");

export const scoreOf = (region) => resultIn(region)?.score ?? region.score ?? 1;

export const isAbsent = (region) => region.results.some(({ mainValue }) => mainValue?.[0] === "absent");

/** Return the name of the skeleton that a box of ours tells, or undefined. */
export const skeletonOf = (annotation) => annotation.regions.map((region) => metaIn(region).skeleton).find(Boolean);

/** Return where a point is on the stage just now, also while it is dragged. */
export function placeOnStage(point, image) {
  const node = point.shapeRef;
  if (node?.getStage()) return [node.x(), node.y()];
  return [(point.x * image.stageWidth) / 100, (point.y * image.stageHeight) / 100];
}

// States. Score and meta are kept twice, by the region and by its result; of meta the region's counts.

export const placeIn = (state) => `${state.x} ${state.y}`;

export const isHeldIn = (state) => Boolean(metaIn(state).held);

export function metaIn(state) {
  return { ...resultIn(state)?.meta, ...state.meta };
}

/** Return a state with other values; what is not given stays. */
export function withValues(state, { place, ...both }) {
  const results = state.results.map((result) => (isLabelling(result) ? { ...result, ...both } : result));
  return { ...state, ...place, ...both, results };
}

/** Change a region's values. */
export const setValues = (region, values) => region.$treenode.applySnapshot(withValues(region.toJSON(), values));

// Steps.

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

/** Return the history's entry for what is on the screen: another object after every change. */
export const newestEntry = (history) => history.history[history.undoIdx];

const isLabelling = (result) => result.type.endsWith("labels");

const resultIn = (state) => state.results.find(isLabelling);
