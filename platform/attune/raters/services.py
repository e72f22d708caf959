"""Writes about people: accounts, invitations, tokens, consent and withdrawal."""

from datetime import datetime, timedelta
from uuid import uuid4

import structlog
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import F, Q

from attune.raters.errors import InvitationError, RaterError
from attune.raters.models import ApiToken, Consent, Invitation, Rater, Role
from attune.raters.tokens import hash_token, new_token

log = structlog.get_logger(__name__)

LABEL_CHARACTERS = 80


@transaction.atomic
def create_rater(*, is_simulated: bool = False) -> Rater:
    """A new rater with an account that knows no password."""
    pseudonym = uuid4()
    user = _create_user(name=f"rater-{pseudonym.hex[:16]}", role=Role.RATER)
    return Rater.objects.create(user=user, pseudonym=pseudonym, is_simulated=is_simulated)


@transaction.atomic
def create_member(*, role: Role | str) -> User:
    """A new account in one role; a rater's comes with its rater."""
    if role == Role.RATER:
        return create_rater().user
    return _create_user(name=f"{Role(role).value}-{uuid4().hex[:16]}", role=Role(role))


def create_invitation(
    *,
    role: Role | str,
    lifetime: timedelta,
    now: datetime,
    label: str = "",
    is_open: bool = False,
    places: int | None = None,
    made_by: User | None = None,
) -> tuple[Invitation, str]:
    """(invitation, its token). The token is not stored and cannot be shown again.

    An open invitation lets in any number of raters, or as many as it has places.
    """
    if lifetime <= timedelta(0):
        raise RaterError(f"an invitation for {lifetime}: expected a positive lifetime")
    if is_open and Role(role) is not Role.RATER:
        raise RaterError(f"an open invitation for a {role}: open ones are for raters")
    if places is not None and (not is_open or places < 1):
        raise RaterError(f"{places} places: expected at least 1, of an open invitation")
    token = new_token()
    invitation = Invitation.objects.create(
        role=Role(role),
        token_sha256=hash_token(token),
        expires_at=now + lifetime,
        label=label.strip()[:LABEL_CHARACTERS],
        is_open=is_open,
        places=places,
        made_by=made_by,
    )
    return invitation, token


def revoke_invitation(*, invitation: Invitation, now: datetime) -> bool:
    """Whether the invitation ceased to let people in; whoever is in stays in."""
    return bool(
        Invitation.objects.filter(
            pk=invitation.pk, used_at__isnull=True, revoked_at__isnull=True
        ).update(revoked_at=now)
    )


def accept_invitation(*, token: str, now: datetime) -> User:
    """The new account the invitation was for. Of two who use one place at once, one gets in."""
    invitation = Invitation.objects.filter(token_sha256=hash_token(token)).first()
    if invitation is None:
        raise InvitationError("unknown")
    check_invitation(invitation, now)
    with transaction.atomic():
        user = create_member(role=invitation.role)
        waiting = Invitation.objects.filter(
            pk=invitation.pk, used_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now
        )
        if invitation.is_open:
            places = waiting.filter(Q(places__isnull=True) | Q(n_joined__lt=F("places")))
            accepted = places.update(n_joined=F("n_joined") + 1)
        else:
            accepted = waiting.update(used_at=now, used_by=user)
        if not accepted:
            raise InvitationError("full" if invitation.is_open else "used")  # rolls back
    log.info("invitation_accepted", invitation=invitation.pk, role=invitation.role)
    return user


def check_invitation(invitation: Invitation, now: datetime) -> None:
    """Raise InvitationError unless the invitation still lets somebody in."""
    if invitation.used_at is not None:
        raise InvitationError("used")
    if invitation.revoked_at is not None:
        raise InvitationError("revoked")
    if invitation.expires_at <= now:
        raise InvitationError("expired")
    if invitation.places is not None and invitation.n_joined >= invitation.places:
        raise InvitationError("full")


def create_api_token(*, user: User) -> str:
    """A new bearer token of the user; only its hash is stored."""
    token = new_token()
    ApiToken.objects.create(user=user, token_sha256=hash_token(token))
    return token


def revoke_api_tokens(*, user: User, now: datetime) -> int:
    """How many of the user's tokens ceased to work."""
    return ApiToken.objects.filter(user=user, revoked_at__isnull=True).update(revoked_at=now)


@transaction.atomic
def withdraw_rater(*, rater: Rater, now: datetime) -> None:
    """End the rater's part and erase what the person can be known by.

    The ratings stay, under the pseudonym; nothing leads from it to an account in use.
    """
    withdrawn = Rater.objects.filter(pk=rater.pk, withdrawn_at__isnull=True).update(
        withdrawn_at=now
    )
    if not withdrawn:
        return
    Consent.objects.filter(rater=rater, withdrawn_at__isnull=True).update(withdrawn_at=now)
    revoke_api_tokens(user=rater.user, now=now)
    user = rater.user
    user.username = f"withdrawn-{uuid4().hex[:16]}"
    user.first_name = user.last_name = user.email = ""
    user.is_active = False
    user.last_login = None
    user.set_unusable_password()
    user.save()
    user.groups.clear()
    log.info("rater_withdrawn", rater=str(rater.pseudonym))


def _create_user(*, name: str, role: Role) -> User:
    user = User(username=name)
    user.set_unusable_password()
    user.save()
    group, _ = Group.objects.get_or_create(name=role.value)
    user.groups.add(group)
    return user
