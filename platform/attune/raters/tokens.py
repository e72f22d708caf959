"""Secrets that are handed out once and stored as hashes only."""

import hashlib
import secrets

TOKEN_BYTES = 32


def new_token() -> str:
    """A fresh secret, safe in a URL. It carries 256 bits, so a plain hash protects it."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """SHA-256 of a token, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()
