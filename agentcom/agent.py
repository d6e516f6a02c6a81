"""The Python API for those who do work: an agent that is a function in this process.

For example:

    import agentcom

    agent = agentcom.Agent("oak", skills={"python": 3})

    @agent.handler
    async def work(task: agentcom.Task) -> str:
        return f"did {task.title}"

    await agent.run()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from agentcom.broker.connection import connected
from agentcom.errors import UsageError
from agentcom.locate import data_dir_of, redis_url, settings_from_environment
from agentcom.model.agent import Attribute
from agentcom.scheduler.admission import card_problem
from agentcom.settings import Policy
from agentcom.sidecar.card import card_of
from agentcom.sidecar.folder import agent_folder
from agentcom.sidecar.runners.python import Handler, PythonRunner
from agentcom.sidecar.service import SidecarService
from agentcom.version import VERSION


class Agent:
    """An agent whose work is a Python function, with its sidecar in the same process.

    Args:
        name: of the agent; lower-case letters, digits, dots, underscores and hyphens.
        skills: name → level, and other facts that tasks may require.
        slots: how many tasks it works on at once.
        accepts: a requirement on tasks; empty accepts everything that its skills allow.
        context_tokens: its context window; 0 means that it has no such limit.
        url: of Redis; None: what AGENTCOM_REDIS names, else the server that `agentcom up` runs on this machine.
        pool: the pool's name; None: what AGENTCOM_POOL names, else `default`.
        policy: how patient it is; the pool's agents and its scheduler should agree on it.

    Raises:
        UsageError: the name is none for an agent, or the language of requirements does not take skills or `accepts`.
    """

    def __init__(
        self,
        name: str,
        *,
        skills: Mapping[str, Attribute] | None = None,
        slots: int = 1,
        accepts: str = "",
        context_tokens: int = 0,
        url: str | None = None,
        pool: str | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.name = name
        self.policy = policy or Policy()
        self._url = url
        self._pool = pool
        self._handler: Handler | None = None
        self._service: SidecarService | None = None
        self._card = card_of(
            dict(skills or {}),
            slots=slots,
            accepts=accepts,
            context_tokens=context_tokens,
            runner="python",
            version=VERSION,
        )
        problem = card_problem(name, self._card)
        if problem:
            raise UsageError(problem)

    def handler(self, function: Handler) -> Handler:
        """Make a function do this agent's work. It is called with a `Task`; what it returns is the outcome's value,
        a text its summary, and what it raises fails the attempt, an `AttemptFailed` for a reason that the pool acts
        upon. A plain function runs in a thread."""
        self._handler = function
        return function

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stop` is called or this is cancelled.

        Stopping lets running work end. Cancelling, as by Ctrl-C, breaks it off, and the scheduler reclaims it.

        Raises:
            UsageError: there is no handler.
            ServerUnavailable: no server was found, or it cannot be reached.
            CredentialsRefused: the server refuses the user or password.
            ConfigurationError: another sidecar of this name runs on this machine.
        """
        if self._handler is None:
            raise UsageError(f"agent {self.name!r} has no handler", "Decorate a function with @agent.handler")
        settings = settings_from_environment(self._url, self._pool)
        url = redis_url(settings, os.environ)
        with agent_folder(data_dir_of(settings, os.environ), self.name) as folder:
            async with connected(url) as connections:
                runner = PythonRunner(self._handler)
                self._service = SidecarService(
                    connections, settings.pool, self.name, self._card, runner, folder, self.policy
                )
                await self._service.run(on_ready)

    def stop(self) -> None:
        """Take no more work, let what runs end, and return from `run`."""
        if self._service is not None:
            self._service.stop()
