"""What engineers fill in about invitations, consent, the steps before the first pair, panels."""

from typing import Any

from django import forms
from django.db.models import Max

from attune.raters.consent_services import TEXT_CHARACTERS
from attune.raters.models import ConsentText, Role
from attune.ratings.arrival_models import DeviceCheckRule, Panel
from attune.ratings.models import Study

MOST_INVITATIONS = 500


class InvitationForm(forms.Form):
    """Links to make."""

    role = forms.ChoiceField(choices=Role.choices)
    count = forms.IntegerField(
        min_value=1, max_value=MOST_INVITATIONS, initial=1, label="How many links"
    )
    days = forms.FloatField(min_value=0.01, max_value=365, initial=7, label="Valid for days")
    label = forms.CharField(
        required=False, max_length=80, help_text="A note for this list, such as “choir”."
    )
    is_open = forms.BooleanField(required=False, label="Open: one link lets in many raters")
    places = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=100_000,
        label="Places of an open link",
        help_text="Empty: any number.",
    )

    def clean(self) -> dict[str, Any]:
        """Refuses what an open link cannot be."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if given.get("is_open") and given.get("role") != Role.RATER:
            self.add_error("is_open", "Open links are for raters.")
        if given.get("places") and not given.get("is_open"):
            self.add_error("places", "Only an open link has places.")
        return given


class ConsentTextForm(forms.Form):
    """The next version of a consent text."""

    name = forms.SlugField(
        max_length=40,
        help_text="One that exists, or a new one, such as listening.",
        widget=forms.TextInput(attrs={"list": "consent-names", "autocomplete": "off"}),
    )
    title = forms.CharField(max_length=120)
    language = forms.CharField(max_length=16, initial="en", help_text="Of the text: en, de.")
    text = forms.CharField(
        max_length=TEXT_CHARACTERS,
        widget=forms.Textarea(attrs={"rows": 14}),
        help_text="Empty lines part paragraphs; “## ” begins a heading, “* ” a point of a list.",
    )


class ArrivalForm(forms.Form):
    """What a study puts before its pairs."""

    consent = forms.ModelChoiceField(
        ConsentText.objects.none(), required=False, empty_label="none", label="Consent text"
    )
    asks_volume = forms.BooleanField(required=False, label="Set the volume to a reference sound")
    device_check = forms.ChoiceField(choices=DeviceCheckRule.choices, label="Headphone check")
    n_practice = forms.IntegerField(min_value=0, max_value=3, label="Practice pairs")

    def __init__(self, *args: Any, study: Study, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        newest = ConsentText.objects.values("name").annotate(newest=Max("pk")).values("newest")
        shown = ConsentText.objects.filter(pk__in=newest)
        if study.consent_id is not None:
            shown = shown | ConsentText.objects.filter(pk=study.consent_id)
        field = self.fields["consent"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = shown.order_by("name", "-version")


class PanelLinkForm(forms.Form):
    """A way into a study for a panel's people."""

    panel = forms.ChoiceField(choices=Panel.choices)
    places = forms.IntegerField(
        required=False, min_value=1, max_value=100_000, help_text="Empty: any number of people."
    )
    completion_code = forms.CharField(
        required=False,
        max_length=64,
        help_text="As the panel gave it to you; empty makes one for each session.",
    )
    screened_out_code = forms.CharField(
        required=False, max_length=64, label="Code for whom the headphone check keeps out"
    )
    declined_code = forms.CharField(
        required=False, max_length=64, label="Code for who does not agree"
    )
    return_address = forms.CharField(
        required=False,
        max_length=300,
        help_text="https://… with {code} in it; empty only shows the code.",
    )
    is_signed = forms.BooleanField(
        required=False, label="Signed: take only ids that carry a signature"
    )
