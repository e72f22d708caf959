"""What engineers fill in. The services check again; the forms say early what is wrong."""

from typing import Any

from django import forms

from attune.catalog.errors import PromptError
from attune.catalog.melody_services import NAME_CHARACTERS
from attune.catalog.models import (
    Checkpoint,
    CheckpointKind,
    Melody,
    Population,
    PromptSet,
    RotationAction,
)
from attune.catalog.services import CLIP_DURATIONS_S, PROMPT_CHARACTERS, PromptRow
from attune.rounds.choices import RoundMethod
from attune.rounds.config import parse_config
from attune.rounds.errors import ConfigError
from attune.rounds.schedule import UNSCHEDULED_METHODS


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
    share = forms.FloatField(
        required=False,
        min_value=0.01,
        max_value=1.0,
        error_messages={"invalid": "a weight is a number from 0.01 to 1"},
    )


def melody_field(help_text: str = "") -> forms.ModelChoiceField:
    """Which recording's tune to follow, if any."""
    return forms.ModelChoiceField(
        Melody.objects.order_by("name"),
        to_field_name="name",
        required=False,
        empty_label="none",
        label="Follow the tune of",
        help_text=help_text,
    )


class MelodyForm(forms.Form):
    """A reference recording to upload."""

    file = forms.FileField(
        label="Recording",
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".wav,.flac,.ogg,.oga,.opus,.mp3"}),
        help_text="WAV, FLAC, OGG or MP3, at most 25 MB, 1 s to 10 minutes.",
    )
    name = forms.CharField(
        required=False,
        max_length=NAME_CHARACTERS,
        help_text="Left empty, it is called as its file is.",
    )


class PromptsForm(forms.Form):
    """Prompts to add to a set, one a line, all of which follow one recording or none."""

    prompt_set = forms.CharField(
        max_length=120,
        label="Prompt set",
        help_text="One that exists, or a new one.",
        widget=forms.TextInput(attrs={"list": "prompt-sets", "autocomplete": "off"}),
    )
    melody = melody_field(
        "Rounds do not learn from clips that follow one: such prompts only judge, if held out."
    )
    texts = forms.CharField(
        label="Prompts",
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=f"One a line, at most {PROMPT_CHARACTERS} characters each.",
    )
    is_held_out = forms.BooleanField(required=False, label="Held out: they judge and never train")

    def clean_texts(self) -> list[str]:
        """The lines that are not blank, each found to be a prompt."""
        texts = [line.strip() for line in self.cleaned_data["texts"].splitlines() if line.strip()]
        for number, text in enumerate(texts, start=1):
            try:
                PromptRow(text=text)
            except PromptError as exc:
                raise forms.ValidationError(f"Prompt {number}: {exc}.") from exc
        return texts

    def rows(self) -> list[PromptRow]:
        """The prompts that were given."""
        given = self.cleaned_data
        return [
            PromptRow(text=text, melody=given["melody"], is_held_out=given["is_held_out"])
            for text in given["texts"]
        ]


class ScoreForm(forms.Form):
    """Which clips a reward model scores; nothing chosen stands for all."""

    made_by = forms.ModelChoiceField(
        Checkpoint.objects.exclude(kind=CheckpointKind.REWARD).order_by("-pk"),
        to_field_name="name",
        required=False,
        empty_label="any checkpoint",
        label="Clips made by",
    )
    prompt_set = forms.ModelChoiceField(
        PromptSet.objects.order_by("name"),
        to_field_name="name",
        required=False,
        empty_label="any prompt set",
        label="Of prompts in",
    )


class ScheduleForm(forms.Form):
    """When a study's next round starts by itself."""

    is_on = forms.BooleanField(required=False, label="Start rounds by itself")
    every_n_preferences = forms.IntegerField(
        min_value=1,
        max_value=1_000_000,
        label="Every so many new preferences",
        help_text="Counted on what was promoted last, from 1 on.",
    )
    method = forms.ChoiceField(
        choices=[
            (method.value, method.label)
            for method in RoundMethod
            if method not in UNSCHEDULED_METHODS
        ]
    )
    settings = forms.CharField(
        required=False,
        max_length=1000,
        help_text="As key=value, such as n_epochs=2 learning_rate=5e-4; empty keeps the defaults.",
    )

    def clean(self) -> dict[str, Any]:
        """Reads the settings as those of the method."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                given["config"] = parse_config(
                    given["settings"].split(), RoundMethod(given["method"])
                )
            except ConfigError as exc:
                self.add_error("settings", f"{str(exc).capitalize()}.")
        return given


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
    melody = melody_field()
    seed = forms.IntegerField(
        required=False, min_value=0, max_value=2**53 - 1, help_text="Empty draws one."
    )
