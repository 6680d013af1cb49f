// The script's one place on the page, in the bar on top: whether it works or why not, who is in focus, how far one is.

const SWITCH = "clickpose-off"; // in localStorage
const STYLE =
  "position:fixed;right:290px;top:6px;z-index:1000;max-width:46vw;height:36px;padding:2px 12px;border:0;" +
  "border-radius:10px;background:#222;color:#fff;font:12px/16px sans-serif;opacity:0.85;cursor:pointer;" +
  "text-align:left;white-space:pre;overflow:hidden;text-overflow:ellipsis";

/** A button that says what goes on, and switches the script off and on again. */
export class Panel {
  constructor() {
    this.note = "";
    this.reason = "";
    this.lines = ["", ""];
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

  /** Say why the script does nothing on this page; it cannot be switched on. */
  giveUp(reason) {
    this.reason = reason;
  }

  /** Bring the panel up to date, or take it away.
   *
   * @param people Says whom of how many one works on.
   * @param progress Says how far one is.
   */
  show(isShown, people = "", progress = "") {
    const state = this.reason ? `off: ${this.reason}` : this.isOff ? "off" : `on${this.note}`;
    const text = [[`Click-Pose: ${state}`, people].filter(Boolean).join(" · "), progress].filter(Boolean).join("\n");
    if (this.button.textContent !== text) this.button.textContent = text;
    if (isShown && !this.button.isConnected) document.body.append(this.button);
    if (!isShown) this.button.remove();
  }
}
