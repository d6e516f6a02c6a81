"""What a person does with tasks that were submitted: look at them, wait for them, end them, send them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, get_args

import anyio
import typer

from agentcom.capability import InvalidRequirement
from agentcom.cli import asking, submission
from agentcom.cli.context import EXIT_FAILED, EXIT_NOBODY, EXIT_OK, Context, context_of, end, run
from agentcom.cli.lookup import NoSuchTask, all_ids, records_of, resolve
from agentcom.cli.screen import now, show, show_json, warn, width
from agentcom.cli.tail import Printer, tail
from agentcom.cli.waiting import all_completed, wait_and_tell
from agentcom.client import Client
from agentcom.errors import UsageError
from agentcom.model.agent import AgentRecord
from agentcom.model.lifecycle import ENDED, WAITING, TaskState
from agentcom.model.task import ReadRecord, TaskSpec
from agentcom.monitor import explain_view, task_view
from agentcom.monitor.wishes import More
from agentcom.scheduler.answers import MAX_ANSWER
from agentcom.wording import one_line

READ_MAX = 20_000
"""Task records that one look reads: more than a person reads, and a fraction of a second of Redis's time."""

STATES: tuple[str, ...] = get_args(TaskState)

TaskId = Annotated[str, typer.Argument(metavar="ID", help="A task, by its short id or any unique part of 4 digits.")]
TaskIds = Annotated[list[str], typer.Argument(metavar="ID...", help="Tasks, by short ids or any unique parts.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("wait", rich_help_panel="Work", epilog="Exit codes: 0 all completed · 1 not all, or not in time.")(wait)
    app.command("cancel", rich_help_panel="Work")(cancel)
    app.command("retry", rich_help_panel="Work")(retry)
    app.command("answer", rich_help_panel="Work")(answer)
    app.command("requeue", rich_help_panel="Work")(requeue)
    app.command("tasks", rich_help_panel="Look")(tasks)
    app.command("show", rich_help_panel="Look")(show_task)
    app.command("logs", rich_help_panel="Look")(logs)
    app.command("explain", rich_help_panel="Look", epilog="Exit codes: 0 somebody could · 4 nobody can take it.")(
        explain
    )


# -------------------------------------------------------------------- tasks


def tasks(
    ctx: typer.Context,
    state: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help="Only in this state; may be repeated.")
    ] = None,
    agent: Annotated[str, typer.Option(metavar="NAME", help="Only those that this agent works or worked on.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Also those that ended, as long as they are kept.")] = False,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="At most so many; 0 shows all.")] = 50,
    json: Json = False,
) -> None:
    """List tasks, the most urgent first: by priority, then what is being worked on, then the oldest.

    \b
    Examples:
      agentcom tasks
      agentcom tasks --state queued --state blocked
      agentcom tasks --all --agent oak --json
    """
    wanted = frozenset(state or ())
    for name in sorted(wanted - set(STATES)):
        raise UsageError(f"--state: expected one of {', '.join(STATES)}, not {one_line(name, 40)!r}")
    context = context_of(ctx)

    async def look() -> tuple[list[ReadRecord], str]:
        async with context.client() as client:
            return await read_tasks(client, every=every or bool(wanted & ENDED))

    records, remark = run(look)
    found = [
        record
        for record in task_view.by_urgency(records)
        if (not wanted or record.state in wanted) and (not agent or task_view.was_with(record, agent))
    ]
    shown = found[:limit] if limit else found
    if json:
        listed = [task_view.brief(record) for record in shown]
        show_json({"pool": context.settings.pool, "total": len(found), "shown": len(shown), "tasks": listed})
    elif shown:
        show(task_view.table(shown, now(), width()))
    else:
        warn("no such tasks" if wanted or agent or every else "no open tasks; --all also shows those that ended")
    if len(shown) < len(found) and not json:
        warn(f"first {len(shown):,} of {len(found):,}; --limit shows more")
    if remark:
        warn(f"agentcom: {remark}")


async def read_tasks(client: Client, *, every: bool) -> tuple[list[ReadRecord], str]:
    """Records of open tasks, or of all; those that run are always among them. And what was left out, if anything."""
    running = [task for agent in await client.agents() for task in agent.running.values()]
    if every:
        ids = await all_ids(client)
        total = len(ids)
    else:
        ids = await client.store.open_ids(READ_MAX)
        total = (await client.store.head()).open
    wanted = list(dict.fromkeys([*running, *ids[:READ_MAX]]))
    records = await client.store.records(wanted)
    remark = f"{total:,} tasks are too many to sort: only the first {READ_MAX:,} were read" if total > READ_MAX else ""
    return [record for record in records.values() if every or record.state not in ENDED], remark


def show_task(ctx: typer.Context, task: TaskId, json: Json = False) -> None:
    """Show one task whole: what was asked for, where it stands and why, every attempt, and who could take it.

    With --json: "schema" 1, "task" with the spec, all times as Unix ms (0: not yet) and the attempts with their
    outcomes, and "waits", the line that says who could take a task that waits for an agent.

    \b
    Examples:
      agentcom show tk-9f21c4
      agentcom show 9f21 --json | jq .task.attempts
    """
    context = context_of(ctx)

    async def look() -> tuple[ReadRecord, dict[str, ReadRecord], list[str]]:
        async with context.client() as client:
            (record,) = await records_of(client, [task])
            others = await client.store.records(record.spec.after)
            waits = (
                [explain_view.summary(_judged(context, record.spec, record, await client.agents()))]
                if record.state in WAITING and record.state != "input_required"
                else []
            )
            return record, others, waits

    record, others, waits = run(look)
    if json:
        show_json({"task": task_view.whole(record), "waits": "".join(waits)})
    else:
        show(task_view.page(record, others, waits, now(), width()))


# ------------------------------------------------------------- wait and ask


def wait(
    ctx: typer.Context,
    ids: TaskIds,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="Give up after so long, such as 20m.")] = None,
    json: Json = False,
) -> None:
    """Wait until tasks ended, and exit by how they did.

    \b
    Examples:
      agentcom wait tk-9f21c4 && git pull
      agentcom wait 9f21 07be --timeout 1h
    """
    context = context_of(ctx)
    limit_s = submission.duration_s("--timeout", timeout) if timeout is not None else None

    async def whole() -> dict[str, ReadRecord] | None:
        async with context.client() as client:
            wanted = await _expected(client, ids)
            with anyio.move_on_after(limit_s):
                return await wait_and_tell(client, wanted, quiet=json)
        return None

    ended = run(whole)
    if ended is None:
        warn(f"agentcom: not all ended within {timeout}; the work goes on")
        end(EXIT_FAILED)
    if json:
        show_json({"pool": context.settings.pool, "tasks": [task_view.whole(record) for record in ended.values()]})
    end(EXIT_OK if all_completed(ended) else EXIT_FAILED)


async def _expected(client: Client, typed: Sequence[str]) -> list[str]:
    """The tasks to wait for: also one that no scheduler has read yet, if it is named in full."""
    wanted = await resolve(client, typed)
    missing = set(wanted) - (await client.store.records(wanted)).keys()
    if missing and not (await client.store.head()).inbox:
        raise NoSuchTask(f"pool {client.pool!r} has no task {min(missing)}, and its inbox is empty")
    return wanted


def cancel(
    ctx: typer.Context,
    ids: TaskIds,
    why: Annotated[str, typer.Option(help="For the journal, and for whoever looks at the task later.")] = "",
) -> None:
    """End tasks that have not ended. What runs is stopped: the agent's whole process tree, within seconds.

    \b
    Examples:
      agentcom cancel tk-9f21c4
      agentcom cancel 9f21 07be --why "the release was moved"
    """
    context = context_of(ctx)

    async def whole() -> int:
        async with context.client() as client:
            return await asking.cancel(client, await resolve(client, ids), why)

    end(run(whole))


AddUsd = Annotated[str | None, typer.Option(metavar="USD", help="Add so much to its budget, such as 2.50.")]
AddTokens = Annotated[str | None, typer.Option(metavar="N", help="Add so many tokens to its budget, such as 200k.")]


def _more(add_usd: str | None, add_tokens: str | None) -> More:
    return More(submission.amount("--add-tokens", add_tokens), submission.usd("--add-usd", add_usd))


def retry(ctx: typer.Context, ids: TaskIds, add_usd: AddUsd = None, add_tokens: AddTokens = None) -> None:
    """Send failed or canceled tasks back, and tasks on that wait for a person; with all their attempts before them.

    A task that is `input_required` says in `agentcom show` what it waits for. Do that, then call this. One whose budget
    is spent needs more of it.

    \b
    Examples:
      agentcom retry tk-9f21c4
      agentcom retry tk-9f21c4 --add-usd 2
      agentcom tasks --state input_required --json | jq -r '.tasks[].id' | xargs agentcom retry
    """
    context = context_of(ctx)
    more = _more(add_usd, add_tokens)

    async def whole() -> int:
        async with context.client() as client:
            return await asking.send_back(client, await resolve(client, ids), more)

    end(run(whole))


def answer(
    ctx: typer.Context,
    task: TaskId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What its agent is told; - reads it from stdin.")],
    add_usd: AddUsd = None,
    add_tokens: AddTokens = None,
) -> None:
    """Answer what a task's agent asked: it goes on with that before others, in its session where that is possible.

    `agentcom tasks --state input_required` lists who waits, and `agentcom show` what was asked.

    \b
    Examples:
      agentcom answer tk-9f21c4 "use the second one"
      agentcom answer 9f21 - < answer.md
    """
    context = context_of(ctx)
    more = _more(add_usd, add_tokens)
    words = submission.read_stdin() if text == "-" else text
    if not words.strip():
        raise UsageError("the answer is empty", "Say what its agent should know")
    if len(words.strip()) > MAX_ANSWER:
        raise UsageError(f"the answer is longer than {MAX_ANSWER:,} characters")

    async def whole() -> int:
        async with context.client() as client:
            return await asking.answer(client, await resolve(client, [task]), words, more)

    end(run(whole))


def requeue(
    ctx: typer.Context,
    ids: TaskIds,
    why: Annotated[str, typer.Option(help="For the journal, and for whoever looks at the task later.")] = "",
    attempt: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only if this attempt is still the latest.")
    ] = None,
) -> None:
    """Take tasks from the agents that have them, or end their delay: they go elsewhere at once, and nothing counts.

    Another agent takes it, unless there is no other. Called again within a minute, it leaves the task where it went.

    \b
    Examples:
      agentcom requeue tk-9f21c4 --why "oak hangs"
      agentcom requeue 9f21 --attempt 2
    """
    context = context_of(ctx)

    async def whole() -> int:
        async with context.client() as client:
            return await asking.requeue(client, await records_of(client, ids), attempt, why, now())

    end(run(whole))


# ---------------------------------------------------------- logs and explain


def logs(
    ctx: typer.Context,
    task: TaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the task ended.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only of this attempt.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Byte for byte, with what moves the cursor and colours.")] = False,
) -> None:
    """Print the tail of what a task's agent printed, from whatever machine it works on.

    \b
    Examples:
      agentcom logs tk-9f21c4 -f
      agentcom logs 9f21 --attempt 2
    """
    context = context_of(ctx)

    async def whole() -> None:
        async with context.client() as client:
            (record,) = await records_of(client, [task])
            printer = Printer(attempt, raw=raw)
            await tail(client, record.spec.id, printer, follow=follow)
            if not printer.wrote:
                warn("no output is kept" + (f" of attempt {attempt}" if attempt is not None else ""))

    run(whole)


def explain(
    ctx: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="[ID]", help="A task, by its short id.")] = None,
    requires: Annotated[str | None, typer.Option(help="Instead of a task: what it would require.")] = None,
    context_tokens: Annotated[int, typer.Option(min=0, metavar="N", help="With --requires: context it needs.")] = 0,
    agent: Annotated[str, typer.Option(metavar="NAME", help="With --requires: the only agent that may do it.")] = "",
    json: Json = False,
) -> None:
    """Say who could take a task, who could not, and why.

    \b
    Examples:
      agentcom explain tk-9f21c4
      agentcom explain --requires "python >= 3, os == linux"
    """
    if (task is None) == (requires is None):
        raise UsageError("give either a task's ID or --requires")
    context = context_of(ctx)

    async def look() -> tuple[ReadRecord | None, list[explain_view.Judged]]:
        async with context.client() as client:
            record = (await records_of(client, [task]))[0] if task is not None else None
            spec = TaskSpec(text="-", requires=requires or "", context_tokens=context_tokens, agent=agent)
            judged = _judged(context, record.spec if record else spec, record, await client.agents())
            return record, judged

    try:
        record, judged = run(look)
    except InvalidRequirement as error:
        raise UsageError(f"--requires: {error}") from None
    if json:
        show_json(explain_view.document(judged, record))
    else:
        show(explain_view.lines(judged, record, now(), width()))
    over = record is not None and record.state in ENDED
    end(EXIT_NOBODY if explain_view.nobody(judged) and not over else EXIT_OK)


def _judged(
    context: Context, spec: TaskSpec, record: ReadRecord | None, agents: Sequence[AgentRecord]
) -> list[explain_view.Judged]:
    """What each agent is to a task now."""
    held_for = explain_view.held_for(record, context.settings.policy, now().ms)
    return explain_view.judge(spec, record, agents, held_for)
