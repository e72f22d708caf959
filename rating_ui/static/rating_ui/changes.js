// Answers that were given before: opened again, changed, made stronger, and the way back.

import { ApiError } from "./api.js";
import { uuid } from "./answers.js";
import { Asking } from "./questions.js";
import { texts } from "./texts.js";

export class Changes {
  constructor(page) {
    this.page = page;
    this.resumed = null; // what was asked before an older answer was opened
  }

  /** Forgets what was asked before: another pair comes. */
  end() {
    this.resumed = null;
  }

  /** Sends an answer to a question about a pair that was answered before. */
  async give({ entry, aspect, mode }, choice) {
    const { page } = this;
    const { client_id } = entry;
    if (aspect) {
      page.answers.add({ kind: "aspect", key: uuid(), client_id, aspect, choice });
      entry.aspects[aspect] = choice;
      if (mode === "change") page.screen.notice(texts.changed(choice), "ok");
      return;
    }
    try {
      await page.answers.change(client_id, { choice });
      if (entry.choice !== choice || mode === "change") page.screen.notice(texts.changed(choice), "ok");
      Object.assign(entry, { choice, strength: null });
    } catch (error) {
      page.screen.notice(texts.notChanged(error.message));
    }
    page.showLast();
  }

  /** One step back: within a pair's questions, else to the last answer; again, back to now. */
  undo() {
    const { page } = this;
    const { asking } = page;
    if (!asking) return;
    if (asking.mode === "change") this.keep();
    else if (asking.mode === "pass") page.goTo(asking.at(Math.max(0, asking.index - 1)));
    else if (page.history.last) this.open(page.history.last);
  }

  /** Puts the pair of an earlier answer back, that answer open to change; the present one waits. */
  async open(entry) {
    const { page } = this;
    const { asking, turn } = page;
    if (!asking || asking.entry === entry) return;
    if (!entry.pair && !(await this.fetchOwn(entry))) return;
    if (turn !== page.turn || page.asking !== asking) return; // the rater went on meanwhile
    if (asking.mode !== "change") this.resumed = asking;
    page.ask(new Asking(entry.pair, "change", entry));
  }

  keep() {
    const { page } = this;
    const { resumed } = this;
    this.resumed = null;
    if (resumed) page.ask(resumed);
  }

  /** True once the entry has its pair, fetched and decoded. */
  async fetchOwn(entry) {
    const { page } = this;
    try {
      entry.pair = await page.pairs.fetchOwn(entry.assignment);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      page.screen.notice(error.message);
      return false;
    }
    page.prepare(entry.pair, 0);
    return true;
  }

  showHistory() {
    const { page } = this;
    const dialog = document.querySelector("#history");
    page.history.draw((entry) => {
      dialog.close();
      this.open(entry);
    });
    dialog.showModal();
  }

  async setStrength(strength) {
    const { page } = this;
    const { last } = page.history;
    try {
      await page.answers.change(last.client_id, { choice: last.choice, strength });
      last.strength = strength;
      page.screen.say(texts.strengthKept);
    } catch (error) {
      page.screen.notice(texts.notChanged(error.message));
    }
    page.showLast();
  }
}
