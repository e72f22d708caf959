"""What training and held-out preferences share, and whether those held out can measure a round."""

from dataclasses import dataclass

from attune.rounds.choices import Outcome, RoundMethod
from attune.rounds.eligibility import Selection
from attune.rounds.evidence import Duplicates
from attune.rounds.gate import fewest_held_out, thresholds_of
from attune.rounds.plans import Plan


@dataclass(frozen=True)
class Leakage:
    """What the held-out preferences share with those that are trained on."""

    n_prompts: int
    n_raters: int
    n_clips: int
    n_held_out_by_known_raters: int

    @property
    def is_clean(self) -> bool:
        """Whether prompts, raters and clips are all apart."""
        return not (self.n_prompts or self.n_raters or self.n_clips)


@dataclass(frozen=True)
class HeldOut:
    """How many held-out preferences the gate could measure the round on, and how many it needs."""

    n: int
    n_needed: int

    @property
    def is_enough(self) -> bool:
        """Whether the gate's check of them could fail, and so says anything when it passes."""
        return self.n >= self.n_needed

    @property
    def sentence(self) -> str:
        """What follows where they are not enough."""
        if self.n == 0:
            found = "nothing is held out"
        else:
            found = f"{self.n} preference{' is' if self.n == 1 else 's are'} held out"
        return (
            f"{found}, {self.n_needed} are needed for the gate to tell whether the round learned: "
            "its checkpoint will stay out of rotation until an engineer lets it in"
        )


def held_out_of(plan: Plan, selection: Selection) -> HeldOut:
    """What the gate could measure the round on; a reward model goes through none."""
    n = sum(
        preference.is_held_out and preference.outcome is Outcome.CHOSEN
        for preference in selection.preferences
    )
    threshold = thresholds_of(plan.study.gate)["held_out_accuracy"]
    n_needed = fewest_held_out(threshold) or 1
    return HeldOut(n, 0 if plan.method is RoundMethod.REWARD else n_needed)


def leakage_of(selection: Selection, duplicates: Duplicates) -> Leakage:
    """What training and held-out preferences share."""
    sides: dict[bool, set[int]] = {True: set(), False: set()}
    for preference in selection.preferences:
        sides[preference.is_held_out].add(preference.prompt_id)
    return Leakage(
        n_prompts=len(sides[True] & sides[False]),
        n_raters=selection.counts["raters_on_both_sides"],
        n_clips=duplicates.n_clips_on_both_sides,
        n_held_out_by_known_raters=(
            selection.counts["held_out"] - selection.counts["held_out_by_new_raters"]
        ),
    )
