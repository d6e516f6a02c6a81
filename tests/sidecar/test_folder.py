"""An agent's folder belongs to one sidecar at a time."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentcom.errors import AgentComError, ConfigurationError
from agentcom.sidecar.folder import agent_folder


def test_a_second_sidecar_of_the_same_agent_is_refused_and_told_who_has_it(tmp_path: Path):
    with agent_folder(tmp_path, "oak") as folder:
        assert folder == tmp_path / "agents" / "oak"
        with pytest.raises(ConfigurationError, match=f"process {os.getpid()}"), agent_folder(tmp_path, "oak"):
            pass
        with agent_folder(tmp_path, "elm"):
            pass
    with agent_folder(tmp_path, "oak"):
        pass


@pytest.mark.process
def test_what_the_agent_leaves_running_does_not_keep_its_folder_locked(tmp_path: Path):
    with agent_folder(tmp_path, "oak"):
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with left:
        with agent_folder(tmp_path, "oak"):
            pass
        left.kill()


def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path):
    (tmp_path / "agents").write_text("in the way")
    with pytest.raises(ConfigurationError), agent_folder(tmp_path, "oak"):
        pass


@pytest.mark.pitfall_3
def test_a_full_disk_is_no_reason_not_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with agent_folder(tmp_path, "oak") as folder:
        assert folder.is_dir()


@pytest.mark.pitfall_3
def test_a_disk_that_takes_no_writes_is_no_reason_not_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What an earlier start left running is to be adopted; the self-test refuses new work."""
    with agent_folder(tmp_path, "oak"):
        pass
    _make_read_only(monkeypatch)
    with agent_folder(tmp_path, "oak") as folder:
        assert folder == tmp_path / "agents" / "oak"
        with pytest.raises(ConfigurationError, match="another sidecar"), agent_folder(tmp_path, "oak"):
            pass


def test_a_folder_that_cannot_be_made_now_is_tried_again_by_whoever_supervises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _make_read_only(monkeypatch)
    with pytest.raises(AgentComError, match="Read-only file system") as refused, agent_folder(tmp_path, "oak"):
        pass
    assert refused.value.exit_code == 1


def _make_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, mode)

    monkeypatch.setattr("agentcom.sidecar.folder.os.open", refuse)
