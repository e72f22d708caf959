// Answers on their way to the site: kept in the browser until stored there, sent in order.

import { ApiError } from "./api.js";
import { texts } from "./texts.js";

const FIRST_RETRY_S = 1;
const LONGEST_RETRY_S = 30;

/** A random UUID, version 4; crypto.randomUUID is missing on plain http. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/**
 * Sends answers {client_id, assignment, choice, strength?, heard}; a second delivery of one is
 * harmless because the site knows its client_id. Dispatches "stored" {answer, rating}, "refused"
 * {answer, error}, "signed-out" {error}, "outdated" {error} and "change" (the number that waits).
 */
export class Answers extends EventTarget {
  /** key: where this rater's answers are kept; storage: localStorage or anything alike. */
  constructor(api, storage, key) {
    super();
    this.api = api;
    this.storage = storage;
    this.key = key;
    this.waiting = this.read();
    this.known = new Set(this.waiting.map((answer) => answer.client_id));
    this.ratings = new Map(); // client_id -> rating id
    this.refusals = new Map(); // client_id -> ApiError
    this.retry_s = FIRST_RETRY_S;
    this.sending = null;
    addEventListener("online", () => this.flush());
  }

  get n_waiting() {
    return this.waiting.length;
  }

  read() {
    try {
      const kept = JSON.parse(this.storage.getItem(this.key) ?? "[]");
      return Array.isArray(kept) ? kept : [];
    } catch {
      return [];
    }
  }

  keep() {
    // Answers that another tab keeps under the same key stay where they are.
    const others = this.read().filter((answer) => !this.known.has(answer.client_id));
    try {
      this.storage.setItem(this.key, JSON.stringify([...others, ...this.waiting]));
    } catch {
      // storage is full or forbidden: the answer still waits on this page
    }
    this.dispatchEvent(new Event("change"));
  }

  /** Keeps an answer and starts to send it. An assignment is answered once. */
  add(answer) {
    if (this.waiting.some((other) => other.assignment === answer.assignment)) return;
    this.waiting.push(answer);
    this.known.add(answer.client_id);
    this.keep();
    this.flush();
  }

  /** Changes an answer, stored or not. Throws ApiError when the site refuses. */
  async change(client_id, { choice, strength = null }) {
    // Another answer may have been added, and be on its way, by the time this one is sent.
    while (this.sending) await this.sending;
    const kept = this.waiting.find((answer) => answer.client_id === client_id);
    if (kept) {
      Object.assign(kept, { choice, strength });
      this.keep();
      this.flush();
      return;
    }
    const refusal = this.refusals.get(client_id);
    if (refusal) throw new ApiError(refusal.status, texts.wasRefused(refusal.message));
    const rating = this.ratings.get(client_id);
    await this.api.send("PATCH", `ratings/${rating}`, { choice, strength });
  }

  /** Sends what waits. Resolves when nothing more can be sent now; true when nothing waits. */
  flush() {
    clearTimeout(this.timer);
    this.sending ??= this.sendAll().finally(() => { this.sending = null; });
    return this.sending;
  }

  async sendAll() {
    while (this.waiting.length) {
      const answer = this.waiting[0];
      try {
        const { body } = await this.api.send("POST", "ratings", answer);
        this.drop(answer);
        this.ratings.set(answer.client_id, body.id);
        this.emit("stored", { answer, rating: body });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.isPassing) {
          this.later(error.retryAfter_s);
          return false;
        }
        if (error.isSignedOut) {
          this.emit("signed-out", { error });
          return false;
        }
        if (error.isOutdated) {
          this.emit("outdated", { error });
          return false;
        }
        this.refusals.set(answer.client_id, error);
        this.drop(answer);
        this.emit("refused", { answer, error });
      }
      this.retry_s = FIRST_RETRY_S;
    }
    return true;
  }

  drop(answer) {
    this.waiting = this.waiting.filter((other) => other !== answer);
    this.keep();
  }

  later(retryAfter_s) {
    const wait_s = Math.max(this.retry_s, retryAfter_s ?? 0);
    this.retry_s = Math.min(this.retry_s * 2, LONGEST_RETRY_S);
    this.timer = setTimeout(() => this.flush(), wait_s * 1000);
  }

  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
