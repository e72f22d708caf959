"""How work ends other than by being done."""


class WorkFailed(Exception):
    """The work cannot be done, and trying again would not help; the message says why."""


class AttemptFailed(Exception):
    """This attempt failed for a reason that another one may not meet."""
