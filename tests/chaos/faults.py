"""Which faults a scenario has, and when: a plan that is the same for the same seed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal

from msgspec import Struct

Kind = Literal[
    "kill", "stop", "freeze",
    "kill_agent", "freeze_agent", "abandon_agent",
    "kill_redis", "freeze_redis", "power_cut",
    "cut", "delay", "mute", "deaf", "refuse",
    "kill_primary", "freeze_primary", "kill_replica", "kill_sentinel", "order_failover",
    "kill_all",
]  # fmt: skip


class Fault(Struct, frozen=True):
    """One fault.

    Attributes:
        at_s: when, from the start of the run.
        kind: what.
        target: the program or door that it hits; empty where the kind has only one.
        for_s: how long the target stays frozen, cut off or down.
        pick: a number from 0 to 1, for whatever is chosen only when the fault happens.
    """

    at_s: float
    kind: Kind
    target: str
    for_s: float
    pick: float


class Scenario(Struct, frozen=True):
    """A mixture of faults on one kind of store.

    Attributes:
        about: for people.
        store: one server that flushes each write, or once a second; or a primary with a replica and Sentinels.
        weights: how often each kind comes, relative to the others.
        pause_s: from one fault to the next, at least and at most.
        proxied: the programs reach Redis through the proxy.
    """

    about: str
    store: Literal["always", "everysec", "sentinel"]
    weights: dict[Kind, int]
    pause_s: tuple[float, float]
    proxied: bool = False


_PROGRAMS: dict[Kind, int] = {"kill": 8, "stop": 2, "kill_agent": 3}
_FREEZES: dict[Kind, int] = {"freeze": 8, "freeze_agent": 2, "abandon_agent": 1}
_NETWORK: dict[Kind, int] = {"cut": 6, "delay": 3, "mute": 4, "deaf": 4, "refuse": 2}

SCENARIOS: dict[str, Scenario] = {
    "kill": Scenario(
        "SIGKILL (and some SIGTERM) of schedulers, sidecars, agents and Redis, one by one and all at once; AOF always",
        "always", _PROGRAMS | {"kill_redis": 2, "kill_all": 1}, (0.2, 1.5),
    ),
    "freeze": Scenario(
        "SIGSTOP and SIGCONT of schedulers, sidecars, agents and Redis; AOF always",
        "always", _FREEZES | {"freeze_redis": 2, "kill": 1}, (0.3, 1.5),
    ),
    "proxy": Scenario(
        "each program's connection is cut, delayed, refused, or half-open in both or one direction; AOF always",
        "always", _NETWORK, (0.2, 1.5), proxied=True,
    ),
    "power": Scenario(
        "power cuts: Redis is killed, and up to the last second of its append-only file is gone; AOF everysec",
        "everysec", {"power_cut": 4, "kill_redis": 2, "kill": 4, "kill_agent": 1}, (0.5, 3.0),
    ),
    "failover": Scenario(
        "Sentinel fail-overs that lose writes: the primary is killed or frozen, the replica promoted",
        "sentinel",
        {"kill_primary": 4, "freeze_primary": 2, "order_failover": 1, "kill_replica": 1, "kill_sentinel": 1, "kill": 4},
        (1.0, 4.0),
    ),
    "everything": Scenario(
        "all faults of kill, freeze and proxy together; AOF always",
        "always", _PROGRAMS | _FREEZES | _NETWORK | {"kill_redis": 2, "freeze_redis": 2, "kill_all": 1}, (0.2, 1.2),
        proxied=True,
    ),
}  # fmt: skip

_DOWN_S: tuple[float, ...] = (0.0, 0.0, 0.5, 2.0, 8.0)
"""How long what was killed stays down; eight seconds are longer than an agent may be silent."""

_LASTING_S: dict[Kind, tuple[float, float]] = {
    "freeze": (0.5, 9.0),
    "freeze_agent": (0.5, 4.0),
    "freeze_redis": (0.3, 4.0),
    "delay": (1.0, 5.0),
    "mute": (1.0, 9.0),
    "deaf": (0.5, 5.0),
    "refuse": (0.5, 6.0),
    "freeze_primary": (3.0, 9.0),
}

_ON_PROGRAMS: frozenset[Kind] = frozenset({"kill", "stop", "freeze", *_NETWORK})


def plan(scenario: Scenario, seed: int, seconds: float, programs: Sequence[str]) -> list[Fault]:
    """The faults of a run of so many seconds against these programs, in the order of time."""
    random = Random(seed)
    kinds, weights = list(scenario.weights), list(scenario.weights.values())
    faults: list[Fault] = []
    at_s = random.uniform(1.0, 2.0)
    while at_s < seconds:
        kind = random.choices(kinds, weights)[0]
        target = random.choice(programs) if kind in _ON_PROGRAMS else ""
        for_s = random.uniform(*_LASTING_S[kind]) if kind in _LASTING_S else random.choice(_DOWN_S)
        faults.append(Fault(round(at_s, 3), kind, target, round(for_s, 3), random.random()))
        at_s += random.uniform(*scenario.pause_s)
    return faults
