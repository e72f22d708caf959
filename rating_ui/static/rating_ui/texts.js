// Every sentence that the script writes, in one place.

const whole = (value_s) => Math.max(1, Math.ceil(value_s));
const seconds = (value_s) => `${whole(value_s)} more ${whole(value_s) === 1 ? "second" : "seconds"}`;

const choiceNames = { A: "A", B: "B", TIE: "a tie", BOTH_BAD: "both are bad" };

export const texts = {
  unreachable: "The site can’t be reached. You may be offline.",
  refused: (status) => `The site refused this (${status}).`,
  clipMissing: (status) => `A clip of this pair can’t be loaded (${status}).`,
  clipBroken: "A clip of this pair can’t be played.",
  listenFirst: (minimum_s) => `Listen to ${minimum_s} seconds of each clip to answer`,
  listenWhole: "Listen to both clips to answer",
  listenMore: (a_s, b_s) => {
    if (a_s && b_s) return `Listen to A for ${whole(a_s)} and to B for ${seconds(b_s)} to answer`;
    return `Listen to ${a_s ? "A" : "B"} for ${seconds(a_s || b_s)} to answer`;
  },
  ready: "Answer when you are ready",
  answersOpen: "Both clips are heard. The answers are open.",
  heard: (heard_s) => `${heard_s.toFixed(1)} s`,
  heardOf: (heard_s, needed_s) => `${heard_s.toFixed(1)} of ${Number(needed_s.toFixed(1))} s`,
  position: (at_s, of_s) => `${at_s.toFixed(1)} of ${of_s.toFixed(1)} seconds`,
  progress: (n_done, n_target) => `${n_done} of ${n_target} pairs`,
  newPair: (prompt) => `Next pair. ${prompt}`,
  playing: (side) => `Playing ${side}`,
  paused: "Paused",
  loopOn: (start_s, end_s) => `Loop from ${start_s.toFixed(1)} to ${end_s.toFixed(1)} seconds`,
  loopOff: "Loop off",
  restartOn: "Switching starts from the beginning",
  restartOff: "Switching keeps the position",
  answered: (choice) => `Answered: ${choiceNames[choice]}`,
  preferred: (side) => `In the last pair you preferred ${side}:`,
  changed: (choice) => `Changed to ${choiceNames[choice]}.`,
  strengthKept: "Noted, thank you.",
  waitingToSend: (n) => `${n} ${n === 1 ? "answer waits" : "answers wait"} to be sent`,
  offline: "You are offline. Your answers are kept in this browser and sent when you are back.",
  notStored: (detail) => `Your last answer was not stored: ${detail}`,
  wasRefused: (detail) => `it was not stored: ${detail}`,
  notChanged: (detail) => `Your answer was not changed: ${detail}`,
  reported: "Thank you. The clip is reported and the pair is skipped.",
  notReported: (detail) => `The report was not stored: ${detail}`,
  signedOut: "You are signed out. Sign in again; your answers are kept in this browser.",
  outdated: "This page is out of date. Load it again; your answers are kept in this browser.",
  tryingAgain: (wait_s) => `Trying again in ${wait_s} ${wait_s === 1 ? "second" : "seconds"}.`,
  noAudio: "This browser can’t play the clips: it has no Web Audio.",
};
