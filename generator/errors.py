"""Errors of the generator package: one base, one class per thing a caller does differently."""


class GeneratorError(Exception):
    """Base of every error that generator code raises on purpose."""


class CheckpointError(GeneratorError):
    """A checkpoint folder is incomplete, damaged or of an unknown format."""


class RequestError(GeneratorError, ValueError):
    """An argument is outside what is allowed; the message names both."""
