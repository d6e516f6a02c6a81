"""A sidecar as a process of its own, for the tests that kill it and start it again."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import msgspec

from agentcom.sidecar.journal import RunNote
from tests.patience import PATIENCE_S
from tests.sidecar.harness import until


class Program:
    """A sidecar's process, started again and again on one folder."""

    def __init__(self, url: str, pool: str, folder: Path) -> None:
        self._arguments = [url, pool, str(folder)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *argv: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.sidecar.sidecar_process", *self._arguments, *argv],
            cwd=Path(__file__).parents[2],
        )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return await self.ended()

    async def ended(self) -> int:
        """Its exit code, when it has ended by itself."""
        assert self.process is not None
        with anyio.fail_after(PATIENCE_S):
            while (code := self.process.poll()) is None:
                await anyio.sleep(0.02)
        return code


def runs_of(folder: Path) -> list[RunNote]:
    """What a sidecar's journal says of its runs, read without tidying up as the sidecar itself does when it starts."""
    found = []
    for path in sorted((folder / "journal" / "runs").glob("*.json")):
        with suppress(OSError, msgspec.MsgspecError):
            found.append(msgspec.json.decode(path.read_bytes(), type=RunNote))
    return found


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def lines(path: Path, count: int = 1) -> list[str]:
    async def there() -> list[str]:
        found = lines_of(path)
        return found if len(found) >= count else []

    found: list[str] = await until(there)
    return found
