"""Who uses the site, how they got in, and what they agreed to."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q


class Role(models.TextChoices):
    """The three kinds of people. Stored as Django groups of the same name."""

    RATER = "rater", "rater"
    ENGINEER = "engineer", "engineer"
    REVIEWER = "reviewer", "reviewer"


class Rater(models.Model):
    """A listener. Statistics and exports know only the pseudonym."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="rater"
    )
    pseudonym = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    is_simulated = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"rater {self.pseudonym}"


class Invitation(models.Model):
    """A single-use sign-in link. Only the SHA-256 of its token is stored."""

    role = models.CharField(max_length=16, choices=Role.choices)
    token_sha256 = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(used_at__isnull=True) | Q(used_by__isnull=False),
                name="used_invitation_names_its_user",
            ),
            models.CheckConstraint(
                condition=Q(role__in=Role.values), name="invitation_role_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"invitation for a {self.role}"


class ApiToken(models.Model):
    """A bearer token for scripts. Only its SHA-256 is stored."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    token_sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"API token of {self.user}"


class Consent(models.Model):
    """A rater's agreement to one version of the consent text."""

    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="consents")
    version = models.CharField(max_length=32)
    text_sha256 = models.CharField(max_length=64)
    given_at = models.DateTimeField(auto_now_add=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rater", "version"], name="one_consent_per_rater_and_version"
            ),
        ]

    def __str__(self) -> str:
        return f"consent {self.version} of {self.rater}"


class DeviceCheckKind(models.TextChoices):
    """Which listening check was made."""

    HUGGINS_PITCH = "huggins_pitch", "Huggins pitch"
    ANTIPHASE = "antiphase", "antiphase"


class DeviceCheck(models.Model):
    """One headphone check of one rater. Recorded; excludes nobody by itself."""

    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="device_checks")
    kind = models.CharField(max_length=16, choices=DeviceCheckKind.choices)
    n_trials = models.PositiveSmallIntegerField()
    n_correct = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(n_correct__lte=models.F("n_trials")),
                name="device_check_counts_no_more_correct_than_trials",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.n_correct}/{self.n_trials} of {self.rater}"
