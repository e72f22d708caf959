// What the transport does: play, pause, seek, loop, listen to A or B, all on the audio clock.

import { SIDES, SwitchGraph } from "./graph.js";

export const MINIMUM_LOOP_S = 0.5;
const LEAD_S = 0.01; // the clock seen here lags behind the one that renders

/** Dispatches "change" when its state changed, "heard" {clips, side, from_s, to_s} as it sounds. */
export class Player extends EventTarget {
  constructor(context) {
    super();
    this.context = context;
    this.graph = null;
    this.duration_s = 0;
    this.side = "A";
    this.isPlaying = false;
    this.restartsOnSwitch = false;
    this.loop = null;
    this.isLooping = false;
    this.anchor = { clock_s: 0, position_s: 0 };
    this.heardUntil_s = null;
    context.addEventListener("statechange", () => {
      if (this.isPlaying && context.state !== "running" && this.hasStarted) this.pause();
    });
  }

  /** Takes a decoded pair, {A: {buffer, gain_db}, B: ...}, in place of the one before. */
  load(clips) {
    this.unload();
    this.side = "A";
    this.loop = null;
    this.graph = new SwitchGraph(this.context, clips, this.side);
    this.duration_s = Math.max(...SIDES.map((side) => clips[side].buffer.duration));
    this.durations_s = Object.fromEntries(SIDES.map((s) => [s, clips[s].buffer.duration]));
    this.anchor = { clock_s: 0, position_s: 0 };
    this.changed();
  }

  unload() {
    if (!this.graph) return;
    this.settle();
    this.isPlaying = false;
    this.graph.stop(this.now());
    const { graph } = this;
    setTimeout(() => graph.discard(), 100);
    this.graph = null;
    this.duration_s = 0;
  }

  now() {
    return this.context.currentTime + LEAD_S;
  }

  /** The stretch that repeats: the marked one, or the whole clip. Null when nothing repeats. */
  get region() {
    if (!this.isLooping) return null;
    return this.loop ?? { start_s: 0, end_s: this.duration_s };
  }

  get position_s() {
    const { clock_s, position_s } = this.anchor;
    if (!this.isPlaying || !this.hasStarted) return position_s;
    const moved = position_s + Math.max(0, this.context.currentTime - clock_s);
    const { region } = this;
    if (region && moved >= region.end_s) {
      const length_s = region.end_s - region.start_s;
      return region.start_s + ((moved - region.start_s) % length_s);
    }
    return Math.min(moved, this.duration_s);
  }

  async play() {
    if (!this.graph || this.isPlaying) return;
    const { graph } = this;
    this.isPlaying = true;
    this.hasStarted = false;
    this.changed();
    if (this.context.state !== "running") {
      await this.context.resume();
      if (!this.isPlaying || this.graph !== graph) return;
    }
    const atEnd = this.anchor.position_s >= this.duration_s - 0.02;
    this.begin(atEnd ? 0 : this.anchor.position_s);
    this.changed();
  }

  pause() {
    if (!this.isPlaying) return;
    this.settle();
    const position_s = this.position_s;
    this.isPlaying = false;
    this.anchor = { clock_s: 0, position_s };
    if (this.hasStarted) this.graph.stop(this.now());
    this.changed();
  }

  toggle() {
    return this.isPlaying ? this.pause() : this.play();
  }

  seek(position_s) {
    if (!this.graph) return;
    this.settle();
    const target_s = Math.min(Math.max(0, position_s), this.duration_s);
    if (this.isPlaying && this.hasStarted) this.begin(target_s);
    else this.anchor = { clock_s: 0, position_s: target_s };
    this.changed();
  }

  /** Switches to a side and plays it if nothing plays. */
  listenTo(side) {
    if (!this.graph) return;
    this.settle();
    const isSwitch = side !== this.side;
    this.side = side;
    this.graph.listenTo(side, this.now());
    if (isSwitch && this.restartsOnSwitch) this.seek(this.region?.start_s ?? 0);
    if (!this.isPlaying) this.play();
    this.changed();
  }

  /** Marks the stretch to repeat, at least half a second long, or null for the whole clip. */
  mark(loop) {
    if (!this.graph) return;
    this.settle();
    const position_s = this.position_s;
    if (loop) {
      const start_s = Math.max(0, Math.min(loop.start_s, this.duration_s - MINIMUM_LOOP_S));
      const end_s = Math.min(this.duration_s, Math.max(loop.end_s, start_s + MINIMUM_LOOP_S));
      this.loop = { start_s: Math.max(0, start_s), end_s };
      this.isLooping = true;
    } else {
      this.loop = null;
    }
    this.follow(position_s);
  }

  setLooping(isLooping) {
    if (isLooping === this.isLooping) return;
    this.settle();
    const position_s = this.position_s;
    this.isLooping = isLooping;
    if (!isLooping) this.loop = null;
    this.follow(position_s);
  }

  follow(position_s) {
    if (this.isPlaying && this.hasStarted) this.begin(position_s);
    else this.anchor = { clock_s: 0, position_s };
    this.changed();
  }

  begin(position_s) {
    const { region } = this;
    const isOutside = region && (position_s < region.start_s || position_s >= region.end_s - 0.02);
    const from_s = isOutside ? region.start_s : position_s;
    const clock_s = this.graph.start(from_s, this.now(), region);
    this.anchor = { clock_s, position_s: from_s };
    this.hasStarted = true;
    this.heardUntil_s = from_s;
  }

  /** Call often while the page is alive: reports what was heard and stops at the end. */
  tick() {
    if (!this.isPlaying || !this.hasStarted) return;
    this.settle();
    if (!this.region && this.position_s >= this.duration_s) this.pause();
  }

  settle() {
    if (!this.isPlaying || !this.hasStarted || this.heardUntil_s === null) return;
    const to_s = this.position_s;
    const from_s = this.heardUntil_s;
    this.heardUntil_s = to_s;
    if (to_s >= from_s) {
      this.report(from_s, to_s);
    } else if (this.region) {
      this.report(from_s, this.region.end_s);
      this.report(this.region.start_s, to_s);
    }
  }

  report(from_s, to_s) {
    const end_s = Math.min(to_s, this.durations_s[this.side]);
    if (end_s <= from_s) return;
    const detail = { clips: this.graph.clips, side: this.side, from_s, to_s: end_s };
    this.dispatchEvent(new CustomEvent("heard", { detail }));
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}
