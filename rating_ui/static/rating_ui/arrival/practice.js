// Practice pairs on the rating page's own player: an answer gets a kind word and counts nowhere.

import { Api } from "../api.js";
import { Deck } from "../deck.js";
import { fill, gettext } from "../gettext.js";
import { SIDES } from "../graph.js";
import { listenForKeys } from "../keys.js";
import { Listening } from "../listening.js";
import { Player } from "../player.js";

const TICK_MS = 100;
const MINIMUM_S = 2;
const END_S = 0.03;
const CHOICES = {
  "answer-a": "A",
  "answer-b": "B",
  "answer-tie": "TIE",
  "answer-bad": "BOTH_BAD",
};

const root = document.querySelector("#practice");
const part = (name) => root.querySelector(`[data-show=${name}]`);

const damages = {
  noise: (side) => fill(gettext("%(side)s is overdriven and full of hiss."), { side }),
  gaps: (side) => fill(gettext("%(side)s breaks off again and again."), { side }),
  wobble: (side) => fill(gettext("%(side)s wavers in pitch, like a warped record."), { side }),
};

class Practice {
  constructor() {
    const { apiRoot, csrfCookie } = root.dataset;
    this.api = new Api({ root: apiRoot, csrfCookie });
    this.context = new AudioContext({ latencyHint: "interactive" });
    this.player = new Player(this.context);
    this.deck = new Deck(root.querySelector("#deck"), this.player);
    this.pair = null;
    this.step = "practice";
    this.isOpen = false;
    this.answerButtons = [...root.querySelectorAll("#answers button")];
    this.player.addEventListener("heard", ({ detail }) => this.onHeard(detail));
    root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-act]");
      if (button) this.act(button.dataset.act);
    });
    listenForKeys((action) => this.act(action), () => true);
    setInterval(() => this.player.tick(), TICK_MS);
    const frame = () => {
      if (this.player.isPlaying) this.deck.drawPosition();
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  async next() {
    try {
      const response = await fetch(`${root.dataset.apiRoot}arrival/practice`, {
        credentials: "same-origin",
      });
      if (!response.ok) throw new Error(gettext("The practice pair can’t be loaded."));
      await this.show(await response.json());
    } catch (error) {
      part("problem").textContent = error.message;
      part("problem").hidden = false;
    }
  }

  async show(pair) {
    const decoded = await Promise.all(SIDES.map(async (side) => {
      const { audio_url, gain_db } = pair[side.toLowerCase()];
      const bytes = await this.api.audio(audio_url);
      return { buffer: await this.context.decodeAudioData(bytes), gain_db };
    }));
    const clips = Object.fromEntries(SIDES.map((side, i) => [side, decoded[i]]));
    this.pair = { ...pair, clips };
    this.listening = new Listening({ A: pair.a.duration_s, B: pair.b.duration_s }, MINIMUM_S);
    this.player.load(clips);
    this.deck.show(pair, this.listening);
    part("prompt").textContent = pair.prompt;
    part("count").textContent = fill(gettext("Practice pair %(number)s of %(n_pairs)s"), {
      number: pair.number + 1,
      n_pairs: pair.n_pairs,
    });
    part("feedback").hidden = true;
    root.dataset.stage = "rating";
    this.gate();
    part("heading").focus({ preventScroll: true });
  }

  onHeard({ clips, side, from_s, to_s }) {
    if (clips !== this.pair?.clips) return;
    const isAtEnd = to_s >= clips[side].buffer.duration - END_S;
    this.listening.hear(side, from_s, isAtEnd ? this.listening.durations_s[side] : to_s);
    this.deck.drawHeard();
    this.gate();
  }

  gate() {
    this.isOpen = this.listening.isEnough;
    for (const button of this.answerButtons) {
      button.setAttribute("aria-disabled", String(!this.isOpen));
    }
    const sentence = this.isOpen
      ? gettext("Answer when you are ready")
      : fill(gettext("Listen to A and to B for %(seconds)s seconds each"), { seconds: MINIMUM_S });
    if (part("gate").textContent !== sentence) part("gate").textContent = sentence;
  }

  act(action) {
    if (!this.pair) return;
    const { player } = this;
    if (action in CHOICES) this.answer(CHOICES[action]);
    else if (action === "listen-a" || action === "listen-b") {
      player.listenTo(action === "listen-a" ? "A" : "B");
    } else if (action === "play") player.toggle();
    else if (action === "loop") player.setLooping(!player.isLooping);
    else if (action === "restart") {
      player.restartsOnSwitch = !player.restartsOnSwitch;
      this.deck.draw();
    } else if (action === "next") this.goOn();
    else if (action === "listen-again") {
      part("feedback").hidden = true;
      root.dataset.stage = "rating";
      part("heading").focus();
    }
  }

  async answer(choice) {
    if (!this.isOpen || root.dataset.stage !== "rating") return;
    this.player.pause();
    try {
      const { body } = await this.api.send("POST", "arrival/practice", {
        number: this.pair.number,
        choice,
      });
      this.step = body.step;
      this.tell(body);
    } catch (error) {
      part("problem").textContent = error.message;
      part("problem").hidden = false;
    }
  }

  tell({ is_expected, clean_side, damage }) {
    const other = clean_side === "A" ? "B" : "A";
    part("verdict").textContent = is_expected
      ? gettext("Yes, that is what most people hear.")
      : fill(gettext("Most people prefer %(side)s here."), { side: clean_side });
    part("why").textContent = is_expected
      ? damages[damage](other)
      : `${damages[damage](other)} ${gettext("Listen again if you like; nothing is lost.")}`;
    part("feedback").hidden = false;
    root.dataset.stage = "told";
    part("verdict").focus();
  }

  goOn() {
    if (this.step !== "practice") location.assign(root.dataset.done);
    else this.next();
  }
}

new Practice().next();
