// The room for the image: all of it is seen at once, above the bottom bar, and nothing moves it.

import { switchAutoAnnotationOn } from "./editor.js";

const STYLE_SHEET = new URL("page.css", import.meta.url);
const INTERFACE = ".lsf-main-view__annotation";
const BOTTOM_BAR = ".lsf-bottombar";
const [GAP_PX, MIN_HEIGHT_PX] = [8, 160];
const HINT =
  "Click a person, drag what is wrong: the rest follows. Tab: the least sure keypoint. Its key, Ctrl-click: place it." +
  " X occluded, C absent. Enter: accept, next person. H: only this person. Delete: remove. P, Ctrl-drag: add one.";

/** Arranges one screen. */
export class Layout {
  constructor({ image }) {
    this.image = image;
    this.wasFitted = true;
    this.size = "";
    this.sheet = document.createElement("link");
    Object.assign(this.sheet, { rel: "stylesheet", href: STYLE_SHEET });
    document.head.append(this.sheet);
    this.hint = document.querySelector(`${INTERFACE} h3`);
    this.hinted = this.hint?.textContent;
    if (this.hint) this.hint.textContent = HINT;
    switchAutoAnnotationOn();
    document.activeElement?.blur?.(); // no hotkey works while a switch or a button has the keyboard
  }

  release() {
    this.sheet.remove();
    this.image.containerRef?.style.removeProperty("max-height");
    if (this.hint) this.hint.textContent = this.hinted;
  }

  /** Keep the image above the bottom bar, and fitted as long as nobody zooms. */
  look() {
    const { image } = this;
    const bar = document.querySelector(BOTTOM_BAR)?.getBoundingClientRect();
    if (bar) setMaxHeight(image.containerRef, bar.top - GAP_PX);
    const size = `${image.containerWidth} ${image.containerHeight}`;
    if (size !== this.size && this.wasFitted) image.sizeToFit();
    this.size = size;
    this.wasFitted = isFitted(image);
  }
}

/** Tell whether an image is seen as a whole, as large as there is room. */
function isFitted({ zoomScale, stageWidth, stageHeight, containerWidth, containerHeight }) {
  return zoomScale < 1.001 && (stageWidth > containerWidth - 1 || stageHeight > containerHeight - 1);
}

function setMaxHeight(container, bottom) {
  const height = Math.max(MIN_HEIGHT_PX, Math.floor(bottom - container.getBoundingClientRect().top));
  container.style.setProperty("max-height", `${height}px`, "important");
}
