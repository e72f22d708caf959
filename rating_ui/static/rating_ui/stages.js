// What the page shows when there is no pair to rate: waiting, trouble, a break, thanks.

import { texts } from "./texts.js";

export class Stages {
  /** retry: goes for the next pair, called after a wait. */
  constructor({ screen, player, retry }) {
    Object.assign(this, { screen, player, retry });
    this.broken = null; // the ApiError that names a clip which cannot be played
  }

  /** Ends a wait that was begun before. */
  stopWaiting() {
    clearTimeout(this.timer);
  }

  show(stage) {
    this.screen.stage = stage;
    if (stage !== "rating") this.player.unload();
    if (stage !== "problem") this.stopWaiting();
  }

  nothing(wait_s) {
    this.show("waiting");
    this.timer = setTimeout(() => this.retry(), wait_s * 1000);
  }

  unreachable(message, wait_s) {
    this.problem(message, null, texts.tryingAgain(wait_s));
    this.timer = setTimeout(() => this.retry(), wait_s * 1000);
  }

  problem(message, broken, next = "") {
    this.broken = broken;
    this.show("problem");
    this.screen.problem(message, { next, canSkip: broken !== null });
  }

  signedOut() {
    this.show("signed-out");
    this.screen.say(texts.signedOut);
  }

  outdated() {
    this.show("outdated");
    this.screen.say(texts.outdated);
  }

  rest(minutes) {
    this.show("break");
    this.screen.part("break-text").textContent = texts.breakOffered(minutes);
    this.screen.part("break-heading").focus();
  }

  done() {
    this.show("done");
    this.screen.part("done-heading").focus();
  }
}
