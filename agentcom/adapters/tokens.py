"""About how many tokens a text is. Only the agent's own tokenizer would know, and each model has another."""

from __future__ import annotations

BYTES_PER_TOKEN = 4
"""English and code come to about so many bytes a token."""


def estimate_tokens(text: str) -> int:
    """Of this text."""
    return estimate_file_tokens(len(text.encode("utf-8", "surrogatepass")))


def estimate_file_tokens(size_bytes: int) -> int:
    """Of a file of this size."""
    return -(-size_bytes // BYTES_PER_TOKEN)
