"""An inbox that takes no more: what is not sent is refused with a reason, whole, and what ends work still passes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from agentcom.broker.keys import Keys
from tests.cli.harness import Terminal

pytestmark = pytest.mark.pitfall_6


@pytest.fixture
def names(quiet: Terminal) -> Keys:
    return Keys(quiet.environ["AGENTCOM_POOL"])


@pytest.fixture
def full(url: str, names: Keys) -> Iterator[Redis]:
    """A pool whose last leader let two requests wait, and where two wait."""
    with Redis.from_url(url) as redis:
        redis.hset(names.head, "max_inbox", 2)
        for _ in range(2):
            redis.xadd(names.inbox, {"m": "somebody's"})
        yield redis


def test_a_submission_ends_with_1_and_says_what_to_do(quiet: Terminal, names: Keys, full: Redis) -> None:
    said = quiet("submit", "make the tests pass")
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        "agentcom: refused: the inbox is full: 2 requests wait there unread, of at most 2, so this request does not "
        "fit. See with `agentcom monitor` whether a scheduler runs and takes work on, then send again\n"
    )
    assert full.xlen(names.inbox) == 2


def test_a_backlog_of_several_requests_is_sent_whole_or_not_at_all(quiet: Terminal, names: Keys, full: Redis) -> None:
    full.xtrim(names.inbox, maxlen=0)
    backlog = quiet.folder / "BACKLOG.md"
    backlog.write_text("".join(f"- [ ] Task number {n}\n" for n in range(201)))
    said = quiet("submit", "--from", "BACKLOG.md", "--json")
    assert said.code == 1
    assert said.document["tasks"] == []
    assert len(said.document["refused"]) == 201
    assert full.xlen(names.inbox) == 0


def test_to_cancel_passes_all_the_same(quiet: Terminal, names: Keys, full: Redis) -> None:
    said = quiet("cancel", "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4")
    assert said.code == 0
    assert "the request waits in the inbox" in said.out
    assert full.xlen(names.inbox) == 3
