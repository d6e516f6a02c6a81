"""The embedded server, on every server program this machine has, and the file by which others find it."""

import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import redis

from agentcom.broker import embedded, runtime
from agentcom.broker.embedded import EmbeddedServer, ServerBinary
from agentcom.broker.runtime import Runtime
from agentcom.errors import ConfigurationError, ServerUnavailable
from agentcom.processes import ProcessIdentity, identify, is_running

BINARIES = embedded.candidates(os.environ)


@pytest.fixture(params=BINARIES, ids=str)
def binary(request: pytest.FixtureRequest) -> ServerBinary:
    return request.param


@pytest.fixture
def any_binary() -> ServerBinary:
    return embedded.find_server(os.environ)


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a shell script that stands in for a server program."""

    def write(script: str, name: str = "redis-server") -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


def client(server: EmbeddedServer) -> "closing[redis.Redis]":
    return closing(redis.Redis.from_url(server.url, decode_responses=True))


def gone(pid: int, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while identify(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    return identify(pid) is None


# --- Finding a server program -------------------------------------------------------------------------------


def test_every_candidate_is_new_enough_and_listed_once() -> None:
    assert BINARIES, "no server program on this machine: pip install 'agentcom[dev]'"
    assert all(one.version >= embedded.MINIMUM_VERSIONS[one.product] for one in BINARIES)
    assert len({one.path.resolve() for one in BINARIES}) == len(BINARIES)


def test_the_first_candidate_is_the_one_to_run() -> None:
    assert embedded.find_server(os.environ) == BINARIES[0]


def test_an_installed_server_comes_before_the_one_in_a_wheel(program: Callable[[str], Path]) -> None:
    path = program("echo 'Redis server v=7.4.1 sha=0'")
    assert embedded.find_server({"PATH": str(path.parent)}) == ServerBinary(path, "Redis", (7, 4, 1), "PATH")


def test_an_empty_entry_of_path_does_not_mean_the_current_directory(
    program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program("echo 'Redis server v=7.4.1 sha=0'")
    monkeypatch.chdir(path.parent)
    assert path not in [one.path for one in embedded.candidates({"PATH": f":{os.pathsep}"})]


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo 'Redis server v=6.2.14 sha=0'", "is Redis 6.2.14, older than 7.0.0"),
        ("echo 'Valkey server v=7.2.5 sha=0'", "is Valkey 7.2.5, older than 8.0.0"),
        ("echo 'something else 9.9.9'", "does not tell a Redis or Valkey version (something else 9.9.9)"),
        ("echo 'libssl.so.3: cannot open' >&2; exit 127", "(libssl.so.3: cannot open)"),
    ],
)
def test_an_unusable_server_is_passed_over_and_the_error_says_why(
    program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, script: str, complaint: str
) -> None:
    monkeypatch.setattr(embedded, "_WHEELS", ())
    path = program(script)
    with pytest.raises(ServerUnavailable) as refusal:
        embedded.find_server({"PATH": str(path.parent)})
    assert complaint in refusal.value.problem
    assert "agentcom[embedded]" in refusal.value.remedy


def test_a_program_for_another_machine_is_passed_over(tmp_path: Path) -> None:
    foreign = tmp_path / "redis-server"
    foreign.write_bytes(b"\x7fELFnot for this machine")
    foreign.chmod(0o755)
    assert "does not run" in str(embedded.probe(foreign))


# --- Running it ---------------------------------------------------------------------------------------------


@pytest.mark.process
def test_it_serves_on_a_private_unix_socket_only(binary: ServerBinary, tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, binary) as server, client(server) as connected:
        assert connected.ping()
        assert server.url == f"unix://{tmp_path}/redis.sock"
        assert stat.S_IMODE(server.socket_path.stat().st_mode) == 0o700
        assert connected.config_get("port") == {"port": "0"}
        assert connected.info("server")["process_id"] == server.pid


@pytest.mark.process
def test_it_runs_with_the_settings_of_the_shipped_configuration(binary: ServerBinary, tmp_path: Path) -> None:
    ours = {"port", "appendfsync"}
    with EmbeddedServer(tmp_path, binary) as server, client(server) as connected:
        for name, value in directives(embedded.configuration_file()).items():
            if name not in ours:
                assert connected.config_get(name)[name] == value.replace("64mb", str(64 << 20)), name
        assert connected.config_get("appendfsync") == {"appendfsync": "everysec"}
        assert [one for one in connected.module_list() if one["path"]] == [], "only built-in modules"


@pytest.mark.process
def test_what_was_written_survives_a_killed_server_under_the_same_url(binary: ServerBinary, tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, binary, appendfsync="always")
    url = server.url
    with server:
        with client(server) as connected:
            assert connected.config_get("appendfsync") == {"appendfsync": "always"}
            entries = [connected.xadd("ac:{p}:inbox", {"n": n}) for n in range(100)]
        server.kill()
        assert not server.is_alive()
        server.start()
        with client(server) as connected:
            assert [entry for entry, _ in connected.xrange("ac:{p}:inbox")] == entries
        assert server.url == url


@pytest.mark.process
def test_a_command_half_written_at_a_power_cut_does_not_stop_the_next_start(
    binary: ServerBinary, tmp_path: Path
) -> None:
    with EmbeddedServer(tmp_path, binary, appendfsync="always") as server:
        with client(server) as connected:
            connected.set("whole", "1")
            connected.set("torn", "2")
        server.kill()
        (log,) = (tmp_path / "redis" / "appendonlydir").glob("*.incr.aof")
        os.truncate(log, log.stat().st_size - 3)
        server.start()
        with client(server) as connected:
            assert (connected.get("whole"), connected.get("torn")) == ("1", None)


@pytest.mark.process
def test_stopping_leaves_no_process_and_no_socket_and_loses_nothing(binary: ServerBinary, tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, binary)
    server.start()
    with client(server) as connected:
        connected.set("kept", "yes")
    pid = server.pid
    server.stop()
    server.stop()
    assert pid is not None
    assert identify(pid) is None
    assert not server.is_alive()
    assert not server.socket_path.exists()
    with EmbeddedServer(tmp_path, binary) as again, client(again) as connected:
        assert connected.get("kept") == "yes"


@pytest.mark.process
def test_a_server_that_ignores_the_request_to_stop_is_killed_after_the_grace(
    any_binary: ServerBinary, tmp_path: Path
) -> None:
    with EmbeddedServer(tmp_path, any_binary) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        server.stop(grace_s=0.1)
        assert not server.is_alive()


@pytest.mark.process
def test_a_second_server_on_the_same_directory_is_refused_and_told_who_has_it(
    binary: ServerBinary, tmp_path: Path
) -> None:
    with EmbeddedServer(tmp_path, binary) as first, client(first) as connected:
        second = EmbeddedServer(tmp_path, binary)
        with pytest.raises(ServerUnavailable, match=f"server pid {first.pid}, started by pid {os.getpid()}"):
            second.start()
        second.stop()
        assert first.socket_path.exists()
        assert connected.ping()


@pytest.mark.process
def test_a_server_whose_starter_was_killed_still_keeps_a_second_one_out(
    any_binary: ServerBinary, tmp_path: Path
) -> None:
    script = f"""
        import os, pathlib
        from agentcom.broker import embedded
        server = embedded.EmbeddedServer(pathlib.Path({str(tmp_path)!r}), embedded.find_server(os.environ))
        server.start()
        print(server.pid, flush=True)
        os.kill(os.getpid(), 9)
    """
    starter = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    orphan = int(starter.stdout)
    server = EmbeddedServer(tmp_path, any_binary)
    try:
        with pytest.raises(ServerUnavailable, match=f"server pid {orphan}"):
            server.start()
    finally:
        os.kill(orphan, signal.SIGKILL)
        server.stop()
    assert gone(orphan)
    with server:
        assert server.is_alive()


@pytest.mark.process
def test_starting_twice_keeps_the_running_server(any_binary: ServerBinary, tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, any_binary) as server:
        pid = server.pid
        server.start()
        assert server.pid == pid


@pytest.mark.process
def test_ctrl_c_in_the_terminal_does_not_reach_the_server(any_binary: ServerBinary, tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, any_binary) as server:
        assert server.pid is not None
        assert os.getsid(server.pid) == os.getpgid(server.pid) == server.pid


@pytest.mark.process
def test_a_data_directory_may_have_blanks_quotes_and_letters_of_any_language(
    binary: ServerBinary, tmp_path: Path
) -> None:
    with EmbeddedServer(tmp_path / 'Zoë\'s 100% "dir"', binary) as server, client(server) as connected:
        assert connected.set("a", "b")
        assert (server.data_dir / "redis" / "appendonlydir").is_dir()


@pytest.mark.process
def test_a_directory_too_deep_for_a_socket_gets_a_private_one_elsewhere(binary: ServerBinary, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / "data"
    server = EmbeddedServer(deep, binary)
    with server, client(server) as connected:
        assert connected.ping()
        assert len(os.fsencode(server.socket_path)) <= 103
        assert stat.S_IMODE(server.socket_path.parent.stat().st_mode) == 0o700
        assert server.url == EmbeddedServer(deep, binary).url
    assert not server.socket_path.parent.exists()


def test_a_socket_directory_that_others_can_enter_is_refused(any_binary: ServerBinary, tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / ("d" * 100), any_binary)
    server.socket_path.parent.mkdir(mode=0o755)
    try:
        with pytest.raises(ConfigurationError, match="not a private directory"):
            server.start()
    finally:
        server.socket_path.parent.rmdir()


@pytest.mark.process
def test_a_locale_that_the_system_lacks_does_not_matter(
    binary: ServerBinary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    with EmbeddedServer(tmp_path, binary) as server:
        assert server.is_alive()


# --- When it does not start ---------------------------------------------------------------------------------


@pytest.mark.process
def test_a_server_that_dies_at_once_is_reported_with_its_last_words(
    any_binary: ServerBinary, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    data_dir = tmp_path / "data"
    with EmbeddedServer(data_dir, any_binary):
        pass
    broken = replace(any_binary, path=program("echo 'libfoo.so.1: cannot open shared object' >&2; exit 127"))
    server = EmbeddedServer(data_dir, broken)
    with pytest.raises(ServerUnavailable) as failure:
        server.start()
    assert "ended with exit code 127; it said: libfoo.so.1: cannot open shared object." in str(failure.value)
    assert str(server.log_path) in failure.value.remedy
    assert not server.is_alive()
    with EmbeddedServer(data_dir, any_binary) as mended:
        assert mended.is_alive()


@pytest.mark.process
def test_a_server_killed_while_it_starts_is_reported(
    any_binary: ServerBinary, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    broken = replace(any_binary, path=program("kill -9 $$"))
    with pytest.raises(ServerUnavailable, match="ended by signal 9"):
        EmbeddedServer(tmp_path / "data", broken).start()


def test_a_program_that_cannot_be_executed_is_reported(any_binary: ServerBinary, tmp_path: Path) -> None:
    missing = replace(any_binary, path=tmp_path / "redis-server")
    with pytest.raises(ServerUnavailable, match="could not be executed"):
        EmbeddedServer(tmp_path / "data", missing).start()


@pytest.mark.process
def test_a_server_that_never_answers_is_given_up_and_not_left_running(
    any_binary: ServerBinary, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    silent = replace(any_binary, path=program("exec sleep 60"))
    server = EmbeddedServer(tmp_path / "data", silent, ready_within_s=0.2)
    with pytest.raises(ServerUnavailable, match=r"was not ready within 0\.2 s \(no answer\)"):
        server.start()
    assert server.pid is not None
    assert identify(server.pid) is None


@pytest.mark.process
def test_it_waits_while_the_server_loads_its_data(
    any_binary: ServerBinary,
    tmp_path: Path,
    program: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with EmbeddedServer(tmp_path, any_binary) as server, client(server) as connected:
        connected.eval("for n = 1, 3000 do redis.call('INCR', 'key:' .. n) end", 0)
    answers = []
    ping = embedded._ping
    monkeypatch.setattr(embedded, "_ping", lambda path: answers.append(ping(path)) or answers[-1])
    slow = program(f"exec '{any_binary.path}' \"$@\" --key-load-delay 300")
    with EmbeddedServer(tmp_path, replace(any_binary, path=slow)) as server, client(server) as connected:
        assert connected.dbsize() == 3000
    assert any(answer.startswith("-LOADING") for answer in answers)


@pytest.mark.process
@pytest.mark.skipif(len({one.version for one in BINARIES}) < 2, reason="needs an older and a newer server")
def test_data_of_a_newer_server_is_named_as_the_reason(tmp_path: Path) -> None:
    redises = sorted((one for one in BINARIES if one.product == "Redis"), key=lambda one: one.version)
    with EmbeddedServer(tmp_path, redises[-1]):
        pass
    with pytest.raises(ServerUnavailable) as failure:
        EmbeddedServer(tmp_path, redises[0]).start()
    assert "written by a newer server" in failure.value.remedy


def test_a_data_directory_that_cannot_be_made_is_a_configuration_error(
    any_binary: ServerBinary, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="Not a directory"):
        EmbeddedServer(tmp_path / "file" / "data", any_binary).start()


def test_a_lock_file_that_cannot_be_opened_is_a_configuration_error(any_binary: ServerBinary, tmp_path: Path) -> None:
    (tmp_path / "redis.lock").mkdir()
    with pytest.raises(ConfigurationError, match="Choose a data directory you can write to"):
        EmbeddedServer(tmp_path, any_binary).start()


@pytest.mark.process
def test_a_log_that_has_grown_is_put_aside_at_the_next_start(any_binary: ServerBinary, tmp_path: Path) -> None:
    (tmp_path / "redis.log").write_text("old line\n" * 200_000)
    with EmbeddedServer(tmp_path, any_binary):
        assert (tmp_path / "redis.log").stat().st_size < 100_000
    assert (tmp_path / "redis.log.1").read_text().startswith("old line")


# --- The shipped configuration ------------------------------------------------------------------------------


def directives(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split(maxsplit=1) for line in lines)


def test_the_packaged_configuration_comes_before_the_one_of_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "agentcom" / "broker" / "embedded.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr(embedded, "__file__", str(module))
    with pytest.raises(ConfigurationError, match="Install AgentCom again"):
        embedded.configuration_file()
    (tmp_path / "redis.conf").touch()
    assert embedded.configuration_file() == tmp_path / "redis.conf"
    module.with_name("redis.conf").touch()
    assert embedded.configuration_file() == module.with_name("redis.conf")


def test_every_directive_has_its_reason_above_it() -> None:
    lines = embedded.configuration_file().read_text().splitlines()
    bare = [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if re.match(r"[a-z]", line) and not above.startswith("# ")
    ]
    assert bare == []


def test_the_configuration_keeps_everything_and_serves_only_this_machine() -> None:
    settings = directives(embedded.configuration_file())
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1 -::1",
        "protected-mode": "yes",
    }
    assert settings.items() >= wanted.items()


# --- The runtime file ---------------------------------------------------------------------------------------


@pytest.fixture
def server(any_binary: ServerBinary, tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path, any_binary) as running:
        yield running


def described(server: EmbeddedServer) -> Runtime:
    assert server.pid is not None
    child, ourselves = identify(server.pid), identify(os.getpid())
    assert child is not None
    assert ourselves is not None
    return Runtime(
        url=server.url,
        server_pid=child.pid,
        server_started=child.started,
        supervisor_pid=ourselves.pid,
        supervisor_started=ourselves.started,
    )


@pytest.mark.process
def test_a_running_server_is_found_by_its_runtime_file(server: EmbeddedServer) -> None:
    runtime.write(server.data_dir, described(server))
    found = runtime.read_live(server.data_dir)
    assert found == described(server)
    assert is_running(found.server)
    assert is_running(found.supervisor)


@pytest.mark.process
def test_the_runtime_file_is_its_owners_only_and_leaves_no_scraps(server: EmbeddedServer) -> None:
    runtime.write(server.data_dir, described(server))
    runtime.write(server.data_dir, described(server))
    (path,) = server.data_dir.glob("*runtime.json*")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.process
def test_a_runtime_file_that_cannot_be_put_in_place_leaves_no_scraps(server: EmbeddedServer) -> None:
    (server.data_dir / "runtime.json").mkdir()
    with pytest.raises(IsADirectoryError):
        runtime.write(server.data_dir, described(server))
    assert list(server.data_dir.glob("*runtime.json*")) == [server.data_dir / "runtime.json"]


@pytest.mark.process
def test_the_runtime_file_of_a_dead_server_is_not_believed(server: EmbeddedServer) -> None:
    runtime.write(server.data_dir, described(server))
    server.kill()
    assert runtime.read_live(server.data_dir) is None


@pytest.mark.process
def test_a_stranger_with_the_servers_pid_is_not_taken_for_it(server: EmbeddedServer) -> None:
    other = msgspec.structs.replace(described(server), server_started="another boot:1")
    runtime.write(server.data_dir, other)
    assert runtime.read_live(server.data_dir) is None


@pytest.mark.process
def test_a_server_whose_socket_takes_no_connection_is_not_believed(server: EmbeddedServer) -> None:
    runtime.write(server.data_dir, described(server))
    server.socket_path.unlink()
    assert runtime.read_live(server.data_dir) is None


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"url": 1}', b"\xff"])
def test_a_damaged_runtime_file_means_no_server(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "runtime.json").write_bytes(content)
    assert runtime.read_live(tmp_path) is None


def test_without_a_runtime_file_there_is_no_server_and_nothing_to_remove(tmp_path: Path) -> None:
    runtime.remove(tmp_path)
    assert runtime.read_live(tmp_path / "missing") is None


@pytest.mark.process
def test_a_removed_runtime_file_is_gone(server: EmbeddedServer) -> None:
    runtime.write(server.data_dir, described(server))
    runtime.remove(server.data_dir)
    assert runtime.read_live(server.data_dir) is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/home/ada"}, "/home/ada/.local/state/agentcom/main"),
        ({"HOME": "/home/ada", "XDG_STATE_HOME": "/state"}, "/state/agentcom/main"),
        ({"HOME": "/home/ada", "XDG_STATE_HOME": "relative"}, "/home/ada/.local/state/agentcom/main"),
    ],
)
def test_the_data_directory_follows_the_xdg_specification(environ: dict[str, str], expected: str) -> None:
    assert runtime.default_data_dir(environ, "main") == Path(expected)


@pytest.mark.parametrize("pool", ["", "..", "a/b", "../../etc", "a\0b"])
def test_a_pool_name_cannot_lead_out_of_the_state_directory(pool: str) -> None:
    with pytest.raises(ConfigurationError):
        runtime.default_data_dir({"HOME": "/home/ada"}, pool)


# --- Recognising a process ----------------------------------------------------------------------------------


@pytest.fixture(params=["linux", "darwin"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of telling a start time: /proc, and `ps` where there is no /proc."""
    if request.param == "linux" and not Path("/proc/self/stat").exists():
        pytest.skip("no /proc here")
    monkeypatch.setattr("agentcom.processes.sys.platform", request.param)


@pytest.mark.usefixtures("platform")
def test_a_process_is_recognised_again() -> None:
    ourselves = identify(os.getpid())
    assert ourselves is not None
    assert is_running(ourselves)
    assert identify(os.getpid()) == ourselves


@pytest.mark.usefixtures("platform")
def test_a_process_that_started_at_another_time_under_the_same_pid_is_another() -> None:
    assert not is_running(ProcessIdentity(os.getpid(), "Thu Jan 1 00:00:00 1970"))


@pytest.mark.usefixtures("platform")
@pytest.mark.process
def test_a_process_that_ended_is_not_running_even_before_its_parent_looks() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        alive = identify(child.pid)
        assert alive is not None
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(alive), "a zombie counts as ended"
    assert not is_running(alive)


@pytest.mark.process
def test_a_program_with_parentheses_in_its_name_is_recognised(tmp_path: Path) -> None:
    odd = tmp_path / "a) Z (b"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "60"]) as child:
        assert identify(child.pid) is not None
        child.kill()


@pytest.mark.parametrize("pid", [0, -1])
def test_no_process_has_a_pid_below_one(pid: int) -> None:
    assert identify(pid) is None
