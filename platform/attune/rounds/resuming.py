"""Whether a round that ended before its time can go on, and from where."""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from attune.jobs.models import JobState
from attune.rounds.models import Round, RoundState
from attune.rounds.run_files import find_saved_step, has_result
from attune.rounds.selectors import describe_running, find_running_round

RESUMABLE_STATES = (RoundState.FAILED, RoundState.CANCELLED)


class ResumeStage(StrEnum):
    """What is left to do, from the last part of a round to the first."""

    GATE = "gate"
    PUBLICATION = "publication"
    TRAINING = "training"


@dataclass(frozen=True)
class ResumePoint:
    """Where a round goes on; `step` is the last one that was saved, of a training only."""

    stage: ResumeStage
    step: int | None = None
    n_steps: int | None = None

    @property
    def sentence(self) -> str:
        """What will happen, for people."""
        match self.stage:
            case ResumeStage.GATE:
                return "its checkpoint is there, its gate runs again"
            case ResumeStage.PUBLICATION:
                return "its training is done, its checkpoint is published"
            case ResumeStage.TRAINING:
                of = f" of {self.n_steps}" if self.n_steps else ""
                return f"its training goes on after step {self.step}{of}"
            case _:
                assert_never(self.stage)


@dataclass(frozen=True)
class Resumption:
    """Where an ended round would go on, and what stands against it; both may be told."""

    point: ResumePoint | None
    refusal: str

    @property
    def is_possible(self) -> bool:
        """Whether it can go on now."""
        return self.point is not None and not self.refusal


def find_resume_point(round: Round) -> ResumePoint | None:
    """Where an ended round would go on; None where nothing of it was saved."""
    if round.produced_checkpoint_id is not None:
        return ResumePoint(ResumeStage.GATE)
    if has_result(round):
        return ResumePoint(ResumeStage.PUBLICATION)
    step = find_saved_step(round)
    if step is None:
        return None
    newest = round.metrics.order_by("-step").first()
    return ResumePoint(ResumeStage.TRAINING, step, newest.n_steps if newest else None)


def get_resumption(round: Round) -> Resumption:
    """Whether and from where the round can go on."""
    if round.state not in RESUMABLE_STATES:
        refusal = f"round {round.name} is {round.get_state_display()}: nothing is to be resumed"
        return Resumption(None, refusal)
    refusals = _find_refusals(round)
    point = find_resume_point(round)
    if point is None and not is_ending(round):
        refusals = [
            f"round {round.name} ended before its first save: there is nothing to resume; start "
            "one like it"
        ]
    return Resumption(point, "; ".join(refusals))


def is_ending(round: Round) -> bool:
    """Whether a worker may still be ending the round's training, and saving."""
    return round.job is not None and round.job.state in (JobState.QUEUED, JobState.RUNNING)


def _find_refusals(round: Round) -> list[str]:
    found = []
    if is_ending(round):
        found.append("its last attempt is still ending: it can be resumed in a few seconds")
    needed = (
        *(round.base_checkpoint, round.produced_checkpoint),
        *(round.reward_model, round.judge_model),
    )
    found += [
        f"checkpoint {checkpoint.name} is retired"
        for checkpoint in needed
        if checkpoint is not None and checkpoint.is_retired
    ]
    running = find_running_round(round.study, round.base_checkpoint)
    if running is not None:
        found.append(describe_running(running))
    return found
