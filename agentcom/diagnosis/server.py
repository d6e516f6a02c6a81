"""What may be wrong with Redis. What it does not tell of itself is unknown, and no finding. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from agentcom.diagnosis.look import Look, Rule, Trouble
from agentcom.diagnosis.snapshot import Server
from agentcom.wording import count, size

NEARLY_FULL_PERCENT = 90
SIZE_MAX = 10**18
OK = "ok"
SUBJECT = "redis"


def aof_failing(look: Look) -> Iterator[Trouble]:
    """The append-only file cannot be written, or not be rewritten."""
    for server in _told(look):
        failed = [
            f"the last {what}: {status}"
            for what, status in (("write to it", server.aof_write), ("rewrite of it", server.aof_rewrite))
            if server.aof and status not in ("", OK)
        ]
        if failed:
            yield Trouble(
                SUBJECT,
                f"Redis cannot keep its append-only file ({failed[0]}): what it accepts now may be lost",
                "look at the server's disk (space, permissions) and its log",
                evidence=tuple(failed),
            )


def rdb_failing(look: Look) -> Iterator[Trouble]:
    """A snapshot could not be saved."""
    for server in _told(look):
        if server.rdb_save not in ("", OK):
            yield Trouble(
                SUBJECT,
                f"Redis could not save its last snapshot ({server.rdb_save}), and may refuse every write until it can",
                "look at the server's disk (space, permissions), its memory and its log",
                evidence=("stop-writes-on-bgsave-error yes makes it refuse writes: redis-cli CONFIG GET stop-writes*",),
            )


def no_aof(look: Look) -> Iterator[Trouble]:
    """There is no append-only file."""
    for server in _told(look):
        if server.aof is False:
            yield Trouble(
                SUBJECT,
                "Redis has no append-only file: restarted, it forgets accepted work",
                "set appendonly yes, as AgentCom's redis.conf does",
            )


def memory(look: Look) -> Iterator[Trouble]:
    """Its memory is nearly full."""
    for server in _told(look):
        used, most = server.memory_bytes, server.memory_max_bytes
        if used is not None and most and _is_nearly(used, most):
            yield Trouble(
                SUBJECT,
                f"Redis uses {100 * used // most} % of the {size(min(most, SIZE_MAX))} it may: full, it takes no work",
                "raise maxmemory, or keep less: policy.retention_s, policy.journal_entries, policy.output_bytes",
                evidence=(f"{used:,} of {most:,} bytes", f"{count(look.snapshot.open, 'open task')}"),
            )


def eviction(look: Look) -> Iterator[Trouble]:
    """It may drop what it accepted."""
    for server in _told(look):
        if server.eviction not in ("", "noeviction"):
            yield Trouble(
                SUBJECT,
                f"Redis has maxmemory-policy {server.eviction}: it may drop accepted work",
                "set maxmemory-policy noeviction, as AgentCom's redis.conf does",
            )


def loading(look: Look) -> Iterator[Trouble]:
    """It does not have all of its data yet."""
    for server in _told(look):
        if server.loading:
            yield Trouble(
                SUBJECT, "Redis is still loading its data: what is shown may be old", "wait until it has loaded"
            )


def clients(look: Look) -> Iterator[Trouble]:
    """It nearly has as many connections as it lets in."""
    for server in _told(look):
        connected, most = server.clients, server.clients_max
        if connected is not None and most and _is_nearly(connected, most):
            yield Trouble(
                SUBJECT,
                f"Redis has {connected:,} of the {most:,} connections that it lets in: full, nobody else gets through",
                "raise maxclients, and the limit of open files with it: redis-cli CLIENT LIST says who they are",
            )


def replica(look: Look) -> Iterator[Trouble]:
    """It takes no writes."""
    for server in _told(look):
        if server.role not in ("", "master"):
            yield Trouble(
                SUBJECT,
                "this Redis is a replica: it takes no writes, and what it shows may be old",
                "name the primary, all servers (redis://HOST,HOST) or sentinels (sentinel://HOST/SERVICE)",
                evidence=(f"role {server.role}",),
            )


def unreachable(problem: str, remedy: str) -> Trouble:
    """Redis could not be looked at, and so nothing is known of the pool.

    Args:
        problem: what happened, in one line.
        remedy: what to do.
    """
    return Trouble(SUBJECT, problem, remedy or "start it, or name another with --redis or AGENTCOM_REDIS")


def _is_nearly(used: int, most: int) -> bool:
    return 100 * used > NEARLY_FULL_PERCENT * most


def _told(look: Look) -> tuple[Server, ...]:
    return () if look.snapshot.server is None else (look.snapshot.server,)


UNREACHABLE = Rule(
    "unreachable",
    "critical",
    "Redis cannot be reached, or does not answer; nothing is known of the pool",
    lambda _: (),
)
"""Found by whoever could not take a snapshot."""
