// The mouse on the image: a click puts a person in focus, a Ctrl-click places the selected point.

import { isDrawing, pickedKeypoint, placeOnStage, placeUnder } from "./editor.js";

const SWALLOWED = ["pointerdown", "mousedown", "pointerup", "mouseup", "click"];
const NEAR_PX = 12;
const NAME_STYLE =
  "position:fixed;z-index:1000;padding:1px 7px;border-radius:9px;background:#222;color:#fff;font:12px sans-serif;" +
  "opacity:0.85;pointer-events:none;white-space:nowrap";

/** Follows the mouse over one screen. */
export class Pointer {
  constructor(screen, people, focus, hand) {
    Object.assign(this, { screen, people, focus, hand, mouse: null });
    this.name = document.createElement("div");
    this.name.id = "clickpose-name";
    this.name.style.cssText = NAME_STYLE;
    this.moved = this.moved.bind(this);
    this.pressed = this.pressed.bind(this);
    screen.stage.on("click.clickpose", ({ evt }) => this.clicked(evt)); // not on a region: there Label Studio selects
    screen.stage.on("dragstart.clickpose", ({ target }) => this.dragged(target));
    window.addEventListener("mousemove", this.moved, true);
    for (const kind of SWALLOWED) window.addEventListener(kind, this.pressed, true);
  }

  release() {
    window.removeEventListener("mousemove", this.moved, true);
    for (const kind of SWALLOWED) window.removeEventListener(kind, this.pressed, true);
    this.name.remove();
  }

  /** Show the name of the point under the mouse, else of the one that a Ctrl-click would place. */
  look() {
    const text = this.mouse && (this.nearest()?.keypoint ?? this.focus.point?.keypoint ?? this.picked());
    if (!text) return this.name.remove();
    const [left, top] = [this.mouse.clientX + 14, this.mouse.clientY + 14];
    Object.assign(this.name.style, { left: `${left}px`, top: `${top}px` });
    if (this.name.textContent !== text) this.name.textContent = text;
    if (!this.name.isConnected) document.body.append(this.name);
  }

  moved(event) {
    this.mouse = this.isOnImage(event) ? event : null;
    this.look();
  }

  /** Place the selected point; Label Studio sees nothing of such a click. */
  pressed(event) {
    const isOurs = (event.ctrlKey || event.metaKey) && !event.altKey && event.button === 0 && this.focus.point;
    if (!isOurs || !this.screen.annotation.editable || !this.isOnImage(event)) return;
    event.stopImmediatePropagation();
    if (event.type === "mousedown") this.hand.put(this.focus.point.region, placeUnder(event, this.screen));
  }

  clicked(event) {
    if (event.ctrlKey || event.metaKey || isDrawing(this.screen)) return;
    this.focus.look();
    this.focus.on(this.personUnder(event));
  }

  dragged(node) {
    const [id] = node.name().split(" ");
    const owner = this.people.all.find(({ points }) => points.some(({ region }) => region.id === id));
    if (owner) this.focus.on(owner);
  }

  picked() {
    return pickedKeypoint(this.screen.annotation);
  }

  isOnImage(event) {
    return this.screen.stage.container().contains(event.target);
  }

  /** Return who has the mouse in her box; of several, the one with a point nearest to it. */
  personUnder(event) {
    const { x, y } = placeUnder(event, this.screen);
    const isInside = ({ box }) => isBetween(x, box.x, box.width) && isBetween(y, box.y, box.height);
    const distance = ({ points }) => Math.min(...points.map((point) => this.distance(point, { x, y })));
    return least(this.people.all.filter(isInside), distance);
  }

  /** Return the point under the mouse, or undefined. */
  nearest() {
    const { people, focus } = this;
    const persons = focus.hidesOthers ? [focus.person] : people.all;
    const place = placeUnder(this.mouse, this.screen);
    const points = persons.flatMap((person) => person?.points ?? []);
    const lead = (point) => (focus.person?.points.includes(point) ? 1 : 0); // of two in one place, the focused one's
    const nearest = least(points, (point) => this.distance(point, place) - lead(point));
    return nearest && this.distance(nearest, place) < NEAR_PX ? nearest : undefined;
  }

  /** Return how far a point is from a place, in pixels of the window. */
  distance({ region }, { x, y }) {
    const { image, stage } = this.screen;
    const [left, top] = placeOnStage(region, image);
    const far = Math.hypot(left - (x * image.stageWidth) / 100, top - (y * image.stageHeight) / 100);
    return far * stage.scaleX();
  }
}

const isBetween = (value, start, length) => start <= value && value <= start + length;

function least(items, measure) {
  const measured = items.map((item) => [measure(item), item]);
  return measured.reduce((best, one) => (best && best[0] <= one[0] ? best : one), undefined)?.[1];
}
