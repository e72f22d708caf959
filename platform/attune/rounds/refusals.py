"""What stands against a round: its checkpoints, what it would learn from, and the disk."""

from django.conf import settings

from attune.catalog.models import Checkpoint, CheckpointKind, Population
from attune.ratings.models import Study
from attune.rounds.choices import REWARDED_METHODS, RoundMethod
from attune.rounds.config import MAY_HAVE_REWARD_MODEL, TIE_AWARE_LOSSES
from attune.rounds.eligibility import Selection
from attune.rounds.plans import Plan
from attune.rounds.selectors import find_base_refusal


def n_needed_for(method: RoundMethod) -> int:
    """How many preferences a round needs; one that does not learn from them only measures."""
    if method in (*REWARDED_METHODS, RoundMethod.MIX):
        return 0
    return int(settings.ATTUNE_MINIMUM_PREFERENCES)


def find_plan_refusals(plan: Plan) -> list[str]:
    """What is wrong with the checkpoints that a round names."""
    found = []
    if plan.method is RoundMethod.MIX:
        found += _find_mix_refusals(plan)
    elif (refusal := find_base_refusal(plan.study, plan.base_checkpoint)) is not None:
        found.append(refusal)
    return found + _find_reward_refusals(plan)


def _find_reward_refusals(plan: Plan) -> list[str]:
    needed = plan.method in REWARDED_METHODS
    may_be_named = {
        "reward model": plan.method in MAY_HAVE_REWARD_MODEL,
        "judge model": needed,
    }
    named = {"reward model": plan.reward_model, "judge model": plan.judge_model}
    found = []
    for role, checkpoint in named.items():
        if checkpoint is None:
            if needed:
                stored = Checkpoint.objects.filter(kind=CheckpointKind.REWARD, is_retired=False)
                found.append(
                    f"{plan.method} needs a {role}; {stored.count()} reward models are stored"
                )
        elif not may_be_named[role]:
            found.append(f"{plan.method} reads no {role}, got {checkpoint.name}")
        elif checkpoint.kind != CheckpointKind.REWARD:
            found.append(f"checkpoint {checkpoint.name} is {checkpoint.kind}, no {role}")
        else:
            found += _find_source_refusals(plan.study, checkpoint)
    if plan.reward_model is not None and plan.reward_model == plan.judge_model:
        found.append(
            f"reward model and judge model are both {plan.reward_model.name}: 2 different "
            "ones are needed, because the judge must not be what is learned from"
        )
    loss = (plan.config or {}).get("loss")
    if plan.reward_model is not None and loss in TIE_AWARE_LOSSES:
        found.append(
            f"loss {loss} learns from ties, and a reward model names none; take another loss "
            "or no reward model"
        )
    return found


def _find_source_refusals(study: Study, checkpoint: Checkpoint) -> list[str]:
    """Why no round of the study may learn from this adapter or reward model."""
    found = []
    if checkpoint.is_retired:
        found.append(f"checkpoint {checkpoint.name} is retired")
    if study.population == Population.PEOPLE and checkpoint.is_simulated:
        found.append(
            f"checkpoint {checkpoint.name} was trained on simulated ratings; "
            f"study {study.slug} is people's"
        )
    return found


def _find_mix_refusals(plan: Plan) -> list[str]:
    if len(plan.parts) < 2:
        return [f"a mix has at least 2 adapters, got {len(plan.parts)}"]
    found = []
    names = [part.name for part, _ in plan.parts]
    if len(set(names)) < len(names):
        found.append(f"a mix names each adapter once, got {', '.join(names)}")
    for part, weight in plan.parts:
        if part.kind != CheckpointKind.ADAPTER or part.parent_id != plan.base_checkpoint.pk:
            found.append(
                f"checkpoint {part.name} is {part.kind} on "
                f"{part.parent.name if part.parent else 'nothing'}, "
                f"not an adapter on {plan.base_checkpoint.name}"
            )
        found += _find_source_refusals(plan.study, part)
        if not -2.0 <= weight <= 2.0:
            found.append(f"the weight of {part.name} is {weight:g}, expected -2 to 2")
    return found


def find_selection_refusals(plan: Plan, selection: Selection) -> list[str]:
    """Why what was found is not enough."""
    n_needed = n_needed_for(plan.method)
    n_missing = n_needed - selection.n_usable
    if n_missing > 0:
        return [
            f"{selection.n_usable} usable preferences, {n_needed} needed: {n_missing} more "
            f"{'is' if n_missing == 1 else 'are'} needed"
        ]
    if n_needed and selection.n_train == 0:
        return [f"all {selection.n_usable} preferences are on held-out prompts"]
    return []


def find_disk_refusals(needed_mb: float, free_mb: float) -> list[str]:
    """Whether the round's files would fit."""
    if free_mb >= needed_mb:
        return []
    return [f"{free_mb:.0f} MB of disk are free, about {needed_mb:.0f} MB are needed"]
