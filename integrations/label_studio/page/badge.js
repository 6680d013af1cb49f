// The one thing to see beside the drawing: whether points follow, what is awaited, and what went wrong.

const SWITCH = "clickpose-off"; // in localStorage
const STYLE =
  "position:fixed;left:12px;bottom:64px;z-index:1000;padding:4px 10px;border:0;border-radius:12px;" +
  "background:#222;color:#fff;font:12px sans-serif;opacity:0.85;cursor:pointer";

/** A button that switches the script off and on again. */
export class Badge {
  constructor() {
    this.note = "";
    this.button = document.createElement("button");
    this.button.id = "clickpose-badge";
    this.button.style.cssText = STYLE;
    this.button.title = "Click to switch it on or off";
    this.button.addEventListener("click", () => {
      localStorage.setItem(SWITCH, this.isOff ? "" : "1");
      this.button.blur(); // else the space bar switches again
    });
  }

  get isOff() {
    return Boolean(localStorage.getItem(SWITCH));
  }

  /** Show what goes on: the number of answers awaited, or an Error. */
  tell(news) {
    this.note = news instanceof Error ? ` · no answer: ${news.message}` : news ? " · …" : "";
  }

  /** Bring the badge up to date, or take it away. */
  show(isShown) {
    const text = this.isOff ? "Click-Pose: off" : `Click-Pose: on${this.note}`;
    if (this.button.textContent !== text) this.button.textContent = text;
    if (isShown && !this.button.isConnected) document.body.append(this.button);
    if (!isShown) this.button.remove();
  }
}
