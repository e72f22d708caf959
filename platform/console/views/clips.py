"""Clips: hear the latest ones, see what went wrong, ask for one."""

import random

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from attune.catalog.errors import CatalogError
from attune.catalog.models import Checkpoint, CheckpointKind, ClipScore, ClipStatus
from attune.catalog.selectors import recent_clips
from attune.catalog.services import order_clip
from console.access import action, page
from console.forms import ClipForm
from console.pages import show

CLIPS_PER_PAGE = 24
CONSOLE_PROMPT_SET = "console"
ORDERS = {"best": "-scores__mean", "worst": "scores__mean"}
"""By the score of the chosen reward model; clips without one are left out."""


@page
def clip_list(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """The latest clips, of one checkpoint or one status where the address says so."""
    return _show_clips(request, ClipForm(), may_act=may_act)


def _show_clips(request: HttpRequest, form: ClipForm, *, may_act: bool) -> HttpResponse:
    named, status = request.GET.get("checkpoint", ""), request.GET.get("status", "")
    clips = recent_clips()
    if named:
        clips = clips.filter(checkpoint__name=named)
    if status in ClipStatus.values:
        clips = clips.filter(status=status)
    model = _chosen_reward_model(request.GET.get("reward", ""))
    order = request.GET.get("order", "")
    if model is not None and order in ORDERS:
        clips = clips.filter(scores__checkpoint=model).order_by(ORDERS[order], "pk")
    pages = Paginator(clips, CLIPS_PER_PAGE)
    shown = pages.get_page(request.GET.get("page"))
    scores = ClipScore.objects.filter(checkpoint=model, clip__in=[clip.pk for clip in shown])
    return show(
        request,
        "clip_list",
        section="clips",
        may_act=may_act,
        form=form,
        clips=shown,
        scores={score.clip_id: score for score in scores},
        model=model,
        reward_models=reward_models().values_list("name", flat=True),
        order=order if order in ORDERS else "",
        n_clips=pages.count,
        checkpoints=Checkpoint.objects.order_by("-pk").values_list("name", flat=True),
        statuses=ClipStatus.choices,
        named=named,
        status=status,
    )


def _chosen_reward_model(named: str) -> Checkpoint | None:
    """The named reward model, else the newest that has scored a clip."""
    if named:
        return reward_models().filter(name=named).first()
    return reward_models().filter(clip_scores__isnull=False).first()


def reward_models() -> QuerySet[Checkpoint]:
    """The checkpoints that score clips, the newest first."""
    return Checkpoint.objects.filter(kind=CheckpointKind.REWARD).order_by("-pk")


@action
def request_clip(request: HttpRequest) -> HttpResponse:
    """Requests one clip for a prompt."""
    form = ClipForm(request.POST)
    if not form.is_valid():
        answer = _show_clips(request, form, may_act=True)
        answer.status_code = 422
        return answer
    given = form.cleaned_data
    try:
        order_clip(
            prompt=given["prompt"],
            prompt_set_name=CONSOLE_PROMPT_SET,
            melody=given["melody"],
            checkpoint=given["checkpoint"],
            duration_s=given["duration_s"],
            rng=random.SystemRandom(),
            seed=given["seed"],
        )
    except CatalogError as exc:
        messages.error(request, f"No clip was requested: {exc}.")
    else:
        messages.success(request, "The clip is requested; it appears here when it is made.")
    return redirect("console:clips")
