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

  /** The prompt of a pair; the focus moves only if it was in here. */
  show({ prompt }) {
    const hadFocus = this.root.contains(document.activeElement);
    this.part("prompt").textContent = prompt;
    this.stage = "rating";
    if (hadFocus) this.part("heading").focus({ preventScroll: true });
    if (window.scrollY > 0) window.scrollTo({ top: 0 });
  }

  /** The question that is asked now, and what was answered to it before. */
  ask(asking) {
    this.root.classList.toggle("changing", asking.mode === "change");
    this.root.classList.toggle("in-pass", asking.mode === "pass");
    this.part("question").textContent = asking.question;
    const isAnswered = asking.given !== null;
    for (const button of this.answerButtons) {
      const isChosen = isAnswered && CHOICES[button.dataset.act] === asking.given;
      button.classList.toggle("chosen", isChosen);
      if (isAnswered) button.setAttribute("aria-pressed", String(isChosen));
      else button.removeAttribute("aria-pressed");
    }
    this.showQuestions(asking);
  }

  /** While an answer is changed: a button for each question that was asked about its pair. */
  showQuestions(asking) {
    const row = this.part("questions");
    const { names, index } = asking;
    row.hidden = asking.mode !== "change" || names.length < 2;
    if (row.hidden) return;
    row.replaceChildren(
      ...names.map((name, i) => {
        const button = document.createElement("button");
        Object.assign(button, { type: "button", className: "button small", textContent: name });
        button.dataset.act = "question";
        button.dataset.index = String(i);
        button.setAttribute("aria-pressed", String(i === index));
        return button;
      }),
    );
  }

  /** All answers open together, or what is still missing in words. */
  gate(isOpen, sentence) {
    for (const button of this.answerButtons) button.setAttribute("aria-disabled", String(!isOpen));
    this.part("gate").textContent = sentence;
  }

  /** The last answer: can it be undone, and how strong was it if that is asked. */
  last(entry, { asksStrength, isHere }) {
    const undo = this.root.querySelector("footer [data-act=undo]");
    undo.setAttribute("aria-disabled", String(!entry));
    const strengths = this.part("strength");
    strengths.hidden = !(asksStrength && entry && ["A", "B"].includes(entry.choice));
    if (strengths.hidden) return;
    const label = isHere ? texts.preferredHere : texts.preferred;
    this.part("strength-label").textContent = label(entry.choice);
    for (const button of strengths.querySelectorAll("button")) {
      const isChosen = Number(button.dataset.strength) === entry.strength;
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

  /** A kind word that stays until it is put away; empty takes it off the page. */
  advice(sentence) {
    this.part("advice-text").textContent = sentence;
    this.part("advice").hidden = !sentence;
  }

  /** For screen readers: the page shows the same in another way. */
  say(sentence) {
    this.part("said").textContent = sentence;
  }
}
