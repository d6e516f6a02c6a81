"""An agent's folder stays bounded, and what is in use is never touched."""

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import anyio
import pytest
from redis.asyncio import Redis

from agentcom.broker.embedded import EmbeddedServer
from agentcom.model.codec import encode
from agentcom.model.messages import Finished, Goodbye
from agentcom.model.task import Outcome
from agentcom.sidecar.housekeeping import keep_house, noted_tasks, remove_old
from agentcom.sidecar.journal import Journal, RunNote
from tests.sidecar.bench import written
from tests.sidecar.harness import Desk, assign, until

NOW_S = 1_000_000.0


def old(path: Path, age_s: float = 500) -> Path:
    os.utime(path, (NOW_S - age_s, NOW_S - age_s), follow_symlinks=False)
    return path


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text("x")
    return path


def test_what_is_older_than_the_retention_goes_and_the_rest_stays(tmp_path: Path):
    gone = [old(folder(tmp_path / "attempts" / "a.1.x")), old(folder(tmp_path / "workspaces" / "a"))]
    kept = [old(folder(tmp_path / "attempts" / "b.1.x"), 99), old(folder(tmp_path / "journal" / "runs"))]
    assert remove_old(tmp_path, NOW_S, 100) == 2
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)


def test_tasks_at_work_keep_their_files_however_long_they_run(tmp_path: Path):
    kept = [old(folder(tmp_path / "attempts" / "a.1.x")), old(folder(tmp_path / "workspaces" / "a"))]
    assert remove_old(tmp_path, NOW_S, 100, keep={"a"}) == 0
    assert all(path.exists() for path in kept)


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path):
    target = folder(tmp_path / "elsewhere")
    (tmp_path / "workspaces").mkdir()
    for name, to in (("a", target), ("b", tmp_path / "nowhere")):
        link = tmp_path / "workspaces" / name
        link.symlink_to(to)
        old(link)
    assert remove_old(tmp_path, NOW_S, 100) == 2
    assert list((tmp_path / "workspaces").iterdir()) == []
    assert (target / "file").exists()


def test_a_stray_file_goes_too(tmp_path: Path):
    (tmp_path / "attempts").mkdir()
    (tmp_path / "attempts" / "core").write_text("x")
    old(tmp_path / "attempts" / "core")
    assert remove_old(tmp_path, NOW_S, 100) == 1


def test_a_new_agent_has_nothing_to_remove(tmp_path: Path):
    assert remove_old(tmp_path, NOW_S, 100) == 0


def test_files_that_were_set_aside_stay_for_people_to_look_at_but_not_for_ever(tmp_path: Path):
    for name, age_s in (("old", 100), ("new", 1)):
        path = tmp_path / "journal" / "runs" / f"{name}.corrupt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1_000 - age_s, 1_000 - age_s))
    assert remove_old(tmp_path, 1_000, 50) == 1
    assert [path.name for path in (tmp_path / "journal" / "runs").iterdir()] == ["new.corrupt"]


async def test_house_is_kept_from_the_beginning_on_but_for_what_is_at_work(tmp_path: Path):
    gone = old(folder(tmp_path / "attempts" / "a.1.x"))
    kept = old(folder(tmp_path / "attempts" / "b.1.x"))

    async def is_gone() -> bool:
        return not gone.exists()

    async def nothing_else(now_s: float, retention_s: float, keep: Collection[str]) -> None:
        assert (now_s, retention_s, keep) == (NOW_S, 100.0, {"b"}), "the runner is asked as well"

    async with anyio.create_task_group() as group:
        group.start_soon(keep_house, tmp_path, 100.0, lambda: int(NOW_S * 1000), lambda: {"b"}, nothing_else)
        await until(is_gone)
        group.cancel_scope.cancel()
    assert kept.exists()


def test_what_the_journal_names_is_what_was_begun_and_what_is_not_sent_yet(tmp_path: Path):
    journal = Journal(tmp_path)
    begun, ended = assign("sc-1"), assign("sc-1")
    journal.started(RunNote("1-0", begun, 0))
    report = Finished(agent="oak", incarnation="sc-1", task=ended.task, token=ended.token, outcome=Outcome("completed"))
    journal.queued(["2-0"], [encode(report), encode(Goodbye(agent="oak", incarnation="sc-1"))])
    assert noted_tasks(journal) == {begun.task, ended.task}


CONFIG = """
pool = "{pool}"
data_dir = "{folder}"
[policy]
retention_s = 3600
[agents.oak]
command = ["sh", "-c", "echo $$ > {folder}/pid; while [ ! -e {folder}/go ]; do sleep 0.05; done; {end}"]
"""
END = 'echo \'{\\"summary\\": \\"all of it\\"}\' > $AGENTCOM_RESULT_FILE'


def started(server: EmbeddedServer, folder: Path) -> subprocess.Popen[bytes]:
    """The program itself, with the settings file in this folder."""
    argv = [sys.executable, "-m", "agentcom", "--redis", server.url, "sidecar", "--agent", "oak"]
    return subprocess.Popen(argv, cwd=folder)


@pytest.mark.process
@pytest.mark.pitfall_3
async def test_what_a_killed_sidecar_left_at_work_keeps_its_files_however_old_they_are(
    server: EmbeddedServer, pool: str, tmp_path: Path
):
    (tmp_path / "agentcom.toml").write_text(CONFIG.format(pool=pool, folder=tmp_path, end=END))
    client = Redis.from_url(server.url, protocol=2)
    desk = Desk(client, pool, "oak")
    sidecar = started(server, tmp_path)
    try:
        order = assign((await desk.hello()).incarnation)
        await desk.order(order)
        await written(tmp_path / "pid")
        sidecar.kill()
        sidecar.wait()
        for place in ("attempts", "workspaces"):
            [path] = (tmp_path / "agents" / "oak" / place).iterdir()
            os.utime(path, (1, 1))
        sidecar = started(server, tmp_path)
        await desk.hello(2)
        await anyio.sleep(0.5)
        (tmp_path / "go").touch()
        outcome = (await desk.outcome(order)).outcome
        assert (outcome.result, outcome.summary) == ("completed", "all of it")
    finally:
        (tmp_path / "go").touch()
        sidecar.kill()
        sidecar.wait()
        await client.aclose()
