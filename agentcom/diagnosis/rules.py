"""The table of rules, and what it says of a snapshot."""

from __future__ import annotations

from agentcom.diagnosis import agents, pool, server, tasks, waiting
from agentcom.diagnosis.finding import SEVERITIES, Finding
from agentcom.diagnosis.look import Look, Rule, Trouble
from agentcom.diagnosis.server import UNREACHABLE
from agentcom.diagnosis.snapshot import Snapshot
from agentcom.settings import Policy
from agentcom.wording import one_line

TEXT_WIDTH = 300
EVIDENCE_MAX = 8


RULES: tuple[Rule, ...] = (
    Rule("leaderless", "critical", "no scheduler leads, although there is work or there are agents", pool.leaderless),
    Rule("livelock", "critical", "attempts end again and again, and no task is completed", pool.livelock),
    Rule("agent_down", "critical", "an agent is silent for over `alerts.agent_down_s` without a goodbye", agents.down),
    Rule("crash_loop", "critical", "a sidecar was started 5 times or more within 10 minutes", agents.crash_loop),
    Rule(
        "disk",
        "critical",
        "all agents that can be heard find their disk full or not writable, or one for over `alerts.agent_down_s`",
        agents.disk,
    ),
    Rule("dead", "critical", "a task used up its attempts in the last 24 hours, and was not sent back", tasks.dead),
    Rule("aof_failing", "critical", "Redis cannot write or rewrite its append-only file", server.aof_failing),
    Rule(
        "rdb_failing", "critical", "Redis could not save its last snapshot, and may refuse writes", server.rdb_failing
    ),
    Rule(
        "eviction", "critical", "Redis may drop accepted work: its maxmemory-policy is not noeviction", server.eviction
    ),
    Rule("memory", "critical", "Redis uses over 90 % of its maxmemory", server.memory),
    Rule("replica", "critical", "the address leads to a replica, which takes no writes", server.replica),
    Rule("lost", "warning", "an agent is stale or offline without a goodbye, and not down yet", agents.lost),
    Rule("unfit", "warning", "an agent's self-test found something, so it gets no work", agents.unfit),
    Rule("damaged", "warning", "a sidecar found damaged files in its journal, and set them aside", agents.damaged),
    Rule("degraded", "warning", "an agent failed too often, and gets no work for `policy.breaker_s`", agents.degraded),
    Rule(
        "stuck",
        "warning",
        "a task runs for 3 times its estimate or more, and printed nothing for over 10 minutes and its estimate",
        tasks.stuck,
    ),
    Rule("looping", "warning", "a task is at its third counted attempt or later", tasks.looping),
    Rule(
        "orphan", "warning", "an order is held by what is neither the agent's sidecar nor the scheduler", tasks.orphan
    ),
    Rule(
        "waits_for_person",
        "warning",
        "a task waits for what only a person can do; this is told also where only what is critical is",
        tasks.waits_for_person,
        asks=True,
    ),
    Rule(
        "context_full",
        "warning",
        "an agent's context window was over 80 % full as it worked on a task that is still open",
        tasks.context_full,
    ),
    Rule(
        "starved",
        "warning",
        "a task has been ready for over 5 minutes, and no agent in service could take it",
        waiting.starved,
    ),
    Rule(
        "unassigned",
        "warning",
        "a task has been ready for over 30 seconds, and an agent that could take it was idle all that time",
        waiting.unassigned,
    ),
    Rule(
        "behind",
        "warning",
        "the oldest unread entry of inbox or reports is over 30 seconds and 3 leases old, although a scheduler leads",
        pool.behind,
    ),
    Rule("inbox_full", "warning", "the inbox holds 80 % of `policy.max_inbox` or more", pool.inbox_full),
    Rule("open_full", "warning", "80 % of `policy.max_open_tasks` or more are open", pool.open_full),
    Rule("no_aof", "warning", "Redis has no append-only file", server.no_aof),
    Rule("loading", "warning", "Redis is still loading its data", server.loading),
    Rule("clients", "warning", "Redis has over 90 % of the connections that it lets in", server.clients),
    Rule("clock_skew", "warning", "this machine's clock and that of Redis differ by over 5 seconds", pool.clock_skew),
    Rule("stale", "warning", "the snapshot that was judged is over a minute old", pool.stale),
    Rule("slow", "notice", "a task runs for 3 times its estimate or more, and is not known to be stuck", tasks.slow),
    Rule(
        "backlog",
        "notice",
        "a task has been ready for over an hour, as all who could take it are busy",
        waiting.backlog,
    ),
    Rule("rate_limited", "notice", "an agent's provider takes no requests for a while", agents.rate_limited),
    Rule("agent_skew", "notice", "the clocks of an agent's machine and of Redis differ by over 5 seconds", agents.skew),
    Rule("cordoned", "notice", "a person took an agent out of service", agents.cordoned),
    Rule("draining", "notice", "a person took an agent out of service, and waits for it to be empty", agents.draining),
)
"""All that is looked for in a snapshot."""

DOCUMENTED: tuple[Rule, ...] = (UNREACHABLE, *RULES)
"""All that a finding may be of."""


def diagnose(snapshot: Snapshot, policy: Policy, now: int, *, agent_down_s: float = 300.0) -> list[Finding]:
    """What is wrong with a pool, the gravest first, and of equal gravity what lasts longest.

    Args:
        snapshot: what was seen.
        policy: the pool's.
        now: Unix time in ms, by the clock of the machine that judges.
        agent_down_s: an agent that has been silent for longer is down.
    """
    look = Look(snapshot, policy, now, agent_down_s)
    findings = [made(rule, trouble) for rule in RULES for trouble in rule.find(look)]
    return sorted(findings, key=_rank)


def unreachable(problem: str, remedy: str) -> Finding:
    """What to say instead, if no snapshot could be taken: what happened, and what to do, in one line each."""
    return made(UNREACHABLE, server.unreachable(problem, remedy))


def made(rule: Rule, trouble: Trouble) -> Finding:
    """The finding of a rule; what others wrote is made safe to print, and bounded."""
    return Finding(
        rule=rule.id,
        severity=rule.severity,
        subject=trouble.subject,
        text=one_line(trouble.text, TEXT_WIDTH),
        gist=one_line(trouble.text.removeprefix(trouble.named).strip().removeprefix("is "), TEXT_WIDTH),
        evidence=tuple(one_line(line, TEXT_WIDTH) for line in trouble.evidence[:EVIDENCE_MAX]),
        next_step=one_line(trouble.next_step, TEXT_WIDTH),
        since_at=trouble.since_at,
        asks=rule.asks,
    )


def _rank(finding: Finding) -> tuple[int, bool, int]:
    """Of unknown age comes last."""
    return SEVERITIES.index(finding.severity), not finding.since_at, finding.since_at
