"""What can go wrong with invitations and accounts."""


class RaterError(Exception):
    """Base of everything this app refuses."""


class InvitationError(RaterError):
    """An invitation that does not open the door. `reason` is unknown, used or expired."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"this invitation is {reason}")
        self.reason = reason
