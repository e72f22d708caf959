"""What engineers fill in about a study: what it asks of its raters, and a new one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django import forms

from attune.catalog.models import Population, PromptSet
from attune.ratings.choices import Aspect
from attune.ratings.models import Study
from attune.ratings.services import CHECKING_SHARE
from attune.ratings.study_limits import STUDY_LIMITS

SHOWN_CHARACTERS = 60
"""A longer text that was refused is told by its length."""
TAKEN_ADDRESSES = frozenset({"new"})
"""Slugs whose page would be another page of the console."""
USUAL_POOL = 12


class _Explained(forms.Field):
    """A field whose every refusal says what was given and what is allowed."""

    def __init__(self, *args: Any, allowed: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allowed = allowed

    def clean(self, value: Any) -> Any:
        try:
            return super().clean(value)
        except forms.ValidationError as exc:
            raise forms.ValidationError(f"{_shown(value)} given; expected {self.allowed}.") from exc


class _Text(_Explained, forms.CharField):
    pass


class _Slug(_Explained, forms.SlugField):
    pass


class _Number(_Explained, forms.FloatField):
    pass


class _Whole(_Explained, forms.IntegerField):
    pass


class _One(_Explained, forms.ChoiceField):
    pass


class _StoredSet(_Explained, forms.ModelChoiceField):
    pass


class _Several(_Explained, forms.MultipleChoiceField):
    pass


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value or "")
    text = text.strip()
    if not text:
        return "Nothing was"
    return f"“{text}” was" if len(text) <= SHOWN_CHARACTERS else f"{len(text)} characters were"


def _text(label: str, help_text: str, *, characters: int, **options: Any) -> _Text:
    allowed = f"1 to {characters} characters"
    help_text = f"{allowed.capitalize()}. {help_text}".strip()
    return _Text(
        label=label, max_length=characters, help_text=help_text, allowed=allowed, **options
    )


def _number(setting: str, label: str, unit: str, help_text: str) -> _Number:
    return _Number(**_limited(setting, label, "a number", unit, help_text))


def _whole(setting: str, label: str, unit: str, help_text: str) -> _Whole:
    return _Whole(**_limited(setting, label, "a whole number", unit, help_text))


def _limited(setting: str, label: str, kind: str, unit: str, help_text: str) -> dict[str, Any]:
    lowest, highest = STUDY_LIMITS[setting]
    allowed = f"{kind} from {lowest:g} to {highest:g}{unit and f' {unit}'}"
    return {
        "label": label,
        "min_value": lowest,
        "max_value": highest,
        "allowed": allowed,
        "help_text": f"{allowed[0].upper()}{allowed[1:]}. {help_text}",
    }


class SettingsForm(forms.Form):
    """What a study asks of its raters. Steps before the first pair have a form of their own."""

    GROUPS: Sequence[tuple[str, Sequence[str]]] = (
        ("The study", ("name", "is_open")),
        ("What raters answer", ("question", "aspects", "asks_strength", "shows_history")),
        ("What they hear", ("clip_duration_s", "minimum_listening_s")),
        ("A sitting", ("pairs_per_session", "break_after_min")),
        ("Pairs", ("overlap", "assignment_lease_s", "pool_target", "judging_share")),
        ("Checks on raters", ("gold_share", "repeat_share")),
    )

    name = _text("Name", "Engineers and reviewers read it; raters do not.", characters=120)
    is_open = forms.BooleanField(
        required=False,
        label="Open: hands out pairs",
        help_text="Raters are led to the oldest open study that lets them in. "
        "Pairs in hand can be answered after closing.",
    )
    question = _text("Question", "Shown to raters over every pair from now on.", characters=200)
    aspects = _Several(
        choices=Aspect.choices,
        required=False,
        label="Aspects",
        widget=forms.CheckboxSelectMultiple,
        help_text="Asked one by one after the answer. Choosing none is fine.",
        allowed=f"any of {', '.join(Aspect.values)}",
    )
    asks_strength = forms.BooleanField(
        required=False,
        label="Ask how much better",
        help_text="After A or B; raters may leave it out.",
    )
    shows_history = forms.BooleanField(
        required=False,
        label="Answers of a sitting can be changed",
        help_text="Listed on the rating page until a round uses them; "
        "without it the last answer alone can be changed.",
    )
    clip_duration_s = _number("clip_duration_s", "Clip length", "seconds", "")
    minimum_listening_s = _number(
        "minimum_listening_s",
        "Minimum listening",
        "seconds",
        "Of each clip, before an answer is taken; a shorter clip is heard whole. "
        "It holds at once, for pairs on a rater’s screen too.",
    )
    pairs_per_session = _whole(
        "pairs_per_session",
        "Pairs a session",
        "pairs",
        "What the ring on the rating page counts to; a panel’s session is complete with so many.",
    )
    break_after_min = _whole(
        "break_after_min", "Break after", "minutes", "0 offers none. Raters may go on."
    )
    overlap = _whole(
        "overlap",
        "Overlap",
        "raters a pair",
        "Raised, pairs that were done go to further raters again. "
        "Gold pairs go to every rater in any case.",
    )
    assignment_lease_s = _whole(
        "assignment_lease_s",
        "Lease",
        "seconds",
        "How long a pair is kept for its rater before another may get it. "
        "It holds for pairs handed out from now on.",
    )
    pool_target = _whole(
        "pool_target",
        "Pool",
        "pairs",
        "Made ahead of the raters and kept ready; 0 makes pairs only on request over the API.",
    )
    judging_share = _number(
        "judging_share",
        "Judging share",
        "",
        "Of the pool’s new pairs: 0.3 sets two checkpoints against each other in three of ten. "
        "The others train.",
    )
    gold_share = _number(
        "gold_share",
        "Gold share",
        "",
        "Of what a rater hears: a clip against a damaged copy, so the answer is known. "
        "0 checks nobody.",
    )
    repeat_share = _number(
        "repeat_share",
        "Repeat share",
        "",
        "Of what a rater hears: a pair that comes again with its sides swapped. 0 repeats none.",
    )

    def __init__(
        self,
        *args: Any,
        study: Study,
        n_requested: int = 0,
        initial: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        stored = {name: getattr(study, name) for name in SettingsForm.base_fields}
        kwargs["initial"] = {**stored, **(initial or {})}
        super().__init__(*args, **kwargs)
        if study.pk is not None:
            self.fields["clip_duration_s"].help_text += _told_length(n_requested)

    def groups(self) -> Iterator[tuple[str, list[forms.BoundField]]]:
        """The fields under their headings."""
        for title, names in self.GROUPS:
            yield title, [self[name] for name in names]

    def differing(self, study: Study) -> dict[str, Any]:
        """The settings that differ from the study's."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if getattr(study, name) != value
        }


def _told_length(n_requested: int) -> str:
    waiting = "None waits for its" if n_requested == 0 else f"{n_requested} wait for their"
    waiting = "One waits for its" if n_requested == 1 else waiting
    return (
        "It holds for pairs requested from now on. Pairs already requested keep the length asked "
        "for then and are still handed out, so raters may hear both lengths for a while, and "
        f"rounds learn from both. {waiting} first rating now."
    )


class NewStudyForm(SettingsForm):
    """A new study, with its settings."""

    GROUPS = (
        ("The study", ("slug", "name", "population", "prompt_set", "is_open")),
        *SettingsForm.GROUPS[1:],
    )

    slug = _Slug(
        label="Slug",
        max_length=80,
        allowed="1 to 80 of the letters a to z, digits, - and _",
        help_text="Its address: 1 to 80 letters a to z, digits, - and _. It cannot change later.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    population = _One(
        choices=Population.choices,
        label="Population",
        allowed=f"one of {', '.join(Population.values)}",
        help_text="Who rates: people, or simulated raters of a rehearsal. It cannot change later.",
    )
    prompt_set = _StoredSet(
        PromptSet.objects.order_by("name"),
        to_field_name="name",
        empty_label="choose one",
        label="Prompt set",
        allowed="the name of a stored prompt set",
        help_text="What its clips are made from. It cannot change later.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        usual = {"pool_target": USUAL_POOL, "gold_share": None, "repeat_share": None}
        super().__init__(*args, study=Study(), initial=usual, **kwargs)
        for name in ("gold_share", "repeat_share"):
            self.fields[name].required = False
            self.fields[
                name
            ].help_text += f" Empty: {CHECKING_SHARE:g} for people, 0 in a rehearsal."

    def clean_slug(self) -> str:
        """The slug, if no study and no page has its address."""
        slug: str = self.cleaned_data["slug"]
        if slug in TAKEN_ADDRESSES:
            raise forms.ValidationError(f"“{slug}” was given, which is another page’s address.")
        if Study.objects.filter(slug=slug).exists():
            raise forms.ValidationError(f"“{slug}” was given, which another study has already.")
        return slug
