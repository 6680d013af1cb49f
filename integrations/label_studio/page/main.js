// Work on people in Label Studio: drag a keypoint, and the other keypoints of that person follow.
//
//     people.js    who is on the screen        focus.js     who is in focus, and the point to look at
//     keys.js      the keyboard                pointer.js   the mouse on the image
//     hand.js      notices that points were moved, and marks them as held
//     refiner.js   asks the backend about it and takes over the answer, as part of the same undo step
//     drawing.js   all that is seen of people  layout.js    room for the image
//     panel.js     on or off, and progress.js  how far one is
//     traffic.js   what the page and Label Studio say to each other
//     editor.js, regions.js, history.js        all that is known of Label Studio's insides
//
// The editor comes and goes with tasks, tabs and submissions, and tells nobody. So we look, many times a second, if it
// is still the one we work on. Where something is missing, all that happens is that the panel says what.

import { Drawing } from "./drawing.js";
import * as editor from "./editor.js";
import { Focus } from "./focus.js";
import { Hand } from "./hand.js";
import { Keys } from "./keys.js";
import { Layout } from "./layout.js";
import { Panel } from "./panel.js";
import { People } from "./people.js";
import { Pointer } from "./pointer.js";
import { Progress, projectNumber } from "./progress.js";
import { Refiner } from "./refiner.js";
import { listen } from "./traffic.js";

const LOOK_MS = 80;
const MAX_FAILURES = 10; // in a row; the editor may be half built or half gone when we look

/** What is done on one screen. */
class Work {
  constructor(screen, skeletons, progress, tell) {
    this.screen = screen;
    this.people = new People(screen);
    this.focus = new Focus(screen, this.people);
    this.layout = new Layout(screen);
    this.drawing = new Drawing(screen, this.people, this.focus, linksOf(screen.annotation, skeletons));
    this.progress = progress;
    this.task = window.Htx.task.id;
    this.hand = new Hand(screen, (moved) => this.moved(moved));
    this.refiner = new Refiner(screen, this.hand, tell);
    this.keys = new Keys(screen, this.people, this.focus, () => this.clicked());
    this.pointer = new Pointer(screen, this.people, this.focus, this.hand);
  }

  look() {
    for (const part of [this.hand, this.people, this.focus, this.layout, this.drawing, this.pointer]) part.look();
    editor.pickTool(this.screen);
  }

  release() {
    for (const part of [this.refiner, this.keys, this.pointer, this.hand, this.drawing, this.layout]) part.release();
  }

  clicked() {
    this.progress.click(this.task);
  }

  moved(regions) {
    this.refiner.refine(regions);
    this.people.look();
    const points = this.people.all.flatMap(({ points }) => points).filter(({ region }) => regions.includes(region));
    if (points.length === 1) this.focus.select(points[0]);
  }

  /** Say whom of how many one works on. */
  toString() {
    const { all, open } = this.people;
    const place = all.indexOf(this.focus.person) + 1;
    const who = place ? `person ${place} of ${all.length}` : all.length === 1 ? "1 person" : `${all.length} persons`;
    return open.length || !all.length ? `${who}, ${all.length - open.length} accepted` : "all accepted: Enter submits";
  }
}

/** Return the links of the skeleton that an annotation's labels name. */
function linksOf(annotation, skeletons) {
  const names = editor.keypointKeys(annotation).map(({ keypoint }) => keypoint);
  return skeletons.find(({ keypoints }) => keypoints.join() === names.join())?.links ?? [];
}

/** Work on whatever screen is ours, until that fails too often. */
function watch(skeletons) {
  const panel = new Panel();
  let [work, progress, failures] = [null, null, 0];

  function look() {
    const found = editor.findScreen();
    const isKnown = work && editor.isSameScreen(work.screen, found);
    const screen = isKnown || (found && editor.isOurs(found)) ? found : null;
    const wanted = panel.isOff ? null : screen;
    if (!editor.isSameScreen(work?.screen, wanted)) {
      leave();
      if (wanted) begin(wanted);
    }
    work?.look();
    const version = work?.people.modelVersion;
    const costs = work && [`${progress}`, version].filter(Boolean).join(" · ");
    panel.show(Boolean(screen), work ? `${work}` : "", costs ?? "");
  }

  function begin(screen) {
    const missing = editor.missingInternals(screen);
    if (missing.length) throw new Error(`this Label Studio lacks ${missing.join(", ")}`);
    if (progress?.project !== projectNumber()) progress = new Progress(projectNumber());
    work = new Work(screen, skeletons, progress, tell);
  }

  function leave() {
    const left = work;
    work = null;
    panel.tell(0);
    left?.release();
  }

  function tell(news) {
    panel.tell(news);
    if (news instanceof Error) console.warn(`Click-Pose: the other points stay where they are: ${news.message}`);
  }

  const timer = setInterval(() => {
    try {
      look();
      failures = 0;
    } catch (error) {
      if (++failures === MAX_FAILURES) {
        clearInterval(timer);
        panel.giveUp(error.message);
        panel.show(true);
        console.warn(`Click-Pose: off from now on: ${error.message}`);
      }
      leave();
    }
  }, LOOK_MS);
  listen({
    focus: () => work?.focus.person?.number ?? null,
    onQuestion: () => work?.clicked(),
    onSubmitted: (...args) => progress?.submitted(...args),
  });
}

watch(await (await fetch(new URL("skeletons.json", import.meta.url))).json());
