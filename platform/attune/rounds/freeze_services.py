"""Starts rounds: what they learn from is frozen, and their job is queued."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from attune.catalog.models import Checkpoint, CheckpointMix, Clip, ClipStatus, Prompt
from attune.catalog.storage import full_checkpoint
from attune.jobs.models import JobKind, JobQueue
from attune.jobs.services import enqueue_job
from attune.ratings.models import Rating, Study
from attune.rounds.choices import REWARDED_METHODS, RoundMethod
from attune.rounds.config import check_config, outcomes_of
from attune.rounds.costs import disk_space_needed, free_megabytes
from attune.rounds.dataset import DATASET_FORMAT, dataset_sha256, preference_rows, prompt_rows
from attune.rounds.eligibility import (
    EXCLUSION_RULES,
    Preference,
    Selection,
    held_out_ids,
)
from attune.rounds.errors import (
    BaseCheckpointError,
    NotEnoughPreferences,
    RoundError,
    RoundRunningError,
)
from attune.rounds.evidence import NO_FILTER, RoundFilter, reading_of, select_for_round
from attune.rounds.gate import check_gate
from attune.rounds.models import Round, RoundPreference, RoundPrompt, Split
from attune.rounds.plans import Plan
from attune.rounds.refusals import (
    find_disk_refusals,
    find_plan_refusals,
    find_selection_refusals,
    n_needed_for,
)
from attune.rounds.selectors import describe_running, find_running_round
from attune.rounds.self_agreement import self_agreement

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
FEWEST_PROMPTS = 2
INSERTED_ROWS = 2000


def create_round(
    *,
    study: Study,
    base_checkpoint: Checkpoint,
    method: str = RoundMethod.DPO,
    config: Mapping[str, object] | None = None,
    name: str | None = None,
    filter: RoundFilter = NO_FILTER,
    reward_model: Checkpoint | None = None,
    judge_model: Checkpoint | None = None,
    created_by: User | None = None,
    started_because: str = "",
) -> Round:
    """A round with its preferences frozen and its job queued.

    The eligible ratings are locked, read and marked frozen in one transaction; from then on
    no rater can change them. Raises ConfigError, BaseCheckpointError, RoundRunningError or
    NotEnoughPreferences before anything is written.
    """
    if method not in RoundMethod.values:
        raise RoundError(f"unknown method {method!r}; known are {', '.join(RoundMethod.values)}")
    if method == RoundMethod.MIX:
        raise RoundError("a mix is made of adapters: name them with their weights")
    plan = Plan(
        study=study,
        base_checkpoint=base_checkpoint,
        method=RoundMethod(method),
        config=check_config(config or {}, RoundMethod(method)),
        filter=filter,
        reward_model=reward_model,
        judge_model=judge_model,
    )
    return start_plan(plan=plan, name=name, created_by=created_by, started_because=started_because)


@transaction.atomic
def start_plan(
    *, plan: Plan, name: str | None, created_by: User | None, started_because: str = ""
) -> Round:
    """The round of a plan whose settings were checked, frozen and queued."""
    # Two engineers who start the same round at once wait for each other here.
    study = Study.objects.select_for_update().get(pk=plan.study.pk)
    plan = replace(plan, study=study)
    check_gate(study.gate, population=study.population)
    if refusals := find_plan_refusals(plan):
        raise BaseCheckpointError("; ".join(refusals))
    running = find_running_round(study, plan.base_checkpoint)
    if running is not None:
        raise RoundRunningError(describe_running(running))
    if refusals := find_disk_refusals(
        disk_space_needed(plan), free_megabytes(Path(settings.ATTUNE_ROUNDS))
    ):
        raise RoundError(refusals[0])
    plan = replace(plan, config=_with_self_agreement(plan))
    name = _free_name(study, plan.method) if name is None else _check_name(name)
    selection = _lock_and_select(plan)

    round = Round.objects.create(
        name=name,
        study=study,
        population=study.population,
        method=plan.method,
        base_checkpoint=plan.base_checkpoint,
        reward_model=plan.reward_model,
        judge_model=plan.judge_model,
        config=dict(plan.config or {}),
        dataset_format=DATASET_FORMAT,
        exclusion_rules=EXCLUSION_RULES,
        filters=plan.filter.as_json(),
        counts=dict(selection.counts),
        created_by=created_by,
        started_because=started_because,
    )
    RoundPreference.objects.bulk_create(
        [_preference_row(round, preference) for preference in selection.preferences],
        batch_size=INSERTED_ROWS,
    )
    _freeze_ratings(selection.rating_ids)
    round.dataset_sha256 = dataset_sha256(preference_rows(round))
    if plan.method in REWARDED_METHODS:
        _freeze_prompts(round, selection)
        round.prompts_sha256 = dataset_sha256(prompt_rows(round))
    round.job = enqueue_job(
        kind=JobKind.RUN_ROUND, queue=JobQueue.DEVICE, arguments={"round": round.pk}
    )
    round.save(update_fields=["dataset_sha256", "prompts_sha256", "job"])
    return round


def create_mix(
    *,
    study: Study,
    parts: Sequence[tuple[Checkpoint, float]],
    name: str | None = None,
    created_by: User | None = None,
) -> Round:
    """A round that interpolates adapters of one base into a new checkpoint.

    The study's preferences measure the mix; of what the adapters learned from, nothing is held
    out. Raises like `create_round`.
    """
    bases = {part.parent_id: part.parent for part, _ in parts}
    if len(bases) != 1 or (base := next(iter(bases.values()))) is None:
        names = ", ".join(str(parent) if parent else "none" for parent in bases.values())
        raise BaseCheckpointError(f"a mix has adapters of one base, got {len(bases)}: {names}")
    told = [{"checkpoint": part.name, "weight": weight} for part, weight in parts]
    plan = Plan(
        study=study,
        base_checkpoint=base,
        method=RoundMethod.MIX,
        config={"parts": told},
        parts=tuple(parts),
    )
    return start_plan(plan=plan, name=name, created_by=created_by)


def _lock_and_select(plan: Plan) -> Selection:
    """What the round freezes. Refuses where it is not enough."""
    # A change of one of these waits until they are frozen; ratings that arrive meanwhile are
    # left to the next round.
    of_base = Rating.objects.select_for_update(of=("self",)).filter(
        pair__study=plan.study,
        pair__first_checkpoint=plan.base_checkpoint,
        pair__second_checkpoint=plan.base_checkpoint,
    )
    selection = select_for_round(
        plan.study,
        plan.base_checkpoint,
        filter=plan.filter,
        outcomes=outcomes_of(plan.method, plan.config or {}),
        rating_ids=set(of_base.values_list("pk", flat=True)),
    )
    n_needed = n_needed_for(plan.method)
    if selection.n_usable < n_needed:
        raise NotEnoughPreferences(
            n_usable=selection.n_usable, n_needed=n_needed, counts=selection.counts
        )
    if refusals := find_selection_refusals(plan, selection):
        raise RoundError(refusals[0])
    return _without_known_prompts(plan, selection) if plan.parts else selection


def _with_self_agreement(plan: Plan) -> dict[str, object]:
    """The settings; those of a reward model with how often the raters agree with themselves.

    Nothing is added where it was told, or where no pair was shown twice.
    """
    config = dict(plan.config or {})
    if plan.method is not RoundMethod.REWARD or "self_agreement_n" in config:
        return config
    found = self_agreement(plan.study)
    if not found.n:
        return config
    return {**config, "self_agreement": round(found.n / found.of, 6), "self_agreement_n": found.of}


def _without_known_prompts(plan: Plan, selection: Selection) -> Selection:
    """The selection with nothing held out whose prompt an adapter of the mix has learned from."""
    texts = Prompt.objects.in_bulk(selection.held_out_prompt_ids)
    readings = _learned_readings([part.pk for part, _ in plan.parts])
    known = {pk for pk, prompt in texts.items() if reading_of(prompt.text) in readings}
    preferences = tuple(
        replace(
            preference, is_held_out=preference.is_held_out and preference.prompt_id not in known
        )
        for preference in selection.preferences
    )
    n_held_out = sum(preference.is_held_out for preference in preferences)
    counts = {
        **selection.counts,
        "train": len(preferences) - n_held_out,
        "held_out": n_held_out,
    }
    return replace(selection, preferences=preferences, counts=counts)


def _learned_readings(checkpoint_ids: Collection[int]) -> set[str]:
    """The prompts that checkpoints were trained on, by rating or by clip, and their parts too."""
    found, asked = set(checkpoint_ids), set(checkpoint_ids)
    while asked:
        parts = CheckpointMix.objects.filter(checkpoint__in=asked).values_list("part", flat=True)
        asked = set(parts) - found
        found |= asked
    trained = {"round__produced_checkpoint__in": found, "split": Split.TRAIN}
    rated = RoundPreference.objects.filter(**trained).values_list("pair__prompt__text", flat=True)
    sampled = RoundPrompt.objects.filter(**trained).values_list("text", flat=True)
    return {reading_of(text) for text in (*rated, *sampled)}


def _preference_row(round: Round, preference: Preference) -> RoundPreference:
    return RoundPreference(
        round=round,
        pair_id=preference.pair_id,
        chosen_clip_id=preference.chosen_clip_id,
        rejected_clip_id=preference.rejected_clip_id,
        weight=preference.weight,
        n_ratings=preference.n_ratings,
        outcome=preference.outcome,
        n_chosen=preference.votes.first,
        n_rejected=preference.votes.second,
        n_tie=preference.votes.tie,
        n_both_bad=preference.votes.both_bad,
        raters=list(preference.raters),
        split=Split.HELD_OUT if preference.is_held_out else Split.TRAIN,
    )


def _freeze_ratings(rating_ids: Sequence[int]) -> None:
    for start in range(0, len(rating_ids), INSERTED_ROWS):
        Rating.objects.filter(pk__in=rating_ids[start : start + INSERTED_ROWS]).update(
            is_frozen=True
        )


def _freeze_prompts(round: Round, selection: Selection) -> None:
    """Stores the prompts that the round makes clips of, held-out ones apart.

    A prompt's header is that of a clip which the base, or what it adapts, has made of it: a
    prompt without one is left out. Prompts that follow a recording are left out as well.
    """
    base = round.base_checkpoint
    headers = {
        prompt_id: (header, float(duration_s or 0.0))
        for prompt_id, header, duration_s in Clip.objects.filter(
            prompt__prompt_set=round.study.prompt_set_id,
            prompt__melody__isnull=True,
            status=ClipStatus.READY,
            checkpoint__in=[base.pk, full_checkpoint(base).pk],
        )
        .order_by("created_at", "pk")
        .values_list("prompt_id", "header", "duration_s")
    }
    prompts = list(Prompt.objects.filter(pk__in=headers, is_active=True).order_by("pk"))
    held_out = {prompt.pk for prompt in prompts if prompt.is_held_out}
    held_out |= selection.held_out_prompt_ids
    if not held_out.intersection(prompt.pk for prompt in prompts):
        held_out = set(held_out_ids((prompt.pk for prompt in prompts), kind="prompt"))
    texts = Prompt.objects.filter(pk__in=held_out).values_list("text", flat=True)
    readings = {reading_of(text) for text in texts}
    held_out |= {prompt.pk for prompt in prompts if reading_of(prompt.text) in readings}
    n_held_out = sum(prompt.pk in held_out for prompt in prompts)
    n_train = len(prompts) - n_held_out
    if n_train < FEWEST_PROMPTS or n_held_out == 0:
        raise RoundError(
            f"{round.method} makes clips of prompts that {base.name} has made clips of before: "
            f"{n_train} to train on and {n_held_out} held out, needed are {FEWEST_PROMPTS} and 1"
        )
    RoundPrompt.objects.bulk_create(
        RoundPrompt(
            round=round,
            prompt=prompt,
            text=prompt.text,
            header=headers[prompt.pk][0],
            duration_s=headers[prompt.pk][1],
            split=Split.HELD_OUT if prompt.pk in held_out else Split.TRAIN,
        )
        for prompt in prompts
    )


def _free_name(study: Study, method: str) -> str:
    """The first of slug-dpo-1, slug-dpo-2, ... that no round and no checkpoint has."""
    number = Round.objects.filter(study=study).count() + 1
    while _is_taken(f"{study.slug}-{method}-{number}"):
        number += 1
    return f"{study.slug}-{method}-{number}"


def _check_name(name: str) -> str:
    """The name, which also names the checkpoint and its folder."""
    if NAME_PATTERN.fullmatch(name) is None:
        raise RoundError(
            "a round's name has 1 to 120 letters, digits, dots, hyphens and underscores and "
            f"starts with a letter or digit, got {name!r}"
        )
    if name.isdigit():
        raise RoundError(f"a round's name is not a number, which would be an id, got {name!r}")
    if _is_taken(name):
        raise RoundError(f"the name {name!r} is taken by a round or a checkpoint")
    return name


def _is_taken(name: str) -> bool:
    return Round.objects.filter(name=name).exists() or Checkpoint.objects.filter(name=name).exists()
