"""Completion of a header: the beat, the key and the swing that a prompt leaves open.

A small language model that must find its own beat loses it after a few bars. The plan decides it
instead, as the composer of the corpus would: at random, but in keeping with what the prompt says.
Everything a listener may prefer (lead, tone, density, drums, mode) stays open for the language
model, so that alignment can move it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from generator.corpus.attributes import FRAMES_PER_BEAT_OF_TEMPO, draw_attributes
from generator.text.header import SlotValue, decode_header, encode_header

PLANNED = ("tempo", "frames_per_beat", "root", "swing")
GUIDES = ("style", "tempo", "frames_per_beat", "swing")
N_DRAWS = 400


def plan_rng(seed: int) -> random.Random:
    """Returns the random stream of a clip's plan; the seeds 2n and 2n + 1 share theirs.

    The two clips of a pair are asked for with such seeds: they differ in how they are played, not
    in key or beat, and alignment may compare them under one header.
    """
    return random.Random(f"attune-plan-{seed // 2}")


def agreement(drawn: Mapping[str, SlotValue], told: Mapping[str, SlotValue]) -> int:
    """Returns how many of the guiding slots of a drawing are as told."""
    return sum(drawn[name] == told[name] for name in GUIDES if name in told)


def complete_header(header: Sequence[int], rng: random.Random) -> tuple[int, ...]:
    """Returns the header with every slot of PLANNED filled; what it tells is kept."""
    told = decode_header(header)
    n_guides = sum(name in told for name in GUIDES)
    best, most = None, -1
    for _ in range(N_DRAWS):
        drawn = draw_attributes(rng).to_json()
        if told.get("frames_per_beat", drawn["frames_per_beat"]) != drawn["frames_per_beat"]:
            continue
        if told.get("tempo", drawn["tempo"]) != drawn["tempo"]:
            continue
        count = agreement(drawn, told)
        if count > most:
            best, most = drawn, count
        if count == n_guides:
            break
    if best is None:  # a tempo and a beat that contradict each other: the beat is what is played
        best = draw_attributes(rng).to_json()
        best["frames_per_beat"] = told["frames_per_beat"]
    frames = told.get("frames_per_beat", best["frames_per_beat"])
    tempo = next(t for t, choices in FRAMES_PER_BEAT_OF_TEMPO.items() if frames in choices)
    filled = {name: best[name] for name in PLANNED} | told
    return tuple(encode_header(filled | {"frames_per_beat": frames, "tempo": tempo}))
