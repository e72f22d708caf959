// What a rater says on its way to the site: kept in the browser until stored there, in order.

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

const keyOf = (entry) => entry.key ?? entry.client_id;
const isAnswer = ({ kind }) => !kind || kind === "aspect";

/**
 * Sends entries, and each again until the site has it; a second delivery is harmless. An entry is
 * an answer {client_id, assignment, choice, strength?, heard}, or one of
 * {kind: "aspect", key, client_id, aspect, choice}, client_id being the answer's,
 * {kind: "remark", client_id, assignment, side, at_s, text},
 * {kind: "remark-removal", key, client_id}.
 *
 * Dispatches "stored" {entry, body}, "refused" {entry, error}, "signed-out" {error}, "outdated"
 * {error} and "change" (what waits).
 */
export class Answers extends EventTarget {
  /** key: where this rater's answers are kept; storage: localStorage or anything alike. */
  constructor(api, storage, key) {
    super();
    this.api = api;
    this.storage = storage;
    this.key = key;
    this.waiting = this.read();
    this.known = new Set(this.waiting.map(keyOf));
    this.ratings = new Map(); // client_id -> rating id
    this.refusals = new Map(); // client_id -> ApiError
    this.retry_s = FIRST_RETRY_S;
    this.sending = null;
    addEventListener("online", () => this.flush());
  }

  get n_waiting() {
    return this.waiting.filter(isAnswer).length;
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
    // What another tab keeps under the same key stays where it is.
    const others = this.read().filter((entry) => !this.known.has(keyOf(entry)));
    try {
      this.storage.setItem(this.key, JSON.stringify([...others, ...this.waiting]));
    } catch {
      // storage is full or forbidden: the answer still waits on this page
    }
    this.dispatchEvent(new Event("change"));
  }

  /** Keeps an entry and starts to send it. An assignment is answered once. */
  add(entry) {
    const isAgain = (other) => !other.kind && other.assignment === entry.assignment;
    if (!entry.kind && this.waiting.some(isAgain)) return;
    this.waiting.push(entry);
    this.known.add(keyOf(entry));
    this.keep();
    this.flush();
  }

  /** Remarks of an assignment that are not stored yet. */
  remarksOn(assignment) {
    return this.waiting.filter((e) => e.kind === "remark" && e.assignment === assignment);
  }

  /** Takes a remark away, whether it was sent or not. */
  removeRemark(client_id) {
    this.add({ kind: "remark-removal", key: uuid(), client_id });
  }

  /** Tells which stored rating a client_id stands for. */
  learn(client_id, rating) {
    this.ratings.set(client_id, rating);
  }

  /** Changes an answer, stored or not. Throws ApiError when the site refuses. */
  async change(client_id, { choice, strength = null }) {
    // Another answer may have been added, and be on its way, by the time this one is sent.
    while (this.sending) await this.sending;
    const kept = this.waiting.find((entry) => !entry.kind && entry.client_id === client_id);
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
      const entry = this.waiting[0];
      try {
        const body = await this.deliver(entry);
        this.drop(entry);
        this.emit("stored", { entry, body });
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
        if (!entry.kind) this.refusals.set(entry.client_id, error);
        this.drop(entry);
        this.emit("refused", { entry, error });
      }
      this.retry_s = FIRST_RETRY_S;
    }
    return true;
  }

  async deliver(entry) {
    const { kind, key, ...content } = entry;
    switch (kind) {
      case undefined: {
        const { body } = await this.api.send("POST", "ratings", content);
        this.learn(entry.client_id, body.id);
        // A reload forgets which rating it is: what is said about it carries the number from now.
        for (const other of this.waiting) {
          if (other.kind === "aspect" && other.client_id === entry.client_id) other.rating = body.id;
        }
        return body;
      }
      case "aspect": {
        const rating = entry.rating ?? this.ratings.get(entry.client_id);
        if (rating === undefined) return null; // its answer was refused
        const { choice } = entry;
        return (await this.api.send("PUT", `ratings/${rating}/aspects/${entry.aspect}`, { choice })).body;
      }
      case "remark":
        return (await this.api.send("POST", "remarks", content)).body;
      case "remark-removal":
        try {
          await this.api.send("DELETE", `remarks/${entry.client_id}`);
        } catch (error) {
          if (error.status !== 404) throw error; // it is gone already
        }
        return null;
      default:
        return null; // kept by another version of this page
    }
  }

  drop(entry) {
    this.waiting = this.waiting.filter((other) => other !== entry);
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
