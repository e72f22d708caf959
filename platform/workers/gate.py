"""Runs a candidate checkpoint through the gate: makes clips, measures them, records the figures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings

from alignment.errors import AlignmentError
from attune.catalog.models import Checkpoint, Prompt
from attune.catalog.storage import checkpoint_chain, checkpoint_folder
from attune.jobs.models import Job
from attune.rounds.models import Round, RoundState
from attune.rounds.services import finish_gate, record_evaluation
from generator.errors import GeneratorError
from workers.generators import WARM_GENERATORS, WarmGenerators, load_fresh
from workers.lease import Lease
from workers.outcomes import AttemptFailed

if TYPE_CHECKING:
    from generator.lm.sampling import SamplingSettings
    from generator.requests import ClipRequest
    from generator.synthesis import GeneratedClip, Generator

N_PROMPTS = 6
N_CLIPS_PER_PROMPT = 4
CLIP_DURATION_S = 4.0
N_REGENERATED = 2
SEED_BYTES = 7

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class GateClips:
    """Clips of the candidate and of its base, by prompt, made from the same seeds."""

    candidate: dict[str, list[GeneratedClip]]
    base: dict[str, list[GeneratedClip]]

    @property
    def of_candidate(self) -> list[GeneratedClip]:
        """All clips of the candidate."""
        return [clip for clips in self.candidate.values() for clip in clips]


def run_gate(job: Job, lease: Lease, warm: WarmGenerators = WARM_GENERATORS) -> None:
    """Measures the round's checkpoint, records every check and ends the round.

    Safe to run again: seeds and prompts are fixed by the round, an evaluation is stored by
    the name of its check, and a gate that has ended is not run twice. Raises AttemptFailed
    when it is the base that cannot be run: that says nothing about the candidate.
    """
    round = Round.objects.select_related("study", "base_checkpoint", "produced_checkpoint").get(
        pk=job.arguments["round"]
    )
    candidate = round.produced_checkpoint
    if round.state != RoundState.EVALUATING or candidate is None:
        return
    try:
        figures = _measure(round, candidate, lease, warm)
    except GeneratorError as exc:
        # A checkpoint that cannot be loaded or run has failed; what it was not measured on
        # is recorded as missing by the end of the gate.
        record_evaluation(
            round=round, check_name="integrity", figure=0.0, details={"error": str(exc)}
        )
    else:
        for check_name, (figure, details) in figures.items():
            record_evaluation(round=round, check_name=check_name, figure=figure, details=details)
    lease.renew(at_once=True)
    has_entered = finish_gate(round=round)
    logger.info("gate_finished", round=round.pk, entered_rotation=has_entered)


Figures = dict[str, tuple[float | None, dict[str, Any]]]


def _measure(round: Round, candidate: Checkpoint, lease: Lease, warm: WarmGenerators) -> Figures:
    """Returns (figure, details) by the name of the check."""
    from alignment import gate as measures
    from generator.checkpoints import verify_folder

    with _blaming_base(round.base_checkpoint):
        # A warm generator would hide files that the candidate, loaded anew, stands on.
        full_folder, adapter_folders = checkpoint_chain(round.base_checkpoint)
        for folder in (full_folder, *adapter_folders):
            verify_folder(folder)
        base_generator = warm.get(round.base_checkpoint)
    verify_folder(checkpoint_folder(candidate))
    generator = warm.get(candidate)
    fresh = load_fresh(candidate)
    lease.renew(at_once=True)
    sampling = generator.settings(round.study.sampling)
    requests = gate_requests(round)
    n_all = 2 * sum(len(batch) for batch in requests.values()) + 2 * N_REGENERATED
    counter = _Counter(lease, n_all)

    first = next(iter(requests.values()))[:N_REGENERATED]
    once = _generate([first], generator, sampling, counter)[0]
    again = _generate([first], fresh, sampling, counter)[0]
    of_candidate = _by_prompt(requests, generator, sampling, counter)
    with _blaming_base(round.base_checkpoint):
        of_base = _by_prompt(requests, base_generator, sampling, counter)
    clips = GateClips(candidate=of_candidate, base=of_base)
    made = clips.of_candidate
    asked_s = [request.duration_s for batch in requests.values() for request in batch]
    shown = {"n_clips": len(made), "n_prompts": len(requests), "duration_s": CLIP_DURATION_S}
    return {
        "integrity": _figure(
            lambda: measures.regenerated_share(once, again), {"n_regenerated": len(once)}
        ),
        "finite": _figure(lambda: measures.finite_share(made), shown),
        "silence": _figure(lambda: measures.silence_share(made), shown),
        "clipping": _figure(lambda: measures.clipping_share(made), shown),
        "duration": _figure(lambda: measures.duration_error_s(made, asked_s), shown),
        "diversity": _figure(
            lambda: measures.relative_diversity(clips.candidate, clips.base),
            {**shown, "base": round.base_checkpoint.name},
        ),
    }


@contextmanager
def _blaming_base(base: Checkpoint) -> Iterator[None]:
    """Turns what the generator refuses into the failure of the attempt, naming the base."""
    try:
        yield
    except GeneratorError as exc:
        raise AttemptFailed(f"base checkpoint {base.name} cannot be run: {exc}") from exc


def _figure(
    measure: Callable[[], float], details: dict[str, Any]
) -> tuple[float | None, dict[str, Any]]:
    """Returns a figure with its details; None with the reason where it cannot be measured."""
    try:
        return measure(), details
    except AlignmentError as exc:
        return None, {**details, "error": str(exc)}


def gate_requests(round: Round) -> dict[str, list[ClipRequest]]:
    """Returns the clips to make, by prompt: held-out prompts first, then the others.

    Prompts that follow a recording are left out, as they are from what the round learned.
    """
    from generator.requests import ClipRequest

    prompts = Prompt.objects.filter(
        prompt_set=round.study.prompt_set_id, melody__isnull=True
    ).order_by("-is_active", "-is_held_out", "pk")[:N_PROMPTS]
    return {
        prompt.text: [
            ClipRequest(
                prompt=prompt.text,
                duration_s=CLIP_DURATION_S,
                seed=gate_seed(round, prompt.pk, number),
            )
            for number in range(N_CLIPS_PER_PROMPT)
        ]
        for prompt in prompts
    }


def gate_seed(round: Round, prompt_id: int, number: int) -> int:
    """Returns a seed that depends on the round and the clip's place alone."""
    text = f"{round.pk}:{round.dataset_sha256}:{prompt_id}:{number}"
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
