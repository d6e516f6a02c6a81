"""What a person answers to an agent's question, adds to a budget, and leaves unanswered."""

from __future__ import annotations

from collections.abc import Iterable

from agentcom.model.messages import Answer, Refusal, Retry
from agentcom.model.task import CarriedRecord, Outcome
from agentcom.scheduler import attempts
from agentcom.scheduler.parts import grant
from agentcom.scheduler.state import State
from agentcom.scheduler.waiting import make_ready, withdraw
from agentcom.scheduler.work import Work, agents_to_avoid
from agentcom.wording import AMOUNT_MAX, USD_MAX

MAX_ANSWER = 16_000


def handle(state: State, request: Answer, record: CarriedRecord | None, now: int) -> Iterable[Refusal]:
    """Take an answer on, or refuse it. The same answer again changes nothing."""
    work = state.tasks.get(request.task)
    text = request.text.strip()
    if record is None:
        yield Refusal(request.task, f"there is no task {request.task[:80]!r}")
    elif not 1 <= len(text) <= MAX_ANSWER:
        yield Refusal(request.task, f"an answer of {len(text):,} characters, not 1 to {MAX_ANSWER:,}")
    elif request.generation not in (0, record.generation):
        if record.answer != text:
            yield Refusal(request.task, "it has gone on since that was asked")
    elif work is not None and record.waits_for_answer:
        problem = budget_problem(work, request)
        if problem:
            yield Refusal(request.task, problem)
        else:
            add_to_budget(record, request)
            _answer(state, work, text, now)
    elif record.answer != text:
        yield Refusal(request.task, _not_waiting(record))


def unanswered(state: State, work: Work, now: int) -> None:
    """A timer: nobody answered in time."""
    if work.record.state == "input_required" and 0 < work.record.answer_by <= now:
        detail = f"nobody answered within {state.policy.answer_s:g} s"
        attempts.give_up(state, work, Outcome("failed", "unanswered", detail), now, "deadline")


def budget_problem(work: Work, request: Answer | Retry) -> str:
    """Why it cannot go on with what is left of its budget and what is added, in one line; empty if it can."""
    tokens, usd = request.add_tokens, request.add_usd
    if not (0 <= tokens <= AMOUNT_MAX and 0 <= usd <= USD_MAX):
        return f"{tokens} tokens and ${usd:g} to add, not 0 to {AMOUNT_MAX:,} and 0 to {USD_MAX:,}"
    if (tokens and not work.budget_tokens) or (usd and not work.budget_usd):
        return f"it has no budget of {'tokens' if tokens and not work.budget_tokens else 'money'} to add to"
    overspent = work.overspent(tokens, usd)
    return f"{overspent}: add to its budget with --add-tokens or --add-usd" if overspent else ""


def add_to_budget(record: CarriedRecord, request: Answer | Retry) -> None:
    """Let all attempts together use so much more."""
    record.granted_tokens += request.add_tokens
    record.granted_usd += request.add_usd


def _answer(state: State, work: Work, text: str, now: int) -> None:
    """It goes on before others of its priority, and where a slot was kept for it, at once."""
    keeper = state.keeper_of(work)
    record = work.record
    grant(record)
    record.answer = text
    record.retried = False
    work.avoid = agents_to_avoid(record)
    make_ready(state, work, now, "answer", first=True)
    if keeper is not None and keeper.free_slots:
        attempts.assign(state, withdraw(state, work), keeper, now)
        state.save_agent(keeper)


def _not_waiting(record: CarriedRecord) -> str:
    if record.state != "input_required":
        return f"it waits for no answer: it is {record.state}"
    return f"it waits for no answer, but for a person: {record.reason}: {record.detail}"
