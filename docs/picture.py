"""Makes docs/monitor.svg again: `make picture`. It is the monitor's screen of the demo, at its worst moment."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import anyio
from rich.console import CONSOLE_SVG_FORMAT, Console

from agentcom.broker.connection import TROUBLE, Connections
from agentcom.cli.screen import now
from agentcom.monitor.live.draw import draw
from agentcom.monitor.live.picture import AGENT, Picture
from agentcom.monitor.live.state import State
from agentcom.monitor.live.watcher import Watcher
from agentcom.monitor.look import Now
from agentcom.settings import load

FILE = Path(__file__).parent / "monitor.svg"
SIZE = (110, 24)
LOOK_S = 0.2
FONT_OF_OTHERS = re.compile(r"@font-face \{\{.*?\}\}\n", re.DOTALL)
"""Rich names a font on somebody's server: a picture asks nobody for anything."""


def worth_showing(picture: Picture) -> tuple[int, int, int]:
    """The more is wrong that the agents' rows tell, and then the more happens, the better."""
    wrong = sum(finding.severity != "notice" for finding in picture.findings if finding.subject.startswith(AGENT))
    running = sum(len(agent.running) for agent in picture.snapshot.agents)
    return wrong, running, len(picture.findings)


async def watched(folder: Path, demo: subprocess.Popen[bytes]) -> tuple[Picture, Now]:
    """The best picture of a demo that is played, and when it was taken."""
    config = folder / "agentcom.toml"
    while not (config.is_file() and (folder / "data" / "redis.sock").exists()):
        assert demo.poll() is None, "the demo failed"
        await anyio.sleep(LOOK_S)
    settings = load((str(config), config.read_text(encoding="utf-8")), {}, {}).settings
    connections = Connections(f"unix://{folder}/data/redis.sock")
    watcher = Watcher(connections, settings, lambda: time.time_ns() // 1_000_000)
    best: tuple[tuple[int, int, int], Picture, Now] | None = None
    while demo.poll() is None:
        await anyio.sleep(LOOK_S)
        with suppress(*TROUBLE):  # its server comes and goes
            picture = await watcher.look()
            worth = worth_showing(picture)
            if best is None or worth >= best[0]:
                best = worth, picture, now()
    await connections.close()
    assert best is not None, "the demo's server was never seen"
    return best[1], best[2]


def svg(picture: Picture, at: Now) -> str:
    """The screen as a person would see it then."""
    console = Console(file=io.StringIO(), record=True, width=SIZE[0], force_terminal=True, color_system="truecolor")
    for line in draw(State(), picture, None, at, SIZE).lines:
        console.print(line, soft_wrap=True)
    form = FONT_OF_OTHERS.sub("", CONSOLE_SVG_FORMAT)
    return console.export_svg(title="agentcom monitor", code_format=form, unique_id="agentcom")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="agentcom-picture-") as place:
        folder = Path(place) / "demo"
        command = [sys.executable, "-m", "agentcom", "demo", "--dir", str(folder), "--keep"]
        demo = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        picture, at = anyio.run(watched, folder, demo)
        assert demo.wait() == 0, "the demo failed"
    FILE.write_text(svg(picture, at), encoding="utf-8")


if __name__ == "__main__":
    main()
