"""Prompts, and the recordings whose tunes they follow: read them, add some."""

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from attune.catalog.errors import CatalogError
from attune.catalog.melody_selectors import melodies
from attune.catalog.melody_services import add_melody
from attune.catalog.models import Prompt
from attune.catalog.services import add_prompt_set, add_prompts
from console.access import action, page
from console.forms import MelodyForm, PromptsForm
from console.pages import csv_answer, show, wants_csv
from console.selectors import prompt_set_rows, prompts_of

PROMPTS_PER_PAGE = 50
MELODIES_PER_PAGE = 12
CSV_HEADER = ("id", "prompt_set", "text", "melody", "is_held_out", "is_active", "tags", "n_clips")


@page
def prompt_list(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """The recordings, and the prompts of one set."""
    if wants_csv(request):
        found = prompts_of(request.GET.get("set", ""))
        return csv_answer("prompts", CSV_HEADER, map(_csv_row, found))
    return _show_prompts(request, may_act=may_act)


def _show_prompts(
    request: HttpRequest,
    *,
    may_act: bool,
    melody_form: MelodyForm | None = None,
    prompts_form: PromptsForm | None = None,
) -> HttpResponse:
    sets = prompt_set_rows()
    named = request.GET.get("set", "")
    prompts = Paginator(prompts_of(named), PROMPTS_PER_PAGE)
    recordings = Paginator(melodies(), MELODIES_PER_PAGE)
    return show(
        request,
        "prompt_list",
        section="prompts",
        may_act=may_act,
        sets=sets,
        named=named,
        prompts=prompts.get_page(request.GET.get("page")),
        n_prompts=prompts.count,
        n_following=sum(row.n_following for row in sets if named in ("", row.prompt_set.name)),
        recordings=recordings.get_page(request.GET.get("recordings")),
        n_recordings=recordings.count,
        melody_form=melody_form or MelodyForm(),
        prompts_form=prompts_form or PromptsForm(initial={"prompt_set": named}),
    )


def _csv_row(prompt: Prompt) -> tuple[object, ...]:
    return (
        *(prompt.pk, prompt.prompt_set.name, prompt.text),
        *(prompt.melody.name if prompt.melody else None, prompt.is_held_out, prompt.is_active),
        *(" ".join(prompt.tags), prompt.n_clips),  # type: ignore[attr-defined]
    )


@action
def upload_melody(request: HttpRequest) -> HttpResponse:
    """Stores a reference recording."""
    form = MelodyForm(request.POST, request.FILES)
    if form.is_valid():
        file = form.cleaned_data["file"]
        try:
            melody, is_new = add_melody(
                file=file,
                n_bytes=file.size,
                name=form.cleaned_data["name"],
                file_name=file.name,
                created_by=request.user if isinstance(request.user, User) else None,
            )
        except CatalogError as exc:
            form.add_error(None, f"The recording was not stored: {exc}.")
        else:
            told = "is stored; prompts can follow it" if is_new else "holds this sound already"
            messages.success(request, f"Recording {melody.name} {told}.")
            return redirect("console:prompts")
    answer = _show_prompts(request, may_act=True, melody_form=form)
    answer.status_code = 422
    return answer


@action
def add(request: HttpRequest) -> HttpResponse:
    """Adds prompts to a set, made if there was none."""
    form = PromptsForm(request.POST)
    if not form.is_valid():
        answer = _show_prompts(request, may_act=True, prompts_form=form)
        answer.status_code = 422
        return answer
    prompt_set = add_prompt_set(name=form.cleaned_data["prompt_set"])
    rows = form.rows()
    added = add_prompts(prompt_set=prompt_set, rows=rows)
    known = len(rows) - len(added)
    told = f"{len(added)} prompt{'' if len(added) == 1 else 's'} added to {prompt_set.name}"
    messages.success(request, f"{told}; {known} stood there already." if known else f"{told}.")
    return redirect(f"{reverse('console:prompts')}?{urlencode({'set': prompt_set.name})}")
