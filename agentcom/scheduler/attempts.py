"""An attempt's beginning and end, and what the end means for its task and for those that wait for it."""

from __future__ import annotations

from agentcom.model.agent import AgentRecord
from agentcom.model.codec import encode, read_spec
from agentcom.model.costs import Costs
from agentcom.model.lifecycle import ENDED, RUNNING
from agentcom.model.messages import DeadLetter, Line, Stop
from agentcom.model.reasons import NO_FAILURE, class_of
from agentcom.model.task import ATTEMPTS_KEPT, Attempt, Outcome
from agentcom.scheduler import health, questions
from agentcom.scheduler.assignment import branch_of, order_of
from agentcom.scheduler.livelock import SIGN
from agentcom.scheduler.parts import grant, keep_pull_request, leave, said_of_parts
from agentcom.scheduler.retry import Decision, Past, decide
from agentcom.scheduler.state import State
from agentcom.scheduler.waiting import make_ready, make_ready_later
from agentcom.scheduler.work import Work, agents_to_avoid

SUCCESS_MEMORY = 0.9
"""How much of an agent's success share the attempts before the last one make up."""


def assign(state: State, work: Work, agent: AgentRecord, now: int) -> None:
    """Make a new attempt: count it, give it a token, order it. It counts before it runs, crashes included."""
    record = work.record
    record.generation += 1
    token = f"{record.generation}.{state.nonce()}"
    attempt = Attempt(record.generation, token, agent.name, agent.incarnation, now)
    record.attempts = (*record.attempts[1 - ATTEMPTS_KEPT :], attempt)
    record.note = ""
    record.branch = record.branch or branch_of(agent.name, work.id)
    agent.running[token] = work.id
    state.used += 1
    agent.used = state.used
    state.move(work, "assigned", now, "match")
    state.commit.agents[agent.name] = agent
    state.order(agent.name, encode(order_of(work, agent)))
    state.set_timer(now + int(state.policy.accept_s * 1000), "accept", work.id, record.generation)


def accept(state: State, work: Work, now: int, trigger: str) -> None:
    """The agent showed life on its current attempt."""
    if work.record.state == "assigned":
        work.record.attempts[-1].accepted_at = now
        state.move(work, "working", now, trigger)


def verify(state: State, work: Work, now: int, trigger: str) -> None:
    """The agent is done with its current attempt, and its work is being checked. That shows life, too."""
    if work.record.state == "assigned":
        state.move(work, "working", now, trigger)
    if work.record.state == "working":
        state.move(work, "verifying", now, trigger)


def unverify(state: State, work: Work, now: int, trigger: str) -> None:
    """Checks failed, and the agent works on with what they said."""
    if work.record.state == "verifying":
        state.move(work, "working", now, trigger)


def end_attempt(state: State, work: Work, outcome: Outcome, now: int, trigger: str) -> None:
    """Take an outcome of the current attempt into account. Its slot is released by whoever knows that it is over."""
    attempt = work.record.attempts[-1]
    state.end(work, now, told=trigger == "finished", completed=outcome.result == "completed")
    attempt.outcome = outcome
    agent = state.agents.get(attempt.agent)
    record = work.record
    if outcome.result == "completed":
        keep_pull_request(record, outcome)
        complete(state, work, agent, now, trigger)
        return
    got_on = leave(record, outcome)
    parts = record.part - record.granted_parts
    past = Past(record.counted - record.granted, record.handbacks, record.waits, parts)
    decision = decide(outcome, past, work.max_attempts, state.policy, f"{work.id}.{record.generation}")
    _judge_agent(state, agent, attempt, outcome, decision, now)
    match decision.step:
        case "handed_back":
            attempt.counted = False
            record.handbacks += 1
            if outcome.reason != "handed_back":
                _note_requeue(state, now)  # of who stops, nothing goes round
            if decision.delay_ms:
                make_ready_later(state, work, decision.delay_ms, now, trigger, outcome)
            else:
                make_ready(state, work, now, trigger, outcome, first=True)
        case "wait":
            attempt.counted = False
            record.waits += 1
            make_ready(state, work, now, trigger, outcome, first=True)
        case "continue":
            attempt.counted = False
            record.part += 1
            if not got_on:
                _note_requeue(state, now)
            make_ready(state, work, now, trigger, outcome, first=True)
        case "ask_person":
            questions.ask(state, work, outcome, now, trigger)
        case "give_up":
            give_up(state, work, said_of_parts(outcome, parts), now, trigger, decision)
        case "again":
            _again(state, work, outcome, decision, now, trigger)


def complete(state: State, work: Work, agent: AgentRecord | None, now: int, trigger: str) -> None:
    """The task is done, and what waits for it goes on."""
    if agent is not None:
        _rate(state, agent, good=True)
        health.completed(state, agent, now)
    _livelock_is_over(state, "a task completed", now)
    state.move(work, "completed", now, trigger)
    release_dependants(state, work.id, now)


def adopt_late(state: State, work: Work, outcome: Outcome, now: int) -> None:
    """The attempt was given up, but came to its end before another was made: its result is as good as any."""
    attempt = work.record.attempts[-1]
    attempt.outcome = outcome
    attempt.ended_at = now
    state.accounts.add(attempt.agent, Costs(completed=1))
    keep_pull_request(work.record, outcome)
    complete(state, work, state.agents.get(attempt.agent), now, "late")


def _judge_agent(
    state: State, agent: AgentRecord | None, attempt: Attempt, outcome: Outcome, decision: Decision, now: int
) -> None:
    """What an attempt that did not complete says about the agent that made it."""
    if agent is None:
        return
    if decision.step == "handed_back":
        if outcome.reason == "unfit":
            health.unfit(state, agent, outcome.detail, now, "refused")
    elif class_of(outcome.reason) == "wait":
        health.rate_limited(state, agent, outcome, now)
    elif outcome.reason not in NO_FAILURE:
        _rate(state, agent, good=False)
        health.failed(state, agent, outcome, attempt.assigned_at, now)


def _note_requeue(state: State, now: int) -> None:
    if state.livelock.requeued(now):
        policy = state.policy
        detail = f"{policy.livelock_requeues} attempts ended within {policy.livelock_s:g} s, and no task completed"
        state.journal(Line(now, "pool", "livelock", "", SIGN, detail=detail))
        state.commit.signs[SIGN] = str(now)
        watch_livelock(state, now)


def watch_livelock(state: State, now: int) -> None:
    """Look again after a while: it is also over when nothing goes round any more."""
    state.set_timer(now + int(state.policy.livelock_s * 1000), "livelock", "")


def look_at_livelock(state: State, now: int) -> None:
    """A timer: is it over?"""
    if not state.livelock.said:
        return
    if state.livelock.is_still(now):
        watch_livelock(state, now)
    else:
        _livelock_is_over(state, "nothing was requeued since", now)


def _livelock_is_over(state: State, why: str, now: int) -> None:
    if state.livelock.over():
        state.journal(Line(now, "pool", "livelock", SIGN, "", detail=why))
        state.commit.signs[SIGN] = None


def _again(state: State, work: Work, outcome: Outcome, decision: Decision, now: int, trigger: str) -> None:
    work.record.retried = True
    _note_requeue(state, now)
    work.avoid |= agents_to_avoid(work.record)
    if decision.delay_ms:
        make_ready_later(state, work, decision.delay_ms, now, trigger, outcome)
    else:
        make_ready(state, work, now, trigger, outcome)


def give_up(
    state: State, work: Work, outcome: Outcome, now: int, trigger: str, decision: Decision | None = None
) -> None:
    """The task fails, and with it what waits for it. Out of attempts, it becomes a dead letter."""
    state.move(work, "failed", now, trigger, reason=outcome.reason, detail=outcome.detail)
    if decision is not None and decision.dead:
        heading = read_spec(work.record.spec).heading
        counted = work.record.counted
        state.bury(DeadLetter(work.id, heading, now, outcome.reason, outcome.detail, counted))
    fail_dependants(state, work.id, now)


def stop_running(state: State, work: Work, why: str) -> None:
    """Order the agent to end an attempt that is not wanted any more; the slot is free once it says so."""
    agent = state.holder_of(work)
    if agent is not None:
        incarnation = work.record.attempts[-1].incarnation
        state.remind(agent.name, Stop(incarnation=incarnation, task=work.id, token=work.token, why=why))


def tell_to_stop(state: State, agent: AgentRecord, task: str, token: str, why: str) -> None:
    """Order the agent's present sidecar to end an attempt, should it run there."""
    state.remind(agent.name, Stop(incarnation=agent.incarnation, task=task, token=token, why=why))


def expire(state: State, work: Work, now: int) -> None:
    """It was not done in time, and is not wanted any more."""
    stop_running(state, work, "expired")
    give_up(
        state,
        work,
        Outcome("failed", "expired", "it was not done in the time its submitter set"),
        now,
        "expiry",
    )


def end_acceptance(state: State, work: Work, now: int) -> None:
    """The agent showed no life on its attempt in time: the work goes elsewhere.

    The time begins when the agent is woken. Before, its sidecar makes a workspace ready, which beats tell of, and which
    may take `prepare_s`.
    """
    policy, attempt = state.policy, work.record.attempts[-1]
    latest = attempt.assigned_at + int((policy.prepare_s + policy.accept_s) * 1000)
    due_at = min(work.preparing_at + int(policy.accept_s * 1000), latest)
    if work.preparing_at >= attempt.assigned_at and now < due_at:
        state.set_timer(due_at, "accept", work.id, work.record.generation)
        return
    stop_running(state, work, "not accepted in time")
    detail = f"no sign of life from the agent within {state.policy.accept_s:g} s of its assignment"
    end_attempt(state, work, Outcome("failed", "accept_timeout", detail), now, "accept_timeout")


def lose(state: State, agent: AgentRecord, token: str, now: int, trigger: str, detail: str) -> None:
    """What was given to an agent that is silent is taken from it. Should it live after all, it may still be at it."""
    end_if_current(state, agent, token, now, trigger, detail)
    if token in agent.running:
        agent.ghosts[token] = agent.running[token]
    state.release(agent, token, now)


def end_if_current(state: State, agent: AgentRecord, token: str, now: int, trigger: str, detail: str) -> None:
    """End this attempt as lost, if it is the one that its task is waiting for."""
    work = state.awaited(agent.running.get(token, ""), token)
    if work is not None:
        end_attempt(state, work, Outcome("lost", "lost", detail), now, trigger)


def requeue(state: State, work: Work, why: str, now: int) -> None:
    """A person takes it from its agent, or ends its delay: it goes on at once, and nothing counts against it."""
    record = work.record
    outcome = Outcome("handed_back", "requeued", why)
    if record.state in RUNNING:
        attempt = record.attempts[-1]
        stop_running(state, work, why or "requeued")
        state.end(work, now, told=False)
        attempt.outcome, attempt.counted = outcome, False
        record.granted += 1
        work.avoid = agents_to_avoid(record)
    make_ready(state, work, now, "requeue", outcome, first=True)


def send_on(state: State, work: Work, now: int) -> None:
    """A person did what it waited for: it goes on, with all its attempts before it again."""
    grant(work.record)
    work.avoid = agents_to_avoid(work.record)
    make_ready(state, work, now, "retry")


def release_dependants(state: State, done: str, now: int) -> None:
    """What waited for a completed task waits for one less."""
    for id_ in sorted(state.dependants.pop(done, ())):
        work = state.tasks[id_]
        work.record.waiting_for = tuple(other for other in work.record.waiting_for if other != done)
        state.commit.records[id_] = work.record
        if not work.record.waiting_for:
            make_ready(state, work, now, "dependency")


def fail_dependants(state: State, failed: str, now: int) -> None:
    """What waits for a task that will not complete cannot be done, and neither what waits for that."""
    pending = [failed]
    while pending:
        cause = pending.pop()
        for id_ in sorted(state.dependants.pop(cause, ())):
            work = state.tasks[id_]
            if work.record.state not in ENDED:
                detail = f"it waits for {cause}, which did not complete"
                state.move(work, "failed", now, "dependency", reason="dependency_failed", detail=detail)
                pending.append(id_)


def _rate(state: State, agent: AgentRecord, *, good: bool) -> None:
    state.commit.agents[agent.name] = agent
    agent.completed += good
    agent.failed += not good
    agent.success = SUCCESS_MEMORY * agent.success + (1 - SUCCESS_MEMORY) * good
