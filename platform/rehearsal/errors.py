"""Errors of the rehearsal: one base, one class per thing the command does differently."""


class RehearsalError(Exception):
    """Base of every reason for which a rehearsal cannot go on."""


class SiteError(RehearsalError):
    """The site refused a request, or could not be reached."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class PhaseError(RehearsalError):
    """A phase of the loop failed or made no headway in its time."""
