// The answers of this sitting that their rater may still change, newest first.

import { ApiError } from "./api.js";
import { texts } from "./texts.js";

const MOST = 20;

/** An entry is {client_id, assignment (its id), prompt, choice, strength, asked, aspects, pair}. */
export class History {
  constructor(api, answers, list) {
    this.api = api;
    this.answers = answers;
    this.list = list;
    this.entries = [];
    this.isShown = true; // a study may allow to change the last answer only
  }

  get last() {
    return this.entries[0] ?? null;
  }

  /** Fetches what the site keeps; a page that cannot reach it starts with an empty list. */
  async load() {
    try {
      const { body } = await this.api.send("GET", "answers");
      this.entries = body.map((own) => this.entry(own));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  entry(own) {
    const client_id = `stored-${own.id}`;
    this.answers.learn(client_id, own.id);
    const answered = Object.entries(own.aspects).filter(([, choice]) => choice !== null);
    return {
      client_id,
      assignment: own.assignment,
      prompt: own.prompt,
      choice: own.choice,
      strength: own.strength,
      asked: Object.keys(own.aspects),
      aspects: Object.fromEntries(answered),
      pair: null,
    };
  }

  add(entry) {
    this.entries = [entry, ...this.entries].slice(0, MOST);
    // Clips of pairs long past are fetched again when they are asked for.
    for (const old of this.entries.slice(2)) old.pair = null;
  }

  remove(client_id) {
    this.entries = this.entries.filter((entry) => entry.client_id !== client_id);
  }

  /** Fills the dialog's list; a press on an entry calls choose(entry). */
  draw(choose) {
    const entries = this.isShown ? this.entries : this.entries.slice(0, 1);
    if (!entries.length) {
      this.list.textContent = texts.noHistory;
      return;
    }
    this.list.replaceChildren(
      ...entries.map((entry) => {
        const item = document.createElement("li");
        const press = document.createElement("button");
        press.type = "button";
        press.innerHTML = '<span class="serif"></span><span class="said soft"></span>';
        press.querySelector(".serif").textContent = entry.prompt;
        press.querySelector(".said").textContent = texts.youSaid(entry.choice);
        press.addEventListener("click", () => choose(entry));
        item.append(press);
        return item;
      }),
    );
  }
}
