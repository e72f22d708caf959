"""Writes about trusting raters: warnings, exclusions from datasets, and accepted work.

Using a rater's answers and accepting (paying) their work are two facts: no write here touches
both.
"""

from datetime import datetime
from typing import assert_never

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Max
from django.db.models.functions import Greatest

from attune.raters.models import Rater
from attune.ratings.choices import Choice, PairPurpose
from attune.ratings.errors import TrustError
from attune.ratings.models import Rating, Study
from attune.ratings.trust import GOLD_RULE, GoldAnswer, GoldRule, gold_outcome, review_gold
from attune.ratings.trust_models import (
    OpponentTally,
    RaterExclusion,
    RaterWarning,
    WorkDecision,
)

log = structlog.get_logger(__name__)

BY_HAND = "by-hand"
BY_HAND_VERSION = 1
REASON_CHARACTERS = 500


@transaction.atomic
def exclude_rater(*, rater: Rater, actor: User, reason: str, now: datetime) -> RaterExclusion:
    """A person's decision to leave the rater's answers out of datasets that are frozen later.

    A rater who is excluded already keeps the exclusion that stands. TrustError without a reason.
    """
    said = _check_reason(reason)
    Rater.objects.select_for_update(no_key=True).get(pk=rater.pk)
    exclusion, is_new = RaterExclusion.objects.get_or_create(
        rater=rater,
        lifted_at=None,
        defaults={
            "rule": BY_HAND,
            "rule_version": BY_HAND_VERSION,
            "reason": said,
            "made_at": now,
            "made_by": actor,
        },
    )
    if is_new:
        log.info("rater_excluded", rater=str(rater.pseudonym), rule=BY_HAND, actor=actor.pk)
    return exclusion


@transaction.atomic
def lift_exclusion(*, rater: Rater, actor: User, reason: str, now: datetime) -> RaterExclusion:
    """The exclusion that stood, now lifted: the rater's answers count again, old ones too.

    What was missed before is not held against the rater any more. TrustError where nothing
    stands, or without a reason.
    """
    said = _check_reason(reason)
    exclusion = (
        RaterExclusion.objects.select_for_update(of=("self",))
        .filter(rater=rater, lifted_at__isnull=True)
        .first()
    )
    if exclusion is None:
        raise TrustError(f"rater {rater.pseudonym} is not excluded: there is nothing to lift")
    exclusion.lifted_at = now
    exclusion.lifted_by = actor
    exclusion.lift_reason = said
    exclusion.save(update_fields=["lifted_at", "lifted_by", "lift_reason"])
    log.info("exclusion_lifted", rater=str(rater.pseudonym), rule=exclusion.rule, actor=actor.pk)
    return exclusion


def decide_work(
    *,
    rater: Rater,
    study: Study,
    is_accepted: bool,
    actor: User | None,
    reason: str,
    now: datetime,
) -> WorkDecision:
    """Whether the rater's work in the study is accepted. Says nothing about its use."""
    decision = WorkDecision.objects.create(
        rater=rater,
        study=study,
        is_accepted=is_accepted,
        n_ratings=Rating.objects.filter(rater=rater, pair__study=study).count(),
        reason=_check_reason(reason),
        decided_by=actor,
        decided_at=now,
    )
    log.info("work_decided", rater=str(rater.pseudonym), study=study.slug, is_accepted=is_accepted)
    return decision


def review_answer(*, rating: Rating, now: datetime, was: Choice | None = None) -> None:
    """Keeps what depends on an answer that was given, or changed from `was`.

    A gold pair's answer may warn or exclude its rater; a judging pair's counts for the chooser.
    Called in the answer's transaction, with the rater locked.
    """
    purpose = PairPurpose(rating.pair.purpose)
    match purpose:
        case PairPurpose.GOLD:
            # The answer is stored a moment after the request's `now`: a warning dated before
            # the answer that led to it would count that answer towards the next one.
            _review_gold(rater=rating.rater, now=max(now, rating.created_at))
        case PairPurpose.JUDGING:
            if not rating.assignment.is_repeat:
                _count_opponents(rating, was)
        case PairPurpose.TRAINING:
            pass
        case _:
            assert_never(purpose)


def _review_gold(*, rater: Rater, now: datetime, rule: GoldRule = GOLD_RULE) -> None:
    """Warns or excludes the rater where the rule says so."""
    if RaterExclusion.objects.filter(rater=rater, lifted_at__isnull=True).exists():
        return
    rows = (
        Rating.objects.filter(rater=rater, pair__purpose=PairPurpose.GOLD)
        .order_by("-created_at", "-pk")
        .values_list("choice", "assignment__is_swapped", "created_at")[: 2 * rule.n_latest]
    )
    review = review_gold(
        [
            GoldAnswer(gold_outcome(Choice(choice), is_swapped=is_swapped), created_at)
            for choice, is_swapped, created_at in rows
        ],
        forgiven_at=rater.exclusions.aggregate(at=Max("lifted_at"))["at"],
        warned_at=rater.warnings.aggregate(at=Max("made_at"))["at"],
        rule=rule,
    )
    if review.is_to_be_excluded:
        RaterExclusion.objects.create(
            rater=rater,
            rule=rule.name,
            rule_version=rule.version,
            figures=review.as_figures(rule),
            reason=f"{review.n_missed} of the latest {review.n_decided} gold pairs were missed",
            made_at=now,
        )
    elif review.is_to_be_warned:
        RaterWarning.objects.create(
            rater=rater,
            rule=rule.name,
            rule_version=rule.version,
            figures=review.as_figures(rule),
            made_at=now,
        )
    else:
        return
    log.info(
        "gold_pairs_missed",
        rater=str(rater.pseudonym),
        n_missed=review.n_missed,
        n_gold=review.n_decided,
        is_excluded=review.is_to_be_excluded,
    )


def _count_opponents(rating: Rating, was: Choice | None) -> None:
    """Counts the answer for its two checkpoints, in place of what was said before.

    The last lock that a transaction takes, so that raters of the same two wait no longer than
    for a commit.
    """
    pair = rating.pair
    first, second = sorted((pair.first_checkpoint_id, pair.second_checkpoint_id))
    is_turned = pair.first_checkpoint_id != first
    changes: dict[str, int] = {}
    is_second_on_a = rating.assignment.is_swapped != is_turned
    for choice, change in ((was, -1), (Choice(rating.choice), 1)):
        column = None if choice is None else _column(choice, is_second_on_a)
        if column is not None:
            changes[column] = changes.get(column, 0) + change
    changes = {column: change for column, change in changes.items() if change}
    if not changes:
        return
    tally, _ = OpponentTally.objects.get_or_create(
        population=pair.study.population, first_checkpoint_id=first, second_checkpoint_id=second
    )
    OpponentTally.objects.filter(pk=tally.pk).update(
        **{column: Greatest(F(column) + change, 0) for column, change in changes.items()}
    )


def _column(choice: Choice, is_second_on_a: bool) -> str | None:
    match choice:
        case Choice.A:
            return "n_second" if is_second_on_a else "n_first"
        case Choice.B:
            return "n_first" if is_second_on_a else "n_second"
        case Choice.TIE:
            return "n_ties"
        case Choice.BOTH_BAD:
            return None
        case _:
            assert_never(choice)


def _check_reason(reason: str) -> str:
    said = reason.strip()
    if not said or len(said) > REASON_CHARACTERS:
        raise TrustError(
            f"a reason of {len(said)} characters: expected 1 to {REASON_CHARACTERS}, kept on record"
        )
    return said
