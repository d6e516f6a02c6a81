"""Sends what a person asked for on the screen into the inbox, as every command does, and says what came of it."""

from __future__ import annotations

from agentcom.client import Client, TaskHandle
from agentcom.errors import AgentComError, CredentialsRefused
from agentcom.ids import short
from agentcom.model.task import TaskSpec
from agentcom.monitor.live.state import Create
from agentcom.monitor.wishes import Wish

WAITS = "no scheduler answered in time: it waits in the inbox, and is done as soon as one runs"


class Actor:
    """Does what was asked for.

    Args:
        url: of Redis.
        pool: name of the pool.
    """

    def __init__(self, url: str, pool: str) -> None:
        self._url = url
        self._pool = pool

    async def do(self, wish: Wish | Create) -> str:
        """What came of it, in one line, whatever that is."""
        try:
            async with Client(self._url, self._pool) as client:
                return await (_create(client, wish.spec) if isinstance(wish, Create) else _ask(client, wish))
        except CredentialsRefused as error:
            return f"not done: this user may look, but not write ({error.problem})"
        except AgentComError as error:
            return f"not done: {error}"


async def _ask(client: Client, wish: Wish) -> str:
    if wish.request is None:
        return f"{wish.name} {wish.said}"
    ((taken, refusal),) = await client.ask_each([wish.request])
    if refusal:
        return f"{wish.name}: {refusal}"
    return f"{wish.name} {wish.said}" if taken else f"{wish.name}: {WAITS}"


async def _create(client: Client, spec: TaskSpec) -> str:
    (answer,) = await client.submit_each([spec])
    if not isinstance(answer, TaskHandle):
        return f"refused: {answer.reason}"
    return f"{short(answer.id)} submitted" if answer.admitted else f"{short(answer.id)}: {WAITS}"
