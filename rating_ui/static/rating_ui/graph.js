// The sound path: two clips on one clock, one gain each, and one gain for play and pause.
// Works on any BaseAudioContext, so that a test can render it offline, sample by sample.

export const RAMP_S = 0.005;
export const SIDES = ["A", "B"];
const CURVE_POINTS = 128;
const SPACING_S = 0.001;

/** Gain values from one level to another along half a cosine period: no corner, so no click. */
export function raisedCosine(from, to) {
  const curve = new Float32Array(CURVE_POINTS);
  for (let i = 0; i < CURVE_POINTS; i += 1) {
    const rise = 0.5 - 0.5 * Math.cos((Math.PI * i) / (CURVE_POINTS - 1));
    curve[i] = from + (to - from) * rise;
  }
  return curve;
}

export function decibelsToGain(gain_db) {
  return 10 ** (gain_db / 20);
}

/** A GainNode that moves by ramps only, one after the other. */
class Fader {
  constructor(context, level) {
    this.node = context.createGain();
    this.node.gain.value = level;
    this.level = level;
    this.freeAt = 0;
  }

  /** Returns the clock time at which the ramp ends. */
  moveTo(level, when) {
    if (level === this.level) return Math.max(when, this.freeAt);
    const start = Math.max(when, this.freeAt);
    this.node.gain.setValueCurveAtTime(raisedCosine(this.level, level), start, RAMP_S);
    this.level = level;
    this.freeAt = start + RAMP_S + SPACING_S;
    return start + RAMP_S;
  }
}

/** A copy of a buffer whose stretch from start_s to end_s begins and ends in silence. */
function withSoftEdges(context, buffer, start_s, end_s) {
  const rate = buffer.sampleRate;
  const first = Math.round(start_s * rate);
  const last = Math.min(buffer.length, Math.round(end_s * rate));
  const n = Math.min(Math.round(RAMP_S * rate), Math.floor((last - first) / 2));
  const copy = context.createBuffer(buffer.numberOfChannels, buffer.length, rate);
  for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
    const samples = Float32Array.from(buffer.getChannelData(channel));
    for (let i = 0; i < n; i += 1) {
      const rise = 0.5 - 0.5 * Math.cos((Math.PI * i) / n);
      if (first > 0) samples[first + i] *= rise;
      samples[last - 1 - i] *= rise;
    }
    copy.copyToChannel(samples, channel);
  }
  return copy;
}

/** Plays both clips at once and lets one of them through. */
export class SwitchGraph {
  /** clips: {A: {buffer, gain_db}, B: {buffer, gain_db}} */
  constructor(context, clips, side = "A") {
    this.context = context;
    this.clips = clips;
    this.side = side;
    this.sources = [];
    this.edged = { key: "", buffers: {} };
    this.master = new Fader(context, 0);
    this.master.node.connect(context.destination);
    this.faders = {};
    for (const name of SIDES) {
      this.faders[name] = new Fader(context, name === side ? this.level(name) : 0);
      this.faders[name].node.connect(this.master.node);
    }
  }

  level(side) {
    return decibelsToGain(this.clips[side].gain_db);
  }

  /** Starts both clips at `position_s`; what sounds now fades out first. Returns the start time. */
  start(position_s, when, loop = null) {
    const start = this.sources.length ? this.stop(when) + SPACING_S : when;
    const buffers = this.buffersFor(loop);
    for (const name of SIDES) {
      const source = this.context.createBufferSource();
      source.buffer = buffers[name];
      if (loop) {
        source.loop = true;
        source.loopStart = loop.start_s;
        source.loopEnd = Math.min(loop.end_s, source.buffer.duration);
      }
      source.connect(this.faders[name].node);
      if (position_s < source.buffer.duration) {
        source.start(start, position_s);
        this.sources.push(source);
      }
    }
    this.master.moveTo(1, start);
    return start;
  }

  /** Fades out and ends both clips. Returns the time of silence. */
  stop(when) {
    const silent = this.master.moveTo(0, when);
    for (const source of this.sources) source.stop(silent);
    this.sources = [];
    return silent;
  }

  /** Lets the other clip through at the same position. */
  listenTo(side, when) {
    this.side = side;
    for (const name of SIDES) {
      this.faders[name].moveTo(name === side ? this.level(name) : 0, when);
    }
  }

  /** Takes the nodes off the context; the graph is of no use afterwards. */
  discard() {
    for (const source of this.sources) source.stop();
    this.sources = [];
    this.master.node.disconnect();
  }

  buffersFor(loop) {
    const key = loop ? `${loop.start_s}-${loop.end_s}` : "whole";
    if (this.edged.key !== key) {
      const buffers = {};
      for (const name of SIDES) {
        const { buffer } = this.clips[name];
        const end_s = loop ? Math.min(loop.end_s, buffer.duration) : buffer.duration;
        buffers[name] = withSoftEdges(this.context, buffer, loop ? loop.start_s : 0, end_s);
      }
      this.edged = { key, buffers };
    }
    return this.edged.buffers;
  }
}
