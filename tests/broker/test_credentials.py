"""A user or password that Redis refuses ends every program with exit code 78, in one line, at once."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.groups import SentinelServer, TcpServer
from tests.broker.servers import any_binary

pytestmark = pytest.mark.process

AGENT = '[agents.oak]\ncommand = ["true"]\n'


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TcpServer, SentinelServer]]:
    """A server with a password, and a sentinel with another one."""
    folder = tmp_path_factory.mktemp("guarded")
    with (
        TcpServer(folder / "server", any_binary(), {"requirepass": "right"}) as server,
        SentinelServer(folder / "sentinel", any_binary(), server, "requirepass right") as sentinel,
    ):
        yield server, sentinel


@pytest.mark.parametrize("command", [["scheduler"], ["sidecar", "--agent", "oak"], ["up"], ["tasks"], ["submit", "x"]])
@pytest.mark.parametrize("form", ["one", "several", "sentinel"])
def test_refused_credentials_end_it_in_one_line(
    guarded: tuple[TcpServer, SentinelServer], tmp_path: Path, command: list[str], form: str
) -> None:
    server, sentinel = guarded
    url = {
        "one": f"redis://default:s3cret@{server.place}",
        "several": f"redis://default:s3cret@{server.place},{server.place.replace('127.0.0.1', 'localhost')}",
        "sentinel": f"sentinel://{sentinel.place}/main?sentinel_password=s3cret",
    }[form]
    (tmp_path / "agentcom.toml").write_text(AGENT)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "agentcom", *command],
        cwd=tmp_path,
        env={**os.environ, "AGENTCOM_REDIS": url, "XDG_STATE_HOME": str(tmp_path / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("agentcom: Redis at ")
    assert " refused: " in line
    assert ". Check " in line
    assert "s3cret" not in line
    assert time.monotonic() - began < 30
