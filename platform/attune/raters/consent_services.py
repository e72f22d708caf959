"""Writes about consent: new versions of texts, and who agreed to which."""

import hashlib
from datetime import datetime

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.utils.text import slugify

from attune.raters.errors import ConsentError
from attune.raters.models import Consent, ConsentText, Rater

log = structlog.get_logger(__name__)

TEXT_CHARACTERS = 20_000


@transaction.atomic
def write_consent_text(
    *, name: str, title: str, text: str, language: str = "en", written_by: User | None = None
) -> tuple[ConsentText, bool]:
    """(the text, whether it is new): the next version of the name.

    Words equal to those of the newest version make no new one. Line ends are stored as \\n, so
    that the hash does not depend on where the text was typed.
    """
    slug = slugify(name)[:40]
    body = "\n".join(line.rstrip() for line in text.strip().splitlines())
    head = title.strip()
    if not slug or not body or not head:
        raise ConsentError(f"consent text {name!r}: name, title and text are all needed")
    if len(body) > TEXT_CHARACTERS:
        raise ConsentError(
            f"consent text {slug!r} has {len(body)} characters: at most {TEXT_CHARACTERS}"
        )
    newest = ConsentText.objects.select_for_update().filter(name=slug).order_by("-version").first()
    if newest is not None and (newest.title, newest.text, newest.language) == (
        head,
        body,
        language,
    ):
        return newest, False
    written = ConsentText.objects.create(
        name=slug,
        version=1 if newest is None else newest.version + 1,
        title=head,
        text=body,
        language=language,
        text_sha256=hash_consent_text(head, body),
        written_by=written_by,
    )
    log.info("consent_text_written", text=str(written), sha256=written.text_sha256)
    return written, True


def hash_consent_text(title: str, text: str) -> str:
    """SHA-256 of title and text as they are shown, in hex."""
    return hashlib.sha256(f"{title}\n\n{text}".encode()).hexdigest()


@transaction.atomic
def record_consent(*, rater: Rater, text: ConsentText, now: datetime) -> Consent:
    """The rater's agreement to a version; a repeat returns the first."""
    consent, is_new = Consent.objects.get_or_create(
        rater=rater, text=text, defaults={"given_at": now}
    )
    if is_new:
        log.info("consent_given", rater=str(rater.pseudonym), text=str(text))
    return consent
