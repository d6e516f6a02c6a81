"""Turns a `Commit` into one call of commit.lua."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from agentcom.broker.keys import ORDERS_GROUP, REQUEUED, Keys, sign
from agentcom.broker.streams import MAX_ID_PART
from agentcom.model.codec import encode
from agentcom.model.commit import LAST_ID, Commit
from agentcom.model.lifecycle import ENDED
from agentcom.settings import Policy

CommitReply = Literal["done", "repeated", "deposed", "moved", "exists"]
"""Written; already written by an earlier sending; another leads; Redis lost or gained a commit; a new id exists."""

LINES_PER_ENTRY = 32
REFUSALS_KEPT_S = 3_600
MAX_UNPACKED = 4_000
"""Lua unpacks less than 8,000 arguments for one command."""

Argument = str | bytes | int


class Fence(Struct):
    """What a commit builds on: leadership `epoch` of `owner`, and the number `seq` of the last commit."""

    owner: str
    epoch: int
    seq: int


class CommitCall(Struct, frozen=True):
    """Keys and arguments of one call, ready to be sent, and to be sent again."""

    keys: list[str]
    arguments: list[Argument]


def encode_commit(commit: Commit, fence: Fence, commit_id: str, names: Keys, policy: Policy) -> CommitCall:
    """The call that performs a commit. See commit.lua for the form."""
    call = _Builder(names, [names.task(task) for task in commit.new])
    header: list[Argument] = [
        fence.epoch,
        fence.seq,
        commit_id,
        fence.owner,
        int(policy.lease_s * 1000),
        len(commit.new),
    ]
    for task, record in commit.records.items():
        if record.state in ENDED:
            call.add("SET", names.task(task), encode(record), "EX", int(policy.retention_s))
        else:
            call.add("SET", names.task(task), encode(record))
    for task in commit.closed:
        if task not in commit.records:
            call.add("EXPIRE", names.task(task), int(policy.retention_s))
    for agent in commit.remade:
        call.add("DEL", names.orders(agent))
    for name in commit.bounded:
        call.add("EXPIRE", names.named(name), int(policy.retention_s))
    for name in commit.kept:
        call.add("PERSIST", names.named(name))
    for order in commit.orders:
        call.add("XADD", names.orders(order.agent), "*", "m", order.body)
    _add_indexes(call, commit, names)
    _add_settled(call, commit.settled, names)
    for refusal in commit.refusals:
        call.add("SET", names.refused(refusal.entry), encode(refusal.refusals), "EX", REFUSALS_KEPT_S)
    for letter in commit.dead:
        call.add("XADD", names.dead, "MAXLEN", "~", policy.dead_entries, "*", "m", encode(letter))
    for first in range(0, len(commit.lines), LINES_PER_ENTRY):
        lines = encode(commit.lines[first : first + LINES_PER_ENTRY])
        call.add("XADD", names.journal, "MAXLEN", "~", policy.journal_entries, "*", "l", lines)
    _add_signs(call, commit, names)
    _add_positions(call, commit, names)
    return CommitCall(call.keys, header + call.arguments)


class _Builder:
    """Collects commands; each key is passed once, and commands name it by its index."""

    def __init__(self, names: Keys, first: list[str]) -> None:
        self.keys = [names.head, names.leader, *first]
        self.arguments: list[Argument] = []
        self._index = {key: place for place, key in enumerate(self.keys, start=1)}

    def add(self, command: str, key: str, *arguments: Argument) -> None:
        index = self._index.get(key)
        if index is None:
            self.keys.append(key)
            index = self._index[key] = len(self.keys)
        self.arguments += (len(arguments), command, index, *arguments)

    def add_all(self, command: str, key: str, arguments: Iterable[Argument], width: int = 1) -> None:
        """A command with as many arguments as there are, in pieces that Lua can unpack."""
        listed = list(arguments)
        step = MAX_UNPACKED // width * width
        for first in range(0, len(listed), step):
            self.add(command, key, *listed[first : first + step])


def _add_indexes(call: _Builder, commit: Commit, names: Keys) -> None:
    closed = set(commit.closed)
    opened = [(task, seq) for task, seq in commit.opened if task not in closed]
    call.add_all("ZADD", names.open, [part for task, seq in opened for part in (seq, task)], width=2)
    call.add_all("ZREM", names.open, commit.closed)
    keys = {key: value for key, value in commit.keys.items() if value is not None}
    call.add_all("HSET", names.keys, [part for pair in keys.items() for part in pair], width=2)
    call.add_all("HDEL", names.keys, [key for key, value in commit.keys.items() if value is None])
    costs = [(name, encode(spent)) for name, spent in commit.costs.items() if spent is not None]
    call.add_all("HSET", names.costs, [part for pair in costs for part in pair], width=2)
    call.add_all("HDEL", names.costs, [name for name, spent in commit.costs.items() if spent is None])
    known = [(name, encode(agent)) for name, agent in commit.agents.items() if agent is not None]
    call.add_all("HSET", names.agents, [part for pair in known for part in pair], width=2)
    for name in (name for name, agent in commit.agents.items() if agent is None):
        call.add("HDEL", names.agents, name)
        call.add("DEL", names.orders(name))


def _add_settled(call: _Builder, settled: list[tuple[str, str]], names: Keys) -> None:
    by_agent: dict[str, list[Argument]] = defaultdict(list)
    for agent, entry in settled:
        by_agent[agent].append(entry)
    for agent, entries in by_agent.items():
        for first in range(0, len(entries), MAX_UNPACKED):
            part = entries[first : first + MAX_UNPACKED]
            call.add("XACK", names.orders(agent), ORDERS_GROUP, *part)
            call.add("XDEL", names.orders(agent), *part)


def _add_signs(call: _Builder, commit: Commit, names: Keys) -> None:
    if commit.admitted:
        call.add("HSET", names.head, "admitted", commit.admitted)
    if commit.requeued:
        call.add("HSET", names.head, REQUEUED, " ".join(map(str, commit.requeued)))
    elif commit.requeued is not None:
        call.add("HDEL", names.head, REQUEUED)
    for name, value in commit.signs.items():
        if value is None:
            call.add("HDEL", names.head, sign(name))
        else:
            call.add("HSET", names.head, sign(name), value)


def _add_positions(call: _Builder, commit: Commit, names: Keys) -> None:
    """Reading on and having taken into account are one step; what was taken into account is trimmed away."""
    positions = {"inbox_at": (names.inbox, commit.inbox_at), "reports_at": (names.reports, commit.reports_at)}
    for field, (stream, position) in positions.items():
        if position == LAST_ID:
            # All that can ever be in it was taken into account: it begins anew.
            call.add("HSET", names.head, field, "0-0")
            call.add("DEL", stream)
        elif position:
            call.add("HAS", stream, position)
            call.add("HSET", names.head, field, position)
            call.add("XTRIM", stream, "MINID", after(position))


def after(entry: str) -> str:
    """The smallest stream id behind this one, which is not the last of all."""
    milliseconds, number = (int(part) for part in entry.split("-"))
    if number < MAX_ID_PART:
        return f"{milliseconds}-{number + 1}"
    return f"{milliseconds + 1}-0"
