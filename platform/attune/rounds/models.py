"""Which answers were frozen, what was trained, and what came out."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from attune.catalog.models import Checkpoint, Clip, Population, Prompt
from attune.jobs.models import Job
from attune.raters.models import Rater
from attune.ratings.models import Pair, Study
from attune.rounds.choices import REWARDED_METHODS
from attune.rounds.choices import Outcome as Outcome  # noqa: PLC0414 - offered here as well
from attune.rounds.choices import RoundMethod as RoundMethod  # noqa: PLC0414
from attune.rounds.choices import Verdict as Verdict  # noqa: PLC0414


class RoundState(models.TextChoices):
    """FROZEN -> TRAINING -> EVALUATING -> DONE; FAILED and CANCELLED keep what was saved."""

    FROZEN = "frozen", "frozen"
    TRAINING = "training", "training"
    EVALUATING = "evaluating", "evaluating"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


RUNNING_STATES = (RoundState.FROZEN, RoundState.TRAINING, RoundState.EVALUATING)


class RaterGroup(models.Model):
    """Raters by name of their group: a round may learn from them alone."""

    name = models.SlugField(max_length=80, unique=True)
    raters = models.ManyToManyField(Rater, related_name="groups", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Round(models.Model):
    """Freeze, train, evaluate, publish: one pass from ratings to a candidate checkpoint."""

    name = models.CharField(max_length=120, unique=True)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="rounds")
    population = models.CharField(max_length=16, choices=Population.choices)
    method = models.CharField(max_length=16, choices=RoundMethod.choices)
    base_checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="rounds")
    produced_checkpoint = models.OneToOneField(
        Checkpoint, on_delete=models.PROTECT, null=True, blank=True, related_name="produced_by"
    )
    job = models.OneToOneField(
        Job, on_delete=models.PROTECT, null=True, blank=True, related_name="round"
    )
    reward_model = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, null=True, blank=True, related_name="rewarded_rounds"
    )
    judge_model = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, null=True, blank=True, related_name="judged_rounds"
    )
    config = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=RoundState.choices, default=RoundState.FROZEN)
    dataset_sha256 = models.CharField(max_length=64)
    dataset_format = models.PositiveSmallIntegerField(
        default=1, help_text="Which keys the frozen rows have; old rounds keep theirs."
    )
    prompts_sha256 = models.CharField(max_length=64, blank=True, default="")
    exclusion_rules = models.CharField(
        max_length=40, default="on-policy-1", help_text="Name and version of what was left out."
    )
    filters = models.JSONField(
        default=dict, help_text="Whose ratings and which prompts, where not all."
    )
    counts = models.JSONField(
        default=dict, help_text="Ratings seen, ties, both bad, usable, train, held out."
    )
    summary = models.JSONField(default=dict, help_text="Final metrics of the training.")
    outcome = models.TextField(
        blank=True, default="", help_text="What became of the checkpoint, in one sentence."
    )
    error = models.TextField(blank=True, default="")
    device = models.CharField(
        max_length=120, blank=True, default="", help_text="What it was trained on."
    )
    started_because = models.TextField(
        blank=True, default="", help_text="Why the site started it, where no person did."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="done") | Q(produced_checkpoint__isnull=False),
                name="done_round_names_its_checkpoint",
            ),
            models.UniqueConstraint(
                fields=["study", "base_checkpoint"],
                condition=Q(state__in=RUNNING_STATES),
                name="one_running_round_per_study_and_base_checkpoint",
            ),
            models.CheckConstraint(
                condition=Q(state__in=RoundState.values), name="round_state_is_known"
            ),
            models.CheckConstraint(
                condition=~Q(method__in=REWARDED_METHODS)
                | (Q(reward_model__isnull=False) & Q(judge_model__isnull=False)),
                name="rewarded_round_names_its_reward_and_judge_models",
            ),
            models.CheckConstraint(
                condition=Q(dataset_format__in=[1, 2]), name="round_dataset_format_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class RoundEventKind(models.TextChoices):
    """What happened to a round that could otherwise only be guessed from its state."""

    CANCELLED = "cancelled", "cancelled"
    FAILED = "failed", "failed"
    RESUMED = "resumed", "resumed"


class RoundEvent(models.Model):
    """One end of a round before its time, or one new start, with who asked for it.

    A resumed round forgets its error and how it ended; here both stay on record.
    """

    round = models.ForeignKey(Round, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=16, choices=RoundEventKind.choices)
    sentence = models.TextField(help_text="What happened, for people.")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    happened_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=RoundEventKind.values), name="round_event_kind_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"round {self.round_id} {self.kind}"


class Split(models.TextChoices):
    """TRAIN is learned from; HELD_OUT only measures."""

    TRAIN = "train", "train"
    HELD_OUT = "held_out", "held out"


class RoundPreference(models.Model):
    """One frozen preference of a round: chosen over rejected, with its weight and split.

    Where none was preferred, `chosen_clip` is the pair's first clip. The counts of ratings are
    seen from it; under dataset format 1 they were not kept.
    """

    round = models.ForeignKey(Round, on_delete=models.PROTECT, related_name="preferences")
    pair = models.ForeignKey(Pair, on_delete=models.PROTECT, related_name="+")
    chosen_clip = models.ForeignKey(Clip, on_delete=models.PROTECT, related_name="+")
    rejected_clip = models.ForeignKey(Clip, on_delete=models.PROTECT, related_name="+")
    weight = models.FloatField(default=1.0)
    n_ratings = models.PositiveSmallIntegerField(default=1)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, default=Outcome.CHOSEN)
    n_chosen = models.PositiveIntegerField(default=0)
    n_rejected = models.PositiveIntegerField(default=0)
    n_tie = models.PositiveIntegerField(default=0)
    n_both_bad = models.PositiveIntegerField(default=0)
    raters = models.JSONField(
        default=list, help_text="Who rated, as numbers that mean something in this round only."
    )
    split = models.CharField(max_length=16, choices=Split.choices)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["round", "pair"], name="one_preference_per_round_and_pair"
            ),
            models.CheckConstraint(condition=Q(weight__gt=0), name="preference_weight_is_positive"),
            models.CheckConstraint(
                condition=~Q(chosen_clip=models.F("rejected_clip")),
                name="preference_has_two_different_clips",
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=Outcome.values), name="preference_outcome_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"preference {self.pk} of round {self.round_id}"


class RoundPrompt(models.Model):
    """One prompt that a round makes clips of while it trains, frozen with its split."""

    round = models.ForeignKey(Round, on_delete=models.PROTECT, related_name="prompts")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="+")
    text = models.CharField(max_length=500)
    header = models.JSONField(default=list)
    duration_s = models.FloatField()
    split = models.CharField(max_length=16, choices=Split.choices)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["round", "prompt"], name="one_frozen_prompt_per_round_and_prompt"
            ),
        ]

    def __str__(self) -> str:
        return f"prompt {self.prompt_id} of round {self.round_id}"


class RoundSample(models.Model):
    """A clip that the policy made while it was trained. `audio_path` is in the round's folder."""

    round = models.ForeignKey(Round, on_delete=models.PROTECT, related_name="samples")
    step = models.PositiveIntegerField()
    number = models.PositiveIntegerField()
    prompt = models.CharField(max_length=500)
    seed = models.BigIntegerField(null=True, blank=True)
    audio_path = models.CharField(max_length=200)
    duration_s = models.FloatField()
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["round", "step", "number"], name="one_sample_per_round_step_and_number"
            ),
        ]

    def __str__(self) -> str:
        return f"sample {self.number} of step {self.step} of round {self.round_id}"


class RoundMetric(models.Model):
    """What the trainer logged at one optimizer step."""

    round = models.ForeignKey(Round, on_delete=models.PROTECT, related_name="metrics")
    step = models.PositiveIntegerField()
    n_steps = models.PositiveIntegerField()
    values = models.JSONField(help_text="loss, margin, accuracy, chosen_logp, rejected_logp, ...")
    logged_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["round", "step"], name="one_metric_per_round_and_step"),
        ]

    def __str__(self) -> str:
        return f"step {self.step} of round {self.round_id}"


class Evaluation(models.Model):
    """One named check of the gate: what was measured, against which threshold."""

    round = models.ForeignKey(Round, on_delete=models.PROTECT, related_name="evaluations")
    check_name = models.CharField(max_length=40)
    figure = models.FloatField(null=True, blank=True)
    threshold = models.FloatField(null=True, blank=True)
    verdict = models.CharField(max_length=16, choices=Verdict.choices)
    sentence = models.TextField(help_text="What was found, for people.")
    details = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["round", "check_name"], name="one_evaluation_per_round_and_check"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.check_name} {self.verdict}"


class RoundSchedule(models.Model):
    """When a study's next round starts by itself; off unless somebody turned it on."""

    study = models.OneToOneField(Study, on_delete=models.PROTECT, related_name="round_schedule")
    is_on = models.BooleanField(default=False)
    every_n_preferences = models.PositiveIntegerField()
    method = models.CharField(max_length=16, choices=RoundMethod.choices, default=RoundMethod.DPO)
    config = models.JSONField(default=dict)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    changed_at = models.DateTimeField(auto_now=True)
    last_refusal = models.TextField(
        blank=True, default="", help_text="Why no round started when enough had come in."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(every_n_preferences__gte=1), name="schedule_waits_for_a_preference"
            ),
        ]

    def __str__(self) -> str:
        return f"every {self.every_n_preferences} preferences of {self.study}"
