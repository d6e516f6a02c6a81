"""What sidecars report, how they beat, and what the sweep took from those that went silent.

A report counts only with the token of the current attempt. Everything else changes nothing and is journalled with why.
"""

from __future__ import annotations

from itertools import islice

from msgspec.structs import replace

from agentcom.model.agent import MAX_AGENTS, MAX_SLOTS, STARTS_KEPT, AgentRecord
from agentcom.model.costs import Costs
from agentcom.model.lifecycle import RUNNING, TaskState
from agentcom.model.messages import Accepted, Beat, Finished, Goodbye, Hello, Line
from agentcom.model.task import Outcome
from agentcom.scheduler import attempts, health, spending
from agentcom.scheduler.admission import card_problem
from agentcom.scheduler.events import Beaten, Emptied, Reclaimed, Reported
from agentcom.scheduler.parts import keep_pull_request
from agentcom.scheduler.reconcile import reconcile
from agentcom.scheduler.state import State
from agentcom.scheduler.waiting import ask_if_spent
from agentcom.scheduler.work import CONTEXT_SHARE, Work

MAX_INCARNATION = 100
SAID_MAX = 200

ADOPTS_LATE: frozenset[TaskState] = frozenset({"queued", "retry_wait", "input_required"})
"""States in which no newer attempt was made since the last one was given up."""


def handle(state: State, event: Reported, now: int) -> None:
    """Take a report into account."""
    report = event.report
    match report:
        case Hello():
            _hello(state, report, event.entry, now)
        case Accepted():
            _accepted(state, report, event.entry, now)
        case Finished():
            _finished(state, report, event.entry, now)
        case Goodbye():
            _goodbye(state, report, event.entry, now)


def hear(state: State, event: Beaten, now: int) -> None:
    """A sidecar lives, and says what it does."""
    beat: Beat = event.beat
    agent = state.agents.get(beat.agent)
    if agent is None or agent.incarnation != beat.incarnation or agent.left:
        return
    heard_before_at = agent.seen_at
    _seen(state, agent, now, "beat")
    state.set_activity(agent, beat.state, now, "beat")
    # Of the same clock: how old the test was when the beat was sent, which was after the last look at all beats.
    health.tested(state, agent, beat.test, now, event.after_at - max(0, beat.at - beat.test.at))
    _follow(state, agent, beat, now)
    if event.judged:
        reconcile(state, agent, beat, heard_before_at, now)


def _follow(state: State, agent: AgentRecord, beat: Beat, now: int) -> None:
    """Beats alone tell whose workspace is still made ready, whose work is being checked, whose went back to its agent,
    and whose context is nearly full."""
    preparing, verifying = frozenset(beat.preparing), frozenset(beat.verifying)
    for token, task in islice(beat.running.items(), 2 * MAX_SLOTS):
        work = state.awaited(task, token)
        if work is None or work.record.attempts[-1].agent != agent.name:
            continue
        if token in preparing:
            work.preparing_at = now
        if token in verifying:
            attempts.accept(state, work, now, "beat")
            attempts.verify(state, work, now, "beat")
        else:
            attempts.unverify(state, work, now, "beat")
        percent = min(beat.context.get(token, 0), 100)
        if percent > max(100 * CONTEXT_SHARE, work.record.attempts[-1].context):
            work.record.attempts[-1].context = percent
            state.commit.records[work.id] = work.record


def reclaimed(state: State, event: Reclaimed, now: int) -> None:
    """An order came back from an agent that went silent: its attempt is over."""
    agent = state.agents.get(event.agent)
    state.commit.settled.append((event.agent, event.entry))
    if agent is None or not event.token:
        return
    detail = "its agent went silent; the order was reclaimed"
    attempts.lose(state, agent, event.token, now, "reclaim", detail)


def emptied(state: State, event: Emptied, now: int) -> None:
    """A silent agent has no order left to reclaim: whatever it still seems to run is lost."""
    agent = state.agents.get(event.agent)
    if agent is not None and agent.link != "online":
        for token in list(agent.running):
            attempts.lose(state, agent, token, now, "reclaim", "its agent went silent, and its order is gone")


def check_link(state: State, name: str, since_at: int, now: int) -> None:
    """A timer of the link that began at `since_at`: has this agent been silent for too long?"""
    agent = state.agents.get(name)
    if agent is None or agent.link == "offline" or agent.since_at != since_at:
        return
    stale_at = agent.seen_at + state.stale_ms(agent)
    down_at = agent.seen_at + max(state.stale_ms(agent), int(state.policy.agent_down_s * 1000))
    if now >= down_at:
        state.set_link(agent, "offline", now, "silence")
        state.set_timer(now + int(state.policy.retention_s * 1000), "forget", name)
    elif now >= stale_at:
        state.set_link(agent, "stale", now, "silence")
        state.set_timer(down_at, "link", name, agent.since_at)
    else:
        state.set_timer(stale_at, "link", name, agent.since_at)


def forget_if_gone(state: State, name: str, now: int) -> None:
    """A timer: an agent that has been offline for as long as ended tasks are kept is forgotten."""
    agent = state.agents.get(name)
    retention_ms = int(state.policy.retention_s * 1000)
    if agent is None or agent.link != "offline" or now < agent.since_at + retention_ms:
        return
    if agent.running:
        state.set_timer(now + retention_ms, "forget", name)
    else:
        del state.agents[name]
        state.suspicions.pop(name, None)
        state.matcher.remove(name)
        state.commit.agents[name] = None
        state.journal(Line(now, "agent", "retention", "offline", "", agent=name))


# ------------------------------------------------------------------ reports


def _hello(state: State, report: Hello, entry: str, now: int) -> None:
    problem = card_problem(report.agent, report.card)
    if not problem and not 1 <= len(report.incarnation) <= MAX_INCARNATION:
        problem = f"an incarnation of {len(report.incarnation)} characters, not 1 to {MAX_INCARNATION}"
    known = state.agents.get(report.agent)
    if known is not None and report.incarnation < known.incarnation and known.link == "online":
        problem = f"a newer sidecar of this name has taken over ({known.incarnation})"
    if known is None and len(state.agents) >= MAX_AGENTS:
        problem = f"the pool has {len(state.agents):,} agents already, and takes no more"
    if problem:
        state.journal(Line(now, "refused", "hello", agent=report.agent[:64], detail=problem, entry=entry))
        return
    agent = known or AgentRecord(
        name=report.agent, incarnation=report.incarnation, card=report.card, link="offline", since_at=now
    )
    if known is not None and known.incarnation != report.incarnation:
        detail = f"{report.incarnation} on {report.card.host[:64] or 'an unnamed host'} follows {known.incarnation}"
        state.journal(Line(now, "agent", "takeover", known.link, known.link, agent=agent.name, detail=detail))
    is_start = known is None or known.incarnation != report.incarnation
    if is_start:
        agent.starts = (*agent.starts[1 - STARTS_KEPT :], now)
        health.started(agent)
        agent.ghosts = {}
        state.suspicions.pop(agent.name, None)
    agent.incarnation, agent.card, agent.left = report.incarnation, report.card, False
    state.agents[agent.name] = agent
    _seen(state, agent, now, "hello")
    state.matcher.recard(agent)
    if is_start:
        health.tested(state, agent, report.test, now, now)
    elif report.test.count > agent.tests:
        # It came back, and what it says may have been found long ago: when that was, its next beat tells.
        health.found(state, agent, report.test, now)
    state.save_agent(agent)


def _seen(state: State, agent: AgentRecord, now: int, trigger: str) -> None:
    agent.seen_at = now
    if agent.link != "online":
        state.set_link(agent, "online", now, trigger)
        state.set_timer(now + state.stale_ms(agent), "link", agent.name, agent.since_at)


def _accepted(state: State, report: Accepted, entry: str, now: int) -> None:
    work = _current(state, report)
    if isinstance(work, str):
        _reject(state, report, entry, now, work)
    else:
        attempts.accept(state, work, now, "accepted")


def _finished(state: State, report: Finished, entry: str, now: int) -> None:
    agent = state.agents.get(report.agent)
    holder = agent if agent is not None and agent.running.get(report.token) == report.task else None
    if agent is not None:
        spending.told(state, agent, report)
    work = _current(state, report)
    if isinstance(work, str):
        if agent is not None:
            state.accounts.add(agent.name, Costs(messages=1))
        held = state.tasks.get(report.task)
        gave_up = report.outcome.result in ("canceled", "lost", "handed_back")
        if held is not None and _may_be_adopted(held, report):
            attempts.adopt_late(state, held, report.outcome, now)
        elif holder is not None and gave_up and held is not None and held.token == report.token:
            _over(state, held, now)
            _keep_as_evidence(state, held, report)
        else:
            _keep_as_evidence(state, held, report)
            _reject(state, report, entry, now, work)
    else:
        if report.outcome.checks or report.outcome.evidence is not None:
            attempts.verify(state, work, now, "finished")
        attempts.end_attempt(state, work, _as_meant(report.outcome), now, "finished")
    if holder is not None:
        if report.outcome.reason == "turned_away":
            # The pool knows of another sidecar, or other work, than there is: a fail-over may have lost its hello, or
            # what it works on. Until it speaks, it is given no more: else all that waits is thrown at it in turn.
            holder.ghosts[report.token] = report.task
        state.release(holder, report.token, now)
    elif agent is not None and agent.ghosts.pop(report.token, None) is not None:
        state.save_agent(agent)
    if report.outcome.usage is not None:
        ask_if_spent(state, report.task, now)


def _over(state: State, work: Work, now: int) -> None:
    """The latest attempt of a task that has ended has really come to its end."""
    attempt = work.record.attempts[-1]
    if attempt.ended_at:
        attempt.ended_at = now
        state.commit.records[work.id] = work.record
    else:
        state.end(work, now, told=False)


def _as_meant(outcome: Outcome) -> Outcome:
    """Nobody asked to end what its task still waits for: a sidecar that did so all the same has lost it."""
    return replace(outcome, result="lost", reason="lost") if outcome.result == "canceled" else outcome


def _may_be_adopted(work: Work, report: Finished) -> bool:
    """A late but rightful result: of the latest attempt, which was given up while no newer one was made."""
    if report.outcome.result != "completed" or not work.token or work.token != report.token:
        return False
    if work.record.state not in ADOPTS_LATE:
        return False
    attempt = work.record.attempts[-1]
    given_up = attempt.outcome is not None and attempt.outcome.result in ("lost", "failed")
    return given_up and attempt.agent == report.agent


def _keep_as_evidence(state: State, work: Work | None, report: Finished) -> None:
    """A result that came too late is not lost, and neither is where git has the work of one that was ended: the
    attempt's record keeps it, for people."""
    if work is None or (report.outcome.result not in ("completed", "failed") and report.outcome.evidence is None):
        return
    for attempt in work.record.attempts:
        if attempt.token != report.token or attempt.agent != report.agent:
            continue
        told, outcome = attempt.outcome, report.outcome
        if attempt.late is None and (told is None or told.result != outcome.result or outcome.evidence is not None):
            attempt.late = replace(report.outcome, value=None)
        keep_pull_request(work.record, report.outcome)
        state.commit.records[work.id] = work.record


def _goodbye(state: State, report: Goodbye, entry: str, now: int) -> None:
    agent = state.agents.get(report.agent)
    if agent is None or agent.incarnation != report.incarnation:
        detail = "goodbye of a sidecar that is not the current one"
        state.journal(Line(now, "refused", "goodbye", agent=report.agent[:64], detail=detail, entry=entry))
        return
    agent.left = True
    state.set_link(agent, "offline", now, "goodbye")
    state.save_agent(agent)
    state.set_timer(now + int(state.policy.retention_s * 1000), "forget", agent.name)


def _current(state: State, report: Accepted | Finished) -> Work | str:
    """The task whose current attempt a report is about, or why there is none."""
    work = state.tasks.get(report.task)
    if work is None:
        return "its task has ended" if report.task in state.ended else "there is no such open task"
    if not report.token or work.token != report.token:
        return f"its token is {report.token[:40]}, and the current one is {work.token or 'none'}"
    if work.record.attempts[-1].agent != report.agent:
        return f"its attempt is one of {work.record.attempts[-1].agent}"
    if work.record.state not in RUNNING:
        return f"its task is {work.record.state} now"
    return work


def _reject(state: State, report: Accepted | Finished, entry: str, now: int, why: str) -> None:
    kind = "accepted" if isinstance(report, Accepted) else f"finished, {report.outcome.result}"
    line = Line(
        now,
        "refused",
        "report",
        task=report.task[:64],
        agent=report.agent[:64],
        detail=f"report {kind!r} changes nothing: {why}{_told(report)}",
        entry=entry,
    )
    state.journal(line)


def _told(report: Accepted | Finished) -> str:
    """What a result says that nobody asked for any more, and where its work is: somebody may want to look for it."""
    if not isinstance(report, Finished):
        return ""
    outcome = report.outcome
    evidence, pull_request = outcome.evidence, outcome.pull_request
    places = [f"{evidence.branch} at {evidence.head_sha[:12]}", evidence.rescue] if evidence is not None else []
    work = ", ".join(filter(None, [*places, pull_request.url if pull_request is not None else ""]))
    summary = outcome.summary.strip()
    return (f"; its work: {work[:SAID_MAX]}" if work else "") + (f"; it said: {summary[:SAID_MAX]}" if summary else "")
