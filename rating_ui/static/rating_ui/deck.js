// The two lanes and the transport as they are seen: letters, outlines, what was heard, the time.

import { decibelsToGain, SIDES } from "./graph.js";
import { texts } from "./texts.js";
import { Waveform } from "./waveform.js";

function clock(at_s) {
  const tenths = Math.floor(at_s * 10 + 1e-6);
  const minutes = Math.floor(tenths / 600);
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  return `${minutes}:${rest}`;
}

export class Deck {
  constructor(element, player) {
    this.element = element;
    this.player = player;
    this.listening = null;
    this.lanes = Object.fromEntries(SIDES.map((side) => [side, this.lane(side)]));
    this.playButton = element.querySelector("[data-act=play]");
    this.time = element.querySelector("[data-show=time]");
    this.loopButton = element.querySelector("[data-act=loop]");
    this.restartButton = element.querySelector("[data-act=restart]");
    player.addEventListener("change", () => this.draw());
  }

  lane(side) {
    const element = this.element.querySelector(`[data-side=${side}]`);
    const slider = element.querySelector("[role=slider]");
    const waveform = new Waveform(slider);
    const { player } = this;
    waveform.addEventListener("seek", ({ detail }) => {
      if (player.side !== side) player.listenTo(side);
      player.seek(detail.fraction * player.duration_s);
    });
    waveform.addEventListener("mark", ({ detail }) => {
      const { duration_s } = player;
      player.mark({ start_s: detail.start * duration_s, end_s: detail.end * duration_s });
      if (player.side !== side) player.listenTo(side);
    });
    waveform.addEventListener("step", ({ detail }) => {
      player.seek(player.position_s + detail.seconds);
    });
    return {
      element,
      slider,
      waveform,
      letter: element.querySelector(".letter"),
      heard: element.querySelector("[data-show=heard]"),
    };
  }

  /** Shows a new pair; both outlines share one scale, that of the gains they are heard with. */
  show(assignment, listening) {
    this.listening = listening;
    const outlines = SIDES.map((side) => {
      const { peaks, gain_db } = assignment[side.toLowerCase()];
      return peaks.map((peak) => peak * decibelsToGain(gain_db));
    });
    const highest = Math.max(1e-6, ...outlines.flat());
    SIDES.forEach((side, i) => {
      const lane = this.lanes[side];
      lane.waveform.setPeaks(outlines[i].map((peak) => peak / highest));
      lane.slider.setAttribute("aria-valuemax", this.player.duration_s.toFixed(1));
    });
    this.draw();
  }

  /** Marks moments of a side's outline. */
  showPins(side, moments_s) {
    const { duration_s } = this.player;
    this.lanes[side].waveform.setPins(duration_s ? moments_s.map((at_s) => at_s / duration_s) : []);
  }

  draw() {
    const { player, listening } = this;
    const { duration_s } = player;
    const hadFocus = SIDES.some((side) => this.lanes[side].slider === document.activeElement);
    for (const side of SIDES) {
      const { element, letter, slider, waveform } = this.lanes[side];
      const isOn = player.side === side;
      element.classList.toggle("on", isOn);
      letter.setAttribute("aria-pressed", String(isOn));
      slider.tabIndex = isOn ? 0 : -1;
      if (isOn) slider.removeAttribute("aria-hidden");
      else slider.setAttribute("aria-hidden", "true");
      const { loop } = player;
      const mark = loop && { start: loop.start_s / duration_s, end: loop.end_s / duration_s };
      waveform.setLoop(player.isLooping ? mark : null);
      if (isOn && hadFocus) slider.focus();
    }
    this.element.classList.toggle("playing", player.isPlaying);
    const label = player.isPlaying ? "pause" : "play";
    this.playButton.setAttribute("aria-label", this.playButton.dataset[label]);
    this.playButton.querySelector("use").setAttribute("href", `#icon-${label}`);
    this.loopButton.setAttribute("aria-pressed", String(player.isLooping));
    this.restartButton.setAttribute("aria-pressed", String(player.restartsOnSwitch));
    if (listening) this.drawHeard();
    this.drawPosition();
  }

  drawHeard() {
    for (const side of SIDES) {
      const { heard, letter, waveform } = this.lanes[side];
      const { listening } = this;
      const heard_s = listening.heard_s(side);
      const needed_s = listening.needed_s(side);
      const isEnough = listening.missing_s(side) === 0;
      const length_s = this.player.duration_s || 1;
      waveform.setHeard(listening.stretches[side].map((part) => part.map((s) => s / length_s)));
      const share = needed_s ? Math.min(1, heard_s / needed_s) : 1;
      letter.style.setProperty("--share", share.toFixed(3));
      heard.classList.toggle("enough", isEnough && needed_s > 0);
      const amount = isEnough ? texts.heard(heard_s) : texts.heardOf(heard_s, needed_s);
      heard.querySelector("[data-show=amount]").textContent = amount;
    }
  }

  drawPosition() {
    const { position_s, duration_s, side } = this.player;
    this.time.textContent = `${clock(position_s)} / ${clock(duration_s)}`;
    for (const name of SIDES) {
      this.lanes[name].waveform.setPosition(duration_s ? position_s / duration_s : 0);
    }
    const { slider } = this.lanes[side];
    const now = position_s.toFixed(1);
    if (slider.getAttribute("aria-valuenow") !== now) {
      slider.setAttribute("aria-valuenow", now);
      slider.setAttribute("aria-valuetext", texts.position(position_s, duration_s));
    }
  }
}
