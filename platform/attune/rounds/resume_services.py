"""Lets rounds that were cancelled or failed go on from their last save."""

from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from attune.jobs.models import JobKind, JobQueue
from attune.jobs.services import enqueue_job
from attune.ratings.models import Study
from attune.rounds.errors import RoundStateError
from attune.rounds.models import Round, RoundEvent, RoundEventKind, RoundState
from attune.rounds.resuming import ResumeStage, get_resumption


@transaction.atomic
def resume_round(*, round: Round, actor: User | None, now: datetime | None = None) -> Round:
    """The round, queued again: what it froze is what it learns from, and its saves are kept.

    It has as many attempts as a new one. Raises RoundStateError where it has not ended or is
    done, nothing of it was saved, or another round is in its place.
    """
    now = now or timezone.now()
    # Whoever starts or resumes a round of this study waits here.
    Study.objects.select_for_update().get(pk=round.study_id)
    stored = Round.objects.select_for_update(of=("self",)).get(pk=round.pk)
    found = get_resumption(stored)
    if found.point is None or found.refusal:
        raise RoundStateError(found.refusal)
    is_published = found.point.stage is ResumeStage.GATE
    stored.job = enqueue_job(
        kind=JobKind.RUN_GATE if is_published else JobKind.RUN_ROUND,
        queue=JobQueue.DEVICE,
        arguments={"round": stored.pk},
    )
    stored.state = RoundState.EVALUATING if is_published else RoundState.FROZEN
    stored.error = stored.outcome = ""
    stored.finished_at = None
    stored.save(update_fields=["job", "state", "error", "outcome", "finished_at"])
    RoundEvent.objects.create(
        round=stored,
        kind=RoundEventKind.RESUMED,
        sentence=f"Resumed: {found.point.sentence}.",
        actor=actor,
        happened_at=now,
    )
    round.refresh_from_db()
    return round
