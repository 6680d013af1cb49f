// Draws the people: limbs in a person's colour, points in the colour of their side, and what is known of each.
//
//     full, hollow       visible, occluded; what is absent is a small cross
//     translucent        the model is unsure of it
//     white ring         a human placed it
//     yellow ring        the selected point; dashed: the one to look at next
//     faint              not in focus
//
// It is one layer of its own on the editor's stage, which zooms and moves with the image and catches no mouse. The
// editor's own points and boxes stay above it to be caught, but are not seen.

import { keypointKeys, placeOnStage } from "./editor.js";

const LABEL_STUDIO_LAYERS = /^(chunk-|selection-regions-layer)/;
const [LIMB_PX, EDGE_PX, CATCH_PX] = [2.5, 4.5, 12];
const [MIN_DOT_PX, MAX_DOT_PX, DOT_SHARE] = [2.5, 5, 0.02]; // of the height of a person
const [HELD, RING] = [4, 8]; // that many pixels around a dot
const [EDGE_COLOUR, HELD_COLOUR, RING_COLOUR] = ["rgba(0, 0, 0, 0.4)", "#ffffff", "#ffd60a"];
const PERSON_COLOURS = ["#ff9f0a", "#bf5af2", "#30d158", "#64d2ff", "#ff6bb5", "#c8e600", "#a2845e", "#e5e5ea"];
const [FAINT, SUREST, LEAST_SURE] = [0.2, 1, 0.35];

/** Draws on one screen.
 *
 * @param links Pairs of keypoints.
 */
export class Drawing {
  constructor({ annotation, image, stage }, people, focus, links) {
    Object.assign(this, { annotation, image, stage, people, focus, links });
    this.colours = new Map(keypointKeys(annotation).map(({ keypoint, colour }) => [keypoint, colour]));
    this.layer = new window.Konva.Layer({ listening: false, name: "clickpose" });
    this.layer.add(new window.Konva.Shape({ listening: false, sceneFunc: (context) => this.draw(context) }));
    stage.add(this.layer);
    stage.on("dragmove.clickpose", () => this.look());
  }

  release() {
    this.layer.destroy();
    for (const node of this.nodes()) restore(node);
    this.stage.batchDraw();
  }

  /** Draw again if anything has changed. */
  look() {
    this.stayBelowRegions();
    this.hideRegions();
    const { focus } = this;
    const places = this.people.all.flatMap(({ points }) => points.map(({ region }) => this.placeOf(region)));
    const focused = [focus.id, focus.selected?.cleanId, focus.hidesOthers, focus.next?.id];
    const shown = [this.stage.scaleX(), ...focused, ...places].join(" ");
    if (this.people.entry !== this.entry || shown !== this.shown) this.layer.batchDraw();
    this.entry = this.people.entry;
    this.shown = shown;
  }

  /** The editor adds and replaces its layers as it likes, the image's among them. */
  stayBelowRegions() {
    const layers = this.stage.getLayers();
    const first = layers.findIndex((layer) => LABEL_STUDIO_LAYERS.test(layer.name()));
    if (first >= 0 && layers.indexOf(this.layer) > first) this.layer.zIndex(first);
  }

  /** Keep what the editor draws out of sight; the person in focus is caught first, a box by its edge only. */
  hideRegions() {
    const { focus } = this;
    for (const person of this.people.all) {
      const isShown = this.isShown(person);
      for (const { region } of person.points) dress(region.shapeRef, isShown, 0);
      dress(person.box.shapeRef, isShown, person.box === focus.selected ? 1 : 0);
      catchEdgeOnly(person.box.shapeRef);
    }
    if (focus.id === this.raised && this.people.entry === this.entry) return;
    this.raised = focus.id;
    for (const { region } of focus.person?.points ?? []) region.shapeRef?.getParent() && region.shapeRef.moveToTop();
  }

  nodes() {
    return this.annotation.regions.map((region) => region.shapeRef).filter(Boolean);
  }

  isShown(person) {
    return !this.focus.hidesOthers || person === this.focus.person;
  }

  placeOf(region) {
    return placeOnStage(region, this.image);
  }

  draw(context) {
    const pen = new Pen(context._context ?? context, 1 / (this.stage.scaleX() || 1));
    for (const person of this.people.all.filter((one) => this.isShown(one))) this.drawPerson(pen, person);
    const { point, next } = this.focus;
    pen.shade = 1;
    if (point) pen.ring(this.placeOf(point.region), MAX_DOT_PX + RING, RING_COLOUR);
    else if (next) pen.ring(this.placeOf(next.region), MAX_DOT_PX + RING, RING_COLOUR, [4, 6]);
  }

  drawPerson(pen, person) {
    const shade = !this.focus.person || person === this.focus.person ? 1 : FAINT;
    const points = person.points.filter(({ region }) => !region.hidden);
    const places = new Map(points.map((point) => [point.keypoint, { ...point, place: this.placeOf(point.region) }]));
    pen.shade = shade;
    pen.dot = this.dotOf(person);
    this.drawBox(pen, person);
    for (const [from, to] of this.links) pen.limb(places.get(from), places.get(to), colourOf(person));
    for (const point of places.values()) {
      pen.shade = shade * (point.isHeld ? SUREST : LEAST_SURE + (SUREST - LEAST_SURE) * point.score);
      pen.point(point, this.colours.get(point.keypoint));
    }
  }

  /** Return the radius of a person's dots, in pixels of the window. */
  dotOf({ box }) {
    const height = (box.height / 100) * this.image.stageHeight * this.stage.scaleX();
    return Math.min(MAX_DOT_PX, Math.max(MIN_DOT_PX, DOT_SHARE * height));
  }

  drawBox(pen, person) {
    const { box } = person;
    if (box === this.focus.selected || box.hidden) return;
    const [left, top] = this.placeOf({ x: box.x, y: box.y });
    const [right, bottom] = this.placeOf({ x: box.x + box.width, y: box.y + box.height });
    pen.rectangle([left, top], [right, bottom], colourOf(person));
    if (person.isAccepted) pen.tick([left, top], colourOf(person));
  }
}

const colourOf = ({ id, number }) => PERSON_COLOURS[(number ?? id.length) % PERSON_COLOURS.length];

// The editor's nodes. It makes new ones now and then, so this is done again at every look.

function dress(node, isShown, opacity) {
  if (!node?.getStage() || (node.visible() === isShown && node.opacity() === opacity)) return;
  node.visible(isShown);
  node.opacity(opacity);
  if (node.hitStrokeWidth() !== CATCH_PX) node.hitStrokeWidth(CATCH_PX);
}

/** Let the mouse pass through a box to what lies below. */
function catchEdgeOnly(node) {
  if (!node || node.attrs.clickpose) return;
  node.setAttrs({ clickpose: true, hitFunc: (context, shape) => edge(context, shape) });
}

function edge(context, shape) {
  context.beginPath();
  context.rect(0, 0, shape.width(), shape.height());
  context.closePath();
  context.strokeShape(shape);
}

function restore(node) {
  node.setAttrs({ visible: true, opacity: 1, hitFunc: null, hitStrokeWidth: "auto", clickpose: false });
}

/** Draws in pixels of the window, whatever the zoom. */
class Pen {
  constructor(canvas, px) {
    Object.assign(this, { canvas, px, shade: 1, dot: MAX_DOT_PX });
    canvas.lineCap = "round";
  }

  limb(from, to, colour) {
    if (!from || !to || from.visibility === "absent" || to.visibility === "absent") return;
    const path = () => this.path(...this.between(from.place, to.place));
    this.stroke(path, EDGE_PX, EDGE_COLOUR);
    this.stroke(path, LIMB_PX, colour);
  }

  /** Return both ends of a limb, at the edges of the dots. */
  between([x0, y0], [x1, y1]) {
    const share = Math.min(0.5, (this.dot * this.px) / Math.hypot(x1 - x0, y1 - y0));
    const [dx, dy] = [share * (x1 - x0), share * (y1 - y0)];
    return [
      [x0 + dx, y0 + dy],
      [x1 - dx, y1 - dy],
    ];
  }

  point({ place, visibility, isHeld }, colour) {
    const dot = () => this.circle(place, this.dot);
    if (isHeld) this.ring(place, this.dot + HELD, HELD_COLOUR);
    if (visibility === "absent") return this.cross(place, colour);
    this.stroke(dot, EDGE_PX, EDGE_COLOUR);
    this.stroke(dot, LIMB_PX, colour);
    if (visibility === "visible") this.fill(dot, colour);
  }

  ring(place, radius, colour, dash = []) {
    this.stroke(() => this.circle(place, radius), EDGE_PX, EDGE_COLOUR, dash);
    this.stroke(() => this.circle(place, radius), LIMB_PX, colour, dash);
  }

  rectangle([left, top], [right, bottom], colour) {
    this.stroke(() => this.canvas.rect(left, top, right - left, bottom - top), 1, colour);
  }

  tick([x, y], colour) {
    const at = (dx, dy) => [x + dx * this.px, y + dy * this.px];
    const path = () => this.path(at(4, 11), at(8, 15), at(16, 5));
    this.stroke(path, 5, EDGE_COLOUR);
    this.stroke(path, 3, colour);
  }

  cross([x, y], colour) {
    const size = this.dot * this.px;
    this.stroke(() => this.path([x - size, y - size], [x + size, y + size]), LIMB_PX, colour);
    this.stroke(() => this.path([x - size, y + size], [x + size, y - size]), LIMB_PX, colour);
  }

  path([x, y], ...others) {
    this.canvas.moveTo(x, y);
    for (const place of others) this.canvas.lineTo(...place);
  }

  circle([x, y], radius) {
    this.canvas.arc(x, y, radius * this.px, 0, 2 * Math.PI);
  }

  stroke(path, width, colour, dash = []) {
    this.begin(path);
    this.canvas.setLineDash(dash.map((length) => length * this.px));
    this.canvas.lineWidth = width * this.px;
    this.canvas.strokeStyle = colour;
    this.canvas.stroke();
  }

  fill(path, colour) {
    this.begin(path);
    this.canvas.fillStyle = colour;
    this.canvas.fill();
  }

  begin(path) {
    this.canvas.globalAlpha = this.shade;
    this.canvas.beginPath();
    path();
  }
}
