"""What a rehearsal is asked to do, checked before the first request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alignment.simulation.noise import check_agreement
from alignment.simulation.tastes import Taste
from rehearsal.errors import RehearsalError

LEAST_DURATION_S = 1.0
MOST_DURATION_S = 30.0


@dataclass(frozen=True)
class Options:
    """The setting of one rehearsal."""

    base_url: str
    engineer_token: str
    rater_tokens: tuple[str, ...]
    taste: Taste
    out: Path
    agreement: float = 0.75
    n_pairs: int = 480
    duration_s: float = 5.0
    n_judgements: int = 120
    seed: int = 0
    base: str | None = None
    study: str | None = None
    prompt_set: str | None = None
    config: Mapping[str, float] = field(default_factory=dict)
    """Settings of the round's training that differ from the site's."""

    def __post_init__(self) -> None:
        check_agreement(self.agreement)
        if not self.engineer_token:
            raise RehearsalError("an engineer's token is needed: --engineer-token")
        if not self.rater_tokens:
            raise RehearsalError("the file of rater tokens holds none; it has one a line")
        for name, number in (("--pairs", self.n_pairs), ("--judgements", self.n_judgements)):
            if number < 1:
                raise RehearsalError(f"{name} is at least 1, got {number}")
        if not LEAST_DURATION_S <= self.duration_s <= MOST_DURATION_S:
            raise RehearsalError(
                f"--duration is {LEAST_DURATION_S:g} to {MOST_DURATION_S:g} seconds, "
                f"got {self.duration_s:g}"
            )


def read_tokens(path: Path) -> tuple[str, ...]:
    """Returns the tokens of a file that has one a line."""
    try:
        lines = path.read_text().splitlines()
    except OSError as exc:
        raise RehearsalError(f"the file of rater tokens cannot be read: {exc}") from exc
    return tuple(line.strip() for line in lines if line.strip())


def parse_config(settings: Sequence[str]) -> dict[str, float]:
    """Returns the training's settings written as key=value; the site checks their names."""
    config: dict[str, float] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        try:
            config[name] = int(text) if text.lstrip("-").isdigit() else float(text)
        except ValueError as exc:
            raise RehearsalError(f"--set expects key=number, got {setting!r}") from exc
    return config
