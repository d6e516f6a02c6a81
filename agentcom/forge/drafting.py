"""What a task's pull request says: what was asked for, who did it, who checked what, and what it used. Pure.

The texts of tasks and agents are data: see `agentcom.forge.neutral`.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentcom.forge.base import MARKER, Draft
from agentcom.forge.neutral import block, neutral
from agentcom.model.task import Check, Evidence, Outcome, TaskSpec, Usage
from agentcom.wording import age, one_line

TITLE_WIDTH = 120
TEXT_MAX = 4_000
CHECKS_SHOWN = 30
COMMAND_WIDTH = 200
SHA_SHOWN = 12


def drafted(spec: TaskSpec, outcome: Outcome, agent: str, attempt: int, part: int = 1) -> Draft:
    """The draft of a task's pull request.

    Args:
        outcome: of the attempt, with its evidence.
        agent: that made it, by name.
        attempt: its generation.
        part: of a task that was continued; see `TaskRecord`.

    Raises:
        ValueError: the outcome has no evidence of a branch.
    """
    evidence = outcome.evidence
    if evidence is None or not evidence.branch:
        raise ValueError("there is nothing to review: the outcome names no branch")
    return Draft(
        task=spec.id,
        branch=evidence.branch,
        base=evidence.base,
        head_sha=evidence.head_sha,
        title=f"{neutral(one_line(spec.heading, TITLE_WIDTH)).strip() or 'Task'} ({spec.id})",
        body=_body(spec, outcome, evidence, f"attempt {attempt} by {_name(agent)}, part {part}"),
    )


def _body(spec: TaskSpec, outcome: Outcome, evidence: Evidence, made: str) -> str:
    parts = [
        f"Task `{_name(spec.id)}`, {made}{_by_model(outcome)}.",
        "**Asked for**",
        block(spec.text, TEXT_MAX),
    ]
    if outcome.summary.strip():
        parts += ["**What the agent says**", block(outcome.summary, TEXT_MAX)]
    parts += ["**Changes**", block(_changes(evidence), TEXT_MAX), "**Checks**", _checks(outcome.checks)]
    if outcome.usage is not None:
        parts += ["**Usage of this attempt**", block(_usage(outcome.usage), TEXT_MAX)]
    return "\n\n".join([*parts, MARKER.format(task=spec.id)]) + "\n"


def _name(text: str) -> str:
    """A name within a sentence: names of agents and ids of tasks have no other characters."""
    return "".join(character for character in text if character.isalnum() or character in "._-")


def _by_model(outcome: Outcome) -> str:
    known = ", ".join(neutral(one_line(word, 60)) for word in (outcome.program, outcome.model) if word.strip())
    return f" ({known})" if known else ""


def _changes(evidence: Evidence) -> str:
    counts = f"{evidence.commits} commits, {evidence.files} files, +{evidence.insertions} -{evidence.deletions}"
    return f"{evidence.head_sha[:SHA_SHOWN]}: {counts}\non {evidence.base} at {evidence.base_sha[:SHA_SHOWN]}"


def _checks(checks: Sequence[Check]) -> str:
    if not checks:
        return "Nothing was checked."
    lines = [_check(check) for check in checks[:CHECKS_SHOWN]]
    if len(checks) > CHECKS_SHOWN:
        lines.append(
            f"and {len(checks) - CHECKS_SHOWN} more, of which {sum(c.passed for c in checks[CHECKS_SHOWN:])} passed"
        )
    return block("\n".join(lines), CHECKS_SHOWN * (COMMAND_WIDTH + 200))


def _check(check: Check) -> str:
    verdict = "passed" if check.passed else "FAILED"
    where = f" at {check.sha[:SHA_SHOWN]}" if check.sha else ""
    command = one_line(check.command, COMMAND_WIDTH)
    return f"{verdict}  {command}  ({age(check.seconds)},{where} by {_name(check.by) or 'nobody known'})"


def _usage(usage: Usage) -> str:
    kinds = {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "read from cache": usage.cache_read_tokens,
        "written to cache": usage.cache_write_tokens,
    }
    told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count) or "none told"
    cost = f"\ncost: {usage.cost_usd:.2f} USD" if usage.cost_usd else ""
    return f"tokens: {told}{cost}"
