// Which question is asked about which pair: first the answer itself, then each aspect alone.

import { texts } from "./texts.js";

/**
 * mode "new": the pair is not answered yet; "pass": it is, and its aspects are asked one by one;
 * "change": an answer given before is open again. index 0 is the answer, 1 the first aspect.
 */
export class Asking {
  constructor(pair, mode, entry = null, index = 0) {
    this.pair = pair;
    this.mode = mode;
    this.entry = entry;
    this.index = index;
  }

  at(index) {
    return new Asking(this.pair, this.mode, this.entry, index);
  }

  get aspects() {
    return this.pair.assignment.aspects;
  }

  /** The aspect that is asked about; null while it is the answer itself. */
  get aspect() {
    return this.index ? this.aspects[this.index - 1] : null;
  }

  get isLast() {
    return this.index >= this.aspects.length;
  }

  get question() {
    return this.aspect ? texts.aspectQuestion(this.aspect) : this.pair.assignment.question;
  }

  /** What was answered to this question before, or null. */
  get given() {
    if (!this.entry) return null;
    return this.aspect ? (this.entry.aspects[this.aspect] ?? null) : this.entry.choice;
  }

  /** The names of all questions about the pair. */
  get names() {
    return [texts.overall, ...this.aspects.map(texts.aspectName)];
  }
}

/** Where an answer with unanswered aspects goes on; 0 when nothing is missing. */
export function firstMissing({ asked, aspects }) {
  return asked.findIndex((aspect) => !(aspect in aspects)) + 1;
}

/** What stands under the question: how far the questions are, or what must still be heard. */
export function gateText({ mode, index, names, pair }, isOpen) {
  if (mode === "pass") return texts.pass(index + 1, names.length);
  return isOpen ? texts.ready : missing(pair.listening);
}

function missing(listening) {
  const [a_s, b_s] = [listening.missing_s("A"), listening.missing_s("B")];
  const needed = [listening.needed_s("A"), listening.needed_s("B")];
  if (a_s < needed[0] || b_s < needed[1]) return texts.listenMore(a_s, b_s);
  const isWhole = needed.some((needed_s) => needed_s < listening.minimum_s);
  return isWhole ? texts.listenWhole : texts.listenFirst(Number(needed[0].toFixed(1)));
}
