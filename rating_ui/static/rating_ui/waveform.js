// One lane's outline: bars from peaks, heard ones in the side's colour, seek and loop by pointer.

const BAR_PITCH_PX = 4.5;
const DRAG_PX = 8;

/** n maxima of equal stretches of the peaks. */
export function resample(peaks, n) {
  return Array.from({ length: n }, (_, i) => {
    const first = Math.floor((i * peaks.length) / n);
    const last = Math.max(first + 1, Math.ceil(((i + 1) * peaks.length) / n));
    return Math.max(0, ...peaks.slice(first, last));
  });
}

/** Dispatches "seek" {fraction}, "mark" {start, end} (fractions) and "step" {seconds}. */
export class Waveform extends EventTarget {
  /** element: the slider; it holds an svg with .bars and .bars.heard, .playhead and .loop */
  constructor(element) {
    super();
    this.element = element;
    this.svg = element.querySelector("svg");
    this.rest = element.querySelector(".bars:not(.heard)");
    this.heardPath = element.querySelector(".bars.heard");
    this.loopMark = element.querySelector(".loop");
    this.peaks = [];
    this.heard = [];
    this.drawn = "";
    new ResizeObserver(() => this.draw()).observe(element);
    this.listen();
  }

  setPeaks(peaks) {
    this.peaks = peaks;
    this.heard = [];
    this.draw();
  }

  /** stretches: heard parts of the clip as fractions of the lane. */
  setHeard(stretches) {
    this.heard = stretches;
    this.draw();
  }

  setPosition(fraction) {
    this.element.style.setProperty("--position", fraction.toFixed(5));
  }

  /** loop: {start, end} as fractions, or null. */
  setLoop(loop) {
    this.loopMark.hidden = !loop;
    if (!loop) return;
    this.element.style.setProperty("--loop-start", loop.start.toFixed(5));
    this.element.style.setProperty("--loop-end", loop.end.toFixed(5));
  }

  /** fractions: where the lane is marked. */
  setPins(fractions) {
    for (const pin of this.element.querySelectorAll(".pin")) pin.remove();
    for (const fraction of fractions) {
      const pin = document.createElement("span");
      pin.className = "pin";
      pin.style.setProperty("--at", fraction.toFixed(5));
      this.element.append(pin);
    }
  }

  draw() {
    const { width, height } = this.element.getBoundingClientRect();
    if (!width || !this.peaks.length) {
      this.rest.setAttribute("d", "");
      this.heardPath.setAttribute("d", "");
      this.drawn = "";
      return;
    }
    const n = Math.max(8, Math.floor(width / BAR_PITCH_PX));
    const isHeard = Array.from({ length: n }, (_, i) => {
      const centre = (i + 0.5) / n;
      return this.heard.some(([start, end]) => start <= centre && centre < end);
    });
    const key = `${n} ${height} ${isHeard.map(Number).join("")} ${this.peaks.length}`;
    if (key === this.drawn && this.peaks === this.drawnPeaks) return;
    this.drawn = key;
    this.drawnPeaks = this.peaks;
    const paths = ["", ""];
    resample(this.peaks, n).forEach((peak, i) => {
      const x = ((i + 0.5) * width) / n;
      const half = Math.max(1.5, (peak * (height - 4)) / 2);
      const bar = `M${x.toFixed(1)} ${(height / 2 - half).toFixed(1)}v${(2 * half).toFixed(1)}`;
      paths[Number(isHeard[i])] += bar;
    });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.rest.setAttribute("d", paths[0]);
    this.heardPath.setAttribute("d", paths[1]);
  }

  fractionAt(event) {
    const { left, width } = this.element.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - left) / width));
  }

  listen() {
    let pressed = null;
    const { element } = this;
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      pressed = { x: event.clientX, fraction: this.fractionAt(event) };
      element.setPointerCapture(event.pointerId);
    });
    // A press must not take the focus: the arrow keys answer, except on a focused slider.
    element.addEventListener("mousedown", (event) => event.preventDefault());
    element.addEventListener("pointerup", (event) => {
      if (!pressed) return;
      const fraction = this.fractionAt(event);
      if (Math.abs(event.clientX - pressed.x) < DRAG_PX) {
        this.emit("seek", { fraction: pressed.fraction });
      } else {
        const [start, end] = [pressed.fraction, fraction].sort((x, y) => x - y);
        this.emit("mark", { start, end });
      }
      pressed = null;
    });
    element.addEventListener("pointercancel", () => { pressed = null; });
    element.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5 };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in steps) this.emit("step", { seconds: steps[event.key] });
      else if (event.key === "Home") this.emit("seek", { fraction: 0 });
      else if (event.key === "End") this.emit("seek", { fraction: 1 });
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
