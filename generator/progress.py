"""A bar on a terminal that shows how much of a training is done."""

from __future__ import annotations

from tqdm import tqdm

BAR_FORMAT = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"


class TrainingBar:
    """Shows shares of a budget, 0 to 1; shows nothing where the output is no terminal."""

    def __init__(self, done: float) -> None:
        self._bar = tqdm(total=1.0, initial=done, disable=None, bar_format=BAR_FORMAT, leave=False)

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: float, *, step: int, loss: float) -> None:
        """Moves the bar to the share done, beside the step and its loss."""
        self._bar.set_postfix(step=step, loss=f"{loss:.3f}", refresh=False)
        self._bar.update(min(1.0, done) - self._bar.n)
