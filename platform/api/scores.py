"""What reward models think of clips."""

from datetime import datetime
from uuid import UUID

from django.http import Http404, HttpRequest
from ninja import Router, Schema, Status

from api.access import ENGINEERS, READERS, allow
from api.clips import get_checkpoint
from api.shapes import Limit, Offset, Request
from attune.catalog.models import PromptSet
from attune.catalog.score_services import clip_scores, request_scores

router = Router(tags=["scores"])


class ScoresRequest(Request):
    """Which clips to score: named ones, or all of a prompt set or of a checkpoint, else all."""

    reward_model: str
    clips: list[UUID] | None = None
    prompt_set: str | None = None
    made_by: str | None = None


class ScoringJob(Schema):
    """The job that scores; GET jobs tells how far it is."""

    job: int


class ScoreAnswer(Schema):
    """A clip's score: the mean of the model's heads, and how they differ."""

    clip: UUID
    prompt: str
    checkpoint: str
    mean: float
    std: float
    created_at: datetime


@router.post("scores", response={202: ScoringJob}, auth=allow(ENGINEERS))
def create_scores(request: HttpRequest, body: ScoresRequest) -> Status[ScoringJob]:
    """Queues the scoring of clips that the reward model has not scored yet."""
    prompt_set = None
    if body.prompt_set is not None:
        prompt_set = PromptSet.objects.filter(name=body.prompt_set).first()
        if prompt_set is None:
            raise Http404(f"no prompt set {body.prompt_set!r}")
    job = request_scores(
        reward_model=get_checkpoint(body.reward_model),
        clips=body.clips,
        prompt_set=prompt_set,
        made_by=get_checkpoint(body.made_by) if body.made_by else None,
    )
    return Status(202, ScoringJob(job=job.pk))


@router.get("scores", response=list[ScoreAnswer], auth=allow(READERS))
def list_scores(
    request: HttpRequest,
    *,
    reward_model: str,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[ScoreAnswer]:
    """The clips that a reward model has scored, the best first."""
    found = clip_scores(get_checkpoint(reward_model))[offset : offset + limit]
    return [
        ScoreAnswer(
            clip=score.clip_id,
            prompt=score.clip.prompt.text,
            checkpoint=score.clip.checkpoint.name,
            mean=score.mean,
            std=score.std,
            created_at=score.created_at,
        )
        for score in found
    ]
