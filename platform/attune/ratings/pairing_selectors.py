"""What a rater may be given now: fresh pairs, gold pairs, and pairs to hear again.

The queries stay fast beside a million ratings: each walks an index and stops after some rows.
"""

import math
from collections.abc import Sequence, Set

from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from attune.catalog.models import RotationEntry
from attune.raters.models import Rater
from attune.ratings.choices import AssignmentState, PairPurpose
from attune.ratings.models import Assignment, Rating, Study
from attune.ratings.pairing import (
    REPEAT_GAP,
    Answered,
    Candidate,
    Known,
    Opponents,
    Supply,
    Tally,
    of_other_prompts,
    pairs_to_repeat,
)
from attune.ratings.trust_models import OpponentTally

CANDIDATE_LIMIT = 256
GOLD_LIMIT = 32
GOLD_RESERVE = 3
REPEAT_WINDOW = 40
TAKEN_STATES = (AssignmentState.OPEN, AssignmentState.ANSWERED)
HAD_STATES = (*TAKEN_STATES, AssignmentState.SKIPPED)
EVIDENCE = (PairPurpose.TRAINING, PairPurpose.JUDGING)
"""What pairs are made for. The others check raters."""


def supply_for(*, study: Study, rater: Rater, excluded: Sequence[int] = ()) -> Supply:
    """All that the chooser may choose from, without the prompt that the rater heard last."""
    entered = rotation_ids(study.population)
    fresh = candidate_pairs(study=study, rater=rater, excluded=excluded, entered=entered)
    if not fresh:
        return Supply(fresh=())
    gold = repeats = None
    if study.gold_share > 0:
        gold = gold_pairs(study=study, rater=rater, entered=entered)
    if study.repeat_share > 0:
        repeats = repeat_pairs(study=study, rater=rater, entered=entered)
    supply = Supply(
        fresh=fresh,
        gold=gold or (),
        repeats=repeats or (),
        tallies=opponent_tallies(population=study.population, candidates=fresh),
    )
    return of_other_prompts(supply, find_last_prompt_id(rater=rater))


def has_left_rotation(pair_path: str = "") -> Q:
    """True for pairs drawn from rotation of which a checkpoint is no longer in it.

    Taking a checkpoint out so stops its clips at once, and putting it back brings back what
    was not rated. Pairs requested by the names of their checkpoints are not concerned.
    `pair_path` leads from the queried model to the pair, with its underscores.
    """

    def in_rotation(side: str) -> Exists:
        return Exists(
            RotationEntry.objects.filter(
                population=OuterRef(f"{pair_path}study__population"),
                checkpoint=OuterRef(f"{pair_path}{side}_checkpoint"),
            )
        )

    left = ~in_rotation("first") | ~in_rotation("second")
    return Q(**{f"{pair_path}is_drawn": True}) & left


def rotation_ids(population: str) -> frozenset[int]:
    """The checkpoints in the population's rotation. Few: cheaper to name than to look up by row."""
    entries = RotationEntry.objects.filter(population=population)
    return frozenset(entries.values_list("checkpoint_id", flat=True))


def _may_be_heard(entered: Set[int]) -> Q:
    """True for pairs that were not drawn, or whose checkpoints are both among `entered`."""
    both = Q(first_checkpoint__in=entered, second_checkpoint__in=entered)
    return Q(is_drawn=False) | both


def candidate_pairs(
    *,
    study: Study,
    rater: Rater,
    excluded: Sequence[int] = (),
    entered: Set[int] | None = None,
) -> list[Candidate]:
    """Fresh pairs that the rater may be given now, at most 256: begun ones first, then oldest.

    Ready, below the study's overlap, of checkpoints still in rotation where they were drawn
    from it, and neither in hand, answered nor skipped by this rater; one that the rater left
    until its lease ran out may come again. Begun pairs stay in sight until they are complete:
    otherwise new ones would push them out.
    """
    if entered is None:
        entered = rotation_ids(study.population)
    had = Assignment.objects.filter(
        pair=OuterRef("pk"), rater=rater, is_repeat=False, state__in=HAD_STATES
    )
    n_open = (
        Assignment.objects.filter(pair=OuterRef("pk"), state=AssignmentState.OPEN, is_repeat=False)
        .order_by()
        .values("pair")
        .annotate(n=Count("pk"))
        .values("n")
    )
    rows = (
        study.pairs.filter(
            is_ready=True, is_withdrawn=False, purpose__in=EVIDENCE, n_ratings__lt=study.overlap
        )
        .exclude(pk__in=excluded)
        .filter(_may_be_heard(entered), ~Exists(had))
        .annotate(
            n_taken=F("n_ratings") + Coalesce(Subquery(n_open, output_field=IntegerField()), 0)
        )
        .filter(n_taken__lt=study.overlap)
        .order_by("-n_ratings", "pk")
    )
    fields = ("pk", "prompt_id", "purpose", "first_checkpoint_id", "second_checkpoint_id")
    return [
        Candidate(
            pair_id=pk,
            prompt_id=prompt_id,
            purpose=PairPurpose(purpose),
            opponents=(min(first, second), max(first, second)),
            n_taken=n_taken,
        )
        for pk, prompt_id, purpose, first, second, n_taken in rows.values_list(*fields, "n_taken")[
            :CANDIDATE_LIMIT
        ]
    ]


def gold_pairs(*, study: Study, rater: Rater, entered: Set[int] | None = None) -> list[Known]:
    """Gold pairs that can be heard and the rater has not been given, oldest first, at most 32."""
    if entered is None:
        entered = rotation_ids(study.population)
    had = Assignment.objects.filter(
        pair=OuterRef("pk"), rater=rater, is_repeat=False, state__in=HAD_STATES
    )
    rows = (
        study.pairs.filter(
            _may_be_heard(entered), purpose=PairPurpose.GOLD, is_ready=True, is_withdrawn=False
        )
        .filter(~Exists(had))
        .order_by("pk")
    )
    return [
        Known(pair_id=pk, prompt_id=prompt_id)
        for pk, prompt_id in rows.values_list("pk", "prompt_id")[:GOLD_LIMIT]
    ]


def count_missing_gold(study: Study) -> int:
    """Gold pairs to be made, so that every rater will find a few that they have not heard.

    As many are kept as the busiest rater of the study has heard, and a share of the pool more.
    """
    if study.gold_share == 0:
        return 0
    kept = study.pairs.filter(~has_left_rotation(), purpose=PairPurpose.GOLD, is_withdrawn=False)
    busiest = (
        Assignment.objects.filter(pair__in=kept)
        .exclude(state=AssignmentState.EXPIRED)
        .order_by()
        .values("rater")
        .annotate(n=Count("pk"))
        .order_by("-n")
        .values_list("n", flat=True)
        .first()
    )
    n_reserve = max(GOLD_RESERVE, math.ceil(study.gold_share * study.pool_target))
    return max(0, (busiest or 0) + n_reserve - kept.count())


def repeat_pairs(*, study: Study, rater: Rater, entered: Set[int] | None = None) -> list[Known]:
    """Pairs of this study that the rater answered some answers ago and may hear once more."""
    if entered is None:
        entered = rotation_ids(study.population)
    rows = list(
        Rating.objects.filter(rater=rater, pair__study=study)
        .order_by("-created_at", "-pk")
        .values_list(
            *("pair_id", "pair__prompt_id", "assignment__is_swapped", "assignment__is_repeat"),
            *("pair__purpose", "pair__is_withdrawn", "pair__is_drawn"),
            *("pair__first_checkpoint_id", "pair__second_checkpoint_id"),
        )[: REPEAT_GAP + REPEAT_WINDOW]
    )
    repeated = set(
        Assignment.objects.filter(
            pair__in=[row[0] for row in rows], rater=rater, is_repeat=True, state__in=HAD_STATES
        ).values_list("pair_id", flat=True)
    )
    return pairs_to_repeat(
        [
            Answered(
                pair_id=pair_id,
                prompt_id=prompt_id,
                is_swapped=is_swapped,
                may_repeat=purpose in EVIDENCE
                and not is_repeat
                and not is_withdrawn
                and pair_id not in repeated
                and (not is_drawn or {first, second} <= entered),
            )
            for (
                pair_id,
                prompt_id,
                is_swapped,
                is_repeat,
                purpose,
                is_withdrawn,
                is_drawn,
                first,
                second,
            ) in rows
        ]
    )


def opponent_tallies(*, population: str, candidates: Sequence[Candidate]) -> dict[Opponents, Tally]:
    """What was said so far about each two checkpoints that a judging candidate sets apart."""
    opponents = {
        candidate.opponents for candidate in candidates if candidate.purpose == PairPurpose.JUDGING
    }
    if not opponents:
        return {}
    ids = {checkpoint_id for both in opponents for checkpoint_id in both}
    rows = OpponentTally.objects.filter(
        population=population, first_checkpoint__in=ids, second_checkpoint__in=ids
    ).values_list("first_checkpoint_id", "second_checkpoint_id", "n_first", "n_second", "n_ties")
    return {(first, second): Tally(*counted) for first, second, *counted in rows}


def find_last_prompt_id(*, rater: Rater) -> int | None:
    """The prompt of the pair that the rater heard last, or is hearing, in whichever study.

    A lease is renewed when a pair is shown again, so that the latest one belongs to it.
    """
    return (
        Assignment.objects.filter(rater=rater)
        .order_by("-lease_until", "-handed_out_at")
        .values_list("pair__prompt_id", flat=True)
        .first()
    )
