// Draws limbs below the points, a ring around what a human placed, and a dashed one around what to look at next.
//
// It is one layer of its own on the editor's stage, which zooms and moves with the picture and catches no mouse.

import { isAbsent, isHeldIn, newestEntry, personOf, placeOnStage, pointsOf, scoreOf } from "./editor.js";

const POINT_LAYERS = /^(chunk-|selection-regions-layer)/;
const [LIMB_PX, EDGE_PX, HELD_PX, NEXT_PX] = [2.5, 4.5, 9, 13];
const [EDGE_COLOUR, HELD_COLOUR, NEXT_COLOUR] = ["rgba(0, 0, 0, 0.4)", "#ffffff", "#f5a623"];

/** Draws on one screen.
 *
 * @param limbs [from, to, colour] of the skeleton, by the names of the keypoints.
 */
export class Drawing {
  constructor({ annotation, image, stage }, limbs) {
    Object.assign(this, { annotation, image, stage, limbs, points: [] });
    this.layer = new window.Konva.Layer({ listening: false, name: "clickpose" });
    this.layer.add(new window.Konva.Shape({ listening: false, sceneFunc: (context) => this.draw(context) }));
    stage.add(this.layer);
    stage.on("dragmove.clickpose", () => this.look());
  }

  release() {
    this.layer.destroy();
  }

  /** Draw again if anything has changed. */
  look() {
    this.stayBelowPoints();
    const entry = newestEntry(this.annotation.history);
    if (entry !== this.entry) this.known = pointsOf(this.annotation).map(describe); // 10 ms for ten persons
    this.points = this.known.filter(({ region }) => !region.hidden).map((point) => this.placed(point));
    const places = [this.stage.scaleX(), ...this.points.map((point) => point.place)].join(" ");
    if (entry !== this.entry || places !== this.places) this.layer.batchDraw();
    this.entry = entry;
    this.places = places;
  }

  placed(point) {
    return { ...point, place: placeOnStage(point.region, this.image) };
  }

  /** The editor adds and replaces its layers as it likes, the picture's among them. */
  stayBelowPoints() {
    const layers = this.stage.getLayers();
    const first = layers.findIndex((layer) => POINT_LAYERS.test(layer.name()));
    if (first >= 0 && layers.indexOf(this.layer) > first) this.layer.zIndex(first);
  }

  draw(context) {
    const px = 1 / (this.stage.scaleX() || 1);
    const canvas = context._context ?? context;
    canvas.lineCap = "round";
    for (const [from, to, colour] of this.visibleLimbs()) {
      line(canvas, from, to, EDGE_PX * px, EDGE_COLOUR);
      line(canvas, from, to, LIMB_PX * px, colour);
    }
    for (const point of this.points.filter((one) => one.isHeld)) {
      ring(canvas, point.place, HELD_PX * px, EDGE_PX * px, EDGE_COLOUR);
      ring(canvas, point.place, HELD_PX * px, LIMB_PX * px, HELD_COLOUR);
    }
    const next = this.next();
    if (next) ring(canvas, next.place, NEXT_PX * px, LIMB_PX * px, NEXT_COLOUR, [4 * px, 6 * px]);
  }

  visibleLimbs() {
    const visible = this.points.filter((point) => point.person && !point.isAbsent);
    const found = new Map(visible.map((point) => [keyOf(point), point.place]));
    const persons = new Set(visible.map((point) => point.person));
    return [...persons].flatMap((person) =>
      this.limbs
        .map(([from, to, colour]) => [found.get(`${person} ${from}`), found.get(`${person} ${to}`), colour])
        .filter(([from, to]) => from && to),
    );
  }

  /** Return the point that the model is least sure of, among those that no human placed. */
  next() {
    const open = this.points.filter((point) => point.person && !point.isHeld && !point.isAbsent);
    return open.reduce((least, point) => (least && least.score <= point.score ? least : point), null);
  }
}

const describe = (region) => ({
  region,
  person: personOf(region),
  keypoint: region.labelName,
  isHeld: isHeldIn(region),
  isAbsent: isAbsent(region),
  score: scoreOf(region),
});

const keyOf = ({ person, keypoint }) => `${person} ${keypoint}`;

function line(canvas, [x0, y0], [x1, y1], width, colour) {
  canvas.beginPath();
  canvas.moveTo(x0, y0);
  canvas.lineTo(x1, y1);
  stroke(canvas, width, colour);
}

function ring(canvas, [x, y], radius, width, colour, dash = []) {
  canvas.beginPath();
  canvas.arc(x, y, radius, 0, 2 * Math.PI);
  canvas.setLineDash(dash);
  stroke(canvas, width, colour);
  canvas.setLineDash([]);
}

function stroke(canvas, width, colour) {
  canvas.lineWidth = width;
  canvas.strokeStyle = colour;
  canvas.stroke();
}
