// What this script knows of the insides of Label Studio's editor; all of it is here, in regions.js and in history.js.
//
//     screen    the open annotation, with the image and the Konva stage that show it
//     region    a point or a box; its cleanId is the id that the backend gave it
//
// Nothing here is public. missingInternals names what a version lacks, and then the script stays off.

const POINTS = "kp"; // the names of the tags in our labelling interface
const OUR_TAGS = { [POINTS]: "keypointlabels", box: "rectanglelabels", visibility: "choices" };
const DRAWING_TOOLS = { [POINTS]: "KeyPointTool-dynamic", box: "RectangleTool-dynamic" };
const [MOVE_TOOL, PAN_TOOL] = ["MoveTool", "ZoomPanTool"];

/** Return the screen, or null: no editor, several annotations side by side, or the image is still loading. */
export function findScreen() {
  const store = window.Htx?.annotationStore;
  const annotation = store?.selected;
  if (!annotation || store.viewingAll) return null;
  const image = [...annotation.names.values()].find((tag) => tag.type === "image");
  const stage = image?.stageRef;
  return stage?.getLayers().length ? { annotation, image, stage } : null;
}

/** Tell whether an annotation has our labelling interface. */
export const isOurs = ({ annotation }) =>
  Object.entries(OUR_TAGS).every(([name, type]) => annotation.names.get(name)?.type === type);

export const isAlive = (model) => Boolean(model.$treenode?.isAlive);

export const isSameScreen = (one, other) => one?.annotation === other?.annotation && one?.stage === other?.stage;

/** Return the names of what this script needs and the editor does not have. */
export function missingInternals({ annotation, image, stage }) {
  const { history, regions } = annotation;
  const has = (owner, ...names) => names.every((name) => typeof owner?.[name] === "function");
  const needed = {
    "Htx.task.id": Number.isInteger(window.Htx.task?.id),
    "Htx.setAutoAnnotation": has(window.Htx, "setAutoAnnotation", "setAutoAcceptSuggestions"),
    Konva: has(window.Konva, "Layer", "Shape", "isDragging"),
    annotation: has(annotation, "serializeAnnotation", "pauseAutosave", "saveDraft", "selectArea", "unselectAll"),
    "annotation.editable": typeof annotation.editable === "boolean",
    "annotation.selectedRegions": Array.isArray(annotation.selectedRegions),
    history: has(history, "freeze", "unfreeze", "safeUnfreeze", "recordNow", "setReplaceNextUndoState"),
    "history.history": Array.isArray(history?.history) && !Object.isFrozen(history.history),
    "history.areas": history?.history?.every((entry) => typeof entry.areas === "object"),
    "history.undoIdx": Number.isInteger(history?.undoIdx),
    tools: has(image, "getToolsManager") && has(image.getToolsManager(), "findSelectedTool", "allTools", "selectTool"),
    "image.containerRef": image.containerRef instanceof HTMLElement,
    "image.stageWidth": image.stageWidth > 0 && image.stageHeight > 0,
    "image.sizeToFit": has(image, "sizeToFit") && image.zoomScale > 0 && image.containerWidth > 0,
    labels: keypointKeys(annotation).length > 0,
    stage: has(stage, "on", "off", "add", "scaleX", "getAbsoluteTransform", "container"),
    region: regions.every((region) => has(region, "toJSON", "deleteRegion") && has(region.$treenode, "applySnapshot")),
    "region.cleanId": regions.every((region) => typeof region.cleanId === "string"),
  };
  return Object.keys(needed).filter((name) => !needed[name]);
}

/** Return the keypoints with their colours, and with the key that Label Studio gives each; some have none. */
export function keypointKeys(annotation) {
  const labels = annotation.names.get(POINTS)?.children ?? [];
  return labels.map(({ value, hotkey, background }) => ({ keypoint: value, key: hotkey, colour: background }));
}

/** Return the keypoint whose label is picked for the next click, or undefined. */
export const pickedKeypoint = (annotation) => annotation.names.get(POINTS).selectedLabels?.[0]?.value;

/** Let clicks ask the model, and take its answers over at once. */
export function switchAutoAnnotationOn() {
  window.Htx.setAutoAnnotation(true);
  window.Htx.setAutoAcceptSuggestions(true);
}

/** Tell whether the next click draws something. */
export const isDrawing = ({ image }) =>
  Object.values(DRAWING_TOOLS).includes(image.getToolsManager().findSelectedTool()?.fullName);

/** Pick the tool that draws what is picked as label; else the one that moves regions, for nobody can drag without. */
export function pickTool({ annotation, image }) {
  const tools = image.getToolsManager();
  const [drawn] = Object.keys(DRAWING_TOOLS).filter((name) => annotation.names.get(name).isSelected);
  const wanted = drawn && !annotation.selectedRegions.length ? DRAWING_TOOLS[drawn] : MOVE_TOOL;
  const picked = tools.findSelectedTool()?.fullName;
  if (picked === wanted || picked === PAN_TOOL) return;
  const tool = tools.allTools().find(({ fullName }) => fullName === wanted);
  if (tool) tools.selectTool(tool, true, true);
}

// Places: percent of the image, pixels of the stage before zoom, and pixels of the window.

/** Return where a point is on the stage just now, also while it is dragged. */
export function placeOnStage(point, image) {
  const node = point.shapeRef;
  if (node?.getStage()) return [node.x(), node.y()];
  return [(point.x * image.stageWidth) / 100, (point.y * image.stageHeight) / 100];
}

/** Return the place under the mouse in percent. */
export function placeUnder({ clientX, clientY }, { image, stage }) {
  const corner = stage.container().getBoundingClientRect();
  const mouse = { x: clientX - corner.left, y: clientY - corner.top };
  const { x, y } = stage.getAbsoluteTransform().copy().invert().point(mouse);
  return { x: (100 * x) / image.stageWidth, y: (100 * y) / image.stageHeight };
}
