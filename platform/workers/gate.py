"""Runs a candidate checkpoint through the gate: makes clips, measures them, records the figures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from django.conf import settings

from attune.catalog.models import Checkpoint, Prompt, PromptSet
from attune.catalog.storage import checkpoint_chain, checkpoint_folder, full_checkpoint
from attune.jobs.models import Job
from attune.rounds.models import Round, RoundState
from attune.rounds.services import finish_gate, record_evaluation
from generator.errors import GeneratorError
from workers.generators import WARM_GENERATORS, WarmGenerators, load_fresh
from workers.lease import Lease
from workers.outcomes import AttemptFailed, WorkFailed

if TYPE_CHECKING:
    from alignment.gate_embedding import ClipEmbedder
    from alignment.gate_measuring import Figure, GateClips
    from generator.lm.sampling import SamplingSettings
    from generator.requests import ClipRequest
    from generator.synthesis import GeneratedClip, Generator

SEED_BYTES = 7

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class GatePlan:
    """How much the gate makes: about n_clips clips a side, as many of each prompt.

    The base makes n_sets times as many, for the band that it spans itself.
    """

    n_prompts: int = 12
    n_clips: int = 48
    duration_s: float = 4.0
    n_sets: int = 3
    n_regenerated: int = 2

    def __post_init__(self) -> None:
        if self.n_sets < 2:
            raise ValueError(f"a band needs at least 2 sets of clips, got {self.n_sets}")
        if self.n_clips < 2 * self.n_prompts:
            raise ValueError(
                f"diversity needs 2 clips of each of {self.n_prompts} prompts, got {self.n_clips}"
            )


PLAN = GatePlan()


@dataclass(frozen=True)
class Trial:
    """What is judged: a candidate beside its base, on prompts, from seeds of its own.

    Beside stands the anchor as well, the full checkpoint from which all rounds began: what each
    of them may change adds up.
    """

    candidate: Checkpoint
    base: Checkpoint
    prompts: Sequence[Prompt]
    sampling: dict[str, Any]
    seed: str

    @property
    def anchor(self) -> Checkpoint:
        """The full checkpoint that the base adapts, or is."""
        return full_checkpoint(self.base)

    @classmethod
    def of_round(cls, round: Round, candidate: Checkpoint) -> Trial:
        """The trial of the checkpoint that a round produced."""
        return cls(
            candidate=candidate,
            base=round.base_checkpoint,
            prompts=gate_prompts(round.study.prompt_set),
            sampling=round.study.sampling,
            seed=f"{round.pk}:{round.dataset_sha256}",
        )


def run_gate(job: Job, lease: Lease, warm: WarmGenerators = WARM_GENERATORS) -> None:
    """Measures the round's checkpoint, records every check and ends the round.

    Safe to run again: seeds and prompts are fixed by the round, an evaluation is stored by
    the name of its check, and a gate that has ended is not run twice. Raises AttemptFailed
    when it is the base that cannot be run: that says nothing about the candidate.
    """
    from alignment.gate_measuring import Figure, held_out_figures

    round = Round.objects.select_related("study", "base_checkpoint", "produced_checkpoint").get(
        pk=job.arguments["round"]
    )
    candidate = round.produced_checkpoint
    if round.state != RoundState.EVALUATING or candidate is None:
        return
    figures = held_out_figures(round.summary, round.counts)
    try:
        figures |= measure_candidate(Trial.of_round(round, candidate), lease, warm)
    except GeneratorError as exc:
        # A checkpoint that cannot be loaded or run has failed; what it was not measured on
        # is recorded as missing by the end of the gate.
        figures["integrity"] = Figure(0.0, {"error": str(exc)})
    for check_name, figure in figures.items():
        record_evaluation(
            round=round, check_name=check_name, figure=figure.value, details=figure.details
        )
    lease.renew(at_once=True)
    has_entered = finish_gate(round=round)
    logger.info("gate_finished", round=round.pk, entered_rotation=has_entered)


def measure_candidate(
    trial: Trial, lease: Lease, warm: WarmGenerators = WARM_GENERATORS, plan: GatePlan | None = None
) -> dict[str, Figure]:
    """Returns what the candidate's clips show, by the name of the check.

    Weights that are no numbers make no clips: then only that is found. Raises GeneratorError
    where the candidate cannot be loaded or run, AttemptFailed where it is the base.
    """
    from alignment.gate import bad_weights
    from alignment.gate_measuring import Figure, measure_clips
    from generator.checkpoints import verify_folder

    plan = plan or PLAN
    if not trial.prompts:
        raise WorkFailed("the gate needs a prompt that follows no recording, the study has none")
    with _blaming_base(trial.base):
        # A warm generator would hide files that the candidate, loaded anew, stands on.
        full_folder, adapter_folders = checkpoint_chain(trial.base)
        for folder in (full_folder, *adapter_folders):
            verify_folder(folder)
        base = warm.get(trial.base)
        anchor = base if trial.anchor == trial.base else warm.get(trial.anchor)
    verify_folder(checkpoint_folder(trial.candidate))
    candidate = warm.get(trial.candidate)
    if names := bad_weights(candidate):
        error = f"{len(names)} weights hold NaN or infinities, such as {names[0]}"
        return {"finite": Figure(0.0, {"weights": names, "remark": error})}
    lease.renew(at_once=True)
    clips = _make_clips(trial, candidate, base=base, anchor=anchor, lease=lease, plan=plan)
    lease.renew(at_once=True)
    return measure_clips(
        clips,
        duration_s=plan.duration_s,
        anchor=anchor.core,
        find_embedder=partial(_embedder, trial, clips.of_candidate[0]),
        rng=np.random.default_rng(gate_seed(trial.seed, 0, 0)),
    )


def _make_clips(
    trial: Trial,
    candidate: Generator,
    *,
    base: Generator,
    anchor: Generator,
    lease: Lease,
    plan: GatePlan,
) -> GateClips:
    """Returns the clips of all sides; the first set of each has the candidate's seeds."""
    from alignment.gate_measuring import GateClips

    fresh = load_fresh(trial.candidate)
    requests = gate_requests(trial, plan)
    n_clips = sum(len(batch) for batch in requests[0].values())
    n_sets = 1 + plan.n_sets * (1 if anchor is base else 2)
    counter = _Counter(lease, n_sets * n_clips + 2 * plan.n_regenerated)
    first = next(iter(requests[0].values()))[: plan.n_regenerated]
    asked = candidate.settings(trial.sampling)
    once = _generate([first], candidate, asked, counter)[0]
    again = _generate([first], fresh, asked, counter)[0]
    of_candidate = _by_prompt(requests[0], candidate, asked, counter)
    with _blaming_base(trial.base):
        asked = base.settings(trial.sampling)
        of_base = [_by_prompt(one, base, asked, counter) for one in requests]
        of_anchor = of_base
        if anchor is not base:
            asked = anchor.settings(trial.sampling)
            of_anchor = [_by_prompt(one, anchor, asked, counter) for one in requests]
    return GateClips(candidate=of_candidate, base=of_base, anchor=of_anchor, once=once, again=again)


def _embedder(trial: Trial, clip: GeneratedClip) -> ClipEmbedder:
    from alignment.gate_embedding import load_embedder

    return load_embedder(
        Path(settings.ATTUNE_ENCODER),
        starter=Path(settings.ATTUNE_STARTER),
        checkpoints=[checkpoint_chain(side)[0] for side in (trial.base, trial.candidate)],
        clip=clip,
    )


@contextmanager
def _blaming_base(base: Checkpoint) -> Iterator[None]:
    """Turns what the generator refuses into the failure of the attempt, naming the base."""
    try:
        yield
    except GeneratorError as exc:
        raise AttemptFailed(f"base checkpoint {base.name} cannot be run: {exc}") from exc


def gate_prompts(prompt_set: PromptSet, n_prompts: int | None = None) -> list[Prompt]:
    """Returns the prompts to judge on: held-out ones first, then the others.

    Prompts that follow a recording are left out, as they are from what the round learned.
    """
    found = Prompt.objects.filter(prompt_set=prompt_set, melody__isnull=True)
    ordered = found.order_by("-is_active", "-is_held_out", "pk")
    return list(ordered[: PLAN.n_prompts if n_prompts is None else n_prompts])


def gate_requests(trial: Trial, plan: GatePlan) -> list[dict[str, list[ClipRequest]]]:
    """Returns the clips to make, by prompt, in sets that differ in their seeds alone."""
    from generator.requests import ClipRequest

    n_each = max(2, plan.n_clips // len(trial.prompts))
    return [
        {
            prompt.text: [
                ClipRequest(
                    prompt=prompt.text,
                    duration_s=plan.duration_s,
                    seed=gate_seed(trial.seed, prompt.pk, number),
                )
                for number in range(n_set * n_each, (n_set + 1) * n_each)
            ]
            for prompt in trial.prompts
        }
        for n_set in range(plan.n_sets)
    ]


def gate_seed(seed: str, prompt_id: int, number: int) -> int:
    """Returns a seed that depends on the trial and the clip's place alone."""
    text = f"{seed}:{prompt_id}:{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:SEED_BYTES], "big")


class _Counter:
    """Renews the lease with the share of all clips that are made."""

    def __init__(self, lease: Lease, n_all: int) -> None:
        self._lease = lease
        self._n_all = n_all
        self._n_done = 0

    def within(self, n_clips: int, share: float) -> None:
        """Reports a batch that is partly made."""
        done = (self._n_done + share * n_clips) / self._n_all
        self._lease.renew({"share": round(done, 3)})

    def add(self, n_clips: int) -> None:
        """Reports a batch that is made."""
        self._n_done += n_clips


def _by_prompt(
    requests: dict[str, list[ClipRequest]],
    generator: Generator,
    sampling: SamplingSettings,
    counter: _Counter,
) -> dict[str, list[GeneratedClip]]:
    made = _generate(list(requests.values()), generator, sampling, counter)
    return dict(zip(requests, made, strict=True))


def _generate(
    batches: Sequence[Sequence[ClipRequest]],
    generator: Generator,
    sampling: SamplingSettings,
    counter: _Counter,
) -> list[list[GeneratedClip]]:
    """Returns the clips of each batch; batches are joined up to the site's batch size."""
    flat = [request for batch in batches for request in batch]
    size = int(settings.ATTUNE_MAX_BATCH_CLIPS)
    made: list[GeneratedClip] = []
    for start in range(0, len(flat), size):
        part = flat[start : start + size]
        made += generator.generate(
            part,
            sampling,
            partial(counter.within, len(part)),
        )
        counter.add(len(part))
    clips = iter(made)
    return [[next(clips) for _ in batch] for batch in batches]
