"""What can go wrong with invitations and accounts."""


class RaterError(Exception):
    """Base of everything this app refuses."""


class InvitationError(RaterError):
    """An invitation that does not open the door. `reason` is unknown, used or expired."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"this invitation is {reason}")
        self.reason = reason


class ConsentError(RaterError):
    """A consent text that cannot be written, or an agreement to the wrong version."""


class DeviceCheckError(RaterError):
    """An answer to a headphone check that is not being asked."""
