"""The ratings that a round may learn from, read in a few queries however many there are."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from django.db.models import BooleanField, Case, Count, F, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Cast

from attune.catalog.models import Checkpoint, ClipStatus, Population, Prompt
from attune.ratings.choices import Choice, PairPurpose
from attune.ratings.models import Pair, Rating, Study
from attune.ratings.trust_selectors import is_excluded
from attune.rounds.choices import Outcome
from attune.rounds.eligibility import (
    PREFERRED,
    Exclusion,
    Preference,
    RatingRow,
    Scope,
    Selection,
    select_preferences,
)
from attune.rounds.errors import RoundError
from attune.rounds.models import RaterGroup

_COLUMNS = (
    *("pk", "rater_id", "pair_id", "pair__prompt_id", "pair__purpose", "choice"),
    *("pair__first_clip_id", "pair__second_clip_id"),
    *("pair__first_clip__duration_s", "pair__second_clip__duration_s"),
    *("assignment__is_swapped", "assignment__is_repeat", "is_simulated"),
    *("rater__withdrawn_at", "pair__is_withdrawn"),
    *("has_ready_codes", "has_equal_headers", "has_identical_clips", "is_rater_excluded"),
)
_PURPOSES = {purpose.value: purpose for purpose in PairPurpose}
_CHOICES = {choice.value: choice for choice in Choice}


@dataclass(frozen=True)
class RoundFilter:
    """Whose ratings and which prompts a round learns from; nothing named stands for all."""

    rater_group: RaterGroup | None = None
    prompt_tags: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What a round keeps of it: the members' pseudonyms too, because groups change.

        They stand in no other order than their own: in that of the table a place in the list
        would tell whose ratings the frozen rows count under a number.
        """
        told: dict[str, Any] = {}
        if self.rater_group is not None:
            members = self.rater_group.raters.order_by("pseudonym").values_list(
                "pseudonym", flat=True
            )
            told["rater_group"] = self.rater_group.name
            told["raters"] = [str(pseudonym) for pseudonym in members]
        if self.prompt_tags:
            told["prompt_tags"] = list(self.prompt_tags)
        return told


NO_FILTER = RoundFilter()


@dataclass(frozen=True)
class Duplicates:
    """Preferences that repeat others, and contents that are on both sides of the split."""

    n_repeated_pairs: int
    n_clips_on_both_sides: int


def select_for_round(
    study: Study,
    base_checkpoint: Checkpoint,
    *,
    filter: RoundFilter = NO_FILTER,
    outcomes: frozenset[Outcome] = PREFERRED,
    rating_ids: Set[int] | None = None,
) -> Selection:
    """What a round on this base would freeze; of the named ratings alone where they are given."""
    prompts = _PromptsOfStudy(study)
    rows = _rating_rows(study, base_checkpoint, prompts)
    if rating_ids is not None:
        rows = [row for row in rows if row.rating_id in rating_ids]
    return select_preferences(
        rows,
        base_checkpoint_id=base_checkpoint.pk,
        is_simulated=study.population == Population.REHEARSAL,
        scope=_scope(filter, prompts),
        outcomes=outcomes,
        elsewhere=_counted_elsewhere(study, base_checkpoint),
    )


def reading_of(text: str) -> str:
    """What prompts have in common that read the same: their text without case and spacing."""
    return " ".join(text.casefold().split())


class _PromptsOfStudy:
    """The prompts of a study's set; those whose texts read the same are one for the split."""

    def __init__(self, study: Study) -> None:
        found = list(
            Prompt.objects.filter(prompt_set=study.prompt_set_id)
            .order_by("pk")
            .values_list("pk", "text", "is_held_out", "melody_id", "tags")
        )
        first: dict[str, int] = {}
        self.one_of: dict[int, int] = {
            pk: first.setdefault(reading_of(text), pk) for pk, text, *_ in found
        }
        self.held_out = {self.one_of[pk] for pk, _, is_held_out, *_ in found if is_held_out}
        self.with_melody = {pk for pk, _, _, melody_id, _ in found if melody_id is not None}
        self.tags = {pk: frozenset(tags) for pk, *_, tags in found}

    def tagged(self, tags: Sequence[str]) -> frozenset[int]:
        """The prompts with one of the tags."""
        wanted = set(tags)
        return frozenset(self.one_of[pk] for pk, given in self.tags.items() if given & wanted)


def _scope(filter: RoundFilter, prompts: _PromptsOfStudy) -> Scope:
    raters = None
    if filter.rater_group is not None:
        raters = frozenset(filter.rater_group.raters.values_list("pk", flat=True))
        if not raters:
            raise RoundError(f"rater group {filter.rater_group.name} has 0 raters")
    tagged = None
    if filter.prompt_tags:
        tagged = prompts.tagged(filter.prompt_tags)
        if not tagged:
            known = sorted({tag for tags in prompts.tags.values() for tag in tags})
            raise RoundError(
                f"0 prompts have the tags {', '.join(filter.prompt_tags)}; "
                f"known are {', '.join(known) or 'none'}"
            )
    return Scope(rater_ids=raters, prompt_ids=tagged)


def _of_base(base_checkpoint: Checkpoint) -> Q:
    return Q(pair__first_checkpoint=base_checkpoint, pair__second_checkpoint=base_checkpoint)


def _counted_elsewhere(study: Study, base_checkpoint: Checkpoint) -> Mapping[Exclusion, int]:
    """The ratings of pairs that are not the base's alone, by why they do not count."""
    is_simulated = study.population == Population.REHEARSAL
    counts: Counter[Exclusion] = Counter()
    found = (
        Rating.objects.filter(~_of_base(base_checkpoint), pair__study=study)
        .values_list("is_simulated", "pair__purpose")
        .annotate(n=Count("pk"))
        .order_by()
    )
    by_purpose = {
        PairPurpose.TRAINING: Exclusion.OFF_POLICY,
        PairPurpose.JUDGING: Exclusion.JUDGING,
        PairPurpose.GOLD: Exclusion.GOLD,
    }
    for simulated, purpose, n in found:
        is_other = simulated != is_simulated
        exclusion = Exclusion.OTHER_POPULATION if is_other else by_purpose[PairPurpose(purpose)]
        counts[exclusion] += n
    return counts


def _is_true(condition: Q) -> Case:
    return Case(
        When(condition, then=Value(True)), default=Value(False), output_field=BooleanField()
    )


def _ratings_of_base(study: Study, base_checkpoint: Checkpoint) -> QuerySet[Rating]:
    ready = Q(pair__first_clip__status=ClipStatus.READY, pair__second_clip__status=ClipStatus.READY)
    stored = ~Q(pair__first_clip__codes_path="") & ~Q(pair__second_clip__codes_path="")
    # The database compares headers and hashes: neither is carried here to be compared.
    return Rating.objects.filter(_of_base(base_checkpoint), pair__study=study).annotate(
        first_header=Cast("pair__first_clip__header", TextField()),
        second_header=Cast("pair__second_clip__header", TextField()),
        has_ready_codes=_is_true(ready & stored),
        has_equal_headers=_is_true(Q(first_header=F("second_header"))),
        has_identical_clips=_is_true(
            Q(pair__first_clip__codes_sha256=F("pair__second_clip__codes_sha256"))
            & ~Q(pair__first_clip__codes_sha256="")
        ),
        is_rater_excluded=is_excluded("rater"),
    )


def _rating_rows(
    study: Study, base_checkpoint: Checkpoint, prompts: _PromptsOfStudy
) -> list[RatingRow]:
    base = base_checkpoint.pk
    found = _ratings_of_base(study, base_checkpoint).order_by("pk").values_list(*_COLUMNS)
    return [
        RatingRow(
            rating_id=rating_id,
            rater_id=rater_id,
            pair_id=pair_id,
            prompt_id=(split_id := prompts.one_of.get(prompt_id, prompt_id)),
            purpose=_PURPOSES[purpose],
            choice=_CHOICES[choice],
            first_checkpoint_id=base,
            second_checkpoint_id=base,
            first_clip_id=first_clip_id,
            second_clip_id=second_clip_id,
            first_duration_s=first_duration_s,
            second_duration_s=second_duration_s,
            is_swapped=is_swapped,
            is_repeat=is_repeat,
            is_simulated=is_simulated,
            is_rater_withdrawn=withdrawn_at is not None,
            is_pair_withdrawn=is_pair_withdrawn,
            is_prompt_held_out=split_id in prompts.held_out,
            has_ready_codes=has_ready_codes,
            has_equal_headers=has_equal_headers,
            has_melody=prompt_id in prompts.with_melody,
            has_identical_clips=has_identical_clips,
            is_rater_excluded=is_rater_excluded,
        )
        for (
            rating_id,
            rater_id,
            pair_id,
            prompt_id,
            purpose,
            choice,
            first_clip_id,
            second_clip_id,
            first_duration_s,
            second_duration_s,
            is_swapped,
            is_repeat,
            is_simulated,
            withdrawn_at,
            is_pair_withdrawn,
            has_ready_codes,
            has_equal_headers,
            has_identical_clips,
            is_rater_excluded,
        ) in found.iterator(chunk_size=5000)
    ]


def find_duplicates(
    study: Study, base_checkpoint: Checkpoint, preferences: Sequence[Preference]
) -> Duplicates:
    """Which of the preferences repeat the contents of others."""
    contents = {
        pair_id: frozenset(hashes)
        for pair_id, *hashes in Pair.objects.filter(
            study=study, first_checkpoint=base_checkpoint, second_checkpoint=base_checkpoint
        ).values_list("pk", "first_clip__codes_sha256", "second_clip__codes_sha256")
    }
    pairs = [contents[preference.pair_id] for preference in preferences]
    sides: dict[bool, set[str]] = {True: set(), False: set()}
    for preference, hashes in zip(preferences, pairs, strict=True):
        sides[preference.is_held_out] |= hashes
    return Duplicates(
        n_repeated_pairs=len(pairs) - len(set(pairs)),
        n_clips_on_both_sides=len(sides[True] & sides[False]),
    )


def decided_pairs_by_base(
    study: Study, *, outcomes: frozenset[Outcome] = PREFERRED
) -> dict[int, int]:
    """Checkpoint -> its training pairs with a rating that could give such an outcome.

    There are no more preferences than these.
    """
    choices = [Choice.A, Choice.B]
    choices += [Choice.TIE] if Outcome.TIE in outcomes else []
    choices += [Choice.BOTH_BAD] if Outcome.BOTH_BAD in outcomes else []
    found = (
        Rating.objects.filter(
            pair__study=study,
            pair__purpose=PairPurpose.TRAINING,
            pair__first_checkpoint=F("pair__second_checkpoint"),
            choice__in=choices,
        )
        .values_list("pair__first_checkpoint")
        .annotate(n=Count("pair", distinct=True))
        .order_by()
    )
    return dict(found)
