"""The form of a mix: one weight for each adapter of a base."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.db.models import Count, Q

from attune.catalog.models import Checkpoint, CheckpointKind, Population
from attune.ratings.models import Study

LEAST_WEIGHT, MOST_WEIGHT = -2.0, 2.0
WEIGHT = "weight-"


class WeightField(forms.Field):
    """The weight of an adapter; empty leaves it out."""

    widget = forms.TextInput

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, **kwargs)
        self.widget.attrs |= {"inputmode": "decimal", "autocomplete": "off", "placeholder": "0"}

    def clean(self, value: Any) -> float | None:
        """The weight, or None where nothing was typed or it is 0."""
        text = str(value or "").strip()
        if not text:
            return None
        allowed = f"allowed is a number from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}"
        try:
            weight = float(text)
        except ValueError as exc:
            raise forms.ValidationError(f"Got {text}, {allowed}.") from exc
        if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            raise forms.ValidationError(f"Got {text}, {allowed}.")
        return weight or None


class MixForm(forms.Form):
    """Which study's gate judges the mix, and the weights of the adapters of one base."""

    use_required_attribute = False  # mistakes are told by the server, beside the preflight

    study = forms.ModelChoiceField(
        Study.objects.order_by("-pk"),
        to_field_name="slug",
        empty_label=None,
        help_text="Its gate judges the mix, and its preferences measure it.",
    )
    base = forms.ModelChoiceField(
        Checkpoint.objects.none(),
        to_field_name="name",
        empty_label=None,
        help_text="Only adapters of one base can be mixed.",
    )
    name = forms.CharField(
        max_length=120,
        required=False,
        help_text="Names the mix and its checkpoint; left empty, one is made.",
    )

    def __init__(self, data: Mapping[str, Any]) -> None:
        bases = bases_of_mixes()
        self.chosen_study = _choose_study(data.get("study"))
        self.chosen_base = next((b for b in bases if b.name == data.get("base")), None) or next(
            iter(bases), None
        )
        self.adapters = list(_adapters(self.chosen_base)) if self.chosen_base else []
        chosen = {
            "study": self.chosen_study.slug if self.chosen_study else "",
            "base": self.chosen_base.name if self.chosen_base else "",
        }
        super().__init__({**data, **chosen})
        base_field = self.fields["base"]
        assert isinstance(base_field, forms.ModelChoiceField)
        base_field.queryset = Checkpoint.objects.filter(pk__in=[base.pk for base in bases])
        for adapter in self.adapters:
            self.fields[f"{WEIGHT}{adapter.pk}"] = WeightField(label=f"Weight of {adapter.name}")

    def clean(self) -> dict[str, Any]:
        """Asks for two adapters at least."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        n_weighed = len(self._weighed(given))
        if not self.errors and n_weighed < 2:
            raise forms.ValidationError(f"A mix has 2 adapters or more, {n_weighed} have a weight.")
        return given

    def _weighed(self, given: Mapping[str, Any]) -> list[tuple[Checkpoint, float]]:
        weights = [(adapter, given.get(f"{WEIGHT}{adapter.pk}")) for adapter in self.adapters]
        return [(adapter, weight) for adapter, weight in weights if weight is not None]

    def parts(self) -> list[tuple[Checkpoint, float]]:
        """The adapters that were given a weight that can be one."""
        self.is_valid()
        return self._weighed(self.cleaned_data)

    @property
    def total(self) -> float:
        """What the weights add up to; 1 keeps the size of the change."""
        return sum(weight for _, weight in self.parts())

    @property
    def rows(self) -> list[tuple[Checkpoint, forms.BoundField]]:
        """Each adapter with the field of its weight."""
        return [(adapter, self[f"{WEIGHT}{adapter.pk}"]) for adapter in self.adapters]


def bases_of_mixes() -> list[Checkpoint]:
    """The checkpoints with two adapters or more that could be mixed, the newest first."""
    can_be_mixed = Q(children__kind=CheckpointKind.ADAPTER, children__is_retired=False)
    found = Checkpoint.objects.annotate(n_adapters=Count("children", filter=can_be_mixed))
    return list(found.filter(n_adapters__gte=2).order_by("-pk"))


def _adapters(base: Checkpoint) -> list[Checkpoint]:
    found = base.children.filter(kind=CheckpointKind.ADAPTER, is_retired=False)
    return list(found.select_related("produced_by").order_by("-pk"))


def _choose_study(slug: str | None) -> Study | None:
    named = Study.objects.filter(slug=slug).first()
    people = Study.objects.filter(population=Population.PEOPLE).order_by("-is_open", "pk")
    return named or people.first()
