"""Pretrained MusicGen from the Hugging Face hub: names, download, and what can go wrong."""

from __future__ import annotations

from pathlib import Path

import httpx

from generator.errors import CheckpointError
from generator.musicgen.folder import READ_PATTERNS

HUB_PREFIX = "hub:"


def is_hub_name(source: str) -> bool:
    """Returns whether a source names a repository on the hub, as hub:facebook/musicgen-small."""
    return source.startswith(HUB_PREFIX)


def fetch(source: str, *, cache: Path | None = None, endpoint: str | None = None) -> Path:
    """Returns the local folder of a hub repository, downloaded where it is not in the cache.

    Only configurations, tokenizer and safetensors are fetched. cache and endpoint are the hub
    library's own unless given.
    """
    import huggingface_hub
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    repository = source.removeprefix(HUB_PREFIX)
    try:
        found = huggingface_hub.snapshot_download(
            repository, allow_patterns=list(READ_PATTERNS), cache_dir=cache, endpoint=endpoint
        )
    except HFValidationError as exc:
        raise CheckpointError(
            f"{source} names no repository: expected hub:owner/name, such as "
            "hub:facebook/musicgen-small"
        ) from exc
    except GatedRepoError as exc:
        raise CheckpointError(f"{source} asks for an accepted licence on the hub: {exc}") from exc
    except RepositoryNotFoundError as exc:
        raise CheckpointError(f"the hub has no repository {repository}, or hides it") from exc
    except (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        httpx.HTTPError,
        OSError,
    ) as exc:
        raise CheckpointError(
            f"{source} is not in the local cache and the hub cannot be reached "
            f"({type(exc).__name__}). Download {repository} where there is a network "
            f"(hf download {repository}), copy the folder here and name it instead"
        ) from exc
    return Path(found)


def resolve(source: str | Path) -> Path:
    """Returns the folder of a source: itself, or what was fetched for a name on the hub."""
    return fetch(str(source)) if is_hub_name(str(source)) else Path(source)
