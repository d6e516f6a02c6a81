"""The end of a run: when everything has settled, and what must be true then."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from agentcom.broker.keys import ORDERS_GROUP, Keys
from agentcom.model.codec import decode_agent, decode_carried
from agentcom.model.lifecycle import ENDED
from agentcom.model.messages import AnyRequest, Reset, Resume
from tests.simulation.hosts import Disk
from tests.simulation.world import POOL, World

LOOK_S = 2.0
HELP_S = 10.0

NAMES = Keys(POOL)
PREFIX = NAMES.task("").removesuffix("task:")

LASTING = frozenset({"inbox", "reports", "open", "agents", "keys", "costs", "journal", "dead", "head"})
"""Keys that stay, each bounded otherwise."""

TIMED = ("beat", "output", "refused", "leader")
"""Keys that must have an end of life whenever they exist."""


class Ending:
    """Looks now and then whether everything has settled, and helps as a person would."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._helped_s = 0.0
        self.settled_s = 0.0

    def begin(self) -> None:
        self._world.loop.after(LOOK_S, self._look)

    def _look(self) -> None:
        world = self._world
        now_s = world.loop.time()
        if world.quiet and all(submitter.done for submitter in world.submitters):
            left = next(unsettled(world), None)
            if left is None:
                self.settled_s = now_s
                for problem, subject in wrong_at_the_end(world):
                    world.judge.accuse(problem, subject)
                world.loop.stopped = True
                return
            if now_s > world.scenario.trouble_s + world.scenario.settle_s:
                world.judge.accuse(
                    f"not settled {world.scenario.settle_s:g} s after the last fault: {left[0]}", left[1]
                )
                return
            if now_s >= self._helped_s + HELP_S:
                self._helped_s = now_s
                self._help()
        elif now_s > world.scenario.trouble_s + world.scenario.settle_s:
            world.judge.accuse("the submitters have not come to an end")
        world.loop.after(LOOK_S, self._look)

    def _help(self) -> None:
        world = self._world
        model = world.primary.model
        if world.primary.up:
            bodies = {task.decode(): model.get(NAMES.task(task.decode())) for task in model.zrange(NAMES.open, 0, -1)}
            records = {task: decode_carried(body) for task, body in bodies.items() if body}
            waiting = {task: record.reason for task, record in records.items() if record.state == "input_required"}
            world.desk.start(world.person.help(dict(islice(waiting.items(), 100))))
            agents = [decode_agent(body) for body in model.hgetall(NAMES.agents).values()]
            requests: list[AnyRequest] = [
                Resume(agent=agent.name) for agent in agents if agent.cordoned or agent.draining
            ]
            requests += [Reset(agent=agent.name) for agent in agents if agent.limited_until]
            world.desk.start(world.person.send(requests))


def unsettled(world: World) -> Iterator[tuple[str, str]]:
    """What still has to come to an end, and whom it is about."""
    model = world.primary.model
    if not world.primary.up or world.primary.loading:
        yield "the server is away", ""
    for task in model.zrange(NAMES.open, 0, 0):
        body = model.get(NAMES.task(task.decode()))
        yield f"it is open, and {decode_carried(body).state if body else 'has no record'}", task.decode()
    for name, body in model.hgetall(NAMES.agents).items():
        if decode_agent(body).running or decode_agent(body).reserved:
            yield "a slot is taken", name.decode()
    for key in model.names():
        if ":orders:" in key and model.xlen(key):
            yield f"{model.xlen(key)} orders are left", key.rpartition(":")[2]
    for stream in (NAMES.inbox, NAMES.reports):
        if model.xlen(stream):
            yield f"{model.xlen(stream)} entries are left in {stream}", ""
    yield from _leftovers(world)


def wrong_at_the_end(world: World) -> Iterator[tuple[str, str]]:
    """What must be true when everything has settled, and is not."""
    yield from _tasks(world)
    yield from _keys(world)
    yield from world.judge.costs_wrong(world.primary.name)
    if world.loop.spins:
        yield f"somebody spun {world.loop.spins} times", ""


def _tasks(world: World) -> Iterator[tuple[str, str]]:
    model = world.primary.model
    for submitter in world.submitters:
        for task, submission in submitter.submissions.items():
            body = model.get(NAMES.task(task))
            if body is None:
                if submission.acked and world.survives(submission.acked) and not submission.spec.key:
                    yield "it was acknowledged, and is lost", task
                continue
            record = decode_carried(body)
            if record.state not in ENDED:
                yield f"it is {record.state} and not open", task
            elif record.state in ("failed", "rejected") and not record.reason:
                yield "it failed without a reason", task
            if record.state == "rejected" and not (submission.doomed or submission.spec.after or submission.spec.key):
                yield f"it was rejected: {record.detail}", task
            if record.state == "completed" and record.outcome is None:
                yield "it completed without an outcome", task


def _keys(world: World) -> Iterator[tuple[str, str]]:
    model = world.primary.model
    agents = {name.decode() for name in model.hgetall(NAMES.agents)}
    for key in model.names():
        kind, _, rest = key.removeprefix(PREFIX).partition(":")
        timed = model.pttl(key) >= 0
        if not key.startswith(PREFIX) or kind not in (*LASTING, *TIMED, "task", "orders"):
            yield f"nobody owns the key {key}", ""
        elif kind in TIMED and not timed:
            yield f"the key {key} stays for ever", ""
        elif kind == "task" and not timed:
            yield "its record stays for ever", rest
        elif kind == "orders" and rest not in agents:
            yield "there is a stream of orders for an agent that nobody knows", rest
        elif kind == "orders" and model.xpending(key, ORDERS_GROUP)["pending"]:
            yield "orders are pending that no stream has", rest


def _leftovers(world: World) -> Iterator[tuple[str, str]]:
    """When everything is over nobody works any more, no disk remembers what is over, and each name has one sidecar."""
    for host in world.hosts.values():
        for run in host.runs.values():
            yield f"{run.agent} goes on with {run.token}, which is over", run.task
    live = [seat for seat in world.sidecars if seat.process is not None and seat.process.alive]
    for member in world.scenario.members:
        count = sum(seat.member is member for seat in live)
        if count != 1:
            yield f"{count} sidecars of this name run", member.name
    for seat in live:
        assert seat.member is not None
        disk = seat.host.disks.get(seat.member.name, Disk())
        if disk.runs or disk.outbox:
            yield f"its journal still has {len(disk.runs)} runs and {len(disk.outbox)} batches", seat.member.name
