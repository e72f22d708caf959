"""What can go wrong with a job."""


class JobError(Exception):
    """A job was asked for, or finished, in a way that is not allowed."""
