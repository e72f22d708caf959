// The rating page: one pair, one question, and the next pair already waiting.

import { Answers, uuid } from "./answers.js";
import { Api, ApiError } from "./api.js";
import { Breaks } from "./breaks.js";
import { Deck } from "./deck.js";
import { History } from "./history.js";
import { listenForKeys } from "./keys.js";
import { Listening } from "./listening.js";
import { HeardMemory, Settings } from "./memory.js";
import { Pairs } from "./pairs.js";
import { Player } from "./player.js";
import { Asking, firstMissing } from "./questions.js";
import { Remarks } from "./remarks.js";
import { CHOICES, Screen } from "./screen.js";
import { Stages } from "./stages.js";
import { texts } from "./texts.js";
import { operate } from "./transport.js";

const TICK_MS = 100;
const SLOW_MS = 150; // a shorter wait is not worth a word
const HASTE_MS = 250; // the second press of a double one is not an answer to the next question
const END_S = 0.03; // decoding resamples, so a clip's end may move by a little

const root = document.querySelector("#rate");

class Page {
  constructor(screen) {
    const { apiRoot, csrfCookie, raterKey, nTarget } = root.dataset;
    this.screen = screen;
    this.api = new Api({ root: apiRoot, csrfCookie });
    this.context = new AudioContext({ latencyHint: "interactive" });
    this.player = new Player(this.context);
    this.pairs = new Pairs(this.api, this.context);
    this.settings = new Settings(localStorage, "attune.settings");
    this.heardMemory = new HeardMemory(sessionStorage, `attune.heard.${raterKey}`);
    this.answers = new Answers(this.api, localStorage, `attune.answers.${raterKey}`);
    this.deck = new Deck(root.querySelector("#deck"), this.player);
    this.remarks = new Remarks({
      list: root.querySelector("#remarks ul"),
      dialog: document.querySelector("#remark-dialog"),
      deck: this.deck,
      player: this.player,
      answers: this.answers,
      say: (sentence) => screen.say(sentence),
    });
    this.history = new History(this.api, this.answers, screen.part("history"));
    this.breaks = new Breaks(sessionStorage, `attune.sitting.${raterKey}`);
    this.stages = new Stages({ screen, player: this.player, retry: () => this.next() });
    this.player.restartsOnSwitch = this.settings.get("restartsOnSwitch");
    this.n_done = 0;
    this.n_target = Number(nTarget);
    this.current = null; // {assignment, clips, listening, client_id, remarks}
    this.asking = null; // what the answer buttons answer now
    this.resumed = null; // what was asked before an older answer was opened
    this.isOpen = false;
    this.turn = 0;
    this.answered = new Set();
    this.listen();
  }

  // ---- what happens on the page

  listen() {
    const { player, answers, screen } = this;
    player.addEventListener("heard", ({ detail }) => this.onHeard(detail));
    answers.addEventListener("change", () => screen.waitingAnswers(answers.n_waiting));
    answers.addEventListener("refused", ({ detail }) => this.onRefused(detail));
    answers.addEventListener("signed-out", () => this.stages.signedOut());
    answers.addEventListener("outdated", () => this.showOutdated());
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-act]");
      const isSecondOfTwo = event.detail > 1 && button?.dataset.act in CHOICES;
      if (button && !isSecondOfTwo) this.act(button.dataset.act, button);
    });
    // A press by pointer leaves the focus where it is, so that the keys keep their meaning.
    for (const area of root.querySelectorAll("#deck, #answers")) {
      area.addEventListener("mousedown", (event) => {
        if (event.target.closest("button")) event.preventDefault();
      });
    }
    listenForKeys((action) => this.act(action), () => this.settings.get("keysAreOn"));
    const keysAreOn = document.querySelector("#keys-are-on");
    keysAreOn.checked = this.settings.get("keysAreOn");
    keysAreOn.addEventListener("change", () => this.settings.set("keysAreOn", keysAreOn.checked));
    document.querySelector("#report form").addEventListener("submit", () => this.report());
    addEventListener("online", () => {
      if (screen.stage === "problem" && !this.stages.broken) this.next();
    });
    setInterval(() => player.tick(), TICK_MS);
    const frame = () => {
      if (player.isPlaying) this.deck.drawPosition();
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  act(action, button = null) {
    if (button?.getAttribute("aria-disabled") === "true") return;
    if (action === "keys" || action === "leave") {
      return document.querySelector(`#${action}`).showModal();
    }
    if (action === "close") return button.closest("dialog").close();
    if (action === "retry") return this.next();
    if (action === "go-on") return this.goOn();
    if (action === "skip-broken") return this.skipBroken();
    if (action === "end-advice") return this.screen.advice("");
    if (this.screen.stage !== "rating") return undefined;
    if (action in CHOICES) return this.answer(CHOICES[action]);
    const said = operate(action, this.player);
    if (said !== null) {
      if (action === "restart") this.settings.set("restartsOnSwitch", this.player.restartsOnSwitch);
      return this.screen.say(said);
    }
    switch (action) {
      case "undo":
        return this.undo();
      case "question":
        return this.ask(this.asking.at(Number(button.dataset.index)));
      case "history":
        return this.showHistory();
      case "remark":
        return this.remarks.ask();
      case "strength":
        return this.setStrength(Number(button.dataset.strength));
      case "report":
        if (this.asking?.mode === "change" || !this.current) return undefined;
        return document.querySelector("#report").showModal();
      default:
        throw new Error(`no action ${action}`);
    }
  }

  // ---- listening

  onHeard({ clips, side, from_s, to_s }) {
    // The end of the pair before is reported when this one takes its place: it is not of this one.
    if (clips !== this.current?.clips) return;
    const { listening, assignment } = this.current;
    const isAtEnd = to_s >= clips[side].buffer.duration - END_S;
    listening.hear(side, from_s, isAtEnd ? listening.durations_s[side] : to_s);
    if (this.asking?.mode === "new") this.heardMemory.remember(assignment.id, listening);
    this.deck.drawHeard();
    this.showGate();
  }

  showGate() {
    const { asking } = this;
    const { listening } = asking.pair;
    const wasOpen = this.isOpen;
    this.isOpen = asking.mode !== "new" || listening.isEnough;
    this.screen.gate(this.isOpen, this.gateText(asking));
    const isWorthSaying = asking.mode === "new" && listening.minimum_s > 0;
    if (this.isOpen && !wasOpen && isWorthSaying) this.screen.say(texts.answersOpen);
  }

  gateText({ mode, index, names, pair }) {
    if (mode === "pass") return texts.pass(index + 1, names.length);
    return this.isOpen ? texts.ready : this.missing(pair.listening);
  }

  missing(listening) {
    const [a_s, b_s] = [listening.missing_s("A"), listening.missing_s("B")];
    const needed = [listening.needed_s("A"), listening.needed_s("B")];
    if (a_s < needed[0] || b_s < needed[1]) return texts.listenMore(a_s, b_s);
    const isWhole = needed.some((needed_s) => needed_s < listening.minimum_s);
    return isWhole ? texts.listenWhole : texts.listenFirst(Number(needed[0].toFixed(1)));
  }

  // ---- pairs

  async start() {
    this.screen.waitingAnswers(this.answers.n_waiting);
    await this.answers.flush();
    await this.history.load();
    const { last } = this.history;
    const missing = last ? firstMissing(last) : 0;
    if (missing && (await this.fetchOwn(last))) {
      this.current = last.pair;
      this.n_done = last.pair.assignment.n_done;
      this.ask(new Asking(last.pair, "pass", last, missing));
      this.pairs.prefetch(last.pair, this.answers.flush());
    } else {
      await this.next();
    }
  }

  /** Shows the next pair: the one fetched ahead, or one fetched now. */
  async next() {
    this.stages.stopWaiting();
    this.turn += 1;
    const { turn } = this;
    const isStale = () => turn !== this.turn;
    const before = this.current;
    this.current = null;
    this.asking = null;
    this.resumed = null;
    if (before) {
      const slow = setTimeout(() => this.stages.show("loading"), SLOW_MS);
      const pair = await this.pairs.takeAhead(before);
      clearTimeout(slow);
      if (isStale()) return;
      if (pair && this.isFresh(pair)) {
        this.showPair(pair);
        return;
      }
    }
    if (this.screen.stage !== "waiting") this.stages.show("loading");
    const allSent = await this.answers.flush();
    if (isStale() || this.screen.stage === "signed-out") return;
    if (!allSent) {
      this.showUnreachable(texts.offline);
      return;
    }
    try {
      const pair = await this.pairs.fetch();
      if (isStale()) return;
      if (pair.assignment) this.showPair(pair);
      else this.stages.nothing(pair.retryAfter_s);
    } catch (error) {
      if (!isStale()) this.onFetchError(error);
    }
  }

  showUnreachable(message) {
    this.stages.unreachable(message, Math.ceil(this.answers.retry_s) + 1);
  }

  showOutdated() {
    this.turn += 1; // what is being fetched comes too late
    this.stages.outdated();
  }

  /** False for a pair fetched ahead that was answered since, or that others may have by now. */
  isFresh({ assignment }) {
    return !this.answered.has(assignment.id) && Date.parse(assignment.expires_at) > Date.now();
  }

  onFetchError(error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.isSignedOut && !error.assignment) this.stages.signedOut();
    else if (error.isOutdated) this.showOutdated();
    else if (error.isElsewhere) location.assign("/rate/");
    else if (error.isPassing) this.showUnreachable(error.message);
    else this.stages.problem(error.message, error.assignment ? error : null);
  }

  showPair(pair) {
    const { assignment } = pair;
    this.prepare(pair, assignment.minimum_listening_s, this.heardMemory.recall(assignment.id));
    pair.client_id = uuid();
    this.current = pair;
    this.n_target = assignment.n_target;
    this.history.isShown = assignment.shows_history;
    root.querySelector("footer [data-act=history]").hidden = !assignment.shows_history;
    this.breaks.after_min = assignment.break_after_min;
    this.breaks.note(Date.now());
    if (!this.answers.n_waiting) this.n_done = Math.max(this.n_done, assignment.n_done);
    this.ask(new Asking(pair, "new"));
    this.screen.say(texts.newPair(assignment.prompt));
    this.showAdvice(assignment.notice);
    this.pairs.prefetch(pair, this.answers.flush());
  }

  prepare(pair, minimum_s, heard) {
    const { a, b } = pair.assignment;
    pair.listening = new Listening({ A: a.duration_s, B: b.duration_s }, minimum_s, heard);
  }

  /** A pair with the same advice as the one before repeats it in vain. */
  showAdvice(notice) {
    const kind = notice?.kind ?? "";
    if (kind !== this.settings.get("advice")) this.screen.advice(texts.notice(kind));
    this.settings.set("advice", kind);
  }

  // ---- questions

  /** Puts a question on the page, and its pair if another one stands there. */
  ask(asking) {
    const { pair } = asking;
    const isOther = pair !== this.asking?.pair || this.screen.stage !== "rating";
    this.asking = asking;
    this.askedAt_ms = performance.now();
    if (isOther) {
      this.player.load(pair.clips);
      this.screen.show(pair.assignment);
    }
    this.screen.ask(asking);
    if (isOther) {
      this.isOpen = false;
      this.deck.show(pair.assignment, pair.listening);
      this.remarks.show(pair);
    }
    this.showGate();
    this.showLast();
    this.showProgress();
  }

  answer(choice) {
    const { asking } = this;
    if (!this.isOpen || !asking) return;
    if (asking.mode === "new") {
      this.answerNew(asking.pair, choice);
      return;
    }
    const isHasty = performance.now() - this.askedAt_ms < HASTE_MS;
    if (asking.mode === "pass" && isHasty) return;
    this.give(asking, choice);
    if (asking.mode === "change") this.keep();
    else if (asking.isLast) this.finishPair();
    else this.goTo(asking.at(asking.index + 1));
  }

  goTo(asking) {
    this.ask(asking);
    this.screen.say(asking.question);
  }

  answerNew(pair, choice) {
    const { assignment } = pair;
    this.isOpen = false;
    this.answered.add(assignment.id);
    this.answers.add({
      client_id: pair.client_id,
      assignment: assignment.id,
      choice,
      heard: pair.listening.toJSON(),
    });
    const entry = {
      client_id: pair.client_id,
      assignment: assignment.id,
      prompt: assignment.prompt,
      choice,
      strength: null,
      asked: assignment.aspects,
      aspects: {},
      pair,
    };
    this.history.add(entry);
    this.heardMemory.forget();
    this.n_done += 1;
    this.showProgress();
    this.screen.say(texts.answered(choice));
    this.screen.notice("");
    if (assignment.aspects.length) this.goTo(new Asking(pair, "pass", entry, 1));
    else this.finishPair();
  }

  /** The pair is answered: thanks, a break, or the next one. */
  finishPair() {
    this.player.pause();
    const minutes = this.breaks.due(Date.now());
    if (this.n_target && this.n_done % this.n_target === 0) {
      this.stages.done();
      this.showProgress();
    } else if (minutes) {
      this.breaks.take(Date.now());
      this.stages.rest(minutes);
    } else {
      this.next();
    }
  }

  /** Sends an answer to a question about a pair that was answered before. */
  async give({ entry, aspect, mode }, choice) {
    const { client_id } = entry;
    if (aspect) {
      this.answers.add({ kind: "aspect", key: uuid(), client_id, aspect, choice });
      entry.aspects[aspect] = choice;
      if (mode === "change") this.screen.notice(texts.changed(choice), "ok");
      return;
    }
    try {
      await this.answers.change(client_id, { choice });
      if (entry.choice !== choice || mode === "change") this.screen.notice(texts.changed(choice), "ok");
      Object.assign(entry, { choice, strength: null });
    } catch (error) {
      this.screen.notice(texts.notChanged(error.message));
    }
    this.showLast();
  }

  onRefused({ entry, error }) {
    if (entry.kind === "aspect") {
      this.screen.notice(texts.aspectNotStored(error.message));
      return;
    }
    if (entry.kind === "remark") {
      for (const pair of [this.current, this.asking?.pair]) this.remarks.forget(pair, entry.client_id);
      this.screen.notice(texts.remarkNotStored(error.message));
      return;
    }
    if (entry.kind) return;
    this.onAnswerRefused({ answer: entry, error });
  }

  onAnswerRefused({ answer, error }) {
    this.n_done = Math.max(0, this.n_done - 1);
    this.answered.delete(answer.assignment);
    this.history.remove(answer.client_id);
    this.showLast();
    this.showProgress();
    this.screen.notice(texts.notStored(error.message));
  }

  /** One step back: within a pair's questions, else to the last answer; again, back to now. */
  undo() {
    const { asking } = this;
    if (!asking) return;
    if (asking.mode === "change") this.keep();
    else if (asking.mode === "pass") this.goTo(asking.at(Math.max(0, asking.index - 1)));
    else if (this.history.last) this.open(this.history.last);
  }

  /** Puts the pair of an earlier answer back, that answer open to change; the present one waits. */
  async open(entry) {
    const { asking, turn } = this;
    if (!asking || asking.entry === entry) return;
    if (!entry.pair && !(await this.fetchOwn(entry))) return;
    if (turn !== this.turn || this.asking !== asking) return; // the rater went on meanwhile
    if (asking.mode !== "change") this.resumed = asking;
    this.ask(new Asking(entry.pair, "change", entry));
  }

  keep() {
    const { resumed } = this;
    this.resumed = null;
    if (resumed) this.ask(resumed);
  }

  /** True once the entry has its pair, fetched and decoded. */
  async fetchOwn(entry) {
    try {
      entry.pair = await this.pairs.fetchOwn(entry.assignment);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.screen.notice(error.message);
      return false;
    }
    this.prepare(entry.pair, 0);
    return true;
  }

  showHistory() {
    const dialog = document.querySelector("#history");
    this.history.draw((entry) => {
      dialog.close();
      this.open(entry);
    });
    dialog.showModal();
  }

  async setStrength(strength) {
    const { last } = this.history;
    try {
      await this.answers.change(last.client_id, { choice: last.choice, strength });
      last.strength = strength;
      this.screen.say(texts.strengthKept);
    } catch (error) {
      this.screen.notice(texts.notChanged(error.message));
    }
    this.showLast();
  }

  async report() {
    const form = document.querySelector("#report form");
    const answers = new FormData(form);
    const { current } = this;
    if (!current || !answers.get("side")) return;
    this.player.pause();
    await this.sendReport(current.assignment, answers.get("side"), answers.get("remark"));
    form.reset();
  }

  async sendReport(assignment, side, remark) {
    try {
      await this.api.send("POST", "reports", { assignment: assignment.id, side, remark });
    } catch (error) {
      this.screen.notice(texts.notReported(error.message));
      return;
    }
    this.screen.notice(texts.reported, "ok");
    await this.next();
  }

  skipBroken() {
    const { broken } = this.stages;
    return broken && this.sendReport(broken.assignment, broken.side, texts.clipBroken);
  }

  goOn() {
    this.stages.show("loading");
    return this.next();
  }

  showProgress() {
    this.screen.progress(this.n_done, this.n_target);
  }

  showLast() {
    const { last } = this.history;
    const { asking } = this;
    this.screen.last(last, {
      asksStrength: asking?.pair.assignment.asks_strength ?? false,
      isHere: asking?.mode === "pass" && asking.entry === last,
    });
  }
}

const screen = new Screen(root);
if (window.AudioContext) new Page(screen).start();
else screen.problem(texts.noAudio);
