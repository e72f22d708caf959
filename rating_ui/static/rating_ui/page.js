// The rating page: one pair, one question, and the next pair already waiting.

import { Answers, uuid } from "./answers.js";
import { Api, ApiError } from "./api.js";
import { Breaks } from "./breaks.js";
import { Changes } from "./changes.js";
import { Deck } from "./deck.js";
import { History } from "./history.js";
import { listenForKeys } from "./keys.js";
import { Listening } from "./listening.js";
import { HeardMemory, Settings } from "./memory.js";
import { Pairs } from "./pairs.js";
import { Player } from "./player.js";
import { Asking, firstMissing, gateText } from "./questions.js";
import { Remarks } from "./remarks.js";
import { Report } from "./report.js";
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
    this.changes = new Changes(this);
    this.breaks = new Breaks(sessionStorage, `attune.sitting.${raterKey}`);
    this.report = new Report(this.api, screen, document.querySelector("#report"));
    this.stages = new Stages({ screen, player: this.player, retry: () => this.next() });
    this.player.restartsOnSwitch = this.settings.get("restartsOnSwitch");
    this.n_done = 0;
    this.n_target = Number(nTarget);
    this.current = null; // {assignment, clips, listening, client_id, remarks}
    this.asking = null; // what the answer buttons answer now
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
    this.report.form.addEventListener("submit", () => this.sendReport());
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
        return this.changes.undo();
      case "question":
        return this.ask(this.asking.at(Number(button.dataset.index)));
      case "history":
        return this.changes.showHistory();
      case "remark":
        return this.remarks.ask();
      case "strength":
        return this.changes.setStrength(Number(button.dataset.strength));
      case "report":
        if (this.asking?.mode === "change" || !this.current) return undefined;
        return this.report.dialog.showModal();
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
    this.screen.gate(this.isOpen, gateText(asking, this.isOpen));
    const isWorthSaying = asking.mode === "new" && listening.minimum_s > 0;
    if (this.isOpen && !wasOpen && isWorthSaying) this.screen.say(texts.answersOpen);
  }

  // ---- pairs

  async start() {
    this.screen.waitingAnswers(this.answers.n_waiting);
    await this.answers.flush();
    await this.history.load();
    const { last } = this.history;
    const missing = last ? firstMissing(last) : 0;
    if (missing && (await this.changes.fetchOwn(last))) {
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
    this.changes.end();
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
    this.changes.give(asking, choice);
    if (asking.mode === "change") this.changes.keep();
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

  async sendReport() {
    const said = this.report.read();
    if (!this.current || !said) return;
    this.player.pause();
    const { assignment } = this.current;
    if (await this.report.send({ assignment: assignment.id, ...said })) await this.next();
  }

  async skipBroken() {
    const { broken } = this.stages;
    if (!broken) return;
    const said = { assignment: broken.assignment.id, side: broken.side, remark: texts.clipBroken };
    if (await this.report.send(said)) await this.next();
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
