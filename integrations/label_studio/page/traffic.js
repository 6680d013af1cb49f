// What the page says to Label Studio: questions to the model get to know who is in focus, and annotations that are
// handed in are noticed.

const QUESTION = /\/api\/ml\/\d+\/interactive-annotating/;
const HANDED_IN = /\/api\/tasks\/(\d+)\/annotations/;

/** Stands between the page and the network.
 *
 * @param focus Returns the number of the person in focus, or null.
 * @param onQuestion Called when the model is asked about something that was drawn or moved.
 * @param onSubmitted Called with the task of an annotation, the seconds that it took and the number of its persons.
 */
export function listen({ focus, onQuestion, onSubmitted }) {
  const send = window.fetch;
  window.fetch = async (target, options) => {
    const [url, body] = [String(target?.url ?? target), options?.body];
    if (options?.method !== "POST" || typeof body !== "string") return send(target, options);
    if (QUESTION.test(url)) {
      onQuestion();
      return send(target, { ...options, body: withFocus(body, focus()) });
    }
    const answer = await send(target, options);
    const [, task] = url.match(HANDED_IN) ?? [];
    const tell = () => tellOf(Number(task), JSON.parse(body), onSubmitted);
    if (task && answer.ok) setTimeout(tell); // whatever becomes of it, Label Studio gets its answer
    return answer;
  };
}

/** Return a question with the number of the person in focus as context.focus; without one it stays as it is. */
export function withFocus(body, focus) {
  const question = JSON.parse(body);
  if (focus === null || !question.context) return body;
  return JSON.stringify({ ...question, context: { ...question.context, focus } });
}

function tellOf(task, { lead_time: seconds = 0, was_cancelled: isSkipped, result = [] }, onSubmitted) {
  if (!isSkipped) onSubmitted(task, seconds, result.filter(({ type }) => type === "rectanglelabels").length);
}
