"""The monitor on a real terminal, as a real process: typed at, resized, suspended, resumed, cut off and crashed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest
from redis.asyncio import Redis

from agentcom.broker.embedded import EmbeddedServer, find_server
from agentcom.client import Client
from tests.cli.harness import served
from tests.cli.pool_at_work import POOL
from tests.monitor.ptys import MAIN, Session, on_a_terminal

pytestmark = pytest.mark.process

ALTERNATE, BACK = b"\x1b[?1049h", b"\x1b[?1049l"
UP, DOWN, ENTER, ESC, TAB = "\x1b[A", "\x1b[B", "\r", "\x1b", "\t"


def environ_of(url: str, **more: str) -> dict[str, str]:
    return {"AGENTCOM_REDIS": url, "AGENTCOM_POOL": POOL} | more


def restored(session: Session) -> bool:
    return session.cooked and session.written.rfind(BACK) > session.written.rfind(ALTERNATE)


def test_it_is_typed_at_resized_suspended_and_left(pool: str) -> None:
    with on_a_terminal("monitor", environ=environ_of(pool)) as session:
        session.until("redis ok")
        session.until("[1 agents 2]")
        assert not session.cooked
        assert "birch" in session.text
        assert "oak" in session.text
        session.type("?")
        session.until("Keys that look")
        session.type(ESC)
        session.until("[1 agents 2]")
        session.type("/", "o", "a")
        session.until("/oa")
        session.until(lambda: "birch" not in session.text)
        session.type(ENTER, ENTER)
        session.until("self-test")
        session.type(ESC, "2")
        session.until("[2 tasks")

        for columns, lines in ((60, 16), (40, 10), (110, 30)):
            session.resize(columns, lines)
            session.until(lambda lines=lines: "q quit" in session.lines[lines - 1])  # type: ignore[misc]
            assert max(map(len, session.lines)) <= columns

        session.type("\x1a")
        session.until_stopped()
        session.until(lambda: restored(session))
        os.kill(session.pid, signal.SIGCONT)
        session.until(lambda: not session.cooked and session.written.rfind(ALTERNATE) > session.written.rfind(BACK))
        session.type("3")
        session.until("[3 dead")

        session.type("q")
        assert session.until_over() == 0
        assert restored(session)
        assert b"watched pool cli for " in session.written
        assert "▸".encode() in session.written


def test_work_is_submitted_and_an_agent_taken_out_and_back_by_keys(pool: str) -> None:
    with on_a_terminal("monitor", environ=environ_of(pool)) as session:
        session.until("[1 agents 2]")
        session.type("N")
        session.until("New task")
        session.type("sleep well", TAB, "Sleep", TAB, "python >= 3")
        session.until("1 agent could take this, 1 at once")
        session.type(TAB, TAB, ENTER)
        session.until("submitted")
        session.type("2", "/", "Sleep", ENTER)
        session.until("▸   tk-")
        session.type(ENTER)
        session.until("falling asleep")
        session.type("C")
        session.until("oak is told to stop")
        session.type("y")
        session.until("canceled")
        session.type(ESC, ESC, "1", "/", "oak", ENTER, "D")
        session.until("Drain oak?")
        session.type("y")
        session.until("oak drains")
        session.until("draining")
        session.type("U", "y")
        session.until("oak is back in service")
        session.type("q")
        assert session.until_over() == 0


def test_sigterm_ends_it_in_good_order(pool: str) -> None:
    with on_a_terminal("monitor", environ=environ_of(pool)) as session:
        session.until("redis ok")
        os.kill(session.pid, signal.SIGTERM)
        assert session.until_over() == 0
        assert restored(session)


def test_it_ends_when_its_terminal_is_gone(pool: str) -> None:
    with on_a_terminal("monitor", environ=environ_of(pool)) as session:
        session.until("redis ok")
        session.hang_up()
        assert session.until_over() in (0, 1)


def test_a_crash_leaves_the_terminal_as_it_was_and_says_what_happened(pool: str) -> None:
    crashing = (
        "import agentcom.monitor.live.draw as draw\n"
        "def crash(*_): raise ZeroDivisionError('on purpose')\n"
        "draw.help_lines = crash\n" + MAIN
    )
    with on_a_terminal("monitor", environ=environ_of(pool), code=crashing) as session:
        session.until("redis ok")
        session.type("?")
        assert session.until_over() == 1
        assert restored(session)
        assert b"ZeroDivisionError: on purpose" in session.written[session.written.rfind(BACK) :]


def test_without_colours_and_in_ascii(pool: str) -> None:
    plain = environ_of(pool, NO_COLOR="1", LC_ALL="C", LANG="C")
    with on_a_terminal("monitor", "--problems", environ=plain) as session:
        session.until("redis ok")
        session.type("!")
        session.until("birch")
        session.type("\x03")
        assert session.until_over() == 0
        assert restored(session)
        assert session.written.isascii()
        assert b"\x1b[7m" in session.written, "what is selected is seen all the same"
        assert b"\x1b[1m" in session.written
        assert b"[31m" not in session.written
        assert b"[36m" not in session.written


def test_redis_goes_away_and_comes_back_by_itself(tmp_path: Path) -> None:
    binary = find_server(os.environ)
    folder = tmp_path / "redis"
    folder.mkdir()
    server = EmbeddedServer(folder, binary)
    server.start()
    try:
        with served(server.url):
            pass
        with on_a_terminal("monitor", "--interval", "0.5", environ=environ_of(server.url)) as session:
            session.until("birch")
            server.stop()
            session.until("redis away since")
            session.until("showing what was seen")
            assert "birch" in session.text
            server = EmbeddedServer(folder, binary)
            server.start()
            session.until("redis ok")
            session.type("q")
            assert session.until_over() == 0
    finally:
        server.stop()


def test_it_waits_for_a_redis_that_is_not_there_yet(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/none.sock"
    with on_a_terminal("monitor", environ=environ_of(url)) as session:
        session.until("redis away")
        session.type("1", "N", "x", ESC, "q")
        assert session.until_over() == 0
        assert b"saw nothing: Redis was away" in session.written


def test_a_user_who_may_only_read_sees_everything_and_is_told_that_he_may_not_write(pool: str) -> None:
    looker = ["on", ">pw", "resetkeys", "~ac:*", "resetchannels", "-@all", "+@read", "+@connection", "+info", "+time"]

    async def allow() -> None:
        async with Redis.from_url(pool) as redis:
            await redis.execute_command("ACL", "SETUSER", "looker", *looker)

    anyio.run(allow)
    path = pool.removeprefix("unix://")
    with on_a_terminal("monitor", environ=environ_of(f"unix://looker:pw@{path}")) as session:
        session.until("redis ok")
        session.until("[1 agents 2]")
        session.until("all well")
        session.type("N")
        session.until("New task")
        session.type("x", TAB, TAB, TAB, TAB, ENTER)
        session.until("this user may look, but not write")
        session.type("q")
        assert session.until_over() == 0


def test_a_pool_in_which_nobody_works_is_looked_at_too(server: EmbeddedServer) -> None:
    async def submit() -> None:
        async with Client(server.url, "lonely") as client:
            await client.submit("wait", confirm_s=0)

    anyio.run(submit)
    with on_a_terminal("monitor", environ=environ_of(server.url, AGENTCOM_POOL="lonely")) as session:
        session.until("no scheduler leads")
        session.until("no agent: start one with")
        session.type("q")
        assert session.until_over() == 0


def test_a_question_is_answered_by_a_key(pool: str) -> None:
    async def ask() -> None:
        async with Client(pool, POOL) as client:
            await client.submit("state input_required tabs or spaces?", title="Indent", agent="birch")

    anyio.run(ask)
    with on_a_terminal("monitor", environ=environ_of(pool)) as session:
        session.until("[1 agents 2]")
        session.type("2", "/", "Indent", ENTER)
        session.until("▸~")
        session.until("asks: tabs or spaces?")
        session.type("A")
        session.until("it asks: tabs or spaces?")
        session.type("spaces", TAB, ENTER)
        session.until("answered")
        session.type("C", "y")
        session.until("canceled")
        session.type("q")
        assert session.until_over() == 0
