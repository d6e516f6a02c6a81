"""What came of work and what it took, each in a line for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from agentcom.model.task import Check, Outcome, ReadRecord, Usage
from agentcom.wording import age, count, dollars, one_line

SHA_SHOWN = 10


def spent(usage: Usage) -> str:
    """What was used, in a line: `$1.20; tokens: 12,000 in, 800 out, 40,000 from cache`; empty for nothing."""
    kinds = (
        (usage.input_tokens, "in"),
        (usage.output_tokens, "out"),
        (usage.cache_read_tokens, "from cache"),
        (usage.cache_write_tokens, "to cache"),
        (usage.reasoning_tokens, "of reasoning"),
    )
    tokens = ", ".join(f"{number:,} {kind}" for number, kind in kinds if number)
    return "; ".join(part for part in (dollars(usage.cost_usd), f"tokens: {tokens}" if tokens else "") if part)


def budget(record: ReadRecord) -> str:
    """What all attempts of a task together may use; empty for no limit."""
    spec = record.spec
    tokens = f"{spec.budget_tokens + record.granted_tokens:,} tokens" if spec.budget_tokens else ""
    usd = dollars(spec.budget_usd + record.granted_usd) if spec.budget_usd else ""
    return " and ".join(part for part in (usd, tokens) if part)


def checks(record: ReadRecord) -> list[str]:
    """Who checked what of a task's work at which commit, the last time that any was, and how it ended: a line each."""
    made = (end.checks for end in _ends(record) if end.checks)
    return [_check(one) for one in next(made, ())]


def _check(made: Check) -> str:
    if made.passed:
        ended = "passed"
    else:
        ended = f"failed with {made.exit_code}" if made.exit_code is not None else "ended for its time limit"
    where = f" at {made.sha[:SHA_SHOWN]}" if made.sha else ""
    return f"{one_line(made.command, 200)}: {ended}{where}, by {made.by or 'nobody known'} in {age(made.seconds)}"


def _ends(record: ReadRecord) -> Iterator[Outcome]:
    """How its attempts ended, the latest first."""
    for attempt in reversed(record.attempts):
        yield from (end for end in (attempt.late, attempt.outcome) if end is not None)


def evidence(record: ReadRecord) -> str:
    """What git says of a task's work, as of its last attempt that tells, in a line; empty if none does."""
    found = next((end.evidence for end in _ends(record) if end.evidence is not None), None)
    if found is None:
        return ""
    changes = f"{count(found.files, 'file')}, +{found.insertions:,} −{found.deletions:,}"
    where = f"{found.base or 'its base'} {found.base_sha[:SHA_SHOWN]} to {found.head_sha[:SHA_SHOWN]}"
    pushed = "pushed" if found.pushed else "not pushed"
    rescue = f"; what was not committed is on {found.rescue}" if found.rescue else ""
    return f"{count(found.commits, 'commit')} from {where}, {changes}, {pushed}{rescue}"


def pull_request(record: ReadRecord) -> str:
    """Where a task's work can be reviewed; empty if nowhere."""
    pull = record.pull_request
    return f"{pull.url} ({pull.state})" if pull is not None else ""
