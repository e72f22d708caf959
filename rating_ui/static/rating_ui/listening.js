// Which stretches of each clip were heard, and what is still missing before an answer.

const JOIN_S = 0.001;

/** Sorted stretches [[start_s, end_s], ...] with one more added; touching ones become one. */
export function addStretch(stretches, start_s, end_s) {
  const joined = [];
  for (const [start, end] of [...stretches, [start_s, end_s]].sort((x, y) => x[0] - y[0])) {
    const last = joined.at(-1);
    if (last && start <= last[1] + JOIN_S) last[1] = Math.max(last[1], end);
    else joined.push([start, end]);
  }
  return joined;
}

export class Listening {
  /** durations_s: {A, B}; minimum_s is asked of each clip, or the whole of a shorter one. */
  constructor(durations_s, minimum_s, heard = { A: [], B: [] }) {
    this.durations_s = durations_s;
    this.minimum_s = minimum_s;
    this.stretches = { A: heard.A ?? [], B: heard.B ?? [] };
  }

  hear(side, from_s, to_s) {
    const end_s = Math.min(to_s, this.durations_s[side]);
    if (end_s > from_s) this.stretches[side] = addStretch(this.stretches[side], from_s, end_s);
  }

  /** Stretches in whole milliseconds, rounded inwards: never more than was heard. */
  reported(side) {
    const duration_s = this.durations_s[side];
    const inwards = (end) => (end >= duration_s ? duration_s : Math.floor(end * 1000) / 1000);
    return this.stretches[side]
      .map(([start, end]) => [Math.ceil(start * 1000) / 1000, inwards(end)])
      .filter(([start, end]) => end > start);
  }

  toJSON() {
    return { A: this.reported("A"), B: this.reported("B") };
  }

  heard_s(side) {
    return this.reported(side).reduce((sum, [start, end]) => sum + (end - start), 0);
  }

  needed_s(side) {
    return Math.min(this.minimum_s, this.durations_s[side]);
  }

  missing_s(side) {
    const missing = this.needed_s(side) - this.heard_s(side);
    return missing > 0.0005 ? missing : 0;
  }

  get isEnough() {
    return this.missing_s("A") === 0 && this.missing_s("B") === 0;
  }
}
