"""What can go wrong in the catalog."""

from pathlib import Path


class CatalogError(Exception):
    """Base of everything the catalog refuses."""


class PromptError(CatalogError):
    """A prompt that cannot be stored."""


class MelodyError(CatalogError):
    """A recording that cannot be followed, or cannot be stored under its name."""


class CheckpointError(CatalogError):
    """A checkpoint folder that cannot be registered. `file` is the culprit, if one is known."""

    def __init__(self, message: str, *, folder: Path, file: str = "") -> None:
        super().__init__(message)
        self.folder = folder
        self.file = file


class ClipOrderError(CatalogError):
    """A clip that cannot be requested."""


class RotationError(CatalogError):
    """A step of the rotation that its rules forbid. Names the checkpoint and the population."""

    def __init__(self, message: str, *, checkpoint: str, population: str) -> None:
        super().__init__(message)
        self.checkpoint = checkpoint
        self.population = population
