// One key, one action. Shown on the page; can be switched off, because single letters may
// collide with speech input and screen readers.

const ACTIONS = {
  1: "listen-a",
  2: "listen-b",
  " ": "play",
  ArrowLeft: "answer-a",
  ArrowRight: "answer-b",
  ArrowDown: "answer-tie",
  x: "answer-bad",
  u: "undo",
  l: "loop",
  r: "restart",
  "[": "loop-start",
  "]": "loop-end",
  m: "remark",
  h: "history",
  "?": "keys",
};

const TYPING = "input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]";
const PRESSABLE = "button, a[href], summary, input";

/** Calls `act(action)` for the keys above; `isOn()` tells whether they work. */
export function listenForKeys(act, isOn) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    // A field of a dialog that was closed just now keeps the focus for a moment.
    if (event.target.closest?.(TYPING)?.checkVisibility()) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = ACTIONS[key];
    if (!action) return;
    if (key === " " && event.target.closest?.(PRESSABLE)) return;
    if (!isOn()) return;
    event.preventDefault();
    if (!event.repeat) act(action);
  });
}
