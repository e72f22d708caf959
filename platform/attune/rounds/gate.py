"""The checks that a candidate checkpoint passes before it enters rotation.

A figure is measured elsewhere; here it is only held against its threshold. A figure that is
missing or not a number fails: what was not measured has not been shown to be well.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from attune.rounds.errors import RoundError

DEFAULT_CANARY_SHARE = {"people": 0.1, "rehearsal": 0.5}


class Bound(Enum):
    """On which side of the threshold a figure passes; the threshold itself passes."""

    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True)
class Check:
    """One named check: what the figure is, and where it passes."""

    name: str
    figure_name: str
    bound: Bound
    threshold: float


@dataclass(frozen=True)
class Judgement:
    """Whether a figure passed, the threshold used, and a sentence for people."""

    has_passed: bool
    threshold: float
    sentence: str


CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        Check("integrity", "share of clips that regenerate identically", Bound.AT_LEAST, 1.0),
        Check("finite", "share of clips whose numbers are all finite", Bound.AT_LEAST, 1.0),
        Check("silence", "share of silent clips", Bound.AT_MOST, 0.0),
        Check("clipping", "share of samples at full scale", Bound.AT_MOST, 0.001),
        Check("duration", "largest duration error in seconds", Bound.AT_MOST, 0.1),
        Check("diversity", "diversity within a prompt, candidate over base", Bound.AT_LEAST, 0.9),
    )
}


class GateError(RoundError, ValueError):
    """An unknown check, or a threshold or share that cannot be one."""


def judge(check_name: str, figure: float | None, threshold: float | None = None) -> Judgement:
    """Whether `figure` passes the named check at `threshold` (the check's own when None)."""
    check = CHECKS.get(check_name)
    if check is None:
        raise GateError(f"unknown check {check_name!r}; known are {', '.join(CHECKS)}")
    limit = check.threshold if threshold is None else threshold
    if figure is None:
        return Judgement(False, limit, f"{check.figure_name} was not measured")
    if not math.isfinite(figure):
        return Judgement(False, limit, f"{check.figure_name} is not a number: {figure}")
    has_passed = figure >= limit if check.bound is Bound.AT_LEAST else figure <= limit
    wanted = f"{check.bound.value} {limit:g} {'is' if has_passed else 'was'} needed"
    return Judgement(has_passed, limit, f"{check.figure_name} is {figure:.4g}; {wanted}")


def thresholds_of(gate: Mapping[str, object]) -> dict[str, float]:
    """Each check's threshold: the study's where it names one, else the default."""
    known = [*CHECKS, "canary_share"]
    unknown = sorted(set(gate).difference(known))
    if unknown:
        raise GateError(f"unknown gate setting {unknown[0]!r}; known are {', '.join(known)}")
    return {name: _number(gate, name, check.threshold) for name, check in CHECKS.items()}


def canary_share_of(gate: Mapping[str, object], *, population: str) -> float:
    """The share of new clips that a candidate starts with: the study's, else the default."""
    share = _number(gate, "canary_share", DEFAULT_CANARY_SHARE[population])
    if not 0 < share <= 1:
        raise GateError(f"canary_share must be above 0 and at most 1, got {share:g}")
    return share


def check_gate(gate: Mapping[str, object], *, population: str) -> None:
    """Raises GateError, naming the known settings, unless a gate can be run with these."""
    thresholds_of(gate)
    canary_share_of(gate, population=population)


def _number(gate: Mapping[str, object], name: str, default: float) -> float:
    value = gate.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise GateError(f"gate setting {name} must be a number, got {value!r}")
    return float(value)
