"""The checks that a candidate checkpoint passes before it enters rotation.

A figure is measured elsewhere; here it is only held against its threshold. A check whose figure is
missing, or could not have failed, is not measured and lets nothing through: what was not measured
has not been shown to be well.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from attune.ratings.people_gate import PEOPLE_SETTINGS, PeopleGateError, people_gate_of
from attune.rounds.choices import Verdict
from attune.rounds.errors import RoundError

WILSON_Z = 1.96
DEFAULT_CANARY_SHARE = {"people": 0.1, "rehearsal": 0.5}


class Bound(Enum):
    """On which side of the threshold a figure passes; the threshold itself passes."""

    AT_LEAST = "at least"
    AT_MOST = "at most"


class Step(StrEnum):
    """The steps of the gate, in order; the fifth is what people say of a canary."""

    INTEGRITY = "integrity"
    HELD_OUT = "held-out preferences"
    DISTRIBUTION = "distribution"
    DIVERSITY = "diversity"


@dataclass(frozen=True)
class Check:
    """One named check: its step, what the figure is, and where it passes."""

    step: Step
    name: str
    figure_name: str
    bound: Bound
    threshold: float


@dataclass(frozen=True)
class Judgement:
    """What a check says of a figure, the threshold used, and a sentence for people."""

    verdict: Verdict
    threshold: float
    sentence: str

    @property
    def has_passed(self) -> bool:
        """Whether the candidate is let through."""
        return self.verdict is Verdict.PASSED


CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        Check(
            Step.INTEGRITY,
            "integrity",
            "share of clips that regenerate identically",
            Bound.AT_LEAST,
            1.0,
        ),
        Check(
            Step.INTEGRITY,
            "finite",
            "share of clips whose numbers are all finite",
            Bound.AT_LEAST,
            1.0,
        ),
        Check(Step.INTEGRITY, "silence", "share of silent clips", Bound.AT_MOST, 0.0),
        Check(Step.INTEGRITY, "clipping", "share of samples at full scale", Bound.AT_MOST, 0.001),
        Check(Step.INTEGRITY, "duration", "largest duration error in seconds", Bound.AT_MOST, 0.1),
        Check(
            Step.HELD_OUT,
            "held_out_accuracy",
            "upper end of the held-out accuracy's 95% interval",
            Bound.AT_LEAST,
            0.5,
        ),
        Check(
            Step.HELD_OUT,
            "chosen_nll",
            "rise of the NLL of chosen held-out clips, as a share of the parent's",
            Bound.AT_MOST,
            0.3,
        ),
        Check(
            Step.DISTRIBUTION,
            "distribution",
            "Frechet distance to the base over the upper end of the base's own band",
            Bound.AT_MOST,
            2.0,
        ),
        Check(
            Step.DISTRIBUTION,
            "loudness_shift",
            "change of the mean level in decibels, either way",
            Bound.AT_MOST,
            2.0,
        ),
        Check(
            Step.DISTRIBUTION,
            "anchor_distribution",
            "Frechet distance to the anchor over the upper end of the anchor's own band",
            Bound.AT_MOST,
            3.0,
        ),
        Check(
            Step.DISTRIBUTION,
            "anchor_loudness",
            "change of the mean level since the anchor in decibels, either way",
            Bound.AT_MOST,
            4.0,
        ),
        Check(
            Step.DISTRIBUTION,
            "prompt_adherence",
            "upper end of the 95% interval of how well clips fit their own prompt, over the "
            "anchor's",
            Bound.AT_LEAST,
            0.5,
        ),
        Check(
            Step.DIVERSITY,
            "diversity",
            "share of codes that differ within a prompt, candidate over base",
            Bound.AT_LEAST,
            0.9,
        ),
        Check(
            Step.DIVERSITY,
            "embedding_diversity",
            "upper end of the 95% interval of the spread within a prompt, candidate over base",
            Bound.AT_LEAST,
            0.8,
        ),
    )
}


class GateError(RoundError, ValueError):
    """An unknown check, or a threshold or share that cannot be one."""


def judge(
    check_name: str,
    figure: float | None,
    threshold: float | None = None,
    *,
    remark: str = "",
    least: float | None = None,
) -> Judgement:
    """Whether `figure` passes the named check at `threshold` (the check's own when None).

    remark: what else people should know of the figure, or why there is none. least: the least that
    the figure could have been; where that would pass, the check cannot fail and nothing is said,
    unless the study asks for 0 or less and so for no check.
    """
    check = CHECKS.get(check_name)
    if check is None:
        raise GateError(f"unknown check {check_name!r}; known are {', '.join(CHECKS)}")
    limit = check.threshold if threshold is None else threshold
    said = f": {remark}" if remark else ""
    if figure is None:
        sentence = f"{check.figure_name} was not measured{said}"
        return Judgement(Verdict.NOT_MEASURED, limit, sentence)
    if not math.isfinite(figure):
        sentence = f"{check.figure_name} is not a number: {figure}"
        return Judgement(Verdict.FAILED, limit, sentence)
    if least is not None and check.bound is Bound.AT_LEAST and least >= limit > 0:
        sentence = (
            f"{check.figure_name} is {figure:.4g}, which says nothing: with so few it could not "
            f"have been below {least:.4g}, and {limit:g} passes{said}"
        )
        return Judgement(Verdict.NOT_MEASURED, limit, sentence)
    has_passed = figure >= limit if check.bound is Bound.AT_LEAST else figure <= limit
    wanted = f"{check.bound.value} {limit:g} {'is' if has_passed else 'was'} needed"
    return Judgement(
        Verdict.PASSED if has_passed else Verdict.FAILED,
        limit,
        f"{check.figure_name} is {figure:.4g}; {wanted}{said}",
    )


def least_of(details: Mapping[str, object]) -> float | None:
    """The least that a figure could have been, where its details tell."""
    least = details.get("least")
    return float(least) if isinstance(least, int | float) else None


def fewest_held_out(threshold: float) -> int | None:
    """How many held-out preferences the accuracy's check needs to be able to fail.

    None where no number is enough. With all of n wrong the upper end of Wilson's interval is
    z^2 / (n + z^2).
    """
    if threshold <= 0:
        return None
    squared = WILSON_Z**2
    return max(1, math.floor(squared * (1 - threshold) / threshold) + 1)


def remark_of(details: Mapping[str, object]) -> str:
    """What the details of a figure tell people in words: a remark, or why there is no figure."""
    return str(details.get("error") or details.get("remark") or "")


def thresholds_of(gate: Mapping[str, object]) -> dict[str, float]:
    """Each check's threshold: the study's where it names one, else the default."""
    known = [*CHECKS, "canary_share", *PEOPLE_SETTINGS]
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
    try:
        people_gate_of(gate)
    except PeopleGateError as exc:
        raise GateError(str(exc)) from exc


def _number(gate: Mapping[str, object], name: str, default: float) -> float:
    value = gate.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise GateError(f"gate setting {name} must be a number, got {value!r}")
    return float(value)
