"""The form of a new round: its fields follow the method and the loss that are chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from attune.catalog.models import Checkpoint, CheckpointKind
from attune.ratings.models import Study
from attune.rounds.choices import REWARDED_METHODS, RoundMethod
from attune.rounds.config import (
    MAY_HAVE_REWARD_MODEL,
    Flag,
    Knob,
    Setting,
    Value,
    WordList,
    Words,
    check_config,
    split_words,
)
from attune.rounds.errors import ConfigError
from attune.rounds.evidence import RoundFilter
from attune.rounds.models import RaterGroup
from attune.rounds.plans import Plan
from console.knobs import FIRST_KNOBS, LOSS_LINES, METHOD_LINES, knob_hint, knob_label, knobs_of

OPTIONAL_MODEL_LINES = {
    RoundMethod.DPO: "Optional. Its word on each pair stands in place of the ratings’ own.",
    RoundMethod.EXPERT: "Optional. The clips it likes best are imitated; else those that won.",
}
MODEL_FIELDS = ("reward_model", "judge_model")


class KnobField(forms.Field):
    """A number of a round's settings; empty stands for the trainer's default."""

    widget = forms.TextInput

    def __init__(self, knob: Knob, **kwargs: Any) -> None:
        super().__init__(required=False, **kwargs)
        self.knob = knob
        is_whole = knob.kind is int
        self.widget.attrs |= {
            "inputmode": "numeric" if is_whole else "decimal",
            "autocomplete": "off",
            "placeholder": f"{knob.default:g}",
        }

    def clean(self, value: Any) -> int | float | None:
        """The number, or None where nothing was typed."""
        text = str(value or "").strip()
        if not text:
            return None
        knob = self.knob
        kind = "a whole number" if knob.kind is int else "a number"
        allowed = f"{kind} from {knob.low:g} to {knob.high:g}"
        try:
            number = knob.kind(text)
        except ValueError as exc:
            raise forms.ValidationError(f"Got {text}, allowed is {allowed}.") from exc
        if not knob.low <= number <= knob.high:
            raise forms.ValidationError(f"Got {text}, allowed is {allowed}.")
        return number


class SelectField(forms.ChoiceField):
    """A closed choice that says what was given and what is allowed."""

    def __init__(self, allowed: Mapping[str, str], default: str, **kwargs: Any) -> None:
        super().__init__(choices=list(allowed.items()), required=False, **kwargs)
        self.default = default
        self.initial = default
        told = ", ".join(allowed)
        self.error_messages["invalid_choice"] = f"Got %(value)s, allowed are {told}."


class WordsField(forms.CharField):
    """Words between commas; empty stands for none given."""

    def __init__(self, allowed: Sequence[str] = (), **kwargs: Any) -> None:
        """allowed: the only words there are, where not any will do."""
        super().__init__(required=False, max_length=400, **kwargs)
        self.allowed = allowed
        self.widget.attrs |= {"autocomplete": "off", "placeholder": ", ".join(allowed)}

    def clean(self, value: Any) -> list[str]:
        """The words, in the order given."""
        found = split_words(str(super().clean(value)))
        wrong = [word for word in found if self.allowed and word not in self.allowed]
        if wrong:
            raise forms.ValidationError(f"Got {wrong[0]}, allowed are {', '.join(self.allowed)}.")
        return found


class RoundForm(forms.Form):
    """What to learn from, on which base, by which method and with which of its settings."""

    use_required_attribute = False  # mistakes are told by the server, beside the preflight

    study = forms.ModelChoiceField(
        Study.objects.order_by("-pk"), to_field_name="slug", empty_label=None
    )
    base = forms.ModelChoiceField(
        Checkpoint.objects.order_by("-pk"),
        to_field_name="name",
        label="Base checkpoint",
        empty_label=None,
        help_text="Preferences between its own clips are what it learns from.",
    )
    method = SelectField(
        {method.value: method.label for method in METHOD_LINES},
        RoundMethod.DPO.value,
        widget=forms.RadioSelect,
    )
    rater_group = forms.ModelChoiceField(
        RaterGroup.objects.order_by("name"),
        to_field_name="name",
        required=False,
        empty_label="all raters",
        label="Ratings of",
        help_text="A group of raters gives an adapter of their own taste.",
    )
    prompt_tags = WordsField(
        label="Prompts tagged",
        help_text="Only prompts with one of these tags, separated by commas; empty: all.",
    )
    reward_model = forms.ModelChoiceField(
        Checkpoint.objects.filter(kind=CheckpointKind.REWARD, is_retired=False).order_by("-pk"),
        to_field_name="name",
        required=False,
        help_text="Its score of the policy’s clips is what the policy learns from.",
    )
    judge_model = forms.ModelChoiceField(
        Checkpoint.objects.filter(kind=CheckpointKind.REWARD, is_retired=False).order_by("-pk"),
        to_field_name="name",
        required=False,
        help_text="Another one, never learned from, which ends the round when its score falls.",
    )
    name = forms.CharField(
        max_length=120,
        required=False,
        help_text="Names the round and its checkpoint; left empty, one is made.",
    )

    def __init__(self, *args: Any, study: Study | None = None, **kwargs: Any) -> None:
        """study: the one whose rotation the base is chosen from."""
        super().__init__(*args, **kwargs)
        if study is not None:
            self._base_field.queryset = Checkpoint.objects.filter(
                rotation_entries__population=study.population
            ).order_by("-pk")
        for field in self.fields.values():
            if isinstance(field, forms.ModelChoiceField):
                field.error_messages["invalid_choice"] = "Got %(value)s, choose one of the list."
        self.chosen_method = self._chosen_method()
        if self.chosen_method not in REWARDED_METHODS:
            del self.fields["judge_model"]
            if self.chosen_method in MAY_HAVE_REWARD_MODEL:
                model = self.fields["reward_model"]
                assert isinstance(model, forms.ModelChoiceField)
                model.help_text = OPTIONAL_MODEL_LINES[self.chosen_method]
                model.empty_label = "none"
            else:
                del self.fields["reward_model"]
        loss = str(self._value("loss") or "")
        self.settings = knobs_of(self.chosen_method, loss)
        for name, setting in self.settings.items():
            self.fields[name] = _field(name, setting)
        if isinstance(words := self.settings.get("loss"), Words):
            self.fields["loss"].help_text = LOSS_LINES.get(loss or words.default, "")
        if self.is_bound:
            # A select without a value would show its first word, whatever the default is.
            selects = {n: f for n, f in self.fields.items() if isinstance(f, SelectField)}
            defaults = {name: field.default for name, field in selects.items()}
            self.data = {**defaults, **{name: self.data[name] for name in self.data}}

    @property
    def _base_field(self) -> forms.ModelChoiceField:
        field = self.fields["base"]
        assert isinstance(field, forms.ModelChoiceField)
        return field

    def _value(self, name: str) -> Any:
        """What was given for a field, whether or not it may be."""
        return self.data.get(name) if self.is_bound else self.initial.get(name)

    def _chosen_method(self) -> RoundMethod:
        given = self._value("method")
        known = {method.value: method for method in METHOD_LINES}
        return known.get(str(given), RoundMethod.DPO)

    def clean_method(self) -> RoundMethod:
        """The method whose fields the form has."""
        return self.chosen_method

    def clean(self) -> dict[str, Any]:
        """Holds the settings against each other."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                check_config(self.config(), self.chosen_method)
            except ConfigError as exc:
                words = str(exc).replace(",", " ").split()
                named = [word for word in words if word in self.settings]
                self.add_error(named[0] if named else None, f"{str(exc).capitalize()}.")
        return given

    def config(self) -> dict[str, Value]:
        """The settings that differ from the trainer's defaults, those that were understood."""
        found: dict[str, Value] = {}
        for name, setting in self.settings.items():
            value = self.cleaned_data.get(name)
            if value in (None, "", []):
                continue
            given: Value = value == "true" if isinstance(setting, Flag) else value
            if given != setting.default:
                found[name] = given
        return found

    def plan(self, study: Study, base: Checkpoint) -> Plan:
        """The round that the form describes; what is wrong in the form is left out."""
        self.is_valid()
        given = self.cleaned_data
        return Plan(
            study=study,
            base_checkpoint=base,
            method=self.chosen_method,
            config=self.config(),
            filter=RoundFilter(
                rater_group=given.get("rater_group"),
                prompt_tags=tuple(given.get("prompt_tags") or ()),
            ),
            reward_model=given.get("reward_model"),
            judge_model=given.get("judge_model"),
        )

    @property
    def methods(self) -> list[tuple[str, str, str, bool]]:
        """(value, label, what it does, whether it is chosen) of the methods."""
        return [
            (method.value, method.label, line, method == self.chosen_method)
            for method, line in METHOD_LINES.items()
        ]

    @property
    def models(self) -> list[forms.BoundField]:
        """The fields of the models that a rewarded method needs."""
        return [self[name] for name in MODEL_FIELDS if name in self.fields]

    @property
    def first_knobs(self) -> list[forms.BoundField]:
        """The settings that are shown at once."""
        return [self[name] for name in self.settings if name in FIRST_KNOBS]

    @property
    def more_knobs(self) -> list[forms.BoundField]:
        """The settings that wait behind a click."""
        return [self[name] for name in self.settings if name not in FIRST_KNOBS]

    @property
    def has_more_errors(self) -> bool:
        """Whether something behind the click is wrong."""
        return any(field.errors for field in self.more_knobs)


def _field(name: str, setting: Setting) -> forms.Field:
    told = {"label": knob_label(name), "help_text": knob_hint(name, setting)}
    match setting:
        case Knob():
            return KnobField(setting, **told)
        case Words():
            return SelectField({word: word for word in setting.allowed}, setting.default, **told)
        case Flag():
            default = "true" if setting.default else "false"
            return SelectField({"true": "yes", "false": "no"}, default, **told)
        case WordList():
            return WordsField(setting.allowed, **told)
