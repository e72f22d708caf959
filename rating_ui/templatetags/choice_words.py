"""Answers and results in words."""

from typing import assert_never

from django import template
from django.utils.translation import gettext

from attune.ratings.arrival_models import DeviceResult
from attune.ratings.choices import Choice

register = template.Library()


@register.filter
def choice_in_words(choice: str, strength: int | None = None) -> str:
    """What a rater answered: "you preferred A, clearly"."""
    match Choice(choice):
        case Choice.A:
            return _preferred("A", strength)
        case Choice.B:
            return _preferred("B", strength)
        case Choice.TIE:
            return gettext("a tie")
        case Choice.BOTH_BAD:
            return gettext("both were bad")
        case other:
            assert_never(other)


@register.filter
def device_in_words(result: str) -> str:
    """How a headphone check ended; empty while it has not."""
    match DeviceResult(result):
        case DeviceResult.OPEN:
            return ""
        case DeviceResult.PASSED:
            return gettext("heard")
        case DeviceResult.FAILED:
            return gettext("not heard by the check")
        case DeviceResult.NO_HEADPHONES:
            return gettext("you said that you had none")
        case other:
            assert_never(other)


def _preferred(side: str, strength: int | None) -> str:
    words = {
        None: gettext("you preferred %(side)s"),
        1: gettext("you preferred %(side)s, slightly"),
        2: gettext("you preferred %(side)s, clearly"),
        3: gettext("you preferred %(side)s, much"),
    }
    return words[strength] % {"side": side}
