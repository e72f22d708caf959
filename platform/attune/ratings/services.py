"""Writes about studies; the writes about pairs, assignments and ratings have their modules."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from django.core.exceptions import ValidationError

from attune.catalog.models import Population, PromptSet
from attune.raters.models import ConsentText
from attune.ratings.arrival_models import DeviceCheckRule
from attune.ratings.aspect_services import rate_aspect
from attune.ratings.assignment_services import (
    assign_pair,
    expire_assignments,
    report_clip,
)
from attune.ratings.choices import Aspect
from attune.ratings.errors import StudyError
from attune.ratings.models import Study
from attune.ratings.pair_services import fill_pool, mark_ready_pairs, request_pairs
from attune.ratings.rating_services import change_rating, record_rating
from attune.ratings.remark_services import add_remark, erase_remarks, remove_remark

__all__ = [
    "add_remark",
    "assign_pair",
    "change_rating",
    "close_study",
    "create_study",
    "erase_remarks",
    "expire_assignments",
    "fill_pool",
    "mark_ready_pairs",
    "open_study",
    "rate_aspect",
    "record_rating",
    "remove_remark",
    "report_clip",
    "request_pairs",
    "update_study",
]

log = structlog.get_logger(__name__)

CHECKING_SHARE = 0.1

CHANGEABLE_FIELDS = frozenset(
    {
        "name",
        "question",
        "clip_duration_s",
        "minimum_listening_s",
        "asks_strength",
        "aspects",
        "shows_history",
        "break_after_min",
        "consent",
        "asks_volume",
        "device_check",
        "n_practice",
        "overlap",
        "pairs_per_session",
        "assignment_lease_s",
        "pool_target",
        "judging_share",
        "gold_share",
        "repeat_share",
        "sampling",
        "gate",
        "is_open",
    }
)


def create_study(
    *,
    slug: str,
    name: str,
    population: Population | str,
    prompt_set: PromptSet,
    question: str = "Which do you prefer?",
    clip_duration_s: float = 10.0,
    minimum_listening_s: float = 5.0,
    asks_strength: bool = True,
    aspects: Sequence[Aspect | str] = (),
    shows_history: bool = True,
    break_after_min: int = 20,
    consent: ConsentText | None = None,
    asks_volume: bool = False,
    device_check: DeviceCheckRule | str = DeviceCheckRule.OFF,
    n_practice: int = 0,
    overlap: int = 1,
    pairs_per_session: int = 40,
    assignment_lease_s: int = 900,
    pool_target: int = 0,
    judging_share: float = 0.3,
    gold_share: float | None = None,
    repeat_share: float | None = None,
    sampling: Mapping[str, Any] | None = None,
    gate: Mapping[str, Any] | None = None,
    is_open: bool = True,
) -> Study:
    """The new study. StudyError names each setting that is not allowed.

    About one pair in ten is gold, and one a repeat, unless given; none in a rehearsal, where
    raters of one simulated taste know nothing of damage and never forget.
    """
    study = Study(
        slug=slug,
        name=name,
        population=str(population),
        prompt_set=prompt_set,
        question=question,
        clip_duration_s=clip_duration_s,
        minimum_listening_s=minimum_listening_s,
        asks_strength=asks_strength,
        aspects=list(aspects),
        shows_history=shows_history,
        break_after_min=break_after_min,
        consent=consent,
        asks_volume=asks_volume,
        device_check=str(device_check),
        n_practice=n_practice,
        overlap=overlap,
        pairs_per_session=pairs_per_session,
        assignment_lease_s=assignment_lease_s,
        pool_target=pool_target,
        judging_share=judging_share,
        gold_share=_checking_share(population, gold_share),
        repeat_share=_checking_share(population, repeat_share),
        sampling=dict(sampling or {}),
        gate=dict(gate or {}),
        is_open=is_open,
    )
    _check(study)
    study.save()
    log.info("study_created", study=slug, population=study.population)
    return study


def update_study(*, study: Study, **fields: Any) -> Study:
    """The study with the given settings changed. What it asks of whom cannot change."""
    unknown = set(fields) - CHANGEABLE_FIELDS
    if unknown:
        raise StudyError(
            f"study {study.slug!r}: {', '.join(sorted(unknown))} cannot be changed, "
            f"only {', '.join(sorted(CHANGEABLE_FIELDS))}",
            slug=study.slug,
        )
    for name, value in fields.items():
        setattr(study, name, value)
    _check(study)
    study.save(update_fields=sorted(fields))
    log.info("study_changed", study=study.slug, fields=sorted(fields))
    return study


def open_study(*, study: Study) -> None:
    """Hand out pairs of this study."""
    Study.objects.filter(pk=study.pk).update(is_open=True)
    log.info("study_opened", study=study.slug)


def close_study(*, study: Study) -> None:
    """Hand out no more pairs of this study; assignments in hand can still be answered."""
    Study.objects.filter(pk=study.pk).update(is_open=False)
    log.info("study_closed", study=study.slug)


def _checking_share(population: Population | str, given: float | None) -> float:
    if given is not None:
        return given
    return 0.0 if population == Population.REHEARSAL else CHECKING_SHARE


def _check(study: Study) -> None:
    unknown = [name for name in study.aspects if name not in Aspect.values]
    if unknown or len(set(study.aspects)) < len(study.aspects):
        raise StudyError(
            f"study {study.slug!r}: aspects {study.aspects}: "
            f"expected each of {', '.join(Aspect.values)} at most once",
            slug=study.slug,
        )
    try:
        study.full_clean(exclude={"sampling", "gate"})  # empty ones mean the defaults
    except ValidationError as exc:
        found = "; ".join(
            f"{field}: {' '.join(messages)}" for field, messages in exc.message_dict.items()
        )
        raise StudyError(f"study {study.slug!r}: {found}", slug=study.slug) from exc
