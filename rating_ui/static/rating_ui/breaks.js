// When to offer a break: after so many minutes of listening without one.

const PAUSE_MIN = 5; // being away so long is a break of its own

export class Breaks {
  /** storage: sessionStorage or anything alike; after_min: 0 offers none. */
  constructor(storage, key, after_min = 0) {
    this.storage = storage;
    this.key = key;
    this.after_min = after_min;
  }

  read() {
    try {
      return JSON.parse(this.storage.getItem(this.key));
    } catch {
      return null;
    }
  }

  write(since_ms, seen_ms) {
    try {
      this.storage.setItem(this.key, JSON.stringify({ since_ms, seen_ms }));
    } catch {
      // no room or not allowed: a reload then starts a new sitting
    }
    this.kept = { since_ms, seen_ms };
  }

  /** Notes that the rater is here; returns the minutes since the sitting or the last break began. */
  note(now_ms) {
    const kept = this.kept ?? this.read();
    const isNew = !kept || now_ms - kept.seen_ms > PAUSE_MIN * 60_000 || now_ms < kept.seen_ms;
    const since_ms = isNew ? now_ms : kept.since_ms;
    this.write(since_ms, now_ms);
    return (now_ms - since_ms) / 60_000;
  }

  /** Minutes of listening if a break is due, else 0. */
  due(now_ms) {
    const minutes = this.note(now_ms);
    return this.after_min > 0 && minutes >= this.after_min ? Math.floor(minutes) : 0;
  }

  /** The break was offered: the next one comes after as long again. */
  take(now_ms) {
    this.write(now_ms, now_ms);
  }
}
