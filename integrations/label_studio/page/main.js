// Drag a keypoint in Label Studio, and the other keypoints of that person follow.
//
//     hand.js     notices that points were moved, and marks them as held
//     refiner.js  asks the backend about it and takes over the answer, as part of the same undo step
//     drawing.js  limbs, rings around held points, and around the one to look at next
//     editor.js   all that is known of Label Studio's insides
//
// The editor comes and goes with tasks, tabs and submissions, and tells nobody. So we look, many times a second, if it
// is still the one we work on. With an unknown version, or if something is missing, all that happens is a line in
// the console.

import { Badge } from "./badge.js";
import { Drawing } from "./drawing.js";
import * as editor from "./editor.js";
import { Hand } from "./hand.js";
import { Refiner } from "./refiner.js";

const LOOK_MS = 80;
const MAX_FAILURES = 10; // in a row; the editor may be half built or half gone when we look

/** What is done on one screen. */
class Work {
  constructor(screen, limbs, tell) {
    this.screen = screen;
    this.drawing = new Drawing(screen, limbs[editor.skeletonOf(screen.annotation)] ?? []);
    this.hand = new Hand(screen, (moved) => this.refiner.refine(moved));
    this.refiner = new Refiner(screen, this.hand, tell);
    editor.pickMoveTool(screen);
  }

  look() {
    this.hand.look();
    this.drawing.look();
  }

  release() {
    this.refiner.release();
    this.hand.release();
    this.drawing.release();
  }
}

/** Work on whatever screen shows people of ours, until that fails too often. */
function watch(limbs) {
  const badge = new Badge();
  let work = null;
  let failures = 0;

  function look() {
    const found = editor.findScreen();
    const isKnown = work && editor.isSameScreen(work.screen, found);
    const screen = isKnown || (found && editor.skeletonOf(found.annotation)) ? found : null;
    const wanted = badge.isOff ? null : screen;
    if (!editor.isSameScreen(work?.screen, wanted)) {
      leave();
      if (wanted) begin(wanted);
    }
    work?.look();
    badge.show(Boolean(screen));
  }

  function begin(screen) {
    const missing = editor.missingInternals(screen);
    if (missing.length) throw new Error(`this Label Studio lacks ${missing.join(", ")}`);
    work = new Work(screen, limbs, tell);
  }

  function leave() {
    const left = work;
    work = null;
    badge.tell(0);
    left?.release();
  }

  function tell(news) {
    badge.tell(news);
    if (news instanceof Error) console.warn(`Click-Pose: the other points stay where they are: ${news.message}`);
  }

  const timer = setInterval(() => {
    try {
      look();
      failures = 0;
    } catch (error) {
      if (++failures === MAX_FAILURES) {
        clearInterval(timer);
        badge.show(false);
        console.warn(`Click-Pose: off from now on: ${error.message}`);
      }
      leave();
    }
  }, LOOK_MS);
}

const version = editor.labelStudioVersion();
if (editor.TESTED_VERSIONS.includes(version)) {
  watch(await (await fetch(new URL("limbs.json", import.meta.url))).json());
} else if (version) {
  const tested = editor.TESTED_VERSIONS.join(", ");
  console.info(`Click-Pose: off, because it was tested with Label Studio ${tested} only, and this is ${version}`);
}
