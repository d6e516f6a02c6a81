"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from agentcom.errors import ConfigurationError


def expanded(path: str | Path, home: str = "") -> Path:
    """The path with a `~` or `~user` at its beginning replaced.

    Args:
        path: as it was written.
        home: what `~` alone stands for; empty: the home of the user whose process this is.

    Raises:
        ConfigurationError: there is no such user, or nobody knows where its home is.
    """
    written = str(path)
    if home and (written == "~" or written.startswith("~/")):
        return Path(home + written[1:])
    try:
        return Path(written).expanduser()
    except RuntimeError:
        problem = f"{written!r} begins with the home of a user that this machine does not know"
        raise ConfigurationError(problem, "Write the path out from the root, or mend the user's name") from None
