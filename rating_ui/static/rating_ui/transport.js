// What buttons and keys do to the player, and what a screen reader hears of it.

import { texts } from "./texts.js";

const SIDE_OF = { "listen-a": "A", "listen-b": "B" };

function loopText({ region }) {
  return region ? texts.loopOn(region.start_s, region.end_s) : texts.loopOff;
}

/** Does an action of the transport; returns the sentence to say, or null for another action. */
export function operate(action, player) {
  switch (action) {
    case "listen-a":
    case "listen-b":
      player.listenTo(SIDE_OF[action]);
      return texts.playing(player.side);
    case "play":
      player.toggle();
      return player.isPlaying ? texts.playing(player.side) : texts.paused;
    case "loop":
      player.setLooping(!player.isLooping);
      return loopText(player);
    case "loop-start":
      player.mark({ start_s: player.position_s, end_s: player.loop?.end_s ?? player.duration_s });
      return loopText(player);
    case "loop-end":
      player.mark({ start_s: player.loop?.start_s ?? 0, end_s: player.position_s });
      return loopText(player);
    case "restart":
      player.restartsOnSwitch = !player.restartsOnSwitch;
      player.changed();
      return player.restartsOnSwitch ? texts.restartOn : texts.restartOff;
    default:
      return null;
  }
}
