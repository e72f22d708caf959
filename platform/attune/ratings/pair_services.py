"""Writes that make pairs: request them, mark them ready, keep a pool ahead of the raters."""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from attune.catalog.draws import UniformSource, draw_integer
from attune.catalog.models import Checkpoint, Clip, ClipStatus, Prompt
from attune.catalog.rotation import choose_checkpoint, choose_opponents
from attune.catalog.selectors import rotation_entries
from attune.catalog.services import ClipOrder, request_clips
from attune.ratings.choices import PairPurpose
from attune.ratings.errors import PairingError
from attune.ratings.models import Pair, Study
from attune.ratings.pairing import spread_prompts
from attune.ratings.selectors import (
    count_waiting_pairs,
    has_only_failed_lately,
    prompt_usage,
)

log = structlog.get_logger(__name__)

SEED_LIMIT = 2**31
FAILURE_PAUSE = timedelta(minutes=10)


@transaction.atomic
def request_pairs(
    *,
    study: Study,
    n_pairs: int,
    purpose: PairPurpose | str,
    rng: UniformSource,
    checkpoints: Sequence[Checkpoint] | None = None,
    held_out: bool | None = None,
    priority: int = 0,
) -> list[Pair]:
    """New pairs of the study whose clips are queued to be made.

    TRAINING pairs are two clips of one checkpoint (the given one, or drawn from rotation for
    each pair); JUDGING pairs are of two (the given ones, or drawn, a canary first). Prompts
    come least used first, held-out ones only if `held_out` is true.
    """
    if n_pairs < 1:
        raise PairingError(f"{n_pairs} pairs asked for: expected at least 1", study=study.slug)
    usage = prompt_usage(study, is_held_out=bool(held_out))
    if not usage:
        kind = "held-out" if held_out else "training"
        raise PairingError(
            f"prompt set {study.prompt_set.name!r} has no active {kind} prompt", study=study.slug
        )
    prompts = Prompt.objects.in_bulk(list(usage))
    meetings = _choose_checkpoints(study, PairPurpose(purpose), n_pairs, checkpoints, rng)
    orders: list[ClipOrder] = []
    for prompt_id, both in zip(spread_prompts(usage, n_pairs, rng), meetings, strict=True):
        seeds = _draw_seeds(rng)
        orders += [
            ClipOrder(
                prompt=prompts[prompt_id],
                checkpoint=checkpoint,
                duration_s=study.clip_duration_s,
                seed=seed,
                sampling=study.sampling,
            )
            for checkpoint, seed in zip(both, seeds, strict=True)
        ]
    clips = request_clips(requests=orders, priority=priority)
    return Pair.objects.bulk_create(
        Pair(
            study=study,
            prompt=first.prompt,
            purpose=purpose,
            first_clip=first,
            second_clip=second,
            first_checkpoint=first.checkpoint,
            second_checkpoint=second.checkpoint,
        )
        for first, second in zip(clips[::2], clips[1::2], strict=True)
    )


def mark_ready_pairs(*, clips: Sequence[Clip]) -> int:
    """How many pairs of these clips became ready. A pair with a failed clip is withdrawn."""
    ids = [clip.pk for clip in clips]
    touched = Pair.objects.filter(Q(first_clip__in=ids) | Q(second_clip__in=ids))
    failed = Q(first_clip__status=ClipStatus.FAILED) | Q(second_clip__status=ClipStatus.FAILED)
    touched.filter(failed, is_withdrawn=False).update(is_withdrawn=True)
    return touched.filter(
        is_ready=False, first_clip__status=ClipStatus.READY, second_clip__status=ClipStatus.READY
    ).update(is_ready=True)


@transaction.atomic
def fill_pool(*, study: Study, rng: UniformSource) -> int:
    """How many pairs were requested so that `pool_target` pairs wait for their first rater.

    Nothing is requested for a closed study or an empty rotation, nor for ten minutes after
    pairs that all failed: what failed a moment ago would fail again and again. With two
    checkpoints or more in rotation a share of the pairs judges; those use held-out prompts
    where there are any, since training never sees them.
    """
    study = Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    n_missing = study.pool_target - count_waiting_pairs(study)
    entries = rotation_entries(study.population)
    if not study.is_open or n_missing <= 0 or not entries:
        return 0
    if has_only_failed_lately(study, since=timezone.now() - FAILURE_PAUSE):
        log.warning("pool_waits", study=study.slug, reason="the last pairs all failed")
        return 0
    n_judging = 0
    if len(entries) > 1:
        n_judging = sum(rng.random() < study.judging_share for _ in range(n_missing))
    n_training = n_missing - n_judging
    if n_training:
        request_pairs(study=study, n_pairs=n_training, purpose=PairPurpose.TRAINING, rng=rng)
    if n_judging:
        request_pairs(
            study=study,
            n_pairs=n_judging,
            purpose=PairPurpose.JUDGING,
            rng=rng,
            held_out=bool(prompt_usage(study, is_held_out=True)),
        )
    log.info("pool_filled", study=study.slug, n_training=n_training, n_judging=n_judging)
    return n_missing


def _draw_seeds(rng: UniformSource) -> tuple[int, int]:
    """Two different seeds: equal ones would make two equal clips of one checkpoint."""
    first = draw_integer(SEED_LIMIT, rng)
    return first, (first + 1 + draw_integer(SEED_LIMIT - 1, rng)) % SEED_LIMIT


def _choose_checkpoints(
    study: Study,
    purpose: PairPurpose,
    n_pairs: int,
    given: Sequence[Checkpoint] | None,
    rng: UniformSource,
) -> list[tuple[Checkpoint, Checkpoint]]:
    """The two checkpoints of each pair; the same one twice for training."""
    match purpose:
        case PairPurpose.TRAINING:
            n_needed = 1
        case PairPurpose.JUDGING:
            n_needed = 2
        case _:
            raise PairingError(
                f"{purpose.value} pairs cannot be requested: expected training or judging",
                study=study.slug,
            )
    if given is not None:
        if len({checkpoint.pk for checkpoint in given}) != n_needed or len(given) != n_needed:
            names = ", ".join(checkpoint.name for checkpoint in given) or "none"
            raise PairingError(
                f"{purpose.value} pairs need {n_needed} different checkpoint(s), got {names}",
                study=study.slug,
            )
        return [(given[0], given[-1])] * n_pairs
    entries = list(rotation_entries(study.population))
    if len(entries) < n_needed:
        raise PairingError(
            f"{purpose.value} pairs need {n_needed} checkpoint(s) in rotation for "
            f"{study.population}, which has {len(entries)}",
            study=study.slug,
        )
    by_id = {entry.checkpoint_id: entry.checkpoint for entry in entries}
    if purpose == PairPurpose.JUDGING:
        drawn = [choose_opponents(entries, rng) for _ in range(n_pairs)]
    else:
        drawn = [(choose_checkpoint(entries, rng),) * 2 for _ in range(n_pairs)]
    return [(by_id[first], by_id[second]) for first, second in drawn]
