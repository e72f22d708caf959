"""What engineers fill in. The services check again; the forms say early what is wrong."""

from typing import Any

from django import forms

from attune.catalog.models import Checkpoint, Population, RotationAction
from attune.catalog.services import CLIP_DURATIONS_S, PROMPT_CHARACTERS
from attune.ratings.models import Study
from attune.rounds.config import KNOBS

SHOWN_KNOBS = {
    "n_epochs": ("Epochs", "How often the preferences are gone through."),
    "learning_rate": ("Learning rate", "Size of a step, such as 2e-4."),
    "beta_norm": ("Beta", "How strongly the policy is held near its parent, per clip."),
    "lora_rank": ("Adapter rank", "Size of the adapter that is trained."),
    "seed": ("Seed", "The same seed repeats the run."),
}


class RoundForm(forms.Form):
    """Which study to learn from, on which base, with which few settings."""

    study = forms.ModelChoiceField(
        Study.objects.order_by("-pk"), to_field_name="slug", empty_label=None
    )
    base = forms.ModelChoiceField(
        Checkpoint.objects.order_by("-pk"),
        to_field_name="name",
        label="Base checkpoint",
        help_text="Preferences between its own clips are what it learns from.",
    )
    name = forms.CharField(
        max_length=120,
        required=False,
        help_text="Names the round and its checkpoint; left empty, one is made.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, (label, help_text) in SHOWN_KNOBS.items():
            knob = KNOBS[name]
            kind: Any = forms.IntegerField if knob.kind is int else forms.FloatField
            self.fields[name] = kind(
                label=label,
                help_text=f"{help_text} {knob.low:g} to {knob.high:g}; empty keeps the default.",
                required=False,
                min_value=knob.kind(knob.low),
                max_value=knob.kind(knob.high),
            )

    def config(self) -> dict[str, object]:
        """The knobs that were set."""
        given = {name: self.cleaned_data.get(name) for name in SHOWN_KNOBS}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def knobs(self) -> list[forms.BoundField]:
        """The fields of the training's settings."""
        return [self[name] for name in SHOWN_KNOBS]


class DecisionForm(forms.Form):
    """A decision about a checkpoint in one rotation, with its reason."""

    checkpoint = forms.ModelChoiceField(Checkpoint.objects.all(), to_field_name="name")
    population = forms.ChoiceField(choices=Population.choices)
    decision = forms.ChoiceField(
        choices=[
            (action.value, action.label)
            for action in RotationAction
            if action is not RotationAction.ENTER
        ]
    )
    reason = forms.CharField(max_length=2000)


class ClipForm(forms.Form):
    """A clip to generate."""

    prompt = forms.CharField(max_length=PROMPT_CHARACTERS, widget=forms.Textarea(attrs={"rows": 2}))
    checkpoint = forms.ModelChoiceField(
        Checkpoint.objects.filter(is_retired=False).order_by("-pk"),
        to_field_name="name",
        empty_label=None,
    )
    duration_s = forms.FloatField(
        label="Seconds", initial=10, min_value=CLIP_DURATIONS_S[0], max_value=CLIP_DURATIONS_S[1]
    )
    seed = forms.IntegerField(
        required=False, min_value=0, max_value=2**53 - 1, help_text="Empty draws one."
    )
