"""How panels name people and sessions in an address, and how such ids are known again. Pure."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from django.core import signing
from django.utils.crypto import salted_hmac

from attune.raters.errors import PanelError
from attune.ratings.arrival_models import Panel, PanelLink

LINK_SALT = "attune.panel.link"
ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,128}")
NOT_YET_ACCEPTED = "ASSIGNMENT_ID_NOT_AVAILABLE"
SIGNATURE_FIELD = "signature"


@dataclass(frozen=True)
class PanelFields:
    """What a panel calls the person and the session in the address."""

    person: str
    session: str
    template: str
    """What an engineer pastes behind the address; the panel fills it in."""


FIELDS: Mapping[Panel, PanelFields] = {
    # Prolific's and Mechanical Turk's own names.
    Panel.PROLIFIC: PanelFields(
        "PROLIFIC_PID",
        "SESSION_ID",
        "PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}",
    ),
    Panel.MTURK: PanelFields(
        "workerId",
        "assignmentId",
        "workerId=${workerId}&assignmentId=${assignmentId}&hitId=${hitId}",
    ),
    Panel.OTHER: PanelFields("person", "session", "person=PERSON&session=SESSION"),
}

RETURN_ADDRESSES: Mapping[Panel, str] = {
    Panel.PROLIFIC: "https://app.prolific.com/submissions/complete?cc={code}",
    Panel.MTURK: "",
    Panel.OTHER: "",
}


@dataclass(frozen=True)
class PanelIds:
    """Who came, and for which of their sessions; never stored as they are."""

    person: str
    session: str


def link_token(link: PanelLink) -> str:
    """The part of the address that nobody can guess. It follows from the row, so none is stored."""
    return signing.dumps(link.pk, salt=LINK_SALT)


def find_link_id(token: str) -> int | None:
    """The link that a token stands for; None for an invented one."""
    try:
        return int(signing.loads(token, salt=LINK_SALT))
    except (signing.BadSignature, TypeError, ValueError):
        return None


def link_path(link: PanelLink) -> str:
    """The address to give to the panel, with its place-holders, from the site's root."""
    template = FIELDS[Panel(link.panel)].template
    signed = f"&{SIGNATURE_FIELD}=SIGNATURE" if link.is_signed else ""
    return f"/panel/{link_token(link)}?{template}{signed}"


def is_preview(link: PanelLink, query: Mapping[str, str]) -> bool:
    """True when a worker looks at the task without having accepted it."""
    session = query.get(FIELDS[Panel(link.panel)].session, "")
    return session == NOT_YET_ACCEPTED


def read_ids(link: PanelLink, query: Mapping[str, str]) -> PanelIds:
    """The ids in an address. PanelError when one is missing, odd, or not signed as it must be."""
    fields = FIELDS[Panel(link.panel)]
    found = {name: query.get(name, "").strip() for name in (fields.person, fields.session)}
    for name, value in found.items():
        if not ID_PATTERN.fullmatch(value):
            raise PanelError(f"the address lacks {name}", reason="ids")
    ids = PanelIds(person=found[fields.person], session=found[fields.session])
    if link.is_signed:
        given = query.get(SIGNATURE_FIELD, "")
        if not hmac.compare_digest(sign_ids(link, ids).encode(), given.encode()):
            raise PanelError("the address is not signed with the link's key", reason="signature")
    return ids


def signing_key(link: PanelLink) -> str:
    """The key, in hex, with which the owner of a signed link signs ids."""
    return salted_hmac("attune.panel.key", str(link.pk), algorithm="sha256").hexdigest()


def sign_ids(link: PanelLink, ids: PanelIds) -> str:
    """HMAC-SHA256, in hex, of `PERSON newline SESSION` under the link's key."""
    key = bytes.fromhex(signing_key(link))
    return hmac.new(key, f"{ids.person}\n{ids.session}".encode(), "sha256").hexdigest()


def hash_person(link: PanelLink, ids: PanelIds) -> str:
    """What is stored of the person's id: a hash under the site's secret, other in each study."""
    content = f"{link.study_id} {link.panel} {ids.person}"
    return salted_hmac("attune.panel.person", content, algorithm="sha256").hexdigest()


def hash_session(link: PanelLink, ids: PanelIds) -> str:
    """What is stored of the session's id."""
    content = f"{link.pk} {ids.session}"
    return salted_hmac("attune.panel.session", content, algorithm="sha256").hexdigest()
