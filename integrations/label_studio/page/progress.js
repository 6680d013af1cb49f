// How far one is: images of the project, and what the own ones cost so far, as the browser remembers it.

const KEPT = "clickpose-progress-"; // in localStorage, with the project's number
const NOTHING = { pictures: 0, seconds: 0, clicks: 0, persons: 0 };

/** Return the number of the project that is open, as text. */
export const projectNumber = () => location.pathname.match(/\/projects\/(\d+)/)?.[1];

/** Counts for one project. */
export class Progress {
  constructor(project) {
    this.project = project;
    this.kept = { ...NOTHING, ...JSON.parse(localStorage.getItem(KEPT + project) ?? "{}") };
    this.clicks = new Map(); // by task, of images that were not handed in yet
    this.done = this.all = null;
    this.ask();
  }

  /** Count a click that corrected something. */
  click(task) {
    this.clicks.set(task, (this.clicks.get(task) ?? 0) + 1);
  }

  /** Count an image that was handed in. */
  submitted(task, seconds, persons) {
    const { kept } = this;
    kept.pictures++;
    kept.seconds += seconds;
    kept.clicks += this.clicks.get(task) ?? 0;
    kept.persons += persons;
    this.clicks.delete(task);
    localStorage.setItem(KEPT + this.project, JSON.stringify(kept));
    this.ask();
  }

  /** Ask Label Studio how many images are done. */
  async ask() {
    const answer = await fetch(`/api/projects/${this.project}`);
    if (!answer.ok) return;
    const project = await answer.json();
    [this.done, this.all] = [project.num_tasks_with_annotations, project.task_number];
  }

  /** Say it in one line. */
  toString() {
    const { pictures, seconds, clicks, persons } = this.kept;
    const parts = this.all === null ? [] : [`${this.done} of ${this.all} images done`];
    if (pictures) parts.push(`${(seconds / 60 / pictures).toFixed(1)} min per image`);
    if (persons) parts.push(`${(clicks / persons).toFixed(1)} clicks per person`);
    return parts.join(" · ");
  }
}
