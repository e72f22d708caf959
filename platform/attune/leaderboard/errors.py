"""What may be wrong with a question to the leaderboard."""


class LeaderboardError(Exception):
    """Base of all errors of the leaderboard."""


class SameCheckpointError(LeaderboardError, ValueError):
    """A checkpoint was set against itself."""


class NoParentError(LeaderboardError):
    """The checkpoint has no parent to be judged against."""
