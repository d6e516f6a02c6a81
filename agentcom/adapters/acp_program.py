"""The program around an agent that speaks the Agent Client Protocol: `python -m agentcom.adapters.acp_program`.

    acp_program --cwd DIR [--session ID] [--model NAME] [--permissions ask|allow|deny] -- AGENT [ARGUMENT...]

It reads what the agent is told from stdin, holds the agent as its child, and prints events as `agentcom.adapters.acp`
reads them. It needs no sidecar to go on. SIGTERM cancels the turn; an agent that does not heed that is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from agentcom.adapters.acp import line_for
from agentcom.adapters.base import (
    Alive,
    Asks,
    Context,
    Denied,
    Did,
    Event,
    Model,
    Over,
    Said,
    Session,
    Unknown,
    Used,
)
from agentcom.adapters.command import EXIT_MISCONFIGURED
from agentcom.adapters.trouble import failure
from agentcom.model.task import Usage
from agentcom.version import VERSION
from agentcom.wording import one_line

try:
    from acp import PROTOCOL_VERSION, RequestError, spawn_agent_process, text_block
    from acp.client.connection import ClientSideConnection
    from acp.schema import (
        AgentMessageChunk,
        AgentPlanUpdate,
        AgentThoughtChunk,
        AllowedOutcome,
        ClientCapabilities,
        DeniedOutcome,
        Implementation,
        PermissionOption,
        PromptResponse,
        RequestPermissionResponse,
        ToolCallProgress,
        ToolCallStart,
        ToolCallUpdate,
        UsageUpdate,
        UserMessageChunk,
    )
except ImportError:
    sys.stderr.write("this agent needs the package agent-client-protocol: pip install 'agentcom[acp]'\n")
    sys.exit(EXIT_MISCONFIGURED)

CANCEL_GRACE_S = 3.0
"""How long an agent has to heed that its turn was canceled, before it is ended. Less than a sidecar waits."""

ALIVE_EVERY_S = 1.0
"""What an agent says piece by piece is a sign of life no more often than this."""

LINE_LIMIT_BYTES = 64 * 1_048_576
AUTH_REQUIRED = -32000

FAILED = 1


class Refused(Exception):
    """The turn cannot be made, for a reason of `agentcom.model.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.over = Over(ok=False, reason=reason, detail=detail)


class NotStarted(Exception):
    """The agent's program cannot be started."""


class Listener:
    """What the agent is answered, and what is printed of what it says."""

    def __init__(self, permissions: str) -> None:
        self._permissions = permissions
        self._said: list[str] = []
        self._alive_at = 0.0
        self._deed = ""
        self.last_said = ""
        self.question = ""
        self.asked = asyncio.Event()
        self.quiet = False

    def on_connect(self, conn: Any) -> None:
        """Part of the protocol's interface."""

    async def request_permission(
        self, session_id: str, tool_call: ToolCallUpdate, options: list[PermissionOption], **_: Any
    ) -> RequestPermissionResponse:
        """Answer by the policy; where a person is to be asked, the turn ends with the question."""
        del session_id
        wish = one_line(tool_call.title or tool_call.kind or "use a tool", 200)
        if self._permissions == "ask":
            self.question = self.question or f"May it do this: {wish}?"
            show(Asks(self.question))
            self.asked.set()
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        kinds = ("allow_once", "allow_always") if self._permissions == "allow" else ("reject_once", "reject_always")
        show(Did(wish) if self._permissions == "allow" else Denied(wish))
        chosen = next((option for kind in kinds for option in options if option.kind == kind), None)
        if chosen is None:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=chosen.option_id))

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        """Print what it means; a session that is loaded is told from its beginning, which is no news."""
        del session_id
        if self.quiet:
            return
        if not isinstance(update, AgentMessageChunk):
            self.finish_saying()
        match update:
            case AgentMessageChunk():
                self._said.append(getattr(update.content, "text", ""))
                self._live()
            case ToolCallStart() | ToolCallProgress() if update.status in (None, "pending", "in_progress"):
                self._do(update.title or "")
            case AgentThoughtChunk() | AgentPlanUpdate() | ToolCallProgress() | ToolCallStart():
                self._live()
            case UsageUpdate():
                show(Context(update.used, update.size))
                if update.cost is not None and update.cost.currency == "USD":
                    show(Used(Usage(), session_cost_usd=update.cost.amount))
            case UserMessageChunk():
                pass
            case _:
                show(Unknown(type(update).__name__))

    def finish_saying(self) -> None:
        """Print the message that came in pieces."""
        said = "".join(self._said).strip()
        self._said.clear()
        if said:
            self.last_said = said
            show(Said(said))

    def _do(self, title: str) -> None:
        """Print what it does, as soon as that is known, and once."""
        if title and title != self._deed:
            self._deed = title
            show(Did(one_line(title, 200)))
        else:
            self._live()

    def _live(self) -> None:
        if time.monotonic() - self._alive_at >= ALIVE_EVERY_S:
            self._alive_at = time.monotonic()
            show(Alive())


def show(event: Event) -> None:
    """Print an event, at once and whole."""
    sys.stdout.buffer.write(line_for(event))
    sys.stdout.buffer.flush()


async def hold(options: argparse.Namespace, text: str) -> Over:
    """Start the agent, make one turn with it, and end it. Its end is printed before the agent is waited for.

    Raises:
        NotStarted: the agent cannot be.
        OSError: what it says cannot be written.
    """
    listener: Any = Listener(options.permissions)  # what it offers no agent, such as its files, it does not implement
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    program, *arguments = options.agent
    pipes = {"stderr": None, "limit": LINE_LIMIT_BYTES}
    spawned = spawn_agent_process(
        listener, program, *arguments, env=dict(os.environ), cwd=options.cwd, transport_kwargs=pipes
    )
    async with AsyncExitStack() as running:
        try:
            agent, _ = await running.enter_async_context(spawned)
        except OSError as error:
            raise NotStarted(str(error)) from error
        turn = asyncio.ensure_future(outcome_of(agent, listener, options, text, stopped))
        stop = asyncio.ensure_future(stopped.wait())
        await asyncio.wait((turn, stop), return_when=asyncio.FIRST_COMPLETED)
        if not turn.done():
            await asyncio.wait((turn,), timeout=CANCEL_GRACE_S)
        over = Over(ok=False, reason="agent_failed", detail="it was told to end, and did not heed that")
        if not turn.done():
            turn.cancel()
        else:
            over = turn.result()
        stop.cancel()
        show(over)
        return over


async def outcome_of(
    agent: ClientSideConnection,
    listener: Listener,
    options: argparse.Namespace,
    text: str,
    stopped: asyncio.Event,
) -> Over:
    """How the turn ends, whatever the agent answers."""
    try:
        return await converse(agent, listener, options, text, stopped)
    except Refused as refused:
        return refused.over
    except RequestError as error:
        said = f"{error}: {error.data}" if error.data else str(error)
        if error.code == AUTH_REQUIRED:
            return Over(ok=False, reason="auth_failed", detail=said)
        return failure(said)
    except ConnectionError:
        return Over(ok=False, reason="agent_failed", detail="the agent ended before its turn did")
    except ValueError as error:
        return Over(ok=False, reason="agent_failed", detail=f"the agent does not keep to the protocol: {error}")


async def converse(
    agent: ClientSideConnection,
    listener: Listener,
    options: argparse.Namespace,
    text: str,
    stopped: asyncio.Event,
) -> Over:
    """What is said to the agent, from its beginning to the end of its turn.

    Raises:
        Refused: there is no turn to be made.
        RequestError: the agent refuses something.
        ConnectionError: the agent ended.
        ValueError: its answer is none.
    """
    can_load = await greet(agent)
    if options.hello:
        return Over(ok=True)
    session = await open_session(agent, listener, options, can_load=can_load)
    show(Session(session))
    canceling = asyncio.ensure_future(cancel_when(agent, session, stopped, listener.asked))
    try:
        answer = await agent.prompt(session_id=session, prompt=[text_block(text)])
    finally:
        canceling.cancel()
    listener.finish_saying()
    return end_of(answer, listener)


async def greet(agent: ClientSideConnection) -> bool:
    """Tell each other what both are; whether the agent can load a session."""
    itself = await agent.initialize(
        protocol_version=PROTOCOL_VERSION,
        client_capabilities=ClientCapabilities(),
        client_info=Implementation(name="agentcom", version=VERSION),
    )
    if itself.protocol_version != PROTOCOL_VERSION:
        said = f"the agent speaks version {itself.protocol_version} of the protocol, not {PROTOCOL_VERSION}"
        raise Refused("misconfigured", said)
    if itself.agent_info is not None:
        show(Model(version=one_line(f"{itself.agent_info.name} {itself.agent_info.version}", 100)))
    return bool(itself.agent_capabilities and itself.agent_capabilities.load_session)


async def open_session(
    agent: ClientSideConnection, listener: Listener, options: argparse.Namespace, *, can_load: bool
) -> str:
    """A new session, or the one that is to be gone on with; its id."""
    if options.session:
        if not can_load:
            raise Refused("session_lost", "the agent cannot load a session")
        listener.quiet = True
        try:
            await agent.load_session(cwd=options.cwd, session_id=options.session, mcp_servers=[])
        except RequestError as error:
            if error.code == AUTH_REQUIRED:
                raise
            raise Refused("session_lost", f"the session cannot be loaded: {error}") from error
        finally:
            listener.quiet = False
        return str(options.session)
    made = await agent.new_session(cwd=options.cwd, mcp_servers=[])
    if options.model:
        selector = next((option for option in made.config_options or [] if option.category == "model"), None)
        if selector is None:
            raise Refused("misconfigured", "the agent lets no model be chosen")
        await agent.set_config_option(config_id=selector.id, session_id=made.session_id, value=options.model)
        show(Model(options.model))
    return made.session_id


async def cancel_when(agent: ClientSideConnection, session: str, *causes: asyncio.Event) -> None:
    """Cancel the turn as soon as one of the causes is given."""
    waits = [asyncio.ensure_future(cause.wait()) for cause in causes]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        with suppress(ConnectionError):
            await agent.cancel(session_id=session)
    finally:
        for wait in waits:
            wait.cancel()


def end_of(answer: PromptResponse, listener: Listener) -> Over:
    """What the agent's last answer means."""
    if answer.usage is not None:
        show(Used(usage_of(answer.usage), total=True))
    if listener.question:
        return Over(ok=False, reason="input_required", detail=listener.question, summary=listener.last_said)
    match answer.stop_reason:
        case "end_turn":
            return Over(ok=True, summary=listener.last_said)
        case "max_tokens" | "max_turn_requests" as reason:
            return Over(ok=False, reason="context_exhausted", detail=reason, summary=listener.last_said)
        case "refusal":
            return Over(ok=False, reason="agent_failed", detail="the model refused", summary=listener.last_said)
        case _:
            return Over(ok=False, reason="agent_failed", detail="its turn was canceled", summary=listener.last_said)


def usage_of(usage: Any) -> Usage:
    """Tokens by kind; agents count them so for their turn, and some for its last message alone."""
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_read_tokens or 0,
        cache_write_tokens=usage.cached_write_tokens or 0,
        reasoning_tokens=usage.thought_tokens or 0,
    )


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the command line; ends the program where they are wrong."""
    parser = argparse.ArgumentParser(prog="acp_program", description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--cwd", default=str(Path.cwd()), help="where the agent works")
    parser.add_argument("--session", default="", help="the id of a session to go on with")
    parser.add_argument("--model", default="", help="the model to use, as the agent names it")
    parser.add_argument("--text", default="", help="what the agent is told, in the place of stdin")
    parser.add_argument("--hello", action="store_true", help="only see whether the agent answers")
    parser.add_argument(
        "--permissions", choices=("ask", "allow", "deny"), default="ask", help="what to do when the agent asks for one"
    )
    parser.add_argument("agent", nargs="+", help="the agent's program and its arguments, after --")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Make one turn; 0 if it ended well, 78 if the agent cannot be started, else 1."""
    options = options_of(arguments)
    text = "" if options.hello else options.text or sys.stdin.buffer.read().decode("utf-8", "replace")
    try:
        over = asyncio.run(hold(options, text))
    except NotStarted as error:
        sys.stderr.write(f"the agent cannot be started: {error}\n")
        return EXIT_MISCONFIGURED
    except OSError as error:
        sys.stderr.write(f"what the agent says cannot be written: {error}\n")
        return FAILED
    if not over.ok:
        sys.stderr.write(f"{over.reason}: {one_line(over.detail, 300)}\n")
    return 0 if over.ok else FAILED


if __name__ == "__main__":
    # What the library logs are tracebacks of what is told as an event anyway.
    logging.disable(logging.CRITICAL)
    sys.exit(main(sys.argv[1:]))
