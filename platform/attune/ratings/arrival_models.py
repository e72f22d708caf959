"""What stands before a rater's first pair in a study, and how people of panels come and go."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from attune.raters.models import DeviceCheck, Rater


class DeviceCheckRule(models.TextChoices):
    """What a study makes of the headphone check."""

    OFF = "off", "not asked"
    RECORD = "record", "asked and recorded"
    EXCLUDE = "exclude", "asked; only who passes takes part"


class DeviceResult(models.TextChoices):
    """How a rater's headphone check ended; OPEN while it has not."""

    OPEN = "", "not made yet"
    PASSED = "passed", "headphones heard"
    FAILED = "failed", "no headphones heard"
    NO_HEADPHONES = "no_headphones", "said to have none"


class Panel(models.TextChoices):
    """Where paid raters come from, each with its own names for the same ids."""

    PROLIFIC = "prolific", "Prolific"
    MTURK = "mturk", "Mechanical Turk"
    OTHER = "other", "another panel"


class SessionEnd(models.TextChoices):
    """How a panel session ended; OPEN while it goes on."""

    OPEN = "", "going on"
    COMPLETED = "completed", "completed"
    SCREENED_OUT = "screened_out", "screened out"
    DECLINED = "declined", "declined"


class Arrival(models.Model):
    """How far one rater is on the way to the first pair of one study."""

    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="arrivals")
    study = models.ForeignKey("ratings.Study", on_delete=models.PROTECT, related_name="arrivals")
    declined_at = models.DateTimeField(null=True, blank=True)
    volume_set_at = models.DateTimeField(null=True, blank=True)
    device_check = models.ForeignKey(
        DeviceCheck, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    device_result = models.CharField(
        max_length=16, choices=DeviceResult.choices, blank=True, default=DeviceResult.OPEN
    )
    device_started_at = models.DateTimeField(null=True, blank=True)
    n_device_tries = models.PositiveSmallIntegerField(default=0)
    practice = models.JSONField(
        default=list, help_text="First answers to practice pairs; they are no ratings."
    )
    practice_done_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rater", "study"], name="one_arrival_per_rater_and_study"
            ),
        ]

    def __str__(self) -> str:
        return f"arrival of {self.rater} in {self.study}"


class PanelLink(models.Model):
    """The secret address of a study for one panel, and the codes its people take back."""

    study = models.ForeignKey("ratings.Study", on_delete=models.PROTECT, related_name="panel_links")
    panel = models.CharField(max_length=16, choices=Panel.choices)
    is_signed = models.BooleanField(
        default=False, help_text="Ids count only with a signature made with the link's key."
    )
    places = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many people it lets in; empty for any number."
    )
    completion_code = models.CharField(
        max_length=64,
        blank=True,
        default="",
        help_text="Empty: each session gets a code of its own.",
    )
    screened_out_code = models.CharField(max_length=64, blank=True, default="")
    declined_code = models.CharField(max_length=64, blank=True, default="")
    return_address = models.CharField(
        max_length=300, blank=True, default="", help_text="Where people go back to, with {code}."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(panel__in=Panel.values), name="panel_of_a_link_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.panel} link {self.pk}"


class PanelPerson(models.Model):
    """A panel's person in a study: one rater, known again by a keyed hash of the external id."""

    study = models.ForeignKey(
        "ratings.Study", on_delete=models.PROTECT, related_name="panel_people"
    )
    link = models.ForeignKey(PanelLink, on_delete=models.PROTECT, related_name="people")
    rater = models.OneToOneField(Rater, on_delete=models.PROTECT, related_name="panel_person")
    person_hash = models.CharField(
        max_length=64, null=True, blank=True, help_text="Empty once the person has withdrawn."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "panel people"
        constraints = [
            models.UniqueConstraint(
                fields=["study", "person_hash"], name="one_rater_per_study_and_external_id"
            ),
        ]

    def __str__(self) -> str:
        return f"panel person {self.pk}"


class PanelSession(models.Model):
    """One paid sitting of a panel's person, and the code that says it was done."""

    person = models.ForeignKey(PanelPerson, on_delete=models.PROTECT, related_name="sessions")
    link = models.ForeignKey(PanelLink, on_delete=models.PROTECT, related_name="sessions")
    session_hash = models.CharField(max_length=64, null=True, blank=True)
    code = models.CharField(max_length=64, help_text="Handed out when the session is completed.")
    end = models.CharField(
        max_length=16, choices=SessionEnd.choices, blank=True, default=SessionEnd.OPEN
    )
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["link", "session_hash"], name="one_panel_session_per_link_and_session_id"
            ),
            models.CheckConstraint(
                condition=Q(end="", ended_at__isnull=True)
                | (~Q(end="") & Q(ended_at__isnull=False)),
                name="ended_panel_session_says_when",
            ),
        ]

    def __str__(self) -> str:
        return f"panel session {self.pk}"
