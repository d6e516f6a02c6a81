"""The Python API for those who have work done: submit, wait, watch, cancel.

For example:

    import agentcom

    async with agentcom.Client() as pool:
        task = await pool.submit("make the tests pass", requires="python >= 2")
        outcome = await task.wait()
        print(outcome.result, outcome.summary)
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import anyio
import msgspec
from msgspec import Raw

from agentcom.broker.client_store import ClientStore
from agentcom.broker.connection import Connections, check_server, named, until_back
from agentcom.errors import Refused, UsageError
from agentcom.ids import IdMaker
from agentcom.listening import Listener
from agentcom.locate import redis_url, settings_from_environment
from agentcom.model import messages
from agentcom.model.agent import AgentRecord
from agentcom.model.codec import encode
from agentcom.model.lifecycle import ENDED
from agentcom.model.messages import MAX_TASKS_PER_SUBMIT, AnyRequest, Cancel, Line, Refusal, Retry, Submit
from agentcom.model.task import Outcome, ReadRecord, TaskSpec, outcome_of

CONFIRM_S = 5.0
"""How long `submit` waits for a scheduler to take a task on, or refuse it. Without one, the task waits in the inbox."""

RECHECK_S = 15.0
"""A waiter looks at its task's record this often even if nothing was heard: the journal is capped."""

SENT_AGAIN = 2
"""How often a command is repeated after a lost connection: requests carry ids, so to be read twice harms nothing."""

REQUESTS_PER_TRIP = 50


class TaskHandle:
    """A submitted task.

    Attributes:
        id: its full id.
        admitted: whether a scheduler was seen to take it on; false if none answered in time.
        existing: whether this very task had been submitted before, with the same idempotency key.
    """

    def __init__(self, client: Client, task: str, *, admitted: bool, existing: bool = False) -> None:
        self._client = client
        self.id = task
        self.admitted = admitted
        self.existing = existing

    async def record(self) -> ReadRecord | None:
        """What the pool knows of it now; None before a scheduler has read its submission."""
        return await self._client.record(self.id)

    async def wait(self, timeout_s: float | None = None) -> Outcome:
        """Wait until it ended, however it ended. A failed task is an outcome, not an exception.

        Args:
            timeout_s: give up after so many seconds; None waits for ever.

        Raises:
            TimeoutError: it has not ended in time. It goes on all the same.
        """
        return await self._client.wait(self.id, timeout_s)

    async def cancel(self, why: str = "") -> bool:
        """End it, also while it runs. See `Client.cancel`.

        Raises:
            Refused: it has completed, failed or been refused already. To cancel a canceled task is no error.
        """
        return await self._client.cancel(self.id, why)

    async def retry(self, *, add_tokens: int = 0, add_usd: float = 0.0) -> bool:
        """Send it back after it failed or was canceled, or on if it waits for a person. See `Client.retry`.

        Raises:
            Refused: it has neither failed nor been canceled, and does not wait for a person.
        """
        return await self._client.retry(self.id, add_tokens=add_tokens, add_usd=add_usd)

    async def answer(self, text: str) -> bool:
        """Answer what its agent asked. See `Client.answer`, and what it raises."""
        return await self._client.answer(self.id, text)

    async def requeue(self, why: str = "") -> bool:
        """Take it from the agent that has it, and let it go elsewhere. See `Client.requeue`, and what it raises."""
        return await self._client.requeue(self.id, why)


class Client:
    """A connection to a pool, for use with `async with`.

    Args:
        url: of Redis, such as `redis://host:6379/0` or `unix:///path`. None: what AGENTCOM_REDIS names, else the
            server that `agentcom up` runs on this machine.
        pool: the pool's name; None: what AGENTCOM_POOL names, else `default`.

    Raises:
        ServerUnavailable: no server was found, or it cannot be reached.
        CredentialsRefused: the server refuses the user or password.
    """

    def __init__(self, url: str | None = None, pool: str | None = None) -> None:
        settings = settings_from_environment(url, pool)
        self.url = redis_url(settings, os.environ)
        self.pool = settings.pool
        self._ids = IdMaker(lambda: time.time_ns() // 1_000_000, os.urandom)

    async def __aenter__(self) -> Self:
        self.connections = Connections(self.url, repeats=SENT_AGAIN)
        self.store = ClientStore(self.connections, self.pool)
        self._listener = Listener(self.store)
        try:
            await check_server(self.connections.commands, self.url)
            self._group = await anyio.create_task_group().__aenter__()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Stop listening and disconnect. An error of the body goes on as it is, not as one of a group."""
        try:
            if isinstance(error, anyio.get_cancelled_exc_class()):
                return await self._group.__aexit__(kind, error, trace)
            self._group.cancel_scope.cancel()
            await self._group.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await self._close()
        return None

    async def _close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self.connections.close()

    # -------------------------------------------------------------- asking

    async def submit(self, text: str, *, confirm_s: float = CONFIRM_S, **spec: Any) -> TaskHandle:
        """Have a task done.

        Args:
            text: what is to be done.
            confirm_s: how long to wait for a sign that a scheduler takes it on, in seconds; 0 does not wait.
            spec: any other field of `agentcom.TaskSpec`, such as `requires="python >= 2"` or `priority="urgent"`.

        Raises:
            Refused: the scheduler does not take it on, or the inbox is full, with the reason.
            UsageError: there is no such field, or a value is of the wrong type.
            ServerUnavailable: Redis is away.
        """
        handles = await self.submit_many([{"text": text, **spec}], confirm_s=confirm_s)
        return handles[0]

    async def submit_many(
        self, specs: Iterable[Mapping[str, Any] | TaskSpec], *, confirm_s: float = CONFIRM_S
    ) -> list[TaskHandle]:
        """Have many tasks done; a task may name an earlier one, or a later one of the same 100, in `after`.

        Raises:
            Refused: some were not taken on; those before and after them were. It names each with its reason.
        """
        outcomes = await self.submit_each(specs, confirm_s=confirm_s)
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
        if refused:
            raise Refused("; ".join(f"{refusal.task}: {refusal.reason}" for refusal in refused))
        return [outcome for outcome in outcomes if isinstance(outcome, TaskHandle)]

    async def submit_each(
        self, specs: Iterable[Mapping[str, Any] | TaskSpec], *, confirm_s: float = CONFIRM_S
    ) -> list[TaskHandle | Refusal]:
        """Like `submit_many`, with a refusal as a value in the place of the task that it is about.

        Where the inbox has no room for all of it, none of it is sent, and each is refused.
        """
        made = [self._spec(spec) for spec in specs]
        parts = [made[first : first + MAX_TASKS_PER_SUBMIT] for first in range(0, len(made), MAX_TASKS_PER_SUBMIT)]
        if confirm_s > 0 and made:
            self._listen()
            await self._listener.ready()
        requests = [Submit(tasks=[Raw(encode(spec)) for spec in part]) for part in parts]
        entries, unsent = await self._request_all(requests)
        answers: list[TaskHandle | Refusal] = []
        read = True
        for part, entry in zip(parts, entries, strict=False):
            read = read and await self._until_read(entry, anyio.current_time() + confirm_s)
            answers += await self._answers(part, entry, admitted=read)
        answers += [Refusal(spec.id, unsent) for part in parts[len(entries) :] for spec in part]
        return answers

    async def cancel(self, task: str, why: str = "") -> bool:
        """End a task, also while it runs. False if no scheduler took the request in time: it waits in the inbox.

        Raises:
            Refused: there is no such task, or it has ended.
        """
        return await self._ask(Cancel(task=task, why=why))

    async def retry(self, task: str, *, add_tokens: int = 0, add_usd: float = 0.0) -> bool:
        """Send a failed or canceled task back, or one on that waits for a person; with all its attempts before it, and
        so much more budget. False if no scheduler took the request in time: it waits in the inbox.

        Raises:
            Refused: there is no such task, it has neither failed nor been canceled, and waits for no person; or nothing
                is left of its budget.
        """
        generation = await self._generation(task)
        return await self._ask(Retry(task=task, generation=generation, add_tokens=add_tokens, add_usd=add_usd))

    async def answer(self, task: str, text: str) -> bool:
        """Answer what a task's agent asked: it goes on with that. False if no scheduler took it in time.

        Raises:
            Refused: there is no such task, or it does not wait for an answer.
        """
        return await self._ask(messages.Answer(task=task, text=text, generation=await self._generation(task)))

    async def requeue(self, task: str, why: str = "", generation: int | None = None) -> bool:
        """Take a task from the agent that has it, and let it go elsewhere at once; the attempt does not count. False if
        no scheduler took the request in time. Only attempt `generation` is meant, of None the one that it has now: a
        task that went on meanwhile is left alone.

        Raises:
            Refused: there is no such task, it has ended, or it waits for a person.
        """
        generation = await self._generation(task) if generation is None else generation
        return await self._ask(messages.Requeue(task=task, generation=generation, why=why))

    async def cordon(self, agent: str) -> bool:
        """Give an agent no more work; what it has it keeps. False if no scheduler took the request in time. Raises
        `Refused` if there is no such agent, as the next three do."""
        return await self._ask(messages.Cordon(agent=agent))

    async def drain(self, agent: str) -> bool:
        """Like `cordon`, and when what it has came to an end, the journal says so with the trigger `drained`."""
        return await self._ask(messages.Drain(agent=agent))

    async def resume(self, agent: str) -> bool:
        """Undo `cordon` and `drain`."""
        return await self._ask(messages.Resume(agent=agent))

    async def reset(self, agent: str) -> bool:
        """Forget what an agent is degraded or rate limited for: somebody mended it."""
        return await self._ask(messages.Reset(agent=agent))

    async def ask_each(self, requests: Sequence[AnyRequest]) -> list[tuple[bool, str]]:
        """Send many requests. Of each: whether it was answered in time, and why it was refused, if it was."""
        self._listen()
        await self._listener.ready()
        entries, unsent = await self._request_all(requests)
        answers: list[tuple[bool, str]] = []
        read = True
        for entry in entries:
            read = read and await self._until_read(entry, anyio.current_time() + CONFIRM_S)
            refusals = (await self.store.refusals(entry) if read else None) or []
            answers.append((read, refusals[0].reason if refusals else ""))
        return answers + [(True, unsent)] * (len(requests) - len(entries))

    async def ask_whole(self, request: AnyRequest) -> tuple[bool, list[str]]:
        """Send one request. Whether it was answered in time, and every reason for which part of it was refused.

        Raises:
            Refused: the inbox is full.
            ServerUnavailable: Redis is away.
        """
        self._listen()
        await self._listener.ready()
        (entry,) = await self._request([request], more=0, begun=False)
        if not await self._until_read(entry, anyio.current_time() + CONFIRM_S):
            return False, []
        return True, [refusal.reason for refusal in await self.store.refusals(entry) or []]

    # ------------------------------------------------------------- looking

    async def record(self, task: str) -> ReadRecord | None:
        """What the pool knows of a task."""
        return (await self.store.records([task])).get(task)

    async def agents(self) -> list[AgentRecord]:
        """The agents that the pool knows."""
        return await self.store.agents()

    async def wait(self, task: str, timeout_s: float | None = None) -> Outcome:
        """Wait until a task ended. See `TaskHandle.wait`."""
        self._listen()
        with anyio.fail_after(timeout_s), self._listener.hear_end(task) as heard:
            while True:
                record = await until_back(lambda: self.record(task), lambda _: None)
                if record is not None and record.state in ENDED:
                    return outcome_of(record)
                with anyio.move_on_after(RECHECK_S):
                    await heard.wait()

    async def watch(self, tasks: Sequence[str] | None = None) -> AsyncIterator[Line]:
        """Lines of the journal as they are written, of these tasks or of all; for ever."""
        wanted = None if tasks is None else set(tasks)
        since = await self.store.journal_end()
        while True:
            for entry, lines in await until_back(lambda: self.store.journal(since, 5_000), lambda _: None):  # noqa: B023
                since = entry
                for line in lines:
                    if wanted is None or line.task in wanted:
                        yield line

    # ------------------------------------------------------------- private

    def _listen(self) -> None:
        if not self._listener.started:
            self._listener.started = True
            self._group.start_soon(self._listener.run)

    def _spec(self, given: Mapping[str, Any] | TaskSpec) -> TaskSpec:
        try:
            spec = given if isinstance(given, TaskSpec) else msgspec.convert(dict(given), TaskSpec)
        except msgspec.ValidationError as error:
            raise UsageError(f"a task cannot be made of this: {error}") from error
        return spec if spec.id else msgspec.structs.replace(spec, id=self._ids.make())

    async def _request(self, requests: Sequence[AnyRequest], *, more: int, begun: bool) -> list[str]:
        """Send requests. Sending them again after a lost reply is harmless: tasks carry their ids."""
        try:
            return await self.store.request(requests, more=more, begun=begun)
        except Refused:
            raise
        except Exception as error:
            raise named(error, self.url) from error

    async def _request_all(self, requests: Sequence[AnyRequest]) -> tuple[list[str], str]:
        """Send requests that belong together. Their entries; and why the rest was not sent, if the inbox is full."""
        entries: list[str] = []
        for first in range(0, len(requests), REQUESTS_PER_TRIP):
            part = requests[first : first + REQUESTS_PER_TRIP]
            more = len(requests) - first - len(part) if not first else 0
            try:
                entries += await self._request(part, more=more, begun=first > 0)
            except Refused as refused:
                return entries, str(refused)
        return entries, ""

    async def _answers(self, specs: Sequence[TaskSpec], entry: str, *, admitted: bool) -> list[TaskHandle | Refusal]:
        refusals = (await self.store.refusals(entry) or []) if admitted else []
        by_task = {refusal.task: refusal for refusal in refusals}
        unnamed = [refusal for refusal in refusals if not refusal.task]
        return [
            self._answer(spec, by_task.get(spec.id) or next(iter(unnamed), None), admitted=admitted) for spec in specs
        ]

    def _answer(self, spec: TaskSpec, refusal: Refusal | None, *, admitted: bool) -> TaskHandle | Refusal:
        if refusal is None:
            return TaskHandle(self, spec.id, admitted=admitted)
        if refusal.existing:
            return TaskHandle(self, refusal.existing, admitted=True, existing=True)
        return refusal

    async def _generation(self, task: str) -> int:
        """Which attempt of a task is the latest: what is asked of that one is done once, however often it arrives."""
        record = await self.record(task)
        return record.generation if record is not None else 0

    async def _ask(self, request: AnyRequest) -> bool:
        ((taken, refusal),) = await self.ask_each([request])
        if refusal:
            raise Refused(refusal)
        return taken

    async def _until_read(self, entry: str, deadline: float) -> bool:
        """Wait until the scheduler has taken an inbox entry into account; false if none does in time.

        Whatever it commits leads to a line in the journal, at which it is worth looking again.
        """
        while anyio.current_time() < deadline:
            with self._listener.hear_any() as heard:
                if await self.store.taken_into_account(entry):
                    return True
                with anyio.move_on_after(min(0.5, deadline - anyio.current_time())):
                    await heard.wait()
        return False
