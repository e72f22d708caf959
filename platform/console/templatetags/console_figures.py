"""How figures are written on pages of the console: percent, times, durations, hashes, chips."""

from datetime import datetime
from typing import Any, Literal

from django import template
from django.utils import timezone

register = template.Library()

CHIP_TONES = {
    "done": "ok",
    "ready": "ok",
    "passed": "ok",
    "full": "ok",
    "promoted": "ok",
    "running": "a",
    "training": "a",
    "evaluating": "a",
    "generating": "a",
    "frozen": "a",
    "canary": "b",
    "held": "b",
    "not measured": "b",
    "failed": "danger",
    "cancelled": "danger",
    "retired": "danger",
    "rolled back": "danger",
}


COUNT_LABELS = {
    "ratings": "ratings seen",
    "other_population": "of the other population",
    "judging": "of pairs that judge",
    "gold": "of gold pairs",
    "off_policy": "on another checkpoint’s clips",
    "withdrawn_rater": "of raters who withdrew",
    "excluded_rater": "of raters whose answers are left out",
    "withdrawn_pair": "of withdrawn pairs",
    "repeat": "repeats",
    "clip_not_ready": "with a missing clip",
    "follows_melody": "on clips that follow a recording",
    "unequal_duration": "on clips of unequal length",
    "unequal_header": "on clips of unequal text",
    "identical_clips": "on two copies of one clip",
    "other_rater": "of raters outside the group",
    "other_prompt": "on prompts without the tag",
    "ties": "ties",
    "both_bad": "both bad",
    "decided": "chose A or B",
    "held_out_rater": "kept back with their rater",
    "tie_pairs": "pairs that tie",
    "both_bad_pairs": "pairs that are both bad",
    "contradicting_pairs": "pairs split evenly",
    "usable": "usable preferences",
    "usable_ties": "of these ties",
    "usable_both_bad": "of these both bad",
    "train": "to train on",
    "held_out": "held out to measure",
    "held_out_by_new_raters": "of these by held-out raters",
    "raters": "raters",
    "raters_held_out": "raters held out",
    "raters_on_both_sides": "raters on both sides",
    "prompts": "prompts",
    "prompts_held_out": "prompts held out",
}

# A template gives filters an empty text for what is missing, such as a value not logged.
Missing = Literal[""] | None
DASH = "–"
NBSP = "\u00a0"


@register.filter
def percent(share: float | Missing, digits: int = 0) -> str:
    """A share of one as percent; a dash for None."""
    if share is None or share == "":
        return DASH
    return f"{100 * share:.{digits}f}%"


@register.filter
def won_share(figures: dict[str, Any]) -> float | None:
    """The share of decided ratings won, of the figures of a decision; None without any."""
    n_wins, n_losses = figures.get("n_wins", 0), figures.get("n_losses", 0)
    return n_wins / (n_wins + n_losses) if n_wins + n_losses else None


@register.filter
def figure(value: Any, digits: int = 3) -> str:
    """A number to so many significant digits; a dash for None, other things as they are."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else str(value)


@register.filter
def signed(value: float) -> str:
    """A score with its sign and two decimals."""
    return f"{value:+.2f}".replace("-", "\u2212")


@register.filter
def megabytes(value: float | Missing) -> str:
    """A size in MB, or in GB from a thousand on; a dash for None."""
    if value is None or value == "":
        return DASH
    return f"{value / 1000:.1f}{NBSP}GB" if value >= 1000 else f"{value:.0f}{NBSP}MB"


@register.filter
def seconds(value: float | Missing) -> str:
    """A duration in words that fit a table: 8 s, 4 min 5 s, 2 h 10 min."""
    if value is None or value == "":
        return DASH
    whole = max(0, round(value))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@register.filter
def ago(moment: datetime | Missing) -> str:
    """How long ago a moment was, kept on one line; a dash for None."""
    if moment is None or moment == "":
        return DASH
    passed = (timezone.now() - moment).total_seconds()
    if passed < 45:
        return f"just{NBSP}now"
    if passed < 3600:
        return f"{max(1, round(passed / 60))}{NBSP}min{NBSP}ago"
    if passed < 86_400:
        return f"{round(passed / 3600)}{NBSP}h{NBSP}ago"
    return f"{round(passed / 86_400)}{NBSP}days{NBSP}ago"


@register.filter
def until(end: datetime | Missing, start: datetime | Missing) -> str:
    """The duration from start to end, or to now while there is no end."""
    if not start:
        return DASH
    return seconds(((end or timezone.now()) - start).total_seconds())


@register.filter
def short_hash(digest: str) -> str:
    """The first twelve digits of a hash."""
    return digest[:12] or DASH


@register.filter
def chip_tone(word: str) -> str:
    """The tone of a chip that says this state."""
    return CHIP_TONES.get(str(word).lower().replace("_", " "), "")


@register.filter
def words(name: str) -> str:
    """A field's name as words: held_out_n is held out n."""
    return str(name).replace("_", " ")


@register.filter
def count_label(name: str) -> str:
    """What a count of a round's preferences counts."""
    return COUNT_LABELS.get(name, words(name))


@register.filter
def is_mapping(value: Any) -> bool:
    """Whether the value has named parts of its own."""
    return isinstance(value, dict)


@register.filter
def is_list(value: Any) -> bool:
    """Whether the value is a list."""
    return isinstance(value, list | tuple)


@register.filter
def parts(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """The named parts of a mapping; a method of a template's dict may be hidden by a key."""
    return list(value.items())


@register.filter
def get(mapping: dict[Any, Any], key: Any) -> Any:
    """The entry of a mapping, or None."""
    return mapping.get(key)
