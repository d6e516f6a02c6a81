"""The screen that lives: looks, keys, signals and a clock, each in a loop of its own, and one picture."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import anyio
from msgspec.structs import replace

from agentcom.broker.connection import TROUBLE, explained, stop_if_refused
from agentcom.monitor.live.acting import Actor
from agentcom.monitor.live.decoder import Decoder, Key
from agentcom.monitor.live.draw import Screen, draw
from agentcom.monitor.live.header import Away
from agentcom.monitor.live.keys import Effect, mode_of, press
from agentcom.monitor.live.picture import Picture
from agentcom.monitor.live.state import Create, State
from agentcom.monitor.live.terminal import Terminal
from agentcom.monitor.live.watcher import Watcher
from agentcom.monitor.look import Now
from agentcom.monitor.wishes import Wish
from agentcom.wording import age, count

ESCAPE_S = 0.05
"""An escape that nothing follows for so long is the key of that name."""

TICK_S = 1.0
CPU_SHARE = 0.05
"""Of a core, at most, for looking: of a pool that is dear to look at, it looks less often."""

TYPING = frozenset({"filter", "form"})
"""Where many keys come at once, and none depends on what is to be seen."""

LEAVES = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
HEARD = (*LEAVES, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


class App:
    """One monitor on one terminal.

    Args:
        terminal: that is entered already.
        watcher: looks at the pool.
        actor: sends what is asked for.
        state: how it begins.
        now: the present.
    """

    def __init__(
        self, terminal: Terminal, watcher: Watcher, actor: Actor, state: State, now: Callable[[], Now]
    ) -> None:
        self._terminal = terminal
        self._watcher = watcher
        self._actor = actor
        self._state = state
        self._now = now
        self._began_at = now().ms
        self._picture: Picture | None = None
        self._away: Away | None = None
        self._decoder = Decoder()
        self._asked = anyio.Event()
        self._screen = self._draw()

    async def run(self) -> str:
        """Until a person leaves, or the terminal is gone; what to say at the end, in one line."""
        async with anyio.create_task_group() as group:
            self._group = group
            for loop in (self._look, self._type, self._hear, self._tick):
                group.start_soon(loop)
        return self._receipt()

    # --------------------------------------------------------------- loops

    async def _look(self) -> None:
        while True:
            used_s = time.process_time()
            # What is asked for while it looks is looked at next.
            asked, self._asked = self._asked.is_set(), anyio.Event()
            if asked or not self._state.paused:
                await self._look_once()
                self._draw()
            used_s = time.process_time() - used_s
            with anyio.move_on_after(max(self._state.interval_s, used_s / CPU_SHARE)):
                await self._asked.wait()

    async def _look_once(self) -> None:
        try:
            self._picture = await self._watcher.look(self._state.page)
            self._away = None
        except TROUBLE as error:
            stop_if_refused(error)
            since_at = self._away.since_at if self._away is not None else self._now().ms
            self._away = Away(since_at, explained(error))

    async def _type(self) -> None:
        while True:
            with anyio.move_on_after(ESCAPE_S if self._decoder.pending else None) as waited:
                await anyio.wait_readable(self._terminal.input)
            if waited.cancelled_caught:
                self._press(self._decoder.flush())
                continue
            piece = self._terminal.read()
            if not piece:
                self._group.cancel_scope.cancel()
                return
            self._press(self._decoder.feed(piece))

    async def _hear(self) -> None:
        with anyio.open_signal_receiver(*HEARD) as signals:
            async for heard in signals:
                if heard in LEAVES:
                    self._group.cancel_scope.cancel()
                    return
                if heard == signal.SIGTSTP:
                    self._terminal.leave()
                    os.kill(os.getpid(), signal.SIGSTOP)
                if heard != signal.SIGWINCH:
                    self._terminal.enter()
                self._terminal.forget()
                self._draw()

    async def _tick(self) -> None:
        """Ages go on also while nothing else happens."""
        while True:
            await anyio.sleep(TICK_S)
            self._draw()

    # ---------------------------------------------------------------- keys

    def _press(self, keys: list[Key]) -> None:
        for key in keys:
            step = press(self._state, key, self._screen.context)
            self._state = step.state
            for effect in step.effects:
                self._perform(effect)
            if mode_of(self._state) not in TYPING:
                # The next key of the same piece is pressed at what this one brought about.
                self._screen = self._drawn()
        self._draw()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case "quit":
                self._group.cancel_scope.cancel()
            case "look":
                self._asked.set()
            case "redraw":
                self._terminal.forget()
            case _:
                self._group.start_soon(self._do, effect)

    async def _do(self, wish: Wish | Create) -> None:
        self._state = replace(self._state, message=await self._actor.do(wish))
        self._asked.set()
        self._draw()

    # ------------------------------------------------------------- drawing

    def _drawn(self) -> Screen:
        return draw(self._state, self._picture, self._away, self._now(), self._terminal.size())

    def _draw(self) -> Screen:
        self._screen = self._drawn()
        self._terminal.show(self._screen.lines, self._screen.cursor)
        return self._screen

    def _receipt(self) -> str:
        watched = age((self._now().ms - self._began_at) / 1000)
        if self._picture is None:
            return f"watched for {watched}, and saw nothing: Redis was away"
        grave = sum(finding.severity != "notice" for finding in self._picture.findings)
        pool = self._picture.snapshot.pool
        return f"watched pool {pool} for {watched}; at the end {count(grave, 'thing')} needed attention"
