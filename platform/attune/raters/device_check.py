"""How a headphone check is drawn from its seed, counted and judged. Pure."""

import numpy as np
from numpy.typing import NDArray

from attune.raters.models import DeviceCheckKind
from attune.raters.stimuli import antiphase_trial, huggins_trial

N_TRIALS = 6
N_INTERVALS = 3
PASS_AT = 5
"""Five of six: whoever guesses gets there in 13 of 729 checks, 1.8%."""


def trial_rng(seed: int, kind: DeviceCheckKind | str, trial: int) -> np.random.Generator:
    """The generator of one trial: its first draw is the answer, what follows is the sound."""
    if not 0 <= trial < N_TRIALS:
        raise ValueError(f"trial {trial}: expected 0 to {N_TRIALS - 1}")
    number = list(DeviceCheckKind).index(DeviceCheckKind(kind))
    return np.random.default_rng([seed, number, trial])


def right_interval(seed: int, kind: DeviceCheckKind | str, trial: int) -> int:
    """Which interval is the right answer, 0 to 2."""
    return int(trial_rng(seed, kind, trial).integers(N_INTERVALS))


def trial_sound(
    seed: int, kind: DeviceCheckKind | str, trial: int, *, level_dbfs: float
) -> NDArray[np.float64]:
    """What is played in a trial, [2, N], left and right."""
    rng = trial_rng(seed, kind, trial)
    answer = int(rng.integers(N_INTERVALS))
    match DeviceCheckKind(kind):
        case DeviceCheckKind.HUGGINS_PITCH:
            return huggins_trial(answer, rng, level_dbfs=level_dbfs)
        case DeviceCheckKind.ANTIPHASE:
            return antiphase_trial(answer, rng, level_dbfs=level_dbfs)


def count_right(seed: int, kind: DeviceCheckKind | str, answers: list[int]) -> int:
    """How many of the answers, in the order of the trials, are right."""
    return sum(answer == right_interval(seed, kind, trial) for trial, answer in enumerate(answers))
