"""What one run of the simulation is made of, drawn from its seed."""

from __future__ import annotations

from random import Random

from msgspec import Struct
from msgspec.structs import replace

from agentcom.settings import Policy
from tests.simulation.agents import Manners

POLICY = Policy(
    accept_s=20.0,
    accept_report_s=1.0,
    beat_s=10.0,
    beat_offset_s=3.0,
    agent_down_s=60.0,
    retry_delays_s=(0.0, 10.0, 30.0),
    retry_age_s=120.0,
    breaker_s=60.0,
    rate_limit_s=60.0,
    self_test_s=60.0,
    timeout_s=60.0,
    drain_s=10.0,
    grace_s=3.0,
    lease_s=10.0,
    key_retention_s=86_400.0,
    max_parts=3,
    warm_wait_s=15.0,
    answer_s=300.0,
)

FAULTS = {
    "kill_scheduler": 3,
    "kill_sidecar": 4,
    "crash_scheduler": 3,
    "crash_sidecar": 6,
    "freeze_scheduler": 2,
    "freeze_sidecar": 2,
    "stop_scheduler": 1,
    "stop_sidecar": 2,
    "cut_scheduler": 2,
    "cut_sidecar": 3,
    "storm": 4,
    "redis_crash": 2,
    "redis_crash_losing": 1,
    "fail_over": 1,
    "redis_refuses": 1,
    "redis_clock_jump": 1,
    "power_off": 1,
    "clock_jump": 1,
    "disk_full": 1,
    "second_sidecar": 1,
    "out_of_service": 1,
}
"""How often each fault is drawn, in proportion."""


class Member(Struct, frozen=True):
    """One agent."""

    name: str
    slots: int
    python: int
    in_process: bool


class Scenario(Struct, frozen=True):
    """One run.

    Attributes:
        faults: when, and what.
        trouble_s: how long faults go on; then everything must settle within `settle_s`.
        submit_s: how long it takes submitters to submit everything.
        batch: how many tasks they submit at once.
        asks: how often they cancel, send back or requeue some task, for each that they submit.
        plain: whether all tasks are alike: none has a key, a limit, or waits for another.
    """

    seed: int
    profile: str
    schedulers: int
    members: tuple[Member, ...]
    submitters: int
    tasks: int
    submit_s: float
    trouble_s: float
    settle_s: float
    manners: Manners
    faults: tuple[tuple[float, str], ...]
    policy: Policy = POLICY
    batch: int = 1
    asks: float = 0.05
    plain: bool = False


def wild(seed: int, only: tuple[str, ...] = ()) -> Scenario:
    """A few tasks, and everything that can go wrong, or only these faults."""
    random = Random(f"{seed}/scenario")
    trouble_s = random.choice((30.0, 120.0, 240.0))
    count = random.randrange(2, 12)
    chosen = random.sample(sorted(FAULTS), random.randrange(2, 7))
    chosen = list(only) or chosen
    weights = [FAULTS[name] for name in chosen]
    faults = sorted((random.random() * trouble_s, random.choices(chosen, weights)[0]) for _ in range(count))
    return Scenario(
        seed=seed,
        profile="wild",
        schedulers=random.randrange(2, 4),
        members=_members(random, random.randrange(3, 6), 4),
        submitters=random.randrange(1, 4),
        tasks=random.randrange(20, 100),
        submit_s=trouble_s * random.choice((0.1, 0.8)),
        trouble_s=trouble_s,
        settle_s=1_200.0,
        manners=Manners(
            work_s=random.choice((0.5, 5.0, 20.0)),
            fails=random.choice((0.0, 0.1, 0.3)),
            hangs=random.choice((0.0, 0.05)),
            silent=random.choice((0.0, 0.05)),
            not_woken=random.choice((0.0, 0.05)),
            stated=random.choice((0.0, 0.1)),
            lies=random.choice((0.0, 0.2)),
        ),
        faults=tuple(faults),
        policy=replace(POLICY, input_holds_slot=random.random() < 0.3, answer_s=random.choice((0.0, 5.0, 300.0))),
    )


def mild(seed: int) -> Scenario:
    """Very many tasks, and now and then a fault: for the number of lifecycles."""
    random = Random(f"{seed}/scenario")
    tasks = 5_000
    submit_s = 60.0
    kinds = ("kill_scheduler", "kill_sidecar", "crash_sidecar", "storm", "redis_crash", "cut_sidecar")
    faults = sorted((random.random() * submit_s, random.choice(kinds)) for _ in range(3))
    return Scenario(
        seed=seed,
        profile="mild",
        schedulers=2,
        members=_members(random, 3, 32, fewest=32),
        submitters=2,
        tasks=tasks,
        submit_s=submit_s,
        trouble_s=submit_s,
        settle_s=1_200.0,
        manners=Manners(work_s=0.5, fails=0.01),
        faults=tuple(faults),
        batch=20,
        asks=0.002,
    )


def calm(seed: int) -> Scenario:
    """No faults at all."""
    random = Random(f"{seed}/scenario")
    return Scenario(
        seed=seed,
        profile="calm",
        schedulers=2,
        members=_members(random, 3, 4),
        submitters=2,
        tasks=60,
        submit_s=20.0,
        trouble_s=20.0,
        settle_s=300.0,
        manners=Manners(),
        faults=(),
        asks=0.0,
        plain=True,
    )


def long_work(seed: int) -> Scenario:
    """Agents that work long, and live outside of their sidecars, which are killed and soon started again."""
    random = Random(f"{seed}/scenario")
    base = calm(seed)
    members = tuple(Member(f"agent-{n + 1}", 4, 5, in_process=False) for n in range(3))
    faults = tuple(sorted((5 + random.random() * 40, "flap_sidecar") for _ in range(8)))
    return replace(
        base,
        profile="long_work",
        members=members,
        tasks=20,
        submit_s=5.0,
        trouble_s=45.0,
        settle_s=600.0,
        manners=Manners(work_s=40.0),
        faults=faults,
    )


def flapping(seed: int) -> Scenario:
    """Five agents with fifty tasks lose their machines at once, and come back only to go again; more work comes in."""
    members = tuple(Member(f"agent-{n + 1}", 10, 5, in_process=False) for n in range(5))
    return replace(
        calm(seed),
        profile="flapping",
        members=members,
        submitters=1,
        tasks=60,
        submit_s=60.0,
        trouble_s=70.0,
        settle_s=600.0,
        manners=Manners(work_s=30.0),
        faults=tuple((at_s, "all_vanish") for at_s in (30.0, 38.0, 45.0, 52.0, 60.0)),
    )


def cut_off(seed: int) -> Scenario:
    """Agents that work long, on machines that nobody can reach for longer than it takes to be thought dead."""
    random = Random(f"{seed}/scenario")
    return replace(
        long_work(seed),
        profile="cut_off",
        trouble_s=200.0,
        settle_s=3_000.0,
        manners=Manners(work_s=400.0),
        faults=tuple(sorted((10 + random.random() * 50, "cut_sidecar") for _ in range(4))),
        policy=replace(POLICY, timeout_s=1_000.0),
    )


PROFILES = {"wild": wild, "mild": mild, "calm": calm, "long_work": long_work, "flapping": flapping, "cut_off": cut_off}


def _members(random: Random, number: int, slots: int, fewest: int = 1) -> tuple[Member, ...]:
    return tuple(
        Member(
            name=f"agent-{index + 1}",
            slots=random.randrange(fewest, slots + 1),
            python=random.randrange(1, 6) if index > 1 else 5,
            in_process=random.random() < 0.25,
        )
        for index in range(number)
    )
