// The pair being rated and the one after it: fetched, decoded, ready before they are asked for.

import { ApiError } from "./api.js";
import { SIDES } from "./graph.js";
import { texts } from "./texts.js";

const FIRST_WAIT_S = 2;
const LONGEST_WAIT_S = 20;

/** Clips of an assignment as {A: {buffer, gain_db}, B: ...}; an ApiError names the side. */
async function decodePair(api, context, assignment) {
  const decoded = await Promise.all(
    SIDES.map(async (side) => {
      const { audio_url, gain_db } = assignment[side.toLowerCase()];
      try {
        const bytes = await api.audio(audio_url);
        return { buffer: await context.decodeAudioData(bytes), gain_db };
      } catch (error) {
        const known = error instanceof ApiError ? error : new ApiError(422, texts.clipBroken);
        throw Object.assign(known, { assignment, side });
      }
    }),
  );
  return Object.fromEntries(SIDES.map((side, i) => [side, decoded[i]]));
}

/** A pair is {assignment, clips}. */
export class Pairs {
  constructor(api, context) {
    this.api = api;
    this.context = context;
    this.ahead = null; // {after, promise}
    this.wait_s = FIRST_WAIT_S;
  }

  /** The rater's pair now, or {retryAfter_s} when there is none to rate. */
  async fetch() {
    const { body, retryAfter_s } = await this.api.send("POST", "assignments", {});
    if (!body) {
      const wait_s = Math.max(this.wait_s, retryAfter_s ?? 0);
      this.wait_s = Math.min(this.wait_s * 1.5, LONGEST_WAIT_S);
      return { retryAfter_s: wait_s };
    }
    this.wait_s = FIRST_WAIT_S;
    return this.decode(body);
  }

  /** One of the rater's own pairs, answered before. */
  async fetchOwn(assignment) {
    const { body } = await this.api.send("GET", `assignments/${assignment}`);
    return this.decode(body);
  }

  async decode(assignment) {
    return { assignment, clips: await decodePair(this.api, this.context, assignment) };
  }

  /**
   * Starts to fetch the pair after `current`, while that one is being rated. Waits until the
   * answers before it are `sent`: until then the site would hand their pairs out again.
   */
  prefetch(current, sent) {
    const after = current.assignment.id;
    const promise = sent
      .then((allSent) => (allSent ? this.fetchAfter(after) : null))
      .catch(() => null);
    this.ahead = { after, promise };
  }

  async fetchAfter(after) {
    const { body } = await this.api.send("POST", "assignments", { after });
    return body && body.id !== after ? this.decode(body) : null;
  }

  /** The pair fetched ahead of `current`, or null when there was none. */
  takeAhead(current) {
    const { ahead } = this;
    this.ahead = null;
    return ahead && ahead.after === current.assignment.id ? ahead.promise : null;
  }
}
