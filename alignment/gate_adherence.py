"""Whether a candidate still listens to its prompts: its clips fit them as its base's clips do.

A clip that follows its prompt is likelier under that prompt than under another one's. How much
likelier, its base tells for the candidate's clips and for its own alike: a candidate that ignores
prompts makes clips that fit any of them equally well, however good they sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from alignment.collation import flat_row
from alignment.errors import AlignmentError
from alignment.face import IGNORED_LABEL, FlatAudioLM
from generator.families import AnyCore
from generator.lm.starter import StarterCore
from generator.synthesis import GeneratedClip

N_OTHERS = 2
"""How many other prompts each clip is held against."""
BATCH_CLIPS = 16
N_RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Adherence:
    """The gap of the candidate's clips as a share of that of its base's, with its interval.

    A gap is by how many nats a code a clip is likelier under its own prompt than under others.
    """

    ratio: float
    low: float
    high: float
    candidate: float
    base: float
    n_prompts: int


def prompt_gaps(
    judge: AnyCore, clips: Mapping[str, Sequence[GeneratedClip]], n_others: int = N_OTHERS
) -> NDArray[np.float64]:
    """Returns the mean gap [P] of each prompt's clips, as the judge finds them likely.

    The n-th clip of a prompt is held against what the n-th clips of the prompts after it were
    conditioned on.
    """
    prompts = list(clips)
    counts = {len(of_prompt) for of_prompt in clips.values()}
    if len(prompts) < 2 or len(counts) != 1:
        raise AlignmentError(
            f"adherence needs two prompts with as many clips, got {len(prompts)} prompts with "
            f"{sorted(counts)} clips"
        )
    steps = range(1, 1 + min(n_others, len(prompts) - 1))
    asked = [
        (clip, header_of_other(judge, clip, clips[prompts[(place + step) % len(prompts)]][number]))
        for place, prompt in enumerate(prompts)
        for number, clip in enumerate(clips[prompt])
        for step in (0, *steps)
    ]
    found = mean_log_probs(judge, [clip for clip, _ in asked], [header for _, header in asked])
    by_prompt = found.reshape(len(prompts), counts.pop(), 1 + len(steps))
    gaps: NDArray[np.float64] = (by_prompt[..., :1] - by_prompt[..., 1:]).mean(axis=(1, 2))
    return gaps


def header_of_other(core: AnyCore, clip: GeneratedClip, other: GeneratedClip) -> tuple[int, ...]:
    """Returns the header of the other clip, with what tells the metre as in the clip's own.

    The starter hears beat and bar apart from the text: a clip off the beat would be unlikely even
    to a core that reads no prompt.
    """
    if not isinstance(core, StarterCore):
        return other.header
    metre = dict((*core.config.beat_ids, *core.config.bar_ids))
    return tuple(
        theirs if metre.get(own) == metre.get(theirs) else own
        for own, theirs in zip(clip.header, other.header, strict=True)
    )


@torch.no_grad()
def mean_log_probs(
    core: AnyCore, clips: Sequence[GeneratedClip], headers: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    """Returns each clip's mean log-probability a code [N], as if its header had been asked for."""
    face = FlatAudioLM(core)
    device = next(core.parameters()).device
    vocabulary = face.vocabulary
    means = []
    for start in range(0, len(clips), BATCH_CLIPS):
        part = slice(start, start + BATCH_CLIPS)
        rows = [
            flat_row(vocabulary, header, torch.from_numpy(clip.codes).long(), core.frame_rate_hz)
            for clip, header in zip(clips[part], headers[part], strict=True)
        ]
        ids = pad_sequence(rows, batch_first=True, padding_value=float(vocabulary.pad)).to(device)
        is_code = vocabulary.is_code(ids)
        labels = ids.masked_fill(~is_code, IGNORED_LABEL)
        summed = face(input_ids=ids, labels=labels, fused_lm_head=True).log_probs.sum(1)
        means.append((summed / is_code.sum(1)).double().cpu().numpy())
    return np.concatenate(means)


def relative_adherence(
    candidate: NDArray[np.float64], base: NDArray[np.float64], rng: np.random.Generator
) -> Adherence:
    """Returns the candidate's gaps [P] as a share of its base's; the interval is over prompts.

    AlignmentError where the base itself cannot be shown to listen: nothing can be lost then.
    """
    drawn = rng.integers(len(base), size=(N_RESAMPLES, len(base)))
    tail = (1 - CONFIDENCE) / 2
    sums = base[drawn].sum(axis=1)
    if np.quantile(sums, tail) <= 0.0:
        raise AlignmentError(
            f"the base's own clips fit their prompts no better than others, by {base.mean():.4f} "
            f"nats a code over {len(base)} prompts"
        )
    ratios = candidate[drawn].sum(axis=1) / np.maximum(sums, np.finfo(float).tiny)
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return Adherence(
        ratio=float(candidate.sum() / base.sum()),
        low=float(low),
        high=float(high),
        candidate=float(candidate.mean()),
        base=float(base.mean()),
        n_prompts=len(base),
    )
