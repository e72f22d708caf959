// What stands on the page besides the deck: stage, question, answers, progress, words.

import { texts } from "./texts.js";

export const CHOICES = {
  "answer-a": "A",
  "answer-b": "B",
  "answer-tie": "TIE",
  "answer-bad": "BOTH_BAD",
};
const WORTH_A_WORD_MS = 1000; // most answers are stored sooner

export class Screen {
  constructor(root) {
    this.root = root;
    this.answerButtons = [...root.querySelectorAll("#answers button")];
  }

  part(name) {
    return document.querySelector(`[data-show=${name}]`);
  }

  get stage() {
    return this.root.dataset.stage;
  }

  set stage(stage) {
    this.root.dataset.stage = stage;
  }

  /** The prompt and the question of an assignment; the focus moves only if it was in here. */
  show({ prompt, question }) {
    const hadFocus = this.root.contains(document.activeElement);
    this.part("prompt").textContent = prompt;
    this.part("question").textContent = question;
    this.stage = "rating";
    this.say(texts.newPair(prompt));
    if (hadFocus) this.part("heading").focus({ preventScroll: true });
    if (window.scrollY > 0) window.scrollTo({ top: 0 });
  }

  /** All answers open together, or what is still missing in words. */
  gate(isOpen, sentence) {
    for (const button of this.answerButtons) button.setAttribute("aria-disabled", String(!isOpen));
    this.part("gate").textContent = sentence;
  }

  /** The last answer: can it be undone, how strong was it, is it being changed now. */
  last(last, isChanging) {
    this.root.classList.toggle("changing", isChanging);
    for (const button of this.answerButtons) {
      const isChosen = isChanging && CHOICES[button.dataset.act] === last.choice;
      button.classList.toggle("chosen", isChosen);
    }
    this.root.querySelector("footer [data-act=undo]").setAttribute("aria-disabled", String(!last));
    const strengths = this.part("strength");
    const isPreferred = last && !isChanging && ["A", "B"].includes(last.choice);
    strengths.hidden = !isPreferred;
    if (!isPreferred) return;
    this.part("strength-label").textContent = texts.preferred(last.choice);
    for (const button of strengths.querySelectorAll("button")) {
      const isChosen = Number(button.dataset.strength) === last.strength;
      button.setAttribute("aria-pressed", String(isChosen));
    }
  }

  progress(n_done, n_target) {
    if (!n_target) return;
    const n_shown = this.stage === "done" ? n_target : n_done % n_target;
    this.part("progress").textContent = texts.progress(n_shown, n_target);
    this.part("ring").style.setProperty("--progress", (n_shown / n_target).toFixed(4));
  }

  /** How many answers wait to be sent, once that takes long enough to be worth a word. */
  waitingAnswers(n) {
    const element = this.part("waiting-answers");
    clearTimeout(this.waitingTimer);
    if (!n) {
      element.hidden = true;
      return;
    }
    element.textContent = texts.waitingToSend(n);
    this.waitingTimer = setTimeout(() => { element.hidden = false; }, WORTH_A_WORD_MS);
  }

  problem(sentence, { next = "", canSkip = false } = {}) {
    this.stage = "problem";
    this.part("problem").textContent = sentence;
    this.part("problem-next").textContent = next;
    this.root.querySelector("[data-act=skip-broken]").hidden = !canSkip;
  }

  notice(sentence, kind = "warn") {
    const element = this.part("notice");
    element.textContent = sentence;
    element.hidden = !sentence;
    element.className = `notice ${kind}`;
  }

  /** For screen readers: the page shows the same in another way. */
  say(sentence) {
    this.part("said").textContent = sentence;
  }
}
