"""What may be wrong with a request about a round."""

from collections.abc import Mapping


class RoundError(Exception):
    """Base of all errors of rounds."""


class ConfigError(RoundError, ValueError):
    """A config names an unknown knob or gives one a value it cannot have."""


class NotEnoughPreferences(RoundError):
    """Too few preferences for a round; says how many more are needed."""

    def __init__(self, *, n_usable: int, n_needed: int, counts: Mapping[str, int]) -> None:
        self.n_usable = n_usable
        self.n_needed = n_needed
        self.n_missing = n_needed - n_usable
        self.counts = dict(counts)
        super().__init__(
            f"{n_usable} usable preferences, {n_needed} needed: {self.n_missing} more "
            f"{'is' if self.n_missing == 1 else 'are'} needed"
        )


class BaseCheckpointError(RoundError):
    """The base checkpoint cannot start a round of this study."""


class RoundRunningError(RoundError):
    """Another round on the same study and base checkpoint has not ended."""


class RoundStateError(RoundError):
    """The round is in a state in which this cannot happen to it."""


class DatasetError(RoundError):
    """The frozen preferences no longer give the bytes that were hashed."""
