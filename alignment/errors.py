"""Errors of the alignment package: one base, one class per thing a caller does differently."""


class AlignmentError(Exception):
    """Base of every error that alignment code raises on purpose."""


class RunFolderError(AlignmentError):
    """A run folder cannot be trained from as it is; trying again does not help."""


class ConfigError(RunFolderError, ValueError):
    """A setting is unknown or outside what is allowed; the message names both."""


class StopRequested(AlignmentError):
    """The run was asked to stop and can be resumed from what it saved."""
