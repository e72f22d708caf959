"""Studies: what is asked of whom, how far it got, and the pairs it sets against each other."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import numpy as np
from django.db import transaction
from django.http import Http404, HttpRequest
from ninja import Router, Schema, Status
from ninja.errors import HttpError
from pydantic import Field, FiniteFloat

from api.access import ENGINEERS, READERS, allow
from api.clips import get_checkpoint
from api.shapes import Counts, DurationS, Json, MelodyName, PromptText, Request, Sampling
from attune.catalog.melody_selectors import get_melody
from attune.catalog.models import Population, PromptSet
from attune.catalog.services import PromptRow, add_prompt_set, add_prompts
from attune.raters.selectors import newest_consent_text
from attune.ratings.arrival_models import DeviceCheckRule
from attune.ratings.choices import Aspect, PairPurpose
from attune.ratings.models import Pair, Study
from attune.ratings.selectors import StudyCounts, study_counts
from attune.ratings.services import create_study, request_pairs, update_study
from attune.ratings.study_limits import STUDY_LIMITS
from attune.rounds.gate import check_gate

router = Router(tags=["studies"])

MAXIMUM_PAIRS_PER_REQUEST = 2000

Slug = Annotated[str, Field(pattern=r"^[-a-zA-Z0-9_]+$", max_length=80)]


def _within(setting: str) -> Any:
    """The range of a study's setting, as a field's constraint."""
    lowest, highest = STUDY_LIMITS[setting]
    return Field(ge=lowest, le=highest)


class PromptRequest(Request):
    """A prompt with its tags; a held-out one judges and never trains.

    With a melody it follows a recording's tune; ratings of its clips train no checkpoint.
    """

    text: PromptText
    melody: MelodyName | None = None
    is_held_out: bool = False
    tags: list[str] = []


class StudyChange(Request):
    """What may change while a study runs; what is left out stays."""

    name: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    question: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    clip_duration_s: DurationS | None = None
    minimum_listening_s: Annotated[FiniteFloat, _within("minimum_listening_s")] | None = None
    asks_strength: bool | None = None
    aspects: Annotated[list[Aspect], Field(max_length=len(Aspect))] | None = None
    shows_history: bool | None = None
    break_after_min: Annotated[int, _within("break_after_min")] | None = None
    consent: Annotated[
        str | None,
        Field(description="Name of a consent text, whose newest version is asked; '' asks none."),
    ] = None
    asks_volume: bool | None = None
    device_check: DeviceCheckRule | None = None
    n_practice: Annotated[int, _within("n_practice")] | None = None
    overlap: Annotated[int, _within("overlap")] | None = None
    pairs_per_session: Annotated[int, _within("pairs_per_session")] | None = None
    assignment_lease_s: Annotated[int, _within("assignment_lease_s")] | None = None
    pool_target: Annotated[int, _within("pool_target")] | None = None
    judging_share: Annotated[FiniteFloat, _within("judging_share")] | None = None
    gold_share: Annotated[FiniteFloat, _within("gold_share")] | None = None
    repeat_share: Annotated[FiniteFloat, _within("repeat_share")] | None = None
    sampling: Sampling | None = None
    gate: dict[str, FiniteFloat] | None = None
    is_open: bool | None = None

    def given_settings(self) -> Json:
        """The settings that were given."""
        settings = self.model_dump(exclude_none=True, include=set(StudyChange.model_fields))
        if self.sampling is not None:
            settings["sampling"] = self.sampling.as_settings()
        if self.consent is not None:
            settings["consent"] = newest_consent_text(self.consent) if self.consent else None
        return settings


class StudyRequest(StudyChange):
    """A new study. Its prompts come from a stored prompt set, or are given and make one."""

    slug: Slug
    population: Population = Population.PEOPLE
    prompt_set: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    prompts: list[PromptText | PromptRequest] = []


class StudyAnswer(Schema):
    """A study; `counts` tells ready, pending and rated pairs, and ratings."""

    slug: str
    name: str
    population: Population
    prompt_set: str
    question: str
    clip_duration_s: float
    minimum_listening_s: float
    asks_strength: bool
    aspects: list[Aspect]
    shows_history: bool
    break_after_min: int
    consent: str
    asks_volume: bool
    device_check: DeviceCheckRule
    n_practice: int
    overlap: int
    pairs_per_session: int
    assignment_lease_s: int
    pool_target: int
    judging_share: float
    gold_share: float
    repeat_share: float
    sampling: Json
    gate: Json
    is_open: bool
    created_at: datetime
    counts: Counts


class PairsRequest(Request):
    """How many pairs, for what, of which checkpoints (from rotation when left out)."""

    n_pairs: Annotated[int, Field(ge=1, le=MAXIMUM_PAIRS_PER_REQUEST)]
    purpose: PairPurpose = PairPurpose.TRAINING
    checkpoints: Annotated[list[str], Field(max_length=2)] | None = None
    held_out: bool | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


class PairAnswer(Schema):
    """A requested pair."""

    id: int
    prompt: str
    purpose: PairPurpose
    first_clip: UUID
    second_clip: UUID
    first_checkpoint: str
    second_checkpoint: str


class PairsAnswer(Schema):
    """The pairs that were requested; their clips are being generated."""

    n_pairs: int
    pairs: list[PairAnswer]


def get_study(slug: str) -> Study:
    """The study of that slug; 404 says which exist."""
    study = Study.objects.select_related("prompt_set").filter(slug=slug).first()
    if study is None:
        known = list(Study.objects.order_by("-pk").values_list("slug", flat=True)[:20])
        raise Http404(f"no study {slug!r}; there are {', '.join(known) or 'none'}")
    return study


def study_answers(studies: Iterable[Study]) -> list[StudyAnswer]:
    """The studies with their counts."""
    rows = list(studies)
    counts = study_counts(rows)
    return [_study_answer(study, counts[study.pk]) for study in rows]


def _study_answer(study: Study, counts: StudyCounts) -> StudyAnswer:
    return StudyAnswer(
        slug=study.slug,
        name=study.name,
        population=Population(study.population),
        prompt_set=study.prompt_set.name,
        question=study.question,
        clip_duration_s=study.clip_duration_s,
        minimum_listening_s=study.minimum_listening_s,
        asks_strength=study.asks_strength,
        aspects=[Aspect(name) for name in study.aspects],
        shows_history=study.shows_history,
        break_after_min=study.break_after_min,
        consent=str(study.consent or ""),
        asks_volume=study.asks_volume,
        device_check=DeviceCheckRule(study.device_check),
        n_practice=study.n_practice,
        overlap=study.overlap,
        pairs_per_session=study.pairs_per_session,
        assignment_lease_s=study.assignment_lease_s,
        pool_target=study.pool_target,
        judging_share=study.judging_share,
        gold_share=study.gold_share,
        repeat_share=study.repeat_share,
        sampling=study.sampling,
        gate=study.gate,
        is_open=study.is_open,
        created_at=study.created_at,
        counts=counts.as_mapping(),
    )


@router.get("studies", response=list[StudyAnswer], auth=allow(READERS))
def list_studies(request: HttpRequest) -> list[StudyAnswer]:
    """All studies, newest first."""
    studies = Study.objects.select_related("prompt_set", "consent").order_by("-pk")
    return study_answers(studies)


@router.post("studies", response={201: StudyAnswer}, auth=allow(ENGINEERS))
def create(request: HttpRequest, body: StudyRequest) -> Status[StudyAnswer]:
    """Opens a study. Without a prompt set's name, the given prompts make one named as the slug."""
    check_gate(body.gate or {}, population=body.population)
    if Study.objects.filter(slug=body.slug).exists():
        raise HttpError(409, f"study {body.slug!r} exists already")
    with transaction.atomic():
        study = create_study(
            slug=body.slug,
            population=body.population,
            prompt_set=_prepare_prompt_set(body),
            **{"name": body.slug, **body.given_settings()},
        )
    return Status(201, study_answers([study])[0])


def _prepare_prompt_set(body: StudyRequest) -> PromptSet:
    """The named prompt set with the given prompts added to it."""
    name = body.prompt_set or body.slug
    prompt_set = PromptSet.objects.filter(name=name).first()
    if prompt_set is None:
        if not body.prompts:
            raise HttpError(
                422,
                f"no prompt set {name!r}: name one that exists, or give prompts to make it",
            )
        prompt_set = add_prompt_set(name=name)
    if body.prompts:
        rows = [PromptRequest(text=p) if isinstance(p, str) else p for p in body.prompts]
        add_prompts(
            prompt_set=prompt_set,
            rows=[
                PromptRow(
                    text=row.text,
                    melody=None if row.melody is None else get_melody(row.melody),
                    tags=tuple(row.tags),
                    is_held_out=row.is_held_out,
                )
                for row in rows
            ],
        )
    return prompt_set


@router.get("studies/{slug}", response=StudyAnswer, auth=allow(READERS))
def read_study(request: HttpRequest, slug: str) -> StudyAnswer:
    """One study."""
    return study_answers([get_study(slug)])[0]


@router.patch("studies/{slug}", response=StudyAnswer, auth=allow(ENGINEERS))
def change_study(request: HttpRequest, slug: str, body: StudyChange) -> StudyAnswer:
    """Changes what was given, such as `is_open` or `pool_target`."""
    study = get_study(slug)
    check_gate(body.gate or {}, population=study.population)
    return study_answers([update_study(study=study, **body.given_settings())])[0]


@router.post("studies/{slug}/pairs", response={201: PairsAnswer}, auth=allow(ENGINEERS))
def create_pairs(request: HttpRequest, slug: str, body: PairsRequest) -> Status[PairsAnswer]:
    """Requests pairs and the clips they need, on top of what the study's pool keeps ready."""
    study = get_study(slug)
    checkpoints = None
    if body.checkpoints is not None:
        checkpoints = [get_checkpoint(name) for name in body.checkpoints]
    pairs = request_pairs(
        study=study,
        n_pairs=body.n_pairs,
        purpose=body.purpose,
        rng=np.random.default_rng(),
        checkpoints=checkpoints,
        held_out=body.held_out,
        priority=body.priority,
    )
    return Status(201, PairsAnswer(n_pairs=len(pairs), pairs=_pair_answers(pairs)))


def _pair_answers(pairs: list[Pair]) -> list[PairAnswer]:
    stored = Pair.objects.select_related("prompt", "first_checkpoint", "second_checkpoint")
    return [
        PairAnswer(
            id=pair.pk,
            prompt=pair.prompt.text,
            purpose=PairPurpose(pair.purpose),
            first_clip=pair.first_clip_id,
            second_clip=pair.second_clip_id,
            first_checkpoint=pair.first_checkpoint.name,
            second_checkpoint=pair.second_checkpoint.name,
        )
        for pair in stored.filter(pk__in=[pair.pk for pair in pairs]).order_by("pk")
    ]
