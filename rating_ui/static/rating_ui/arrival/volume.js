// The volume page: a noise that repeats, and a button that opens once it was heard.

import { gettext } from "../gettext.js";
import { Sound, showPlaying } from "./sound.js";

const HEARD_S = 1.5;
const root = document.querySelector("#volume");
const playButton = root.querySelector("[data-act=play]");
const confirmButton = document.querySelector("[data-act=comfortable]");
const said = root.querySelector("[data-show=said]");

const sound = new Sound(new AudioContext());
const loaded = sound.load(root.dataset.sound);

function open() {
  if (confirmButton.getAttribute("aria-disabled") === "false") return;
  confirmButton.setAttribute("aria-disabled", "false");
  said.textContent = gettext("Change the volume of your device until it is comfortable.");
}

playButton.addEventListener("click", async () => {
  if (sound.isPlaying) {
    sound.stop();
    return;
  }
  try {
    await loaded;
  } catch {
    said.textContent = gettext("The sound can’t be loaded. Load the page again.");
    return;
  }
  await sound.play({ loop: true });
  setTimeout(open, HEARD_S * 1000);
});
sound.addEventListener("change", () => showPlaying(playButton, sound.isPlaying));
confirmButton.closest("form").addEventListener("submit", (event) => {
  if (confirmButton.getAttribute("aria-disabled") === "true") {
    event.preventDefault();
    said.textContent = gettext("Play the noise first.");
    playButton.focus();
  }
});
