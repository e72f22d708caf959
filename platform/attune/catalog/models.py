"""What can be heard: prompts, checkpoints, the rotation and clips."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from attune.catalog.melodies import MEDIA_TYPES, MelodyFormat
from attune.jobs.models import Job


class Population(models.TextChoices):
    """Whose ratings: people's, or a rehearsal's simulated raters'. The two never mix."""

    PEOPLE = "people", "people"
    REHEARSAL = "rehearsal", "rehearsal"


class PromptSet(models.Model):
    """A named collection of prompts that a study draws from."""

    name = models.CharField(max_length=120, unique=True)
    description = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Melody(models.Model):
    """A recording whose tune clips can follow. `path` is relative to the media store."""

    name = models.CharField(max_length=120, unique=True)
    path = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    format = models.CharField(
        max_length=8, choices=[(format.value, format.name) for format in MelodyFormat]
    )
    n_bytes = models.PositiveIntegerField()
    duration_s = models.FloatField()
    sample_rate_hz = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        verbose_name_plural = "melodies"
        constraints = [
            models.UniqueConstraint(fields=["sha256"], name="one_melody_per_content"),
            models.CheckConstraint(condition=~Q(name=""), name="melody_name_is_not_empty"),
            models.CheckConstraint(
                condition=Q(duration_s__gt=0), name="melody_duration_is_positive"
            ),
            models.CheckConstraint(
                condition=Q(format__in=[format.value for format in MelodyFormat]),
                name="melody_format_is_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def media_type(self) -> str:
        """What a browser is told that the file is."""
        return MEDIA_TYPES[MelodyFormat(self.format)]


class Prompt(models.Model):
    """Text a clip is made from, and the recording whose tune it follows, if any.

    Held-out prompts judge; they never train.
    """

    prompt_set = models.ForeignKey(PromptSet, on_delete=models.PROTECT, related_name="prompts")
    text = models.CharField(max_length=500)
    melody = models.ForeignKey(
        Melody, on_delete=models.PROTECT, null=True, blank=True, related_name="prompts"
    )
    tags = models.JSONField(default=list)
    is_held_out = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["prompt_set", "text"],
                condition=Q(melody__isnull=True),
                name="one_prompt_per_text_in_a_prompt_set",
            ),
            models.UniqueConstraint(
                fields=["prompt_set", "text", "melody"],
                condition=Q(melody__isnull=False),
                name="one_prompt_per_text_and_melody_in_a_prompt_set",
            ),
            models.CheckConstraint(condition=~Q(text=""), name="prompt_text_is_not_empty"),
        ]

    def __str__(self) -> str:
        return self.text


class CheckpointKind(models.TextChoices):
    """FULL holds all weights; ADAPTER a PEFT adapter on its parent chain; REWARD scores clips."""

    FULL = "full", "full"
    ADAPTER = "adapter", "adapter"
    REWARD = "reward", "reward model"


GENERATING_KINDS = (CheckpointKind.FULL, CheckpointKind.ADAPTER)
"""Checkpoints that make clips; a reward model only scores them."""


class Checkpoint(models.Model):
    """Stored weights with a card. `folder` is relative to the checkpoint store, or absolute."""

    name = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=16, choices=CheckpointKind.choices)
    family = models.CharField(max_length=32)
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children"
    )
    folder = models.CharField(max_length=500)
    content_hash = models.CharField(max_length=64)
    card = models.JSONField(default=dict)
    is_simulated = models.BooleanField(
        default=False, help_text="Trained on simulated ratings, itself or by ancestry."
    )
    is_retired = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(kind="adapter") | Q(parent__isnull=False),
                name="adapter_checkpoint_has_a_parent",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=CheckpointKind.values), name="checkpoint_kind_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class CheckpointMix(models.Model):
    """One adapter in a mixed checkpoint, with its weight. All parts adapt the same parent."""

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="mix_parts")
    part = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="mixed_into")
    weight = models.FloatField()

    class Meta:
        verbose_name_plural = "checkpoint mixes"
        constraints = [
            models.UniqueConstraint(
                fields=["checkpoint", "part"], name="one_weight_per_mixed_checkpoint_and_part"
            ),
            models.CheckConstraint(
                condition=~Q(checkpoint=models.F("part")), name="no_checkpoint_is_mixed_into_itself"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.weight:g} of {self.part} in {self.checkpoint}"


class RotationRole(models.TextChoices):
    """ANCHOR never leaves; CANARY is being judged on a small share; FULL was promoted."""

    ANCHOR = "anchor", "anchor"
    CANARY = "canary", "canary"
    FULL = "full", "full"


class RotationEntry(models.Model):
    """A checkpoint that makes new clips for one population, with its share of them."""

    population = models.CharField(max_length=16, choices=Population.choices)
    checkpoint = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, related_name="rotation_entries"
    )
    role = models.CharField(max_length=16, choices=RotationRole.choices)
    share = models.FloatField(help_text="Weight of new clips, 0 to 1; shares are normalised.")
    entered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["population", "checkpoint"],
                name="one_rotation_entry_per_population_and_checkpoint",
            ),
            models.CheckConstraint(
                condition=Q(share__gt=0) & Q(share__lte=1), name="rotation_share_is_in_0_to_1"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.checkpoint} {self.role} {self.share:.2f} for {self.population}"


class RotationAction(models.TextChoices):
    """What was decided about a checkpoint."""

    ENTER = "enter", "entered rotation"
    PROMOTE = "promote", "promoted"
    HOLD = "hold", "held"
    ROLL_BACK = "roll_back", "rolled back"
    RETIRE = "retire", "retired"


class RotationEvent(models.Model):
    """One audited decision about the rotation. `actor` is null when the site decided."""

    population = models.CharField(max_length=16, choices=Population.choices)
    checkpoint = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, related_name="rotation_events"
    )
    action = models.CharField(max_length=16, choices=RotationAction.choices)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    reason = models.TextField()
    figures = models.JSONField(
        default=dict, blank=True, help_text="What the decision stands on, where the site decided."
    )
    share = models.FloatField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="rotation_event_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.checkpoint} {self.get_action_display()}"


class ClipStatus(models.TextChoices):
    """REQUESTED -> GENERATING -> READY or FAILED."""

    REQUESTED = "requested", "requested"
    GENERATING = "generating", "generating"
    READY = "ready", "ready"
    FAILED = "failed", "failed"


class Damage(models.TextChoices):
    """What was done to a copy of a clip that checks whether raters listen. All can be heard."""

    CLIPPED = "clipped", "clipped"
    DROPOUTS = "dropouts", "dropouts"
    NOISE = "noise", "noise"
    CRUSHED = "crushed", "crushed to few levels"


class Clip(models.Model):
    """One generated piece of audio with its codes, seed, prompt and checkpoint.

    Paths are relative to the media store. Loudness is BS.1770 integrated; `gain_db` brings
    the clip to the site's playback level and is at most what keeps the true peak at -1 dBTP.
    A damaged copy of another clip has no codes, and its seed is the damage's: nothing can be
    learned from it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="clips")
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="clips")
    status = models.CharField(
        max_length=16, choices=ClipStatus.choices, default=ClipStatus.REQUESTED
    )
    job = models.ForeignKey(
        Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="clips"
    )
    requested_duration_s = models.FloatField()
    seed = models.BigIntegerField()
    sampling = models.JSONField(default=dict)
    damage = models.CharField(max_length=16, choices=Damage.choices, blank=True, default="")
    damaged_from = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="damaged_copies"
    )
    header = models.JSONField(default=list, help_text="Text ids the clip was conditioned on.")
    unknown_words = models.JSONField(default=list)
    codes_path = models.CharField(max_length=200, blank=True, default="")
    codes_sha256 = models.CharField(max_length=64, blank=True, default="")
    audio_path = models.CharField(max_length=200, blank=True, default="")
    audio_sha256 = models.CharField(max_length=64, blank=True, default="")
    duration_s = models.FloatField(null=True, blank=True)
    sample_rate_hz = models.PositiveIntegerField(null=True, blank=True)
    loudness_lufs = models.FloatField(null=True, blank=True)
    true_peak_dbtp = models.FloatField(null=True, blank=True)
    gain_db = models.FloatField(null=True, blank=True)
    peaks = models.JSONField(default=list, help_text="Waveform outline, 0 to 1.")
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["status", "checkpoint"], name="clip_by_status")]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status="ready")
                | (
                    (~Q(damage="") | (~Q(codes_path="") & ~Q(codes_sha256="")))
                    & ~Q(audio_path="")
                    & ~Q(audio_sha256="")
                    & Q(duration_s__isnull=False)
                    & Q(sample_rate_hz__isnull=False)
                    & Q(gain_db__isnull=False)
                ),
                name="ready_clip_has_codes_audio_and_measurements",
            ),
            models.CheckConstraint(
                condition=Q(requested_duration_s__gt=0), name="clip_duration_is_positive"
            ),
            models.CheckConstraint(
                condition=Q(damage="", damaged_from__isnull=True)
                | Q(damage__in=Damage.values, damaged_from__isnull=False, codes_path=""),
                name="damaged_clip_names_its_original_and_has_no_codes",
            ),
        ]

    def __str__(self) -> str:
        return f"clip {self.pk} {self.status}"


class ClipScore(models.Model):
    """What a reward model thinks of a clip: the mean of its heads, and how they differ."""

    clip = models.ForeignKey(Clip, on_delete=models.CASCADE, related_name="scores")
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="clip_scores")
    mean = models.FloatField()
    std = models.FloatField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["checkpoint", "-mean"], name="clips_by_score")]
        constraints = [
            models.UniqueConstraint(
                fields=["clip", "checkpoint"], name="one_score_per_clip_and_reward_model"
            ),
            models.CheckConstraint(
                condition=Q(std__gte=0), name="spread_of_a_score_is_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.mean:.3f} by {self.checkpoint}"
