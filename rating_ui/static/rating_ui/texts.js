// Every sentence that the script of the rating page writes, in one place.

import { digits, fill, gettext, ngettext } from "./gettext.js";

const whole = (value_s) => Math.max(1, Math.ceil(value_s));

const choiceNames = {
  A: "A",
  B: "B",
  TIE: gettext("a tie"),
  BOTH_BAD: gettext("both are bad"),
};

const aspectQuestions = {
  prompt_fit: gettext("Which fits the description better?"),
  musicality: gettext("Which is the better music?"),
  sound_quality: gettext("Which has the better sound quality?"),
};

const aspectNames = {
  prompt_fit: gettext("Fit"),
  musicality: gettext("Music"),
  sound_quality: gettext("Sound"),
};

const notices = {
  listen_closely: gettext(
    "A few of your answers surprised us. Perhaps the sound is too soft, or there is noise around you. Take your time, hear both clips well, and pause whenever you like.",
  ),
};

/** 72.4 as 1:12 */
export function clock(at_s) {
  const all_s = Math.floor(at_s + 1e-6);
  return `${Math.floor(all_s / 60)}:${String(all_s % 60).padStart(2, "0")}`;
}

export const texts = {
  unreachable: gettext("The site can’t be reached. You may be offline."),
  refused: (status) => fill(gettext("The site refused this (%(status)s)."), { status }),
  clipMissing: (status) =>
    fill(gettext("A clip of this pair can’t be loaded (%(status)s)."), { status }),
  clipBroken: gettext("A clip of this pair can’t be played."),
  listenFirst: (minimum_s) =>
    fill(gettext("Listen to %(n)s seconds of each clip to answer"), {
      n: digits(minimum_s, Number.isInteger(minimum_s) ? 0 : 1),
    }),
  listenWhole: gettext("Listen to both clips to answer"),
  listenMore: (a_s, b_s) => {
    if (a_s && b_s) {
      const message = ngettext(
        "Listen to A for %(a)s and to B for %(b)s more second to answer",
        "Listen to A for %(a)s and to B for %(b)s more seconds to answer",
        whole(b_s),
      );
      return fill(message, { a: whole(a_s), b: whole(b_s) });
    }
    const n = whole(a_s || b_s);
    const message = ngettext(
      "Listen to %(side)s for %(n)s more second to answer",
      "Listen to %(side)s for %(n)s more seconds to answer",
      n,
    );
    return fill(message, { side: a_s ? "A" : "B", n });
  },
  ready: gettext("Answer when you are ready"),
  answersOpen: gettext("Both clips are heard. The answers are open."),
  heard: (heard_s) => fill(gettext("%(n)s s"), { n: digits(heard_s) }),
  heardOf: (heard_s, needed_s) =>
    fill(gettext("%(n)s of %(needed)s s"), {
      n: digits(heard_s),
      needed: digits(needed_s, Number.isInteger(Number(needed_s.toFixed(1))) ? 0 : 1),
    }),
  position: (at_s, of_s) =>
    fill(gettext("%(at)s of %(end)s seconds"), { at: digits(at_s), end: digits(of_s) }),
  progress: (n_done, n_target) =>
    fill(gettext("%(n)s of %(all)s pairs"), { n: n_done, all: n_target }),
  newPair: (prompt) => fill(gettext("Next pair. %(prompt)s"), { prompt }),
  playing: (side) => fill(gettext("Playing %(side)s"), { side }),
  paused: gettext("Paused"),
  loopOn: (start_s, end_s) =>
    fill(gettext("Loop from %(start)s to %(end)s seconds"), {
      start: digits(start_s),
      end: digits(end_s),
    }),
  loopOff: gettext("Loop off"),
  restartOn: gettext("Switching starts from the beginning"),
  restartOff: gettext("Switching keeps the position"),
  answered: (choice) => fill(gettext("Answered: %(choice)s"), { choice: choiceNames[choice] }),
  preferred: (side) => fill(gettext("In the last pair you preferred %(side)s:"), { side }),
  preferredHere: (side) => fill(gettext("You preferred %(side)s:"), { side }),
  changed: (choice) => fill(gettext("Changed to: %(choice)s."), { choice: choiceNames[choice] }),
  strengthKept: gettext("Noted, thank you."),
  waitingToSend: (n) =>
    fill(ngettext("%(n)s answer waits to be sent", "%(n)s answers wait to be sent", n), { n }),
  offline: gettext(
    "You are offline. Your answers are kept in this browser and sent when you are back.",
  ),
  notStored: (detail) => fill(gettext("Your last answer was not stored: %(detail)s"), { detail }),
  wasRefused: (detail) => fill(gettext("it was not stored: %(detail)s"), { detail }),
  notChanged: (detail) => fill(gettext("Your answer was not changed: %(detail)s"), { detail }),
  reported: gettext("Thank you. The clip is reported and the pair is skipped."),
  notReported: (detail) => fill(gettext("The report was not stored: %(detail)s"), { detail }),
  signedOut: gettext(
    "You are signed out. Sign in again; your answers are kept in this browser.",
  ),
  outdated: gettext(
    "This page is out of date. Load it again; your answers are kept in this browser.",
  ),
  tryingAgain: (wait_s) =>
    fill(
      ngettext("Trying again in %(n)s second.", "Trying again in %(n)s seconds.", wait_s),
      { n: wait_s },
    ),
  noAudio: gettext("This browser can’t play the clips: it has no Web Audio."),

  overall: gettext("Overall"),
  aspectName: (aspect) => aspectNames[aspect] ?? aspect,
  aspectQuestion: (aspect) => aspectQuestions[aspect] ?? aspect,
  pass: (n, all) =>
    fill(gettext("Question %(n)s of %(all)s about the same two clips"), { n, all }),
  aspectNotStored: (detail) =>
    fill(gettext("An answer about the last pair was not stored: %(detail)s"), { detail }),
  notice: (kind) => notices[kind] ?? "",
  breakOffered: (minutes) =>
    fill(
      ngettext(
        "You have been listening for %(n)s minute.",
        "You have been listening for %(n)s minutes.",
        minutes,
      ),
      { n: minutes },
    ),
  youSaid: (choice) => fill(gettext("You said: %(choice)s"), { choice: choiceNames[choice] }),
  noHistory: gettext("Nothing yet: your answers of this sitting will stand here."),

  remarkAt: (side, at_s) =>
    fill(gettext("Remark on %(side)s at %(at)s"), { side, at: clock(at_s) }),
  hear: gettext("Hear"),
  removeRemark: (side, at_s) =>
    fill(gettext("Remove the remark on %(side)s at %(at)s"), { side, at: clock(at_s) }),
  remarkAdded: (side, at_s) =>
    fill(gettext("Remark added on %(side)s at %(at)s"), { side, at: clock(at_s) }),
  remarkRemoved: gettext("Remark removed"),
  remarkNotStored: (detail) => fill(gettext("The remark was not stored: %(detail)s"), { detail }),
};
