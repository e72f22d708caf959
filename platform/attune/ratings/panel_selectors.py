"""Reads of panels' sessions."""

from dataclasses import dataclass
from typing import assert_never

from django.db.models import Count, QuerySet

from attune.raters.models import Rater
from attune.ratings.arrival_models import PanelLink, PanelSession, SessionEnd
from attune.ratings.models import Rating, Study


@dataclass(frozen=True)
class WayBack:
    """What a panel's person takes back: a code, where to, and how much is still missing."""

    end: SessionEnd
    code: str
    address: str
    n_done: int
    n_needed: int


def find_session(rater: Rater) -> PanelSession | None:
    """The rater's newest panel session; None for raters who came by another way."""
    return (
        PanelSession.objects.select_related("link__study", "person__rater")
        .filter(person__rater=rater)
        .order_by("-started_at", "-pk")
        .first()
    )


def count_done(session: PanelSession) -> int:
    """How many pairs its rater has rated since the session began."""
    return Rating.objects.filter(
        rater=session.person.rater_id,
        pair__study=session.link.study_id,
        created_at__gte=session.started_at,
    ).count()


def has_done_enough(session: PanelSession) -> bool:
    """True if the session can be accepted: a sitting's pairs are rated, or the study has closed."""
    study = session.link.study
    return not study.is_open or count_done(session) >= study.pairs_per_session


def get_way_back(session: PanelSession) -> WayBack:
    """What the person takes back from the session as it stands; no code while it goes on."""
    link = session.link
    end = SessionEnd(session.end)
    match end:
        case SessionEnd.OPEN:
            code = ""
        case SessionEnd.COMPLETED:
            code = session.code
        case SessionEnd.SCREENED_OUT:
            code = link.screened_out_code
        case SessionEnd.DECLINED:
            code = link.declined_code
        case _:
            assert_never(end)
    address = link.return_address.replace("{code}", code) if code else ""
    return WayBack(
        end=end,
        code=code,
        address=address,
        n_done=count_done(session),
        n_needed=link.study.pairs_per_session,
    )


def panel_links(study: Study) -> QuerySet[PanelLink]:
    """The study's links, newest first, each with how many people came by it."""
    return study.panel_links.annotate(n_people=Count("people")).order_by("-pk")


def panel_sessions(study: Study) -> QuerySet[PanelSession]:
    """The study's panel sessions, newest first."""
    return (
        PanelSession.objects.filter(link__study=study)
        .select_related("link", "person__rater")
        .order_by("-started_at", "-pk")
    )
