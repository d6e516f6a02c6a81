"""The keeper writes down how a program ended, before anybody asks and whoever asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from agentcom.sidecar.runners import keeper
from agentcom.sidecar.runners.kept import KEEPER
from tests.patience import PATIENCE_S
from tests.sidecar.bench import written

pytestmark = [pytest.mark.process, pytest.mark.pitfall_3]


@pytest.fixture(autouse=True)
def own_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own process it stays deaf to what asks the program to end; in the tests' it shall not."""
    monkeypatch.setattr(keeper.signal, "signal", lambda *_: None)


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("exit 137", 137), ("exit 255", 255), ("kill -9 $$", -9), ("kill -TERM $$", -15)],
)
def test_an_end_is_written_down_as_it_was(tmp_path: Path, script: str, code: int):
    assert keeper.keep(f"{tmp_path}/exit", ["sh", "-c", script]) == code
    assert (tmp_path / "exit").read_text().strip() == f"ended {code}"
    assert not (tmp_path / "exit.new").exists()


def test_while_it_runs_the_file_says_who_keeps_it(tmp_path: Path):
    keeper.keep(f"{tmp_path}/exit", ["cp", f"{tmp_path}/exit.new", f"{tmp_path}/seen"])
    assert (tmp_path / "seen").read_text().strip() == f"running {os.getpid()}"


@pytest.mark.parametrize("program", ["no-such-program-anywhere", "/", "./absent"])
def test_a_program_that_cannot_be_started_is_named_with_the_reason(tmp_path: Path, program: str):
    assert keeper.keep(f"{tmp_path}/exit", [program]) == 127
    said = (tmp_path / "exit").read_text()
    assert said.startswith("unstarted [Errno ")
    assert program in said


def test_where_nothing_can_be_written_nothing_is_started(tmp_path: Path):
    with pytest.raises(OSError, match="No such file"):
        keeper.keep(f"{tmp_path}/absent/exit", ["touch", f"{tmp_path}/started"])
    assert not (tmp_path / "started").exists()


def test_a_program_that_removed_the_file_does_not_hide_its_end(tmp_path: Path):
    keeper.keep(f"{tmp_path}/exit", ["sh", "-c", f"rm {tmp_path}/exit.new; exit 4"])
    assert (tmp_path / "exit").read_text() == "ended 4"


def test_a_program_that_removed_the_folder_ends_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "attempt").mkdir()
    assert keeper.keep(f"{tmp_path}/attempt/exit", ["rm", "-r", f"{tmp_path}/attempt"]) == 0
    assert "how this ended cannot be written down" in capsys.readouterr().err


def test_the_end_has_its_room_on_the_disk_from_the_beginning(tmp_path: Path):
    keeper.keep(f"{tmp_path}/exit", ["cp", f"{tmp_path}/exit.new", f"{tmp_path}/seen"])
    assert (tmp_path / "seen").stat().st_size == (tmp_path / "exit").stat().st_size == keeper.ROOM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_it_outlives_what_asks_its_program_to_end(tmp_path: Path, number: signal.Signals):
    """The program says goodbye with 7, and that is what is written down."""
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("a shell cannot trap what whoever runs the tests ignores, as nohup does")
    script = f"trap 'sleep 0.2; exit 7' {number.name[3:]}; echo on > {tmp_path}/on; while :; do sleep 0.02; done"
    process = start(str(tmp_path / "exit"), "sh", "-c", script)
    try:
        await written(tmp_path / "on")
        os.killpg(process.pid, number)
        assert process.wait(PATIENCE_S) == 7
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert (tmp_path / "exit").read_text().strip() == "ended 7"


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*KEEPER, *arguments], start_new_session=True)


@pytest.mark.parametrize(("script", "code"), [("exit 5", 5), ("kill -9 $$", 137)])
def test_as_a_program_it_ends_as_a_shell_would(tmp_path: Path, script: str, code: int):
    assert subprocess.run([*KEEPER, str(tmp_path / "exit"), "sh", "-c", script], check=False).returncode == code


def test_its_program_gets_the_default_of_each_signal(tmp_path: Path):
    """An interpreter ignores SIGPIPE; a program that inherited that would never end in a broken pipe."""
    script = "grep SigIgn /proc/self/status"
    said = subprocess.run([*KEEPER, str(tmp_path / "exit"), "sh", "-c", script], capture_output=True, check=True).stdout
    assert int(said.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_it_imports_nothing_that_makes_it_slow(tmp_path: Path):
    script = "import sys, runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0]); print(len(sys.modules))"
    bare = [sys.executable, "-I", "-S", "-c", script, keeper.__file__]
    assert int(subprocess.run(bare, capture_output=True, check=True).stdout) < 80
