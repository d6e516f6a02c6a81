"""`agentcom up` as a real process, with a real server, killed in all its parts."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from redis import Redis

from agentcom.broker import runtime
from agentcom.broker.embedded import EmbeddedServer, find_server
from agentcom.client import Client, TaskHandle
from agentcom.model.task import Outcome
from agentcom.processes import ProcessIdentity, identify, is_running
from agentcom.supervisor.record import read_children, write_children
from tests.left_running import processes_of
from tests.patience import PATIENCE_S

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

POLICY = """
[policy]
beat_s = 0.5
beat_offset_s = 0.1
sweep_s = 0.5
lease_s = 1
drain_s = {drain_s}
grace_s = 1
retry_delays_s = [0]
"""
OAK = """
[agents.oak]
command = ["sh", "-c", "read text; echo started; $text"]
"""


class Machine:
    """A directory with settings, in which `agentcom up` is started, and whatever came of it is found again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data_dir = root / "state" / "agentcom" / "default"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("AGENTCOM_")}
        self.environ["XDG_STATE_HOME"] = str(root / "state")
        self.ups: list[Up] = []

    def configure(self, agents: str = OAK, drain_s: float = 2.5) -> None:
        (self.root / "agentcom.toml").write_text(POLICY.format(drain_s=drain_s) + agents)

    def start(self, *flags: str) -> "Up":
        log = self.root / f"up-{len(self.ups)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "agentcom", *flags, "up"],
                cwd=self.root,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.ups.append(Up(process, log))
        return self.ups[-1]

    def ready(self, *flags: str) -> "Up":
        up = self.start(*flags)
        up.wait_for("AgentCom is up")
        return up

    def child(self, name: str) -> ProcessIdentity:
        return read_children(self.data_dir)[name]

    def processes(self) -> list[int]:
        """Everything that was started here."""
        return processes_of(self.root)


class Up:
    """One `agentcom up` that was started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_for(self, words: str) -> None:
        wait_until(lambda: words in self.said or self.process.poll() is not None)
        assert words in self.said, self.said

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(tmp_path)
    for name in os.environ:
        if name.startswith("AGENTCOM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", made.environ["XDG_STATE_HOME"])
    made.configure()
    try:
        yield made
    finally:
        for pid in made.processes():
            os.kill(pid, signal.SIGKILL)
        for up in made.ups:
            up.process.wait()
        # What a killed server leaves of its socket is elsewhere, as the path of a test is too long for one.
        socket = EmbeddedServer(made.data_dir, find_server(os.environ)).socket_path
        if not socket.is_relative_to(tmp_path):
            shutil.rmtree(socket.parent, ignore_errors=True)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.05)


def submitted(text: str, **spec: Any) -> str:
    """The id of a task that was submitted to whatever `agentcom up` runs here."""

    async def submit() -> str:
        async with Client() as client:
            return (await client.submit(text, **spec)).id

    return anyio.run(submit)


def outcome_of(task: str) -> Outcome:
    async def wait() -> Outcome:
        async with Client() as client:
            return await TaskHandle(client, task, admitted=True).wait(PATIENCE_S)

    return anyio.run(wait)


def state_of(task: str) -> str:
    async def look() -> str:
        async with Client() as client:
            record = await client.record(task)
            return record.state if record else "unknown"

    return anyio.run(look)


def attempts_of(task: str) -> list[str]:
    async def look() -> list[str]:
        async with Client() as client:
            record = await client.record(task)
            assert record is not None
            return [attempt.outcome.result for attempt in record.attempts if attempt.outcome]

    return anyio.run(look)


def done(text: str = "true") -> Outcome:
    return outcome_of(submitted(text))


def test_work_submitted_from_another_terminal_is_done_and_ctrl_c_leaves_no_process(machine: Machine) -> None:
    up = machine.ready()
    assert done("echo well").result == "completed"
    assert "agents   oak" in up.said
    assert 'agentcom submit "' in up.said
    assert up.stop() == 0
    assert machine.processes() == []
    assert not (machine.data_dir / "runtime.json").exists()
    assert read_children(machine.data_dir) == {}


def test_sigterm_stops_it_like_ctrl_c(machine: Machine) -> None:
    assert machine.ready().stop(signal.SIGTERM) == 0
    assert machine.processes() == []


def test_what_runs_when_it_is_stopped_comes_to_its_end_first(machine: Machine) -> None:
    up = machine.ready()
    task = submitted("sleep 1.5")
    wait_until(lambda: state_of(task) == "working")
    assert up.stop() == 0
    machine.ready()
    assert outcome_of(task).result == "completed"
    assert attempts_of(task) == ["completed"]


def test_what_does_not_end_in_time_is_handed_back_and_done_after_the_next_start(machine: Machine) -> None:
    machine.configure(OAK.replace("$text", f"test -e {machine.root}/second || sleep 60"))
    up = machine.ready()
    task = submitted("wait")
    wait_until(lambda: state_of(task) == "working")
    assert up.stop() == 0
    assert machine.processes() == []
    (machine.root / "second").touch()
    machine.ready()
    assert outcome_of(task).result == "completed"
    assert attempts_of(task) == ["handed_back", "completed"]


def test_a_second_ctrl_c_stops_at_once_and_no_task_is_lost(machine: Machine) -> None:
    machine.configure(OAK.replace("$text", f"test -e {machine.root}/second || sleep 60"), drain_s=60)
    up = machine.ready()
    task = submitted("wait")
    wait_until(lambda: state_of(task) == "working")
    up.process.send_signal(signal.SIGINT)
    up.wait_for("stopping")
    before_s = time.monotonic()
    assert up.stop() == 130
    assert time.monotonic() - before_s < 30, "it waited for the drain"
    assert machine.processes() == []
    (machine.root / "second").touch()
    machine.ready()
    assert outcome_of(task).result == "completed"
    assert attempts_of(task) == ["lost", "completed"]


@pytest.mark.parametrize("program", ["scheduler", "sidecar oak"])
@pytest.mark.pitfall_3
def test_a_killed_program_is_started_again_and_work_goes_on(machine: Machine, program: str) -> None:
    up = machine.ready()
    task = submitted("sleep 1")
    wait_until(lambda: state_of(task) == "working")
    killed = machine.child(program)
    os.kill(killed.pid, signal.SIGKILL)
    up.wait_for("was ended by signal 9; starting it again in 0.5 s")
    assert outcome_of(task).result == "completed"
    assert done().result == "completed"
    assert machine.child(program) != killed
    assert up.stop() == 0
    assert machine.processes() == []


def test_a_killed_server_is_started_again_under_its_url_with_its_data(machine: Machine) -> None:
    up = machine.ready()
    earlier = submitted("true")
    outcome_of(earlier)
    running = submitted("sleep 2")
    wait_until(lambda: state_of(running) == "working")
    before = runtime.read_live(machine.data_dir)
    assert before
    os.killpg(before.server_pid, signal.SIGKILL)
    up.wait_for("ended; starting it again")
    wait_until(lambda: runtime.read_live(machine.data_dir) not in (None, before))
    after = runtime.read_live(machine.data_dir)
    assert after
    assert after.url == before.url
    assert state_of(earlier) == "completed"
    assert outcome_of(running).result == "completed"
    assert attempts_of(running) == ["completed"], "what ran meanwhile was not disturbed"
    assert up.stop() == 0
    assert machine.processes() == []


def test_a_server_that_cannot_be_started_again_is_tried_until_it_can(machine: Machine) -> None:
    up = machine.ready()
    task = submitted("true")
    outcome_of(task)
    (manifest,) = (machine.data_dir / "redis" / "appendonlydir").glob("*.manifest")
    kept = manifest.read_bytes()
    manifest.write_bytes(b"garbage")
    os.killpg(machine.child("server").pid, signal.SIGKILL)
    up.wait_for("ended; starting it again in 1 s")
    manifest.write_bytes(kept)
    wait_until(lambda: runtime.read_live(machine.data_dir) is not None)
    assert state_of(task) == "completed"
    assert done().result == "completed"
    assert up.stop() == 0
    assert machine.processes() == []


def test_a_second_one_for_the_same_data_is_refused_in_one_line(machine: Machine) -> None:
    first = machine.ready()
    second = machine.start()
    assert second.process.wait(PATIENCE_S) == 1
    assert second.said.count("\n") == 1
    assert re.match(rf"agentcom: agentcom up runs here already \(process {first.process.pid}, data in ", second.said)
    assert done().result == "completed"


def test_a_second_one_with_another_data_directory_and_pool_is_welcome(machine: Machine) -> None:
    machine.ready()
    second = machine.ready("--pool", "other", "--data-dir", str(machine.root / "other"))
    assert f"agentcom --pool other --data-dir {machine.root / 'other'} submit" in second.said
    assert second.stop() == 0
    assert done().result == "completed"


def test_what_a_killed_one_left_running_is_taken_over(machine: Machine) -> None:
    first = machine.ready()
    task = submitted("sleep 1")
    wait_until(lambda: state_of(task) == "working")
    orphans = read_children(machine.data_dir)
    assert set(orphans) == {"server", "scheduler", "sidecar oak"}
    first.process.kill()
    first.process.wait()
    assert all(map(is_running, orphans.values()))
    second = machine.ready()
    assert "stopping what it left running: scheduler, server, sidecar oak" in second.said
    assert not any(map(is_running, orphans.values()))
    assert outcome_of(task).result == "completed"
    assert attempts_of(task) == ["completed"]
    assert second.stop() == 0
    assert machine.processes() == []


def test_an_orphaned_server_that_ignores_sigterm_is_taken_over_all_the_same(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine.ready()
    task = submitted("true")
    outcome_of(task)
    server = machine.child("server")
    first.process.kill()
    first.process.wait()
    for name in ("scheduler", "sidecar oak"):
        os.kill(machine.child(name).pid, signal.SIGKILL)
    os.kill(server.pid, signal.SIGSTOP)  # what was stopped hears no SIGTERM
    second = machine.ready()
    assert not is_running(server)
    assert state_of(task) == "completed"
    assert second.stop() == 0


def test_to_stop_it_while_it_waits_for_an_orphan_leaves_the_orphan_on_record(machine: Machine) -> None:
    stubborn = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
        stdout=subprocess.PIPE,
        env=machine.environ,
        start_new_session=True,
    )
    with stubborn:
        assert stubborn.stdout
        stubborn.stdout.readline()
        orphan = identify(stubborn.pid)
        assert orphan
        machine.data_dir.mkdir(parents=True)
        write_children(machine.data_dir, {"sidecar elm": orphan})
        up = machine.start()
        up.wait_for("stopping what it left running: sidecar elm")
        assert up.stop() == 0
        assert read_children(machine.data_dir) == {"sidecar elm": orphan}
        os.killpg(stubborn.pid, signal.SIGKILL)


def test_a_pid_in_the_record_that_belongs_to_a_stranger_by_now_is_left_alone(machine: Machine) -> None:
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        machine.data_dir.mkdir(parents=True)
        write_children(machine.data_dir, {"server": ProcessIdentity(stranger.pid, "another boot:1")})
        up = machine.ready()
        assert "left running" not in up.said
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_record_that_cannot_be_read_is_no_obstacle(machine: Machine) -> None:
    machine.data_dir.mkdir(parents=True)
    (machine.data_dir / "children.json").write_text("{")
    machine.ready()
    assert done().result == "completed"


def test_without_agents_it_says_how_to_describe_one(machine: Machine) -> None:
    (machine.root / "agentcom.toml").unlink()
    up = machine.ready()
    assert "No agents yet. Describe one in agentcom.toml" in up.said
    assert "[agents.oak]" in up.said
    assert up.stop() == 0


def test_a_sidecar_that_refuses_its_configuration_is_said_so_once_and_the_others_work(machine: Machine) -> None:
    machine.configure(OAK + '[agents.elm]\nrunner = "python"\nhandler = "nowhere:nothing"\n')
    up = machine.start()
    up.wait_for("is not started again")
    assert done().result == "completed"
    time.sleep(1.5)
    assert up.said.count("handler 'nowhere:nothing' cannot be imported") == 1
    assert up.stop() == 0


def test_a_server_that_was_named_is_used_and_none_is_started(machine: Machine) -> None:
    with EmbeddedServer(machine.root / "theirs", find_server(os.environ)) as theirs:
        up = machine.ready("--redis", theirs.url)
        assert set(read_children(machine.data_dir)) == {"scheduler", "sidecar oak"}
        assert not (machine.data_dir / "runtime.json").exists()
        assert up.stop() == 0
        assert theirs.is_alive()


def test_a_server_that_must_not_be_used_is_refused_in_one_line_before_anything_starts(machine: Machine) -> None:
    with EmbeddedServer(machine.root / "theirs", find_server(os.environ)) as theirs:
        let_it_evict(theirs.url)
        up = machine.start("--redis", theirs.url)
        assert up.process.wait(PATIENCE_S) == 78
        assert re.fullmatch(r"agentcom: redis at .* so it may drop accepted work\. .*\n", up.said)


def test_a_server_that_is_not_there_is_said_so_in_one_line(machine: Machine) -> None:
    up = machine.start("--redis", f"unix://{machine.root}/nobody.sock")
    assert up.process.wait(PATIENCE_S) == 1
    assert re.match(r"agentcom: cannot reach Redis at ", up.said)
    assert up.said.count("\n") == 1


def test_everything_ends_when_the_scheduler_refuses_its_configuration(machine: Machine) -> None:
    with EmbeddedServer(machine.root / "theirs", find_server(os.environ)) as theirs:
        up = machine.ready("--redis", theirs.url)
        let_it_evict(theirs.url)
        os.kill(machine.child("scheduler").pid, signal.SIGKILL)
        assert up.process.wait(PATIENCE_S) == 78
        assert "so it may drop accepted work" in up.said
        assert up.said.endswith("agentcom: the scheduler cannot run. What it said stands above\n")
        assert theirs.is_alive()


def let_it_evict(url: str) -> None:
    with Redis.from_url(url) as connection:
        connection.config_set("maxmemory-policy", "allkeys-lru")


def test_the_record_of_children_is_readable_by_its_owner_only(machine: Machine) -> None:
    machine.ready()
    for name in ("children.json", "runtime.json", "up.lock"):
        assert (machine.data_dir / name).stat().st_mode & 0o077 == 0, name
    assert msgspec.json.decode((machine.data_dir / "children.json").read_bytes()).keys() >= {"scheduler"}
