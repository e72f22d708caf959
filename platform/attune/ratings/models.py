"""Which clips meet, who hears them, and what was answered."""

import uuid

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from attune.catalog.models import Checkpoint, Clip, Population, Prompt, PromptSet
from attune.raters.models import ConsentText, Rater
from attune.ratings import trust_models  # noqa: F401 (its tables belong to this app)
from attune.ratings.arrival_models import DeviceCheckRule
from attune.ratings.choices import Aspect, AssignmentState, Choice, PairPurpose, Side


class Study(models.Model):
    """What is being asked of whom: prompts, question, listening rule, overlap, pool."""

    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=120)
    population = models.CharField(
        max_length=16, choices=Population.choices, default=Population.PEOPLE
    )
    prompt_set = models.ForeignKey(PromptSet, on_delete=models.PROTECT, related_name="studies")
    question = models.CharField(max_length=200, default="Which do you prefer?")
    clip_duration_s = models.FloatField(default=10.0)
    minimum_listening_s = models.FloatField(default=5.0)
    asks_strength = models.BooleanField(
        default=True, help_text="After A or B, offer to say how much better it was."
    )
    aspects = models.JSONField(
        default=list,
        blank=True,
        help_text="Asked one by one after the answer: prompt_fit, musicality, sound_quality.",
    )
    shows_history = models.BooleanField(
        default=True,
        help_text="Raters may change all answers of their sitting, else the last one only.",
    )
    break_after_min = models.PositiveSmallIntegerField(
        default=20, help_text="Minutes after which the page offers a break; 0 offers none."
    )
    consent = models.ForeignKey(
        ConsentText,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="studies",
        help_text="What raters agree to before they take part; empty asks nothing.",
    )
    asks_volume = models.BooleanField(
        default=False, help_text="Raters set their volume to a reference sound first."
    )
    device_check = models.CharField(
        max_length=16, choices=DeviceCheckRule.choices, default=DeviceCheckRule.OFF
    )
    n_practice = models.PositiveSmallIntegerField(
        default=0, help_text="Practice pairs before the first one, at most three."
    )
    overlap = models.PositiveSmallIntegerField(default=1)
    pairs_per_session = models.PositiveSmallIntegerField(default=40)
    assignment_lease_s = models.PositiveIntegerField(default=900)
    pool_target = models.PositiveSmallIntegerField(
        default=0, help_text="Ready, unrated pairs kept ahead of the raters; 0 fills on request."
    )
    judging_share = models.FloatField(
        default=0.3, help_text="Share of pool pairs that set two checkpoints against each other."
    )
    gold_share = models.FloatField(
        default=0.1, help_text="Share of pairs whose answer is known; 0 checks no rater."
    )
    repeat_share = models.FloatField(
        default=0.1, help_text="Share of pairs that come again with sides swapped."
    )
    sampling = models.JSONField(default=dict, help_text="Sampling settings; empty means default.")
    gate = models.JSONField(default=dict, help_text="Thresholds that differ from the default.")
    is_open = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "studies"
        constraints = [
            models.CheckConstraint(
                condition=Q(minimum_listening_s__gte=0), name="study_listening_is_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(clip_duration_s__gt=0), name="study_clip_duration_is_positive"
            ),
            models.CheckConstraint(condition=Q(overlap__gte=1), name="study_overlap_is_at_least_1"),
            models.CheckConstraint(
                condition=Q(n_practice__lte=3), name="study_has_at_most_three_practice_pairs"
            ),
            models.CheckConstraint(
                condition=Q(device_check__in=DeviceCheckRule.values),
                name="study_device_check_rule_is_known",
            ),
            models.CheckConstraint(
                condition=Q(judging_share__gte=0) & Q(judging_share__lte=1),
                name="study_judging_share_is_in_0_to_1",
            ),
            models.CheckConstraint(
                condition=Q(gold_share__gte=0) & Q(gold_share__lte=0.4),
                name="study_gold_share_is_in_0_to_two_fifths",
            ),
            models.CheckConstraint(
                condition=Q(repeat_share__gte=0) & Q(repeat_share__lte=0.4),
                name="study_repeat_share_is_in_0_to_two_fifths",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Pair(models.Model):
    """Two clips of one prompt. Sides are decided per assignment, not here."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="pairs")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="pairs")
    purpose = models.CharField(max_length=16, choices=PairPurpose.choices)
    first_clip = models.ForeignKey(Clip, on_delete=models.PROTECT, related_name="+")
    second_clip = models.ForeignKey(Clip, on_delete=models.PROTECT, related_name="+")
    # Kept beside the clips so that pairing reads one table.
    first_checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="+")
    second_checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="+")
    is_ready = models.BooleanField(default=False, help_text="Both clips can be heard.")
    is_withdrawn = models.BooleanField(default=False, help_text="A clip failed or was reported.")
    is_drawn = models.BooleanField(
        default=False,
        help_text="Drawn from rotation: handed out only while its checkpoints are in it.",
    )
    n_ratings = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["study", "is_ready", "is_withdrawn", "n_ratings"], name="pair_open_in_study"
            ),
            # Raters are given pairs in this order, so that the first few rows are enough.
            models.Index(
                F("study"),
                F("n_ratings").desc(),
                F("id"),
                condition=Q(is_ready=True, is_withdrawn=False)
                & Q(purpose__in=[PairPurpose.TRAINING, PairPurpose.JUDGING]),
                name="pair_to_hand_out",
            ),
            models.Index(
                fields=["study", "id"],
                condition=Q(purpose=PairPurpose.GOLD),
                name="gold_pair_of_study",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(first_clip=F("second_clip")), name="pair_has_two_different_clips"
            ),
            models.UniqueConstraint(
                fields=["first_clip", "second_clip"], name="one_pair_per_two_clips"
            ),
        ]

    def __str__(self) -> str:
        return f"pair {self.pk}"


class Assignment(models.Model):
    """A pair handed to one rater until a time, with the sides it was shown on."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    pair = models.ForeignKey(Pair, on_delete=models.PROTECT, related_name="assignments")
    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="assignments")
    is_swapped = models.BooleanField(help_text="Side A plays the pair's second clip.")
    is_repeat = models.BooleanField(default=False)
    state = models.CharField(
        max_length=16, choices=AssignmentState.choices, default=AssignmentState.OPEN
    )
    propensity = models.FloatField(
        help_text="Probability with which the chooser took this pair, given that no other rater "
        "took one of its candidates meanwhile."
    )
    handed_out_at = models.DateTimeField(default=timezone.now)
    lease_until = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["rater", "state"], name="assignment_of_rater"),
            models.Index(fields=["rater", "-lease_until"], name="latest_assignment_of_rater"),
            models.Index(
                fields=["pair"],
                condition=Q(state=AssignmentState.OPEN),
                name="open_assignment_of_pair",
            ),
            models.Index(fields=["state", "lease_until"], name="assignment_leases"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["rater", "pair", "is_repeat"],
                name="one_assignment_per_rater_pair_and_repeat",
            ),
            models.CheckConstraint(
                condition=Q(propensity__gt=0) & Q(propensity__lte=1),
                name="assignment_propensity_is_in_0_to_1",
            ),
        ]

    def __str__(self) -> str:
        return f"assignment {self.pk}"


class Rating(models.Model):
    """A rater's stored answer to a pair. `client_id` makes a second delivery harmless."""

    client_id = models.UUIDField(unique=True)
    assignment = models.OneToOneField(Assignment, on_delete=models.PROTECT, related_name="rating")
    pair = models.ForeignKey(Pair, on_delete=models.PROTECT, related_name="ratings")
    rater = models.ForeignKey(Rater, on_delete=models.PROTECT, related_name="ratings")
    choice = models.CharField(max_length=16, choices=Choice.choices)
    strength = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="1 slightly, 2 clearly, 3 much; only for A or B."
    )
    is_simulated = models.BooleanField(editable=False)
    is_frozen = models.BooleanField(default=False, help_text="A round has used it.")
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["created_at"], name="rating_by_time"),
            models.Index(fields=["rater", "-created_at"], name="rating_of_rater"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(choice__in=Choice.values), name="rating_choice_is_known"
            ),
            models.CheckConstraint(
                condition=Q(strength__isnull=True)
                | (Q(strength__gte=1) & Q(strength__lte=3) & Q(choice__in=["A", "B"])),
                name="strength_is_1_to_3_and_only_for_a_preference",
            ),
        ]

    def __str__(self) -> str:
        return f"rating {self.pk} {self.choice}"


class RatingRevision(models.Model):
    """What a rating said before its rater changed it."""

    rating = models.ForeignKey(Rating, on_delete=models.PROTECT, related_name="revisions")
    choice = models.CharField(max_length=16, choices=Choice.choices)
    strength = models.PositiveSmallIntegerField(null=True, blank=True)
    replaced_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"earlier {self.choice} of rating {self.rating_id}"


class AspectRating(models.Model):
    """What a rater answered about one aspect of a pair that they have rated."""

    rating = models.ForeignKey(Rating, on_delete=models.PROTECT, related_name="aspects")
    aspect = models.CharField(max_length=16, choices=Aspect.choices)
    choice = models.CharField(max_length=16, choices=Choice.choices)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rating", "aspect"], name="one_answer_per_rating_and_aspect"
            ),
            models.CheckConstraint(
                condition=Q(aspect__in=Aspect.values), name="rated_aspect_is_known"
            ),
            models.CheckConstraint(
                condition=Q(choice__in=Choice.values), name="aspect_choice_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.aspect} of rating {self.rating_id}: {self.choice}"


class AspectRevision(models.Model):
    """What an answer about an aspect said before its rater changed it."""

    aspect_rating = models.ForeignKey(
        AspectRating, on_delete=models.PROTECT, related_name="revisions"
    )
    choice = models.CharField(max_length=16, choices=Choice.choices)
    replaced_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"earlier {self.choice} of aspect {self.aspect_rating_id}"


class Remark(models.Model):
    """A rater's words about one moment of one side, such as "worse at 0:12"."""

    client_id = models.UUIDField(unique=True)
    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="remarks")
    side = models.CharField(max_length=1, choices=Side.choices)
    at_s = models.FloatField(help_text="Seconds from the clip's beginning.")
    text = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(at_s__gte=0), name="remark_is_not_before_its_clip"),
        ]

    def __str__(self) -> str:
        return f"remark on side {self.side} at {self.at_s:.1f} s"


class ListeningEvent(models.Model):
    """One stretch of one side that was heard, in seconds of the clip."""

    assignment = models.ForeignKey(
        Assignment, on_delete=models.PROTECT, related_name="listening_events"
    )
    side = models.CharField(max_length=1, choices=Side.choices)
    start_s = models.FloatField()
    end_s = models.FloatField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(start_s__gte=0) & Q(end_s__gt=F("start_s")),
                name="heard_segment_has_positive_length",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.start_s:.1f}-{self.end_s:.1f} s"


class ClipReport(models.Model):
    """A rater says that something is wrong with a clip."""

    assignment = models.ForeignKey(
        Assignment, on_delete=models.PROTECT, related_name="clip_reports"
    )
    side = models.CharField(max_length=1, choices=Side.choices)
    remark = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"report on side {self.side}"
