"""One seed, from its beginning to its verdict."""

from __future__ import annotations

import gc

from msgspec import Struct

from tests.simulation import faults
from tests.simulation.ending import Ending
from tests.simulation.scenario import PROFILES, Scenario, wild
from tests.simulation.world import World, simulated_surroundings


class Result(Struct, frozen=True):
    """How a run ended.

    Attributes:
        problem: what was violated; empty if nothing was.
        lifecycles: tasks that ended, as often as each did.
        settled_s: how long after the last fault everything had settled.
        seen: what came up, and how often.
        digest: of everything that happened, where that was traced.
    """

    seed: int
    profile: str
    problem: str
    subject: str
    lifecycles: int
    settled_s: float
    seen: dict[str, int]
    virtual_s: float
    commits: int
    digest: str
    story: list[str]


def play(scenario: Scenario, *, tracing: bool = False) -> Result:
    """Run a scenario to its end, or to the first violation."""
    gc.freeze()
    with simulated_surroundings(scenario.seed):
        world = World(scenario, tracing=tracing)
        world.begin()
        faults.schedule(world)
        Ending(world).begin()
        world.loop.run_until(scenario.trouble_s + 2 * scenario.settle_s)
        world.close()
    judge = world.judge
    result = Result(
        seed=scenario.seed,
        profile=scenario.profile,
        problem=judge.problem or ("" if world.loop.stopped else "the world came to a standstill"),
        subject=judge.subject,
        lifecycles=judge.ended,
        settled_s=max(0.0, world.loop.time() - scenario.trouble_s),
        seen={**judge.seen, **world.agents.seen},
        virtual_s=world.loop.time(),
        commits=judge.commits,
        digest=world.story.digest if tracing else "",
        story=world.story.about(judge.subject) if tracing else [],
    )
    del world, judge
    gc.collect()
    gc.unfreeze()
    return result


def play_seed(seed: int, profile: str = "wild", only: tuple[str, ...] = (), *, tracing: bool = False) -> Result:
    """Run the scenario of a seed; `only` names the faults that a wild one may have, if not all."""
    return play(wild(seed, only) if only else PROFILES[profile](seed), tracing=tracing)
