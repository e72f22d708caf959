"""Writes that make pairs: request them, mark them ready, keep a pool ahead of the raters."""

from collections.abc import Sequence
from datetime import timedelta
from typing import assert_never

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from attune.catalog.damage_services import DamageOrder, request_damaged_copies
from attune.catalog.draws import UniformSource, draw_integer
from attune.catalog.models import (
    Checkpoint,
    Clip,
    ClipStatus,
    Damage,
    Population,
    Prompt,
    RotationEntry,
)
from attune.catalog.rotation import choose_checkpoint, choose_opponents, rotation_shares
from attune.catalog.selectors import rotation_entries
from attune.catalog.services import ClipOrder, request_clips
from attune.ratings.choices import PairPurpose
from attune.ratings.errors import PairingError
from attune.ratings.models import Pair, Study
from attune.ratings.pairing import spread_prompts
from attune.ratings.pairing_selectors import count_missing_gold
from attune.ratings.selectors import (
    count_waiting_pairs,
    has_only_failed_lately,
    has_pair_since,
    prompt_usage,
)

log = structlog.get_logger(__name__)

GOLD_PRIORITY = -1
SEED_LIMIT = 2**31
FAILURE_PAUSE = timedelta(minutes=10)

Meeting = tuple[Checkpoint, Checkpoint]


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
    each pair); JUDGING pairs are of two (the given ones, or drawn, a canary first); GOLD pairs
    are one clip of a checkpoint and a damaged copy of it. Drawn
    pairs are handed out only while their checkpoints are in rotation, given ones always.
    Prompts come least used first, held-out ones only if `held_out` is true.
    """
    if n_pairs < 1:
        raise PairingError(f"{n_pairs} pairs asked for: expected at least 1", study=study.slug)
    meetings = _choose_checkpoints(study, PairPurpose(purpose), n_pairs, checkpoints, rng)
    if purpose == PairPurpose.GOLD:
        return _request_gold(
            study,
            [checkpoint for checkpoint, _ in meetings],
            rng,
            held_out=bool(held_out),
            priority=priority,
            is_drawn=checkpoints is None,
        )
    return _request_meetings(
        study,
        PairPurpose(purpose),
        meetings,
        rng,
        held_out=bool(held_out),
        priority=priority,
        is_drawn=checkpoints is None,
    )


def _request_meetings(
    study: Study,
    purpose: PairPurpose,
    meetings: Sequence[Meeting],
    rng: UniformSource,
    *,
    held_out: bool,
    priority: int = 0,
    is_drawn: bool,
) -> list[Pair]:
    """One new pair for each two checkpoints that meet."""
    prompts = _spread_prompts(study, len(meetings), rng, held_out=held_out)
    orders: list[ClipOrder] = []
    for prompt, both in zip(prompts, meetings, strict=True):
        seeds = _draw_seeds(rng)
        orders += [
            ClipOrder(
                prompt=prompt,
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
            is_drawn=is_drawn,
        )
        for first, second in zip(clips[::2], clips[1::2], strict=True)
    )


def _request_gold(
    study: Study,
    checkpoints: Sequence[Checkpoint],
    rng: UniformSource,
    *,
    held_out: bool,
    priority: int,
    is_drawn: bool,
) -> list[Pair]:
    """One new gold pair for each checkpoint: a clip made for it, and a damaged copy."""
    prompts = _spread_prompts(study, len(checkpoints), rng, held_out=held_out)
    clips = request_clips(
        requests=[
            ClipOrder(
                prompt=prompt,
                checkpoint=checkpoint,
                duration_s=study.clip_duration_s,
                seed=_draw_seeds(rng)[0],
                sampling=study.sampling,
            )
            for prompt, checkpoint in zip(prompts, checkpoints, strict=True)
        ],
        priority=priority,
    )
    kinds = list(Damage)
    copies = request_damaged_copies(
        orders=[
            DamageOrder(
                original=clip,
                damage=kinds[draw_integer(len(kinds), rng)],
                seed=_draw_seeds(rng)[0],
            )
            for clip in clips
        ]
    )
    return Pair.objects.bulk_create(
        Pair(
            study=study,
            prompt=clip.prompt,
            purpose=PairPurpose.GOLD,
            first_clip=clip,
            second_clip=copy,
            first_checkpoint=clip.checkpoint,
            second_checkpoint=clip.checkpoint,
            is_drawn=is_drawn,
        )
        for clip, copy in zip(clips, copies, strict=True)
    )


def _spread_prompts(
    study: Study, n_pairs: int, rng: UniformSource, *, held_out: bool
) -> list[Prompt]:
    """The prompt of each pair, least used first."""
    usage = prompt_usage(study, is_held_out=held_out)
    if not usage:
        kind = "held-out" if held_out else "training"
        raise PairingError(
            f"prompt set {study.prompt_set.name!r} has no active {kind} prompt", study=study.slug
        )
    prompts = Prompt.objects.in_bulk(list(usage))
    return [prompts[prompt_id] for prompt_id in spread_prompts(usage, n_pairs, rng)]


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
    where there are any, since training never sees them. A checkpoint that came into rotation
    since the pool was filled has pairs at once, beyond `pool_target`, and so have gold pairs:
    each goes to every rater once, so that a few are enough.
    """
    study = Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    n_missing = study.pool_target - count_waiting_pairs(study)
    entries = list(rotation_entries(study.population))
    if not study.is_open or study.pool_target <= 0 or not entries:
        return 0
    if has_only_failed_lately(study, since=timezone.now() - FAILURE_PAUSE):
        log.warning("pool_waits", study=study.slug, reason="the last pairs all failed")
        return 0
    if n_missing > 0:
        n_judging = _draw_judging(study, n_missing, n_others=len(entries) - 1, rng=rng)
        n_training = n_missing - n_judging
        _request_pool_pairs(
            study,
            training=_draw_meetings(study, PairPurpose.TRAINING, n_training, rng),
            judging=_draw_meetings(study, PairPurpose.JUDGING, n_judging, rng),
            rng=rng,
        )
    n_first = _request_first_pairs(study, entries, rng)
    n_gold = _request_missing_gold(study, rng)
    n_requested = max(0, n_missing) + n_first + n_gold
    if n_requested:
        log.info(
            "pool_filled", study=study.slug, n_pairs=n_requested, n_of_new=n_first, n_gold=n_gold
        )
    return n_requested


def _request_first_pairs(study: Study, entries: Sequence[RotationEntry], rng: UniformSource) -> int:
    """How many pairs were requested of checkpoints that came into rotation and have none yet.

    A full pool would hide a new canary until raters have worked through it. So it gets its
    share of the pool at once, one pair at least, beyond `pool_target`.
    """
    shares = rotation_shares(entries)
    n_requested = 0
    for entry in entries:
        if has_pair_since(study, entry.checkpoint_id, since=entry.entered_at):
            continue
        n_pairs = max(1, round(shares[entry.checkpoint_id] * study.pool_target))
        others = [other for other in entries if other != entry]
        n_judging = _draw_judging(study, n_pairs, n_others=len(others), rng=rng)
        by_id = {other.checkpoint_id: other.checkpoint for other in others}
        opponents = [by_id[choose_checkpoint(others, rng)] for _ in range(n_judging)]
        _request_pool_pairs(
            study,
            training=[(entry.checkpoint, entry.checkpoint)] * (n_pairs - n_judging),
            judging=[(entry.checkpoint, opponent) for opponent in opponents],
            rng=rng,
        )
        n_requested += n_pairs
    return n_requested


def _request_missing_gold(study: Study, rng: UniformSource) -> int:
    """How many gold pairs were requested, so that the busiest rater will find some to hear.

    They are made after all else: raters can begin without them.
    """
    n_pairs = count_missing_gold(study)
    if n_pairs:
        request_pairs(
            study=study,
            n_pairs=n_pairs,
            purpose=PairPurpose.GOLD,
            rng=rng,
            held_out=not prompt_usage(study, is_held_out=False),
            priority=GOLD_PRIORITY,
        )
    return n_pairs


def _request_pool_pairs(
    study: Study, *, training: Sequence[Meeting], judging: Sequence[Meeting], rng: UniformSource
) -> None:
    """Requests drawn pairs; judging ones on held-out prompts where there are any."""
    if training:
        _request_meetings(study, PairPurpose.TRAINING, training, rng, held_out=False, is_drawn=True)
    if judging:
        has_held_out = bool(prompt_usage(study, is_held_out=True))
        _request_meetings(
            study, PairPurpose.JUDGING, judging, rng, held_out=has_held_out, is_drawn=True
        )


def _draw_judging(study: Study, n_pairs: int, *, n_others: int, rng: UniformSource) -> int:
    """How many of the pairs judge: each with the study's probability, none without opponents."""
    if not n_others:
        return 0
    return sum(rng.random() < study.judging_share for _ in range(n_pairs))


def _draw_seeds(rng: UniformSource) -> tuple[int, int]:
    """Two different seeds: equal ones would make two equal clips of one checkpoint.

    They differ in their last bit. A generator plans key and beat by the bits above it, so that
    the clips of a pair share them and rounds may compare them under one header.
    """
    first = draw_integer(SEED_LIMIT, rng)
    return first, first ^ 1


def _choose_checkpoints(
    study: Study,
    purpose: PairPurpose,
    n_pairs: int,
    given: Sequence[Checkpoint] | None,
    rng: UniformSource,
) -> list[Meeting]:
    """The two checkpoints of each pair; the same one twice for training."""
    match purpose:
        case PairPurpose.TRAINING | PairPurpose.GOLD:
            n_needed = 1
        case PairPurpose.JUDGING:
            n_needed = 2
        case _:
            assert_never(purpose)
    if given is not None:
        _refuse_simulated(study, given)
        if len({checkpoint.pk for checkpoint in given}) != n_needed or len(given) != n_needed:
            names = ", ".join(checkpoint.name for checkpoint in given) or "none"
            raise PairingError(
                f"{purpose.value} pairs need {n_needed} different checkpoint(s), got {names}",
                study=study.slug,
            )
        return [(given[0], given[-1])] * n_pairs
    return _draw_meetings(study, purpose, n_pairs, rng)


def _refuse_simulated(study: Study, checkpoints: Sequence[Checkpoint]) -> None:
    """People hear no checkpoint that learned from simulated ratings."""
    simulated = [checkpoint.name for checkpoint in checkpoints if checkpoint.is_simulated]
    if simulated and study.population == Population.PEOPLE:
        raise PairingError(
            f"checkpoint {', '.join(simulated)} learned from simulated ratings and study "
            f"{study.slug!r} is for people: expected checkpoints without simulated ancestry",
            study=study.slug,
        )


def _draw_meetings(
    study: Study, purpose: PairPurpose, n_pairs: int, rng: UniformSource
) -> list[Meeting]:
    """The two checkpoints of each pair, drawn from the rotation of the study's population."""
    if not n_pairs:
        return []
    n_needed = 2 if purpose == PairPurpose.JUDGING else 1
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
