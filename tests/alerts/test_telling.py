"""Several tellers on one real Redis: each incident is told once between them, whatever its receivers do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from agentcom.alerts import teller as teller_module
from agentcom.alerts.book import OwnKeeper, SharedKeeper
from agentcom.alerts.delivery import deliver
from agentcom.alerts.incidents import FOLDED_OVER, HELD_BACK, Attempt, Book, Incident, Rules, claim
from agentcom.alerts.message import Alert
from agentcom.alerts.receivers import Receiver, receivers_of
from agentcom.alerts.teller import PROGRAMS_MAX, Deliver, Teller
from agentcom.broker.alert_store import KEPT_MS, AlertStore
from agentcom.broker.connection import Connections
from agentcom.broker.embedded import EmbeddedServer
from agentcom.broker.keys import Keys
from agentcom.settings import AlertSettings
from tests.alerts.harness import Inbox, down, hook, hooked, kinds, until

pytestmark = pytest.mark.process

LOOK_MS = 200
TIMEOUT_S = 6.0
RULES = Rules(severity="critical", per_hour=60, look_ms=LOOK_MS)


@pytest.fixture(autouse=True)
def short_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teller_module, "CLAIM_MARGIN_S", 2.0)


class Post:
    """A teller with connections of its own, that runs while it is entered, and looks on demand."""

    def __init__(
        self,
        server: EmbeddedServer,
        pool: str,
        *urls: str,
        command: tuple[str, ...] = (),
        rules: Rules = RULES,
        timeout_s: float = TIMEOUT_S,
        deliver: Deliver = deliver,
    ) -> None:
        self.connections = Connections(server.url)
        receivers = receivers_of(AlertSettings(urls=urls, command=command))
        keeper = SharedKeeper(AlertStore(self.connections, pool))
        self.teller = Teller(keeper, receivers, rules, timeout_s, pool, "vm", deliver)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Post]:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.teller.run, lambda error: False)
                yield self
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.connections.close()

    async def look(self, *agents: str, times: int = 4) -> None:
        """So many looks find these agents down."""
        for _ in range(times):
            await self.teller.observe([down(agent) for agent in agents])
            await anyio.sleep(LOOK_MS / 1000)


class Spy:
    """Delivers to nobody, and keeps what it was to deliver."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []

    async def __call__(self, receiver: Receiver, alert: Alert, timeout_s: float) -> str:
        self.heard.append((receiver.id, alert.kind, alert.rule))
        return ""


# Receivers that are slow, refuse, and come back


@pytest.mark.parametrize("how", ["hangs", "refuses", "is down"])
async def test_a_receiver_that_comes_back_is_told_exactly_once(
    server: EmbeddedServer, pool: str, receiver: Inbox, tmp_path: Path, how: str
) -> None:
    if how == "is down":
        receiver.down()
    else:
        receiver.mode = "hangs" if how == "hangs" else "refuses"
    told = tmp_path / "told"
    post = Post(server, pool, receiver.url, command=hook(told), timeout_s=10.0 if how == "hangs" else TIMEOUT_S)
    async with post.at_work():
        await post.look("oak")
        await until(lambda: kinds(told) == {("problem", "agent_down"): 1})
        await anyio.sleep(4 if how == "hangs" else 2)
        assert receiver.got == []
        if how == "is down":
            receiver.up()
        receiver.mode = "ok"
        await until(lambda: receiver.got)
        await post.look("oak", times=10)
        await anyio.sleep(2)
        assert receiver.count("critical: oak is silent") == len(receiver.got) == 1
        assert kinds(told) == {("problem", "agent_down"): 1}, "who was told is not told again"
        await post.look()
        await until(lambda: receiver.count("over after") == 1)


async def test_a_hanging_receiver_delays_no_other(server: EmbeddedServer, pool: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with hanging(2) as urls:
        post = Post(server, pool, *urls, command=hook(told), timeout_s=60)
        async with post.at_work():
            await post.look("oak")
            await until(lambda: kinds(told)["problem", "agent_down"] == 1)
            await post.look()
            await until(lambda: kinds(told)["over", "agent_down"] == 1)


@contextmanager
def hanging(count: int) -> Iterator[list[str]]:
    """The URLs of receivers that take what they get and never answer."""
    inboxes = [Inbox() for _ in range(count)]
    for each in inboxes:
        each.mode = "hangs"
        each.up()
    try:
        yield [each.url for each in inboxes]
    finally:
        for each in inboxes:
            each.down()


async def test_never_more_than_so_many_programs_run_at_once(server: EmbeddedServer, pool: str) -> None:
    running, most, told = 0, 0, set()

    async def slowly(receiver: Receiver, alert: Alert, timeout_s: float) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.2)
        running -= 1
        told.add(receiver.id)
        return ""

    urls = [f"json://127.0.0.1:1/{number}" for number in range(3 * PROGRAMS_MAX)]
    post = Post(server, pool, *urls, deliver=slowly)
    async with post.at_work():
        await post.look("oak")
        await until(lambda: len(told) == len(urls))
    assert most == PROGRAMS_MAX


# Several schedulers


async def test_two_tellers_tell_one_incident_once_and_its_end_once(
    server: EmbeddedServer, pool: str, receiver: Inbox
) -> None:
    first, second = (Post(server, pool, receiver.url) for _ in range(2))
    async with first.at_work(), second.at_work():
        for agents in (("oak",), ()):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: first.look(*agents, times=10))  # noqa: B023
                group.start_soon(lambda: second.look(*agents, times=10))  # noqa: B023
            await until(lambda: len(receiver.got) == (1 if agents else 2))  # noqa: B023
        await anyio.sleep(2)
        assert [receiver.count(words) for words in ("critical: oak", "over after")] == [1, 1]


async def test_many_tellers_at_once_tell_each_of_many_incidents_once(server: EmbeddedServer, pool: str) -> None:
    spy = Spy()
    agents = [f"a{number}" for number in range(FOLDED_OVER)]
    async with anyio.create_task_group() as group:
        for _ in range(6):
            post = Post(server, pool, "json://h/1", "json://h/2", deliver=spy)

            async def work(post: Post = post) -> None:
                async with post.at_work():
                    await post.look(*agents, times=10)
                    await until(lambda: len(spy.heard) >= len(agents) * 2)
                    await post.look(*agents, times=5)

            group.start_soon(work)
    assert len(spy.heard) == len(agents) * 2
    assert len({heard[0] for heard in spy.heard}) == 2


async def test_a_teller_that_starts_again_does_not_tell_again_and_tells_the_end(
    server: EmbeddedServer, pool: str, receiver: Inbox
) -> None:
    first = Post(server, pool, receiver.url)
    async with first.at_work():
        await first.look("oak")
        await until(lambda: receiver.got)
        await anyio.sleep(0.5)
    second = Post(server, pool, receiver.url)
    async with second.at_work():
        await second.look("oak", times=10)
        assert len(receiver.got) == 1
        await second.look(times=10)
        await until(lambda: receiver.count("over after") == 1)
        assert len(receiver.got) == 2


async def test_what_a_teller_that_died_had_claimed_another_tells_when_the_claim_is_over(
    server: EmbeddedServer, pool: str
) -> None:
    spy = Spy()
    dead, other = (Post(server, pool, "json://h", deliver=spy) for _ in range(2))
    await dead.look("oak")
    keeper = SharedKeeper(AlertStore(dead.connections, pool))
    (receiver,) = receivers_of(AlertSettings(urls=("json://h",)))
    attempt = Attempt(down().incident, "open", receiver.id)
    await keeper.amend(lambda book, now: claim(book, attempt, now + 3_000))
    await dead.connections.close()
    async with other.at_work():
        await other.look("oak", times=10)
        assert spy.heard == [], "it may still be on its way"
        await until(lambda: spy.heard)
        await other.look("oak", times=10)
        assert len(spy.heard) == 1


async def test_a_teller_that_is_stopped_lets_a_delivery_end_so_that_it_is_not_repeated(
    server: EmbeddedServer, pool: str
) -> None:
    began, spy = anyio.Event(), Spy()

    async def slowly(receiver: Receiver, alert: Alert, timeout_s: float) -> str:
        began.set()
        await anyio.sleep(1)
        return await spy(receiver, alert, timeout_s)

    first = Post(server, pool, "json://h", deliver=slowly)
    async with first.at_work():
        await first.look("oak", times=2)
        await began.wait()
    assert len(spy.heard) == 1
    second = Post(server, pool, "json://h", deliver=spy)
    async with second.at_work():
        await second.look("oak", times=10)
    assert len(spy.heard) == 1


async def test_a_delivery_that_does_not_end_does_not_keep_a_teller_from_stopping_and_is_repeated_soon(
    server: EmbeddedServer, pool: str
) -> None:
    began, spy = anyio.Event(), Spy()

    async def hangs(receiver: Receiver, alert: Alert, timeout_s: float) -> str:
        began.set()
        await anyio.sleep(600)
        return ""

    first = Post(server, pool, "json://h", deliver=hangs, timeout_s=600)
    async with first.at_work():
        await first.look("oak", times=2)
        await began.wait()
        began_at = time.monotonic()
    assert time.monotonic() - began_at < 10
    second = Post(server, pool, "json://h", deliver=spy, timeout_s=600)
    async with second.at_work():
        await second.look("oak", times=2)
        await until(lambda: spy.heard)


# The limit


async def test_over_the_limit_receivers_are_told_once_that_there_is_more(server: EmbeddedServer, pool: str) -> None:
    spy = Spy()
    rules = Rules(severity="critical", per_hour=3, look_ms=LOOK_MS)
    first, second = (Post(server, pool, "json://h", rules=rules, deliver=spy) for _ in range(2))
    agents = [f"a{number}" for number in range(10)]
    async with first.at_work(), second.at_work():
        await first.look(*agents, times=4)
        await second.look(*agents, times=10)
    assert sorted(rule for _, _, rule in spy.heard) == ["agent_down"] * 3 + [HELD_BACK]


async def test_many_at_once_are_one_message_between_all_tellers_and_one_when_they_are_over(
    server: EmbeddedServer, pool: str, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    first, second = (Post(server, pool, command=hook(told)) for _ in range(2))
    agents = [f"a{number:02}" for number in range(30)]
    async with first.at_work(), second.at_work():
        await first.look(*agents, times=4)
        await second.look(*agents, times=4)
        await until(lambda: kinds(told)["problem", "agent_down"])
        await first.look(times=10)
        await until(lambda: kinds(told)["over", "agent_down"])
        await second.look(times=4)
    assert kinds(told) == {("problem", "agent_down"): 1, ("over", "agent_down"): 1}
    assert [len(alert["incidents"]) for alert in hooked(told)] == [30, 30]


# The book


async def test_changes_of_many_are_all_made_each_on_top_of_the_other(server: EmbeddedServer, pool: str) -> None:
    posts = [Post(server, pool) for _ in range(5)]
    stores = [SharedKeeper(AlertStore(post.connections, pool)) for post in posts]

    def count(book: Book, now: int) -> None:
        book.told_in[0] = book.told_in.get(0, 0) + 1

    async def many(keeper: SharedKeeper) -> None:
        for _ in range(10):
            await keeper.amend(count)

    async with anyio.create_task_group() as group:
        for keeper in stores:
            group.start_soon(many, keeper)
    assert await stores[0].amend(lambda book, now: book.told_in[0]) == 50
    for post in posts:
        await post.connections.close()


async def test_what_changes_nothing_writes_nothing_and_what_is_written_expires(
    server: EmbeddedServer, pool: str
) -> None:
    key = Keys(pool).alerts
    post = Post(server, pool, "json://h", deliver=Spy())
    async with post.at_work():
        redis = post.connections.commands
        await post.look(times=3)
        assert not await redis.exists(key), "nothing is wrong"
        await post.look("oak", times=6)
        before = await redis.hgetall(key)
        assert 0 < await redis.pttl(key) <= KEPT_MS
        await post.look("oak", times=6)
        assert await redis.hgetall(key) == before


async def test_a_note_that_cannot_be_read_is_dropped(server: EmbeddedServer, pool: str) -> None:
    key = Keys(pool).alerts
    spy = Spy()
    post = Post(server, pool, "json://h", deliver=spy)
    async with post.at_work():
        redis = post.connections.commands
        await redis.hset(
            key, mapping={"dead:task:x": "garbage", "limit": "[]", "\udcff".encode("utf-8", "surrogateescape"): b"\xff"}
        )
        await post.look("oak")
        assert len(spy.heard) == 1
        assert set(await redis.hkeys(key)) == {b"version", b"limit", b"agent_down:agent:oak"}


async def test_a_book_of_ones_own_tells_without_redis() -> None:
    now = 0
    spy = Spy()
    receivers = receivers_of(AlertSettings(urls=("json://h",)))
    keeper = OwnKeeper(lambda: now)
    own = Teller(keeper, receivers, RULES, TIMEOUT_S, "main", "vm", spy)
    async with anyio.create_task_group() as group:
        group.start_soon(own.run, lambda error: False)
        for findings in ([down()] * 1, [down()] * 1, [], [], [], []):
            now += LOOK_MS
            await own.observe(findings)
            await anyio.sleep(0.05)
        group.cancel_scope.cancel()
    assert [kind for _, kind, _ in spy.heard] == ["problem", "over"]
    remembered = await keeper.amend(lambda book, _: list(book.incidents.values()))
    assert [type(incident) for incident in remembered] == [Incident]
