// The headphone check: play three sounds, choose one. The site makes them and counts the answers.

import { Api } from "../api.js";
import { fill, gettext } from "../gettext.js";
import { Sound } from "./sound.js";

const INTERVAL_S = 1.3; // each sound with the silence after it

const root = document.querySelector("#check");
const part = (name) => root.querySelector(`[data-show=${name}]`);
const intervals = [...root.querySelectorAll("[data-act=choose]")];
const api = new Api({ root: root.dataset.apiRoot, csrfCookie: root.dataset.csrfCookie });
const sound = new Sound(new AudioContext());

class Check {
  constructor() {
    this.asked = null; // {check, kind, trial, n_trials, sound_url}
    this.hasHeard = false;
    this.isBusy = false;
  }

  async send(path, body = {}) {
    if (this.isBusy) return;
    this.isBusy = true;
    part("problem").hidden = true;
    try {
      const { body: state } = await api.send("POST", `arrival/device-check${path}`, body);
      await this.show(state);
    } catch (error) {
      part("problem").textContent = error.message;
      part("problem").hidden = false;
    } finally {
      this.isBusy = false;
    }
  }

  async show(state) {
    if (state.sound_url === null) {
      sound.stop();
      this.stage("done");
      location.assign(root.dataset.done);
      return;
    }
    this.asked = state;
    this.hasHeard = false;
    await sound.load(state.sound_url);
    const question = part("question");
    question.textContent = state.kind === "antiphase" ? question.dataset.tones : question.dataset.pitch;
    part("count").textContent = fill(gettext("%(trial)s of %(n_trials)s"), {
      trial: state.trial + 1,
      n_trials: state.n_trials,
    });
    const isFirst = state.trial === 0;
    part("hint").textContent = isFirst
      ? gettext("Play the sounds, then choose 1, 2 or 3.")
      : gettext("Next: play the sounds, then choose.");
    this.draw();
    if (root.dataset.stage !== "trial" || isFirst) {
      this.stage("trial");
      question.focus();
    }
    if (!isFirst) this.play();
  }

  stage(name) {
    root.dataset.stage = name;
    root.querySelector(`[data-for=${name}] h1`).focus();
  }

  async play() {
    await sound.play();
    const frame = () => {
      this.draw();
      if (sound.isPlaying) requestAnimationFrame(frame);
    };
    frame();
  }

  choose(interval) {
    if (!this.hasHeard || !this.asked) {
      part("hint").textContent = gettext("Listen to all three first.");
      return;
    }
    const { check, trial } = this.asked;
    part("spoken").textContent = fill(gettext("You chose %(number)s."), { number: interval + 1 });
    this.send("/answers", { check, trial, interval });
  }

  draw() {
    const now = sound.isPlaying ? Math.floor(sound.position_s / INTERVAL_S) : -1;
    if (now >= intervals.length - 1) this.hasHeard = true;
    intervals.forEach((button, i) => {
      button.classList.toggle("sounding", i === now);
      button.setAttribute("aria-disabled", String(!this.hasHeard));
    });
  }
}

const check = new Check();

function act(action, button) {
  if (action === "start") check.send("");
  else if (action === "none") check.send("/no-headphones");
  else if (action === "play") check.play();
  else if (action === "choose") check.choose(Number(button.dataset.interval));
}

root.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) act(button.dataset.act, button);
});
document.addEventListener("keydown", (event) => {
  if (root.dataset.stage !== "trial" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.repeat) return;
  const number = ["1", "2", "3"].indexOf(event.key);
  if (number >= 0) {
    event.preventDefault();
    check.choose(number);
  } else if (event.key === " " && !event.target.closest("button, a")) {
    event.preventDefault();
    check.play();
  }
});
