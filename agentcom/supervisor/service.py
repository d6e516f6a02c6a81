"""The supervisor: a server of its own if there is no other, a scheduler and sidecars, kept running until it is stopped.

It stops in the order in which no work is lost: sidecars first, which bring to an end what they run or hand it back,
then the scheduler, which takes their last reports into account, then the server.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from anyio import to_thread

from agentcom.broker import runtime
from agentcom.broker.embedded import EmbeddedServer
from agentcom.errors import AgentComError, ConfigurationError, ServerUnavailable
from agentcom.processes import ProcessIdentity, identify
from agentcom.settings import Policy
from agentcom.supervisor.children import Child, Say
from agentcom.supervisor.programs import SERVER, Program, Role
from agentcom.supervisor.record import only_supervisor, write_children
from agentcom.supervisor.restarts import GiveUp, Restart, decide, how_ended
from agentcom.supervisor.takeover import SCHEDULER_PATIENCE_S, take_over
from agentcom.supervisor.trees import kill_attempts

POLL_S = 0.1
SPARE_S = 5.0
"""On top of the time that a stopping sidecar takes by its policy, before it is taken for stuck."""


class Supervisor:
    """Everything of one pool on this machine.

    Args:
        data_dir: of the pool; absolute.
        policy: the pool's: how long a stopping sidecar may take.
        server: the server to run; None if another is used.
        programs: what to run beside it.
        say: is told what programs print and what becomes of them.
    """

    def __init__(
        self, data_dir: Path, policy: Policy, server: EmbeddedServer | None, programs: Sequence[Program], say: Say
    ) -> None:
        self._data_dir = data_dir
        self._server = server
        self._programs = {program.name: program for program in programs}
        self._say = say
        # Work comes to an end, what is left is ended and handed back, and Redis is told.
        self._sidecar_patience_s = 2 * policy.drain_s + policy.grace_s + SPARE_S
        self._children: dict[str, Child] = {}
        self._down: set[str] = set()
        self._server_identity: ProcessIdentity | None = None
        self._stopping = anyio.Event()
        self._hurried = anyio.Event()
        self._problem: Exception | None = None

    async def run(self, on_started: Callable[[], None] = lambda: None) -> None:
        """Start everything, keep it running until `stop`, then end it; nothing is left running however this ends.

        `on_started` is called when the server answers and the programs are being started.

        Raises:
            ServerUnavailable: another supervisor runs on this folder, or the server cannot be started.
            ConfigurationError: a setting makes the server or the scheduler impossible.
        """
        with only_supervisor(self._data_dir):
            await self._unless_stopped(self._take_over)
            if self._stopping.is_set():
                return  # with whatever could not be taken over still on record
            try:
                await self._start_server()
                self._tell_others()
                await self._keep_all(on_started)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._end_server()
        if self._problem is not None:
            raise self._problem

    def stop(self) -> None:
        """Bring everything to an end in good order."""
        self._stopping.set()

    def hurry(self) -> None:
        """End everything at once. What runs is interrupted; no task is lost, it is given to an agent again."""
        self._stopping.set()
        self._hurried.set()

    @property
    def was_hurried(self) -> bool:
        """Whether it was ended at once rather than in good order."""
        return self._hurried.is_set()

    async def fell(self, name: str) -> None:
        """SIGKILL for a program and all that it started, and leave it down: what a power failure of its machine does.

        Raises:
            KeyError: there is no such program.
        """
        program = self._programs[name]
        self._down.add(name)
        child = self._children.get(name)
        if child is not None:
            child.kill()
            await child.ended.wait()
        self._kill_agents_of(program)

    # ---------------------------------------------------------------- start

    async def _take_over(self) -> None:
        await take_over(self._data_dir, self._sidecar_patience_s, lambda line: self._say("up", line))

    async def _unless_stopped(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do something that may be left when it is time to stop."""
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await self._stopping.wait()
                group.cancel_scope.cancel()

            group.start_soon(watch)
            await action()
            group.cancel_scope.cancel()

    async def _keep_all(self, on_started: Callable[[], None]) -> None:
        async with anyio.create_task_group() as group:
            if not self._stopping.is_set():
                group.start_soon(self._keep_server)
                for program in self._programs.values():
                    group.start_soon(self._keep, program)
                on_started()
            try:
                await self._stopping.wait()
            finally:
                self._stopping.set()
                with anyio.CancelScope(shield=True):
                    await self._end_programs()

    # --------------------------------------------------------------- server

    async def _start_server(self) -> None:
        """Start the server, and put it down as a child before it answers: loading its data may take long."""
        server = self._server
        if server is None:
            return
        before = server.pid

        async def watch() -> None:
            while server.pid in (before, None):
                await anyio.sleep(POLL_S)
            self._server_identity = identify(server.pid or 0)
            self._record()
            await self._stopping.wait()
            # A server that still loads ends at once, and what it has loaded stays.
            if server.is_alive():
                os.kill(server.pid or 0, signal.SIGTERM)

        problem: AgentComError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            try:
                await to_thread.run_sync(server.start)
            except AgentComError as error:  # raised below: from in here it would come as a group
                problem = error
            group.cancel_scope.cancel()
        self._server_identity = identify(server.pid or 0)
        self._record()
        if problem is not None and not self._stopping.is_set():
            raise problem

    async def _keep_server(self) -> None:
        """Start the server again when it died, under the same URL; the programs find it again by themselves."""
        failures, started_s = 0, anyio.current_time()
        server = self._server
        while server is not None and not self._stopping.is_set():
            if server.is_alive():
                await self._pause(POLL_S)
                continue
            decision = decide(1, started_s, anyio.current_time(), failures)
            assert isinstance(decision, Restart)
            failures = decision.failures
            self._say(SERVER, f"ended; starting it again in {decision.delay_s:g} s")
            await self._pause(decision.delay_s)
            started_s = anyio.current_time()
            await self._start_server_again()

    async def _start_server_again(self) -> None:
        if self._stopping.is_set():
            return
        try:
            await self._start_server()
            self._tell_others()
        except ServerUnavailable as error:
            self._say(SERVER, str(error))
        except ConfigurationError as error:
            self._give_up(error)

    def _tell_others(self) -> None:
        """The runtime file, by which commands in other terminals find the server."""
        own = identify(os.getpid())
        if self._server is None or self._server_identity is None or own is None:
            return
        found = runtime.Runtime(
            url=self._server.url,
            server_pid=self._server_identity.pid,
            server_started=self._server_identity.started,
            supervisor_pid=own.pid,
            supervisor_started=own.started,
        )
        runtime.write(self._data_dir, found)

    async def _end_server(self) -> None:
        if self._server is None:
            return
        runtime.remove(self._data_dir)
        await to_thread.run_sync(self._server.stop)
        self._server_identity = None
        self._record()

    # ------------------------------------------------------------- programs

    async def _keep(self, program: Program) -> None:
        """Run a program, and again after it ended, until it is time to stop or it is no use."""
        failures = 0
        while not self._stopping.is_set() and program.name not in self._down:
            started_s = anyio.current_time()
            # Ending it is the supervisor's business also when this task is cancelled; this only waits for its end.
            with anyio.CancelScope(shield=True):
                code = await self._run_once(program)
            if self._stopping.is_set() or program.name in self._down:
                return
            decision = decide(code, started_s, anyio.current_time(), failures)
            if isinstance(decision, GiveUp):
                self._leave(program)
                return
            failures = decision.failures
            self._say(program.name, f"{how_ended(code)}; starting it again in {decision.delay_s:g} s")
            await self._pause(decision.delay_s)

    async def _run_once(self, program: Program) -> int:
        try:
            child = await Child.start(program)
        except OSError as error:
            self._say(program.name, f"cannot be started: {error}")
            return 1
        self._children[program.name] = child
        self._record()
        if self._stopping.is_set() or program.name in self._down:  # that was decided while it was being started
            child.kill()
        code = await child.follow(self._say)
        del self._children[program.name]
        self._record()
        return code

    def _leave(self, program: Program) -> None:
        """A program refused its configuration, and has just said why. Without a scheduler nothing else has a use."""
        self._down.add(program.name)
        self._say(program.name, "is not started again: its configuration must be mended first")
        if program.role == "scheduler":
            self._give_up(ConfigurationError("the scheduler cannot run", "What it said stands above"))

    def _give_up(self, problem: Exception) -> None:
        self._problem = problem
        self._stopping.set()

    async def _pause(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._stopping.wait()

    # ------------------------------------------------------------------ end

    async def _end_programs(self) -> None:
        await self._end("sidecar", self._sidecar_patience_s)
        await self._end("scheduler", SCHEDULER_PATIENCE_S)

    async def _end(self, role: Role, patience_s: float) -> None:
        """Ask the programs of this role to end, wait, and end what does not."""
        children = [child for child in self._children.values() if child.program.role == role]
        for child in children:
            child.terminate()
        with anyio.move_on_after(patience_s) as patience:
            async with anyio.create_task_group() as group:

                async def watch() -> None:
                    await self._hurried.wait()
                    patience.cancel()

                group.start_soon(watch)
                for child in children:
                    await child.ended.wait()
                group.cancel_scope.cancel()
        for child in children:
            if not child.ended.is_set():
                child.kill()
                await child.ended.wait()
                self._kill_agents_of(child.program)

    def _kill_agents_of(self, program: Program) -> None:
        if program.agent:
            kill_attempts(self._data_dir / "agents" / program.agent)

    def _record(self) -> None:
        """Put down who is to be ended by a successor should this process be killed."""
        running = {name: child.identity for name, child in self._children.items()}
        running[SERVER] = self._server_identity
        with suppress(OSError):  # a full disk must not end what runs
            write_children(self._data_dir, {name: child for name, child in running.items() if child is not None})
