"""A whole pool in one simulated world: servers, network, machines, services, agents, submitters, and a judge."""

from __future__ import annotations

import gc
import logging
import math
import os
import random as global_random
import socket
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import anyio.to_thread
from anyio._backends import _asyncio as anyio_asyncio
from msgspec.structs import replace

from agentcom.broker.client_store import ClientStore
from agentcom.errors import ConfigurationError
from agentcom.model.agent import Card
from agentcom.model.messages import Beat
from agentcom.scheduler.service import SchedulerService
from agentcom.sidecar import output
from agentcom.sidecar.service import SidecarService
from tests.simulation.agents import Agents, SimRunner
from tests.simulation.hosts import EPOCH_MS, Disk, Host, Run, SimJournal
from tests.simulation.judge import Judge
from tests.simulation.loop import PROCESS, Killed, Process, SimLoop
from tests.simulation.network import Link, Network, SimConnections
from tests.simulation.redis_model import RedisModel
from tests.simulation.redis_scripts import BY_SHA
from tests.simulation.scenario import Member, Scenario
from tests.simulation.server import Request, Server
from tests.simulation.story import Story
from tests.simulation.submitters import Person, Submitter
from tests.simulation.view import View

POOL = "sim"
DESK = "desk"
FLUSH_S = 5.0
"""Output is passed on less often than in earnest: it plays no part here, and would take most of the time."""


class Seat:
    """A place where a service is kept running: who may run there, and who does."""

    def __init__(self, host: Host, member: Member | None) -> None:
        self.host = host
        self.member = member
        self.process: Process | None = None
        self.service: Any = None
        self.retired = False
        """A newer sidecar of its name has taken over: it is not started again."""

    @property
    def name(self) -> str:
        return f"{self.member.name if self.member else 'scheduler'}@{self.host.name}"


class World:
    """Everything, from a scenario."""

    def __init__(self, scenario: Scenario, *, tracing: bool = False) -> None:
        self.scenario = scenario
        self.loop = SimLoop()
        self.loop.on_error = self._loop_failed
        self.story = Story(self.loop, tracing=tracing)
        self.say = self.story.say
        self.quiet = False
        self.in_change = False
        """One server is about to take another one's place."""
        self.disturbed: dict[str, float] = {}
        self.judge = Judge(self.loop, POOL, scenario.policy, self.say, self.calm_since)
        self.judge.tracing = tracing
        seed = scenario.seed
        self.random = Random(f"{seed}/world")
        self._hex = Random(f"{seed}/hex")
        self.network = Network(self.loop, Random(f"{seed}/network"), self.route)
        self.hosts: dict[str, Host] = {}
        self.servers: list[Server] = []
        self.forks: dict[str, tuple[str, float]] = {}
        """Of a server that another one's data was copied to: that one, and when."""
        self._routes: dict[str, Server] = {}
        self.clock_ms = 0
        self.primary = self.add_server(RedisModel(self._server_clock, BY_SHA), View())
        self.agents = Agents(
            Random(f"{seed}/agents"),
            Random(f"{seed}/work"),
            scenario.manners,
            self._run_begins,
            self._forge,
            self._known_attempts,
        )
        self.schedulers = [Seat(self.host(f"s{n + 1}"), None) for n in range(scenario.schedulers)]
        self.sidecars = [Seat(self.host(f"h{n + 1}"), member) for n, member in enumerate(scenario.members)]
        self.submitters: list[Submitter] = []
        self.desk = Process(self.loop, DESK, 1)
        self.person: Person

    def begin(self) -> None:
        """Start everything."""
        for seat in (*self.schedulers, *self.sidecars):
            self.loop.after(self.random.random(), self.start, seat)
        scenario = self.scenario
        clock = self.host(DESK).steady_clock()
        for n in range(scenario.submitters):
            connections = self.connections(self.desk, DESK, repeats=2)
            self.submitters.append(
                Submitter(
                    scenario,
                    Random(f"{scenario.seed}/submitter{n}"),
                    ClientStore(connections, POOL),
                    clock,
                    scenario.tasks // scenario.submitters,
                    partial(self._acknowledged, connections.commands.link),
                )
            )
            self.desk.start(self.submitters[-1].run())
        self.person = Person(ClientStore(self.connections(self.desk, DESK, repeats=2), POOL))

    def _acknowledged(self, link: Link) -> tuple[str, float]:
        """By whom, and when, the last request on this link was answered."""
        return link.connect().name, self.loop.time()

    # --------------------------------------------------------------- servers

    def add_server(self, model: RedisModel, view: View) -> Server:
        server = Server(self.loop, f"redis{len(self.servers) + 1}", model, self.network.answer, self.judge.observe)
        self.servers.append(server)
        self.judge.views[server.name] = view
        return server

    def fork(self, server: Server) -> Server:
        """Another server with the data that this one has now."""
        twin = self.add_server(server.model.copy(), self.judge.views[server.name].copy())
        self.forks[twin.name] = (server.name, self.loop.time())
        return twin

    def survives(self, acked: tuple[str, float]) -> bool:
        """Whether what this server acknowledged then is part of the primary's data."""
        name, until_s = self.primary.name, self.loop.time()
        while name != acked[0]:
            if name not in self.forks:
                return False
            name, until_s = self.forks[name][0], min(until_s, self.forks[name][1])
        return acked[1] <= until_s

    def route(self, machine: str) -> Server:
        """The server that a machine takes for the primary."""
        return self._routes.get(machine, self.primary)

    def route_all(self, server: Server) -> None:
        """Every machine goes on asking this server, until it is told of another."""
        self._routes = dict.fromkeys(self.hosts, server)

    def reroute(self, machine: str) -> None:
        """This machine learns who the primary is."""
        self._routes.pop(machine, None)

    def _server_clock(self) -> int:
        return EPOCH_MS + self.clock_ms + int(self.loop.time() * 1000)

    # -------------------------------------------------------------- machines

    def host(self, name: str) -> Host:
        if name not in self.hosts:
            self.hosts[name] = Host(self.loop, name, Random(f"{self.scenario.seed}/{name}"))
        return self.hosts[name]

    def connections(self, process: Process, machine: str, repeats: int = 0) -> Any:
        return SimConnections(self.network, process, machine, repeats=repeats)

    def random_hex(self, length: int) -> str:
        return f"{self._hex.getrandbits(8 * length):0{2 * length}x}"

    def disturb(self, machine: str) -> None:
        self.disturbed[machine] = self.loop.time()

    def calm_since(self, machine: str) -> float:
        if machine in self.network.cut or self.network.weather.bad or not self.route(machine).up:
            return self.loop.time()
        return max(self.disturbed.get(machine, 0.0), self.disturbed.get("", 0.0))

    # -------------------------------------------------------------- services

    def start(self, seat: Seat) -> None:
        """Start the service of a seat, unless it runs."""
        if seat.retired or (seat.process is not None and seat.process.alive):
            return
        process = seat.process = Process(self.loop, seat.name, seat.host.next_pid())
        self.say("start", seat.name, f"pid {process.pid}")
        main = self._sidecar(seat, process) if seat.member is not None else self._scheduler(seat, process)
        task = process.start(main)
        task.add_done_callback(lambda done: self._ended(seat, process, done))

    async def _scheduler(self, seat: Seat, process: Process) -> None:
        seat.service = SchedulerService(
            self.connections(process, seat.host.name),
            POOL,
            self.scenario.policy,
            clock=seat.host.steady_clock(),
            random_hex=self.random_hex,
        )
        await seat.service.run()

    async def _sidecar(self, seat: Seat, process: Process) -> None:
        member = seat.member
        assert member is not None
        disk = seat.host.disks.setdefault(member.name, Disk())
        runner = SimRunner(
            self.agents,
            seat.host,
            member.name,
            lambda: seat.service._incarnation,
            process if member.in_process else None,
        )
        seat.service = SidecarService(
            self.connections(process, seat.host.name),
            POOL,
            member.name,
            Card(attributes={"python": member.python, "os": "linux"}, slots=member.slots, host=seat.host.name),
            runner,
            Path("/nonexistent"),
            self.scenario.policy,
            clock=seat.host.steady_clock(),
            random_hex=self.random_hex,
            journal=SimJournal(disk, process),  # type: ignore[arg-type]
            checks={"the disk": _check_of(disk)},
        )
        machine = seat.service._machine
        machine.beat = partial(self._beat, machine.beat, seat.host)
        await seat.service.run()

    def _beat(self, beat: Callable[..., Beat], host: Host, *arguments: Any, **options: Any) -> Beat:
        """What a sidecar says, with what of it is being checked."""
        told = beat(*arguments, **options)
        return replace(told, verifying=self.agents.checked(told.running, host.name, self.loop.time()))

    def _ended(self, seat: Seat, process: Process, done: Any) -> None:
        if not process.alive:
            return
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Killed):
            return
        process.kill()
        self.say("ends", seat.name, "" if error is None else f"{type(error).__name__}: {error}")
        if isinstance(error, ConfigurationError) and seat.member is not None:
            seat.retired = True
        elif error is not None and not isinstance(error, OSError):
            self.judge.accuse(f"a defect ends it: {type(error).__name__}: {error}", seat.name)
        else:
            self.loop.after(1.0 + self.random.random(), self.start, seat)

    def _loop_failed(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        process = PROCESS.get()
        if not isinstance(error, Killed) and (process is None or process.alive):
            self.judge.accuse(f"a callback failed: {context.get('message')}: {error!r}")

    def close(self) -> None:
        """Nothing of it goes on."""
        for seat in (*self.schedulers, *self.sidecars):
            if seat.process is not None:
                seat.process.kill()
        self.desk.kill()

    # ----------------------------------------------------------------- truth

    def _run_begins(self, run: Run) -> None:
        slots = max(m.slots for m in self.scenario.members if m.name == run.agent)
        live = sum(other.agent == run.agent for other in self.hosts[run.host].runs.values())
        self.judge.run_begins(run, slots, live)

    def _forge(self, machine: str, body: bytes) -> None:
        """A report that an agent writes with its sidecar's rights."""
        server = self.route(machine)
        if server.up and machine not in self.network.cut:
            names = self.judge._names
            request = Request(None, "xadd", (names.reports, {b"m": body}), {})
            request.server = server
            self.say("lie", "", body.decode())
            server.arrive(request)

    def _known_attempts(self) -> list[tuple[str, str, str]]:
        """(task, token, agent) of what works now, as an agent that listens might know."""
        return [(run.task, run.token, run.agent) for host in self.hosts.values() for run in host.runs.values()]


def _check_of(disk: Disk) -> Callable[[], Awaitable[str]]:
    async def check() -> str:
        return "the disk is full" if disk.full else ""

    return check


def numbered_scopes() -> type[anyio_asyncio.CancelScope]:
    """anyio's scopes with a hash that does not depend on where they lie in memory: they are kept in sets, too."""
    numbers = count()

    class SimScope(anyio_asyncio.CancelScope):
        __slots__ = ("number",)

        def __init__(self, deadline: float = math.inf, shield: bool = False) -> None:
            super().__init__(deadline, shield)
            self.number = next(numbers)

        def __hash__(self) -> int:
            return self.number

    return SimScope


@contextmanager
def simulated_surroundings(seed: int) -> Iterator[None]:
    """What the services ask the machine for, answered by the world: who they are, chance, threads."""

    async def inline(action: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return action(*args)

    def pid() -> int:
        process = PROCESS.get()
        return process.pid if process is not None else real_pid()

    def host_name() -> str:
        process = PROCESS.get()
        return process.name.rpartition("@")[2] if process is not None else "nowhere"

    real_pid, state, flush_s = os.getpid, global_random.getstate(), output.FLUSH_S
    patched = [
        (os, "getpid", pid),
        (socket, "gethostname", host_name),
        (anyio.to_thread, "run_sync", inline),
        (anyio_asyncio, "CancelScope", numbered_scopes()),
    ]
    originals = [(place, name, getattr(place, name)) for place, name, _ in patched]
    collects, level = gc.isenabled(), logging.root.manager.disable
    gc.disable()
    logging.disable(logging.CRITICAL)
    global_random.seed(seed)
    output.FLUSH_S = FLUSH_S
    try:
        for place, name, value in patched:
            setattr(place, name, value)
        with warnings.catch_warnings():
            # Of a process that is killed, tasks are dropped that had not begun yet.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            yield
    finally:
        for place, name, value in originals:
            setattr(place, name, value)
        output.FLUSH_S = flush_s
        global_random.setstate(state)
        logging.disable(level)
        if collects:
            gc.enable()
