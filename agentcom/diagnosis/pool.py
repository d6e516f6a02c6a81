"""What may be wrong with the pool as a whole. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from agentcom.diagnosis.look import SKEW_MS, Look, Trouble, milliseconds, spoken
from agentcom.scheduler.livelock import SIGN
from agentcom.wording import count

BEHIND_MS = 30_000
"""A leader that was killed is replaced within its lease and a quarter; with the default lease, well within this."""

NEARLY_FULL = 0.8
STALE_MS = 60_000

POOL = "pool"


def livelock(look: Look) -> Iterator[Trouble]:
    """Work goes round, and none of it is done."""
    since_at = look.snapshot.signs.get(SIGN)
    if since_at is not None:
        lasts = f" for {look.since(since_at)}" if since_at else ""
        policy = look.policy
        yield Trouble(
            POOL,
            f"work has gone round{lasts} and none of it was completed",
            "agentcom journal -n 200 shows what fails where; agentcom agent cordon NAME takes an agent out",
            since_at,
            (f"{policy.livelock_requeues} attempts ended within {policy.livelock_s:g} s without a completion",),
        )


def leaderless(look: Look) -> Iterator[Trouble]:
    """Nobody leads, and somebody needs it."""
    seen = look.snapshot
    agents = sum(not agent.left for agent in seen.agents)
    if not seen.leader and (seen.open or seen.inbox or seen.reports or agents):
        yield Trouble(
            POOL,
            "no scheduler leads: nothing is assigned, and no result is taken into account",
            "start one: agentcom scheduler; if one runs, its log says what it misses",
            0,
            (
                f"{count(seen.open, 'open task')}, {count(agents, 'agent')}",
                f"{seen.inbox:,} unread in the inbox, {count(seen.reports, 'unread report')}",
            ),
        )


def behind(look: Look) -> Iterator[Trouble]:
    """A scheduler leads, and does not keep up."""
    seen = look.snapshot
    if not seen.leader:
        return
    patience_ms = max(BEHIND_MS, 3 * milliseconds(look.policy.lease_s))
    streams = (("inbox", seen.inbox, seen.inbox_since_at), ("reports", seen.reports, seen.reports_since_at))
    for name, unread, since_at in streams:
        waits_ms = look.server_now - since_at
        if since_at and waits_ms > patience_ms:
            yield Trouble(
                f"pool:{name}",
                f"the scheduler is behind: the oldest unread entry of the {name} has waited for {spoken(waits_ms)}",
                "the log of the scheduler that leads says what keeps it; agentcom journal shows whether it works",
                since_at + seen.skew_ms,
                (f"{unread:,} unread", f"leader {seen.leader}", f"{count(seen.open, 'open task')}"),
            )


def inbox_full(look: Look) -> Iterator[Trouble]:
    """Requests are about to be refused, or are."""
    unread, bound = look.snapshot.inbox, look.policy.max_inbox
    if unread >= NEARLY_FULL * bound:
        yield Trouble(
            POOL,
            f"{unread:,} requests wait unread in the inbox; at {bound:,} (policy.max_inbox) further ones are refused",
            "see whether a scheduler leads and keeps up: agentcom monitor; submit more slowly",
        )


def open_full(look: Look) -> Iterator[Trouble]:
    """Submissions are about to be left unread, or are."""
    held, bound = look.snapshot.open, look.policy.max_open_tasks
    if held >= NEARLY_FULL * bound:
        yield Trouble(
            POOL,
            f"{count(held, 'task')} open; at {bound:,} (policy.max_open_tasks) the inbox is left unread",
            "add agents that can take what waits, or raise the bound",
        )


def clock_skew(look: Look) -> Iterator[Trouble]:
    """Two clocks differ, so that ages are wrong."""
    skew_ms = look.snapshot.skew_ms
    if abs(skew_ms) > SKEW_MS + look.snapshot.latency_ms:
        side = "ahead of" if skew_ms > 0 else "behind"
        yield Trouble(
            "clock",
            f"this machine's clock is {spoken(abs(skew_ms))} {side} that of Redis: ages shown are wrong by that",
            "let both machines keep time: timedatectl set-ntp true, or chrony",
        )


def stale(look: Look) -> Iterator[Trouble]:
    """What is shown was seen too long ago."""
    old_ms = look.now - look.snapshot.at
    if old_ms > STALE_MS:
        yield Trouble(
            POOL,
            f"what is known of the pool is {spoken(old_ms)} old",
            "see whether Redis answers: agentcom check",
            look.snapshot.at,
        )
