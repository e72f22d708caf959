"""Writes about panels: links, people who arrive by them, and how their sessions end."""

import secrets
from datetime import datetime
from urllib.parse import urlsplit

import structlog
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from attune.catalog.models import Population
from attune.raters.errors import PanelError
from attune.raters.models import Rater
from attune.raters.services import create_rater
from attune.ratings.arrival_models import (
    Panel,
    PanelLink,
    PanelPerson,
    PanelSession,
    SessionEnd,
)
from attune.ratings.errors import StudyError
from attune.ratings.models import Study
from attune.ratings.panel_selectors import has_done_enough
from attune.ratings.panels import PanelIds, hash_person, hash_session

log = structlog.get_logger(__name__)

CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that is taken for another
CODE_LENGTH = 10


def create_panel_link(
    *,
    study: Study,
    panel: Panel | str,
    is_signed: bool = False,
    places: int | None = None,
    completion_code: str = "",
    screened_out_code: str = "",
    declined_code: str = "",
    return_address: str = "",
    created_by: User | None = None,
) -> PanelLink:
    """A new way into the study for a panel's people. StudyError says what is not allowed."""
    if study.population != Population.PEOPLE:
        raise StudyError(f"study {study.slug!r} is a rehearsal: no people", slug=study.slug)
    if places is not None and places < 1:
        raise StudyError(f"{places} places: expected at least 1", slug=study.slug)
    if return_address:
        parts = urlsplit(return_address)
        if parts.scheme != "https" or not parts.netloc or "{code}" not in return_address:
            raise StudyError(
                f"return address {return_address!r}: expected https://... with {{code}} in it",
                slug=study.slug,
            )
    link = PanelLink.objects.create(
        study=study,
        panel=Panel(panel),
        is_signed=is_signed,
        places=places,
        completion_code=completion_code.strip(),
        screened_out_code=screened_out_code.strip(),
        declined_code=declined_code.strip(),
        return_address=return_address.strip(),
        created_by=created_by,
    )
    log.info("panel_link_created", link=link.pk, study=study.slug, panel=link.panel)
    return link


def revoke_panel_link(*, link: PanelLink, now: datetime) -> bool:
    """Whether the link ceased to let people in; those who are in go on."""
    return bool(
        PanelLink.objects.filter(pk=link.pk, revoked_at__isnull=True).update(revoked_at=now)
    )


def admit_from_panel(*, link: PanelLink, ids: PanelIds, now: datetime) -> PanelSession:
    """The session that these ids stand for, of one rater per external id and study.

    Whoever comes again, in this session or a new one, is the rater they were before. A session
    belongs to one person: another who brings its id is refused. A closed study begins none.
    """
    if link.revoked_at is not None:
        raise PanelError("this link was ended", reason="ended")
    try:
        with transaction.atomic():
            return _admit(link, ids, now)
    except IntegrityError:
        # The same address opened twice at once: the other request made the rows.
        with transaction.atomic():
            return _admit(link, ids, now)


def complete_session(*, session: PanelSession, now: datetime) -> PanelSession:
    """The session, completed if its rater has rated as many pairs as a sitting asks for."""
    if session.end == SessionEnd.OPEN and has_done_enough(session):
        return _end(session, SessionEnd.COMPLETED, now)
    return session


def end_sessions(*, rater: Rater, end: SessionEnd, now: datetime) -> list[PanelSession]:
    """The rater's open sessions, ended without being completed."""
    sessions = PanelSession.objects.select_related("link").filter(
        person__rater=rater, end=SessionEnd.OPEN
    )
    return [_end(session, end, now) for session in sessions]


def reopen_session(*, session: PanelSession) -> PanelSession:
    """A session that a person had declined and comes back to, going on again."""
    n_changed = PanelSession.objects.filter(pk=session.pk, end=SessionEnd.DECLINED).update(
        end=SessionEnd.OPEN, ended_at=None
    )
    if n_changed:
        session.refresh_from_db()
    return session


def forget_panel_ids(*, rater: Rater) -> int:
    """How many hashes of external ids were erased."""
    n_people = PanelPerson.objects.filter(rater=rater).update(person_hash=None)
    n_sessions = PanelSession.objects.filter(person__rater=rater).update(session_hash=None)
    return n_people + n_sessions


def _admit(link: PanelLink, ids: PanelIds, now: datetime) -> PanelSession:
    locked = PanelLink.objects.select_for_update().select_related(None).get(pk=link.pk)
    session_hash = hash_session(link, ids)
    person_hash = hash_person(link, ids)
    session = (
        PanelSession.objects.select_related("person__rater__user", "link__study")
        .filter(link=locked, session_hash=session_hash)
        .first()
    )
    if session is not None:
        if session.person.person_hash != person_hash:
            raise PanelError("this session is another person's", reason="other")
        if session.end == SessionEnd.DECLINED:
            _check_open(link)
        return reopen_session(session=session)
    _check_open(link)
    person = PanelPerson.objects.filter(study=link.study_id, person_hash=person_hash).first()
    if person is None:
        if locked.places is not None and locked.people.count() >= locked.places:
            raise PanelError(f"all {locked.places} places are taken", reason="full")
        person = PanelPerson.objects.create(
            study_id=link.study_id, link=locked, rater=create_rater(), person_hash=person_hash
        )
        log.info("panel_person_arrived", link=link.pk, rater=str(person.rater.pseudonym))
    return PanelSession.objects.create(
        person=person,
        link=locked,
        session_hash=session_hash,
        code=locked.completion_code or new_code(),
        started_at=now,
    )


def _check_open(link: PanelLink) -> None:
    """Raise PanelError for a closed study: its sessions are complete without any work."""
    if not Study.objects.filter(pk=link.study_id, is_open=True).exists():
        raise PanelError("this study has ended", reason="ended")


def new_code() -> str:
    """A code that nobody can guess, easily typed."""
    return "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))


def _end(session: PanelSession, end: SessionEnd, now: datetime) -> PanelSession:
    n_changed = PanelSession.objects.filter(pk=session.pk, end=SessionEnd.OPEN).update(
        end=end, ended_at=now
    )
    session.refresh_from_db()
    if n_changed:
        log.info("panel_session_ended", session=session.pk, end=end.value)
    return session
