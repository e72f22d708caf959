"""Reads of people and their roles."""

from datetime import datetime

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import F, Q, QuerySet

from attune.raters.errors import ConsentError
from attune.raters.models import ApiToken, Consent, ConsentText, Invitation, Rater, Role
from attune.raters.tokens import hash_token


def find_user_by_api_token(token: str) -> User | None:
    """The active user whose unrevoked token this is."""
    found = (
        ApiToken.objects.select_related("user")
        .filter(token_sha256=hash_token(token), revoked_at__isnull=True, user__is_active=True)
        .first()
    )
    return found.user if found else None


def has_role(user: User | AnonymousUser, role: Role | str) -> bool:
    """True if the active user has the role; a superuser has all."""
    if not user.is_authenticated or not user.is_active:
        return False
    return user.is_superuser or user.groups.filter(name=Role(role).value).exists()


def find_rater(user: User | AnonymousUser) -> Rater | None:
    """The user's rater, unless there is none or it was withdrawn."""
    if not user.is_authenticated:
        return None
    return Rater.objects.filter(user_id=user.pk, withdrawn_at__isnull=True).first()


def has_consented(rater: Rater, text_id: int) -> bool:
    """True if the rater agreed to this version of a consent text and did not take it back."""
    return Consent.objects.filter(rater=rater, text=text_id, withdrawn_at__isnull=True).exists()


def newest_consent_text(name: str) -> ConsentText:
    """The newest version of a consent text; ConsentError names those that there are."""
    found = ConsentText.objects.filter(name=name).order_by("-version").first()
    if found is None:
        names = sorted(set(ConsentText.objects.values_list("name", flat=True)))
        raise ConsentError(f"no consent text {name!r}: there is {', '.join(names) or 'none yet'}")
    return found


def find_invitation(token: str) -> Invitation | None:
    """The invitation of a link, whether or not it still lets anybody in."""
    return Invitation.objects.filter(token_sha256=hash_token(token)).first()


def open_invitations(now: datetime) -> QuerySet[Invitation]:
    """Invitations that still let somebody in, newest first."""
    return Invitation.objects.filter(
        Q(places__isnull=True) | Q(n_joined__lt=F("places")),
        used_at__isnull=True,
        revoked_at__isnull=True,
        expires_at__gt=now,
    ).order_by("-pk")
