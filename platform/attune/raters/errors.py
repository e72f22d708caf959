"""What can go wrong with invitations and accounts."""


class RaterError(Exception):
    """Base of everything this app refuses."""


class InvitationError(RaterError):
    """An invitation that does not open the door. `reason` is unknown, used, revoked,
    expired or full.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"this invitation is {reason}")
        self.reason = reason


class ConsentError(RaterError):
    """A consent text that cannot be written, or an agreement to the wrong version."""


class DeviceCheckError(RaterError):
    """An answer to a headphone check that is not being asked."""


class PracticeError(RaterError):
    """An answer to a practice pair that is not being asked."""


class ArrivalError(RaterError):
    """A pair asked for before the steps that the study puts first. `code` names the step."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class PanelError(RaterError):
    """A panel's person who cannot be let in. `reason` is ids, signature, full, other or ended."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
