// The rating page: one pair, one question, and the next pair already waiting.

import { Answers, uuid } from "./answers.js";
import { Api, ApiError } from "./api.js";
import { Deck } from "./deck.js";
import { listenForKeys } from "./keys.js";
import { Listening } from "./listening.js";
import { HeardMemory, Settings } from "./memory.js";
import { Pairs } from "./pairs.js";
import { Player } from "./player.js";
import { CHOICES, Screen } from "./screen.js";
import { texts } from "./texts.js";

const TICK_MS = 100;
const SLOW_MS = 150; // a shorter wait is not worth a word
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
    this.player.restartsOnSwitch = this.settings.get("restartsOnSwitch");
    this.n_done = 0;
    this.n_target = Number(nTarget);
    this.current = null; // {assignment, clips, listening, client_id}
    this.last = null; // {pair, client_id, choice}
    this.isChangingLast = false;
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
    answers.addEventListener("signed-out", () => this.showSignedOut());
    answers.addEventListener("outdated", () => this.showOutdated());
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-act]");
      if (button) this.act(button.dataset.act, button);
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
      if (screen.stage === "problem" && !this.broken) this.next();
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
    if (this.screen.stage !== "rating") return undefined;
    if (action in CHOICES) return this.answer(CHOICES[action]);
    const { player } = this;
    switch (action) {
      case "listen-a":
      case "listen-b":
        player.listenTo(action === "listen-a" ? "A" : "B");
        return this.screen.say(texts.playing(player.side));
      case "play":
        player.toggle();
        return this.screen.say(player.isPlaying ? texts.playing(player.side) : texts.paused);
      case "loop":
        player.setLooping(!player.isLooping);
        return this.sayLoop();
      case "loop-start":
        player.mark({ start_s: player.position_s, end_s: player.loop?.end_s ?? player.duration_s });
        return this.sayLoop();
      case "loop-end":
        player.mark({ start_s: player.loop?.start_s ?? 0, end_s: player.position_s });
        return this.sayLoop();
      case "restart":
        player.restartsOnSwitch = !player.restartsOnSwitch;
        this.settings.set("restartsOnSwitch", player.restartsOnSwitch);
        this.deck.draw();
        return this.screen.say(player.restartsOnSwitch ? texts.restartOn : texts.restartOff);
      case "undo":
        return this.isChangingLast ? this.keepLast() : this.changeLast();
      case "strength":
        return this.setStrength(Number(button.dataset.strength));
      case "report":
        if (this.isChangingLast || !this.current) return undefined;
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
    this.heardMemory.remember(assignment.id, listening);
    this.deck.drawHeard();
    this.showGate();
  }

  showGate() {
    const { listening } = this.current;
    const wasOpen = this.isOpen;
    this.isOpen = this.isChangingLast || listening.isEnough;
    this.screen.gate(this.isOpen, this.isOpen ? texts.ready : this.missing(listening));
    if (this.isOpen && !wasOpen && listening.minimum_s > 0) this.screen.say(texts.answersOpen);
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
    await this.next();
  }

  /** Shows the next pair: the one fetched ahead, or one fetched now. */
  async next() {
    clearTimeout(this.timer);
    this.turn += 1;
    const { turn } = this;
    const isStale = () => turn !== this.turn;
    const before = this.current;
    this.current = null;
    if (before) {
      const slow = setTimeout(() => this.showStage("loading"), SLOW_MS);
      const pair = await this.pairs.takeAhead(before);
      clearTimeout(slow);
      if (isStale()) return;
      if (pair && this.isFresh(pair)) {
        this.showPair(pair);
        return;
      }
    }
    if (this.screen.stage !== "waiting") this.showStage("loading");
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
      else this.showNothing(pair.retryAfter_s);
    } catch (error) {
      if (!isStale()) this.onFetchError(error);
    }
  }

  /** False for a pair fetched ahead that was answered since, or that others may have by now. */
  isFresh({ assignment }) {
    return !this.answered.has(assignment.id) && Date.parse(assignment.expires_at) > Date.now();
  }

  onFetchError(error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.isSignedOut && !error.assignment) this.showSignedOut();
    else if (error.isOutdated) this.showOutdated();
    else if (error.isPassing) this.showUnreachable(error.message);
    else this.showProblem(error.message, error.assignment ? error : null);
  }

  showPair(pair) {
    const { assignment } = pair;
    pair.listening = new Listening(
      { A: assignment.a.duration_s, B: assignment.b.duration_s },
      assignment.minimum_listening_s,
      this.heardMemory.recall(assignment.id),
    );
    pair.client_id = uuid();
    this.current = pair;
    this.n_target = assignment.n_target;
    if (!this.answers.n_waiting) this.n_done = Math.max(this.n_done, assignment.n_done);
    this.show(pair);
    this.pairs.prefetch(pair, this.answers.flush());
  }

  /** Puts a pair on the page. */
  show(pair) {
    const { assignment, clips, listening } = pair;
    this.player.load(clips);
    this.isOpen = false;
    this.screen.show(assignment);
    this.deck.show(assignment, listening);
    this.showGate();
    this.showLast();
    this.showProgress();
  }

  // ---- answers

  answer(choice) {
    if (!this.isOpen || !this.current) return;
    if (this.isChangingLast) {
      this.change(choice);
      return;
    }
    this.player.pause();
    const pair = this.current;
    this.isOpen = false;
    this.answered.add(pair.assignment.id);
    this.answers.add({
      client_id: pair.client_id,
      assignment: pair.assignment.id,
      choice,
      heard: pair.listening.toJSON(),
    });
    this.last = { pair, client_id: pair.client_id, choice };
    this.heardMemory.forget();
    this.n_done += 1;
    this.showProgress();
    this.screen.say(texts.answered(choice));
    this.screen.notice("");
    if (this.n_target && this.n_done % this.n_target === 0) this.showDone();
    else this.next();
  }

  onRefused({ answer, error }) {
    this.n_done = Math.max(0, this.n_done - 1);
    this.answered.delete(answer.assignment);
    if (this.last?.client_id === answer.client_id) this.last = null;
    this.showLast();
    this.showProgress();
    this.screen.notice(texts.notStored(error.message));
  }

  /** Puts the last pair back, its answer open to change; the present pair waits. */
  changeLast() {
    if (!this.last || !this.current) return;
    this.isChangingLast = true;
    this.show(this.last.pair);
  }

  keepLast() {
    this.isChangingLast = false;
    this.show(this.current);
  }

  async change(choice) {
    const { last } = this;
    this.keepLast();
    try {
      await this.answers.change(last.client_id, { choice });
      last.choice = choice;
      last.strength = undefined;
      this.showLast();
      this.screen.notice(texts.changed(choice), "ok");
    } catch (error) {
      this.screen.notice(texts.notChanged(error.message));
    }
  }

  async setStrength(strength) {
    const { last } = this;
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
    return this.broken && this.sendReport(this.broken.assignment, this.broken.side, texts.clipBroken);
  }

  // ---- stages

  showStage(stage) {
    this.screen.stage = stage;
    if (stage !== "rating") this.player.unload();
    if (stage !== "problem") clearTimeout(this.timer);
  }

  showNothing(wait_s) {
    this.showStage("waiting");
    this.timer = setTimeout(() => this.next(), wait_s * 1000);
  }

  showUnreachable(message) {
    const wait_s = Math.ceil(this.answers.retry_s) + 1;
    this.showProblem(message, null, texts.tryingAgain(wait_s));
    this.timer = setTimeout(() => this.next(), wait_s * 1000);
  }

  showProblem(message, broken, next = "") {
    this.broken = broken;
    this.showStage("problem");
    this.screen.problem(message, { next, canSkip: broken !== null });
  }

  showSignedOut() {
    this.showStage("signed-out");
    this.screen.say(texts.signedOut);
  }

  showOutdated() {
    this.turn += 1; // what is being fetched comes too late
    this.showStage("outdated");
    this.screen.say(texts.outdated);
  }

  showDone() {
    this.showStage("done");
    this.showProgress();
    this.screen.part("done-heading").focus();
  }

  goOn() {
    this.showStage("loading");
    return this.next();
  }

  showProgress() {
    this.screen.progress(this.n_done, this.n_target);
  }

  showLast() {
    this.screen.last(this.last, this.isChangingLast);
  }

  sayLoop() {
    const { region } = this.player;
    this.screen.say(region ? texts.loopOn(region.start_s, region.end_s) : texts.loopOff);
  }
}

const screen = new Screen(root);
if (window.AudioContext) new Page(screen).start();
else screen.problem(texts.noAudio);
