"""Records what real programs print in each scenario.

    python -m tests.adapters.record NAME PROGRAM [SCENARIO…]

What names this machine is replaced; all else stays as it was printed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.adapters.scenarios import SCENARIOS, Played, play

TRANSCRIPTS = Path(__file__).with_name("transcripts")
VERSION = re.compile(rb"[0-9]+\.[0-9]+\.[0-9]+")


def scrubbed(text: bytes, played: Played) -> str:
    """The text without paths and ports of this machine."""
    known = text.decode("utf-8", "replace")
    place = str(played.workspace.parent)
    port = played.url.removeprefix("http://")
    for found, name in ((place, "/srv"), (re.sub(r"[^A-Za-z0-9]", "-", place), "-srv"), (port, "127.0.0.1:8000")):
        known = known.replace(found, name)
    return known


def main(name: str, program: str, chosen: list[str]) -> None:
    """Record the scenarios of a program, and say how each ended."""
    said = subprocess.run([program, "--version"], check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout
    version = VERSION.search(said)
    assert version is not None
    folder = TRANSCRIPTS / f"{name}-{version[0].decode()}"
    folder.mkdir(parents=True, exist_ok=True)
    for title, scenario in SCENARIOS.items():
        if name not in scenario.programs or (chosen and title not in chosen):
            continue
        with tempfile.TemporaryDirectory(dir=Path.home()) as place:
            played = play(name, program, scenario, Path(place).resolve())
        (folder / f"{title}.jsonl").write_text(scrubbed(played.output, played), encoding="utf-8")
        end = {"code": played.code, "errors": scrubbed(played.errors, played)}
        (folder / f"{title}.end.json").write_text(json.dumps(end, indent=1) + "\n", encoding="utf-8")
        print(f"{name} {version[0].decode()} {title}: {played.code} {played.turn.over} {played.complaints or ''}")


if __name__ == "__main__":
    main(sys.argv[1], str(Path(sys.argv[2]).absolute()), sys.argv[3:])
