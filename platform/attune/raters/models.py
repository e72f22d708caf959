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
    """A sign-in link: for one person once, or an open one for raters until it is full or ended.

    Only the SHA-256 of its token is stored.
    """

    role = models.CharField(max_length=16, choices=Role.choices)
    token_sha256 = models.CharField(max_length=64, unique=True)
    label = models.CharField(
        max_length=80, blank=True, default="", help_text="For whom, as engineers note it."
    )
    is_open = models.BooleanField(default=False, help_text="Lets in more than one person.")
    places = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many an open link lets in; empty for any number."
    )
    n_joined = models.PositiveIntegerField(default=0, help_text="How many came by an open link.")
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    made_by = models.ForeignKey(
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
            models.CheckConstraint(
                condition=Q(is_open=False) | Q(role=Role.RATER.value),
                name="open_invitation_is_for_raters",
            ),
            models.CheckConstraint(
                condition=Q(places__isnull=True) | Q(n_joined__lte=models.F("places")),
                name="open_invitation_lets_in_no_more_than_its_places",
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


class ConsentText(models.Model):
    """One version of what raters are asked to agree to. Never changed: a newer replaces it."""

    name = models.SlugField(max_length=40)
    version = models.PositiveSmallIntegerField()
    title = models.CharField(max_length=120)
    text = models.TextField()
    language = models.CharField(max_length=16, default="en", help_text="As in HTML: en, de.")
    text_sha256 = models.CharField(max_length=64, editable=False)
    written_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name", "version"], name="one_consent_text_per_name_and_version"
            ),
            models.CheckConstraint(
                condition=Q(version__gte=1), name="consent_text_versions_start_at_1"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Consent(models.Model):
    """A rater's agreement to one version of a consent text, and when it was taken back."""

    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="consents")
    text = models.ForeignKey(ConsentText, on_delete=models.PROTECT, related_name="consents")
    given_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rater", "text"], name="one_consent_per_rater_and_text"
            ),
        ]

    def __str__(self) -> str:
        return f"consent of {self.rater} to {self.text}"


class DeviceCheckKind(models.TextChoices):
    """Which listening check was made."""

    HUGGINS_PITCH = "huggins_pitch", "Huggins pitch"
    ANTIPHASE = "antiphase", "antiphase"


class DeviceCheck(models.Model):
    """One headphone check of one rater: what was asked, drawn from its seed, and answered."""

    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="device_checks")
    kind = models.CharField(max_length=16, choices=DeviceCheckKind.choices)
    seed = models.BigIntegerField(editable=False, help_text="Sounds and answers follow from it.")
    answers = models.JSONField(default=list, help_text="The interval chosen in each trial, 0 to 2.")
    n_trials = models.PositiveSmallIntegerField(default=0, help_text="Trials answered.")
    n_correct = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(n_correct__lte=models.F("n_trials")),
                name="device_check_counts_no_more_correct_than_trials",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.n_correct}/{self.n_trials} of {self.rater}"
