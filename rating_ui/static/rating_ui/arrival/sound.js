// One sound at a time: fetched, decoded, played from its start, with the time it has been heard.

import { gettext } from "../gettext.js";

/** Dispatches "change" when it starts or ends. */
export class Sound extends EventTarget {
  constructor(context) {
    super();
    this.context = context;
    this.buffer = null;
    this.source = null;
    this.startedAt = 0;
  }

  async load(url) {
    const response = await fetch(url, { credentials: "same-origin" });
    if (!response.ok) throw new Error(gettext("The sound can’t be loaded. Load the page again."));
    this.stop();
    this.buffer = await this.context.decodeAudioData(await response.arrayBuffer());
  }

  get isPlaying() {
    return this.source !== null;
  }

  /** Seconds since the present start. */
  get position_s() {
    return this.source ? this.context.currentTime - this.startedAt : 0;
  }

  /** Plays to the end; in a loop it goes on until it is stopped. */
  async play({ loop = false } = {}) {
    if (!this.buffer) return;
    this.stop();
    if (this.context.state !== "running") await this.context.resume();
    const source = this.context.createBufferSource();
    source.buffer = this.buffer;
    source.loop = loop;
    source.connect(this.context.destination);
    source.addEventListener("ended", () => {
      if (this.source === source) this.forget();
    });
    this.startedAt = this.context.currentTime;
    this.source = source;
    source.start();
    this.dispatchEvent(new Event("change"));
  }

  stop() {
    if (!this.source) return;
    this.source.stop();
    this.forget();
  }

  forget() {
    this.source.disconnect();
    this.source = null;
    this.dispatchEvent(new Event("change"));
  }
}

/** A play button that shows and says whether its sound plays. */
export function showPlaying(button, isPlaying) {
  button.querySelector("use").setAttribute("href", isPlaying ? "#icon-pause" : "#icon-play");
  const label = isPlaying ? button.dataset.pause : button.dataset.play;
  if (label) button.setAttribute("aria-label", label);
}
