"""Invitations: made several at once, listed, taken back."""

from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from attune.raters.models import Invitation
from attune.raters.selectors import open_invitations
from attune.raters.services import create_invitation, revoke_invitation
from console.access import action, page
from console.arrival_forms import InvitationForm
from console.pages import csv_answer, show, wants_csv

PER_PAGE = 50
CSV_HEADER = (
    *("id", "role", "label", "is_open", "places", "n_joined", "state"),
    *("created_at", "expires_at", "used_at", "revoked_at"),
)


@page
def invitation_list(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """All invitations, newest first, and a form that makes more. No link is shown twice."""
    if wants_csv(request):
        rows = Invitation.objects.order_by("-pk")
        return csv_answer("invitations", CSV_HEADER, map(_csv_row, rows))
    return _show(request, may_act=may_act)


@action
def make(request: HttpRequest) -> HttpResponse:
    """Makes the links and shows them, this once, or sends them as a file."""
    form = InvitationForm(request.POST)
    if not form.is_valid():
        answer = _show(request, may_act=True, form=form)
        answer.status_code = 422
        return answer
    given = form.cleaned_data
    author = request.user if isinstance(request.user, User) else None
    links = []
    for _ in range(given["count"]):
        _invitation, token = create_invitation(
            role=given["role"],
            lifetime=timedelta(days=given["days"]),
            now=timezone.now(),
            label=given["label"],
            is_open=given["is_open"],
            places=given["places"],
            made_by=author,
        )
        links.append(request.build_absolute_uri(reverse("join", args=[token])))
    if request.POST.get("as") == "csv":
        rows = [(given["role"], given["label"], link) for link in links]
        return csv_answer("invitation-links", ("role", "label", "link"), rows)
    return _show(request, may_act=True, links=links)


@action
def revoke(request: HttpRequest, invitation_id: int) -> HttpResponse:
    """Takes an invitation back."""
    invitation = Invitation.objects.filter(pk=invitation_id).first()
    if invitation and revoke_invitation(invitation=invitation, now=timezone.now()):
        messages.success(request, "The invitation lets nobody in any more.")
    else:
        messages.error(request, "There is no such invitation, or it was used or taken back before.")
    return redirect("console:invitations")


def _show(
    request: HttpRequest,
    *,
    may_act: bool,
    form: InvitationForm | None = None,
    links: list[str] | None = None,
) -> HttpResponse:
    rows = Invitation.objects.select_related("made_by").order_by("-pk")
    shown = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    now = timezone.now()
    return show(
        request,
        "invitation_list",
        section="invitations",
        may_act=may_act,
        rows=[(row, state_of(row)) for row in shown],
        shown=shown,
        n_all=rows.count(),
        n_open=open_invitations(now).count(),
        form=form or InvitationForm(),
        links=links or [],
    )


def state_of(invitation: Invitation) -> str:
    """What became of the invitation, in a word."""
    if invitation.used_at is not None:
        return "used"
    if invitation.revoked_at is not None:
        return "taken back"
    if invitation.places is not None and invitation.n_joined >= invitation.places:
        return "full"
    return "waiting" if invitation.expires_at > timezone.now() else "expired"


def _csv_row(row: Invitation) -> tuple[object, ...]:
    return (
        *(row.pk, row.role, row.label, row.is_open, row.places, row.n_joined, state_of(row)),
        *(row.created_at, row.expires_at, row.used_at, row.revoked_at),
    )
