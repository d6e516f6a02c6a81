"""`agentcom gate`: whether a task's finished work may be merged without a person; and merging it."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct
from rich.text import Text

from agentcom.cli.context import EXIT_OK, Context, context_of, end, run
from agentcom.cli.lookup import records_of
from agentcom.cli.screen import now, show, show_json, tell, warn, width
from agentcom.cli.tasks import Json
from agentcom.errors import AgentComError, ConfigurationError, UsageError
from agentcom.forge.base import Forge, ForgeTrouble, Merged, NotMerged, PullDetails
from agentcom.forge.git import Git
from agentcom.forge.origin import Origin
from agentcom.forge.registry import forge_of
from agentcom.gate import notes
from agentcom.gate.facts import PullFacts, Recommendation, Verdict
from agentcom.gate.gathering import gathered, pull_of
from agentcom.gate.history import Note, summary
from agentcom.gate.merging import merged
from agentcom.gate.rules import judge
from agentcom.ids import short
from agentcom.model.task import ReadRecord
from agentcom.monitor.table import Column, lay_out, said
from agentcom.settings import AgentSettings, Settings
from agentcom.wording import count, one_line

EXIT_ESCALATE = 3

RECOMMENDATION_BYTES = 65_536
WHY_WIDTH = 300
NAME_WIDTH = 100

COLUMNS = (Column(""), Column("RULE"), Column("WHY", least=20))


class Done(Struct, frozen=True):
    """What a call found and did. Of a pull request that is merged already, nothing was judged."""

    record: ReadRecord
    pull: PullDetails
    facts: PullFacts | None = None
    verdict: Verdict | None = None
    end: Merged | NotMerged | None = None

    @property
    def code(self) -> int:
        """What the command ends with."""
        if isinstance(self.end, NotMerged) or (isinstance(self.end, Merged) and not self.end.as_judged):
            return EXIT_ESCALATE
        return EXIT_ESCALATE if self.verdict is not None and self.verdict.decision == "escalate" else EXIT_OK


class Place(Struct, frozen=True):
    """The forge and the repository that are asked."""

    forge: Forge
    origin: Origin


def register(app: typer.Typer) -> None:
    """Add this command."""
    epilog = "Exit codes: 0 it may be merged, or is · 1 the forge or Redis is away · 3 a person has to decide."
    app.command("gate", rich_help_panel="Work", epilog=epilog)(gate)


def gate(
    ctx: typer.Context,
    task: Annotated[str, typer.Argument(metavar="ID", help="A completed task, by any unique part of its id.")] = "",
    merge: Annotated[bool, typer.Option("--merge", help="Merge it if every rule holds.")] = False,
    recommendation: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help='What a reviewer thinks, as JSON {"by": …, "merge": true or false, "why": …}; - for stdin. '
            "It can only keep from merging.",
        ),
    ] = "",
    agent: Annotated[
        str, typer.Option(metavar="NAME", help="The agent whose repo and forge in the settings count.")
    ] = "",
    history: Annotated[bool, typer.Option("--history", help="Count the verdicts made on this machine.")] = False,
    json: Json = False,
) -> None:
    """Say whether a task's pull request may be merged without a person, rule by rule; and merge it with --merge.

    Rules decide: what was checked is what would be merged, it is small, and it touches nothing but what the section
    gate of the settings lets it touch. To merge twice is to merge once.

    \b
    Examples:
      agentcom gate tk-9f21c4
      agentcom gate 9f21 --merge --json | jq -r '.rules[] | select(.holds | not) | .why'
      my-reviewer 9f21 | agentcom gate 9f21 --merge --recommendation -
      agentcom gate --history
    """
    context = context_of(ctx)
    path = context.data_dir / "gate" / "history.jsonl"
    if history:
        if task or merge or recommendation:
            raise UsageError("--history takes no task", "Leave out everything else but --json")
        _show_history(path, json=json)
        return
    if not task:
        raise UsageError("which task?", "Give its id, as `agentcom tasks --all` shows it")
    recommended = _read_recommendation(recommendation) if recommendation else None
    done = run(lambda: _judged(context, task, agent, recommended, merge=merge))
    _note(path, done)
    if json:
        show_json(_document(done))
    else:
        _show(done)
    end(done.code)


async def _judged(context: Context, task: str, agent: str, recommended: Recommendation | None, *, merge: bool) -> Done:
    async with context.client() as client:
        (record,) = await records_of(client, [task])
    place = _place(context, _agent_settings(context.settings, record, agent))
    try:
        pull = await pull_of(record, place.forge)
        facts = await gathered(record, pull, place.origin)
        verdict = judge(facts, context.settings.gate, recommended)
        if _is_merged(verdict, pull):
            return Done(record, pull)
        if not merge or verdict.decision == "escalate":
            return Done(record, pull, facts, verdict)
        return Done(record, pull, facts, verdict, await merged(record, place.forge, facts, verdict))
    except ForgeTrouble as trouble:
        remedy = "" if trouble.hopeless else "Nothing is lost: try again later"
        raise AgentComError(trouble.why, remedy) from trouble


def _is_merged(verdict: Verdict, pull: PullDetails) -> bool:
    """Whether the task's own pull request is merged already. Another one that claims to be its is judged, and fails."""
    own = all(ruling.holds for ruling in verdict.rulings if ruling.rule == "own")
    return own and pull.pull_request.state == "merged"


# ----------------------------------------------------------------- settings


def _agent_settings(settings: Settings, record: ReadRecord, named: str) -> AgentSettings:
    """The settings that say where the work is: of the agent that is named, else that did it, else of the only ones."""
    if named:
        if named not in settings.agents:
            raise UsageError(f"--agent: the settings have no agent {one_line(named, 40)!r}")
        return settings.agents[named]
    did_it = record.attempts[-1].agent if record.attempts else ""
    if did_it in settings.agents:
        return settings.agents[did_it]
    places = {(one.repo, one.forge, one.forge_repo, one.forge_url): one for one in settings.agents.values()}
    if len(places) != 1:
        problem = f"the settings have no agent {did_it!r}" if did_it else "no agent has worked on it"
        raise ConfigurationError(
            f"{problem}, and so do not say where its pull request is", "Name an agent of the settings with --agent"
        )
    return next(iter(places.values()))


def _place(context: Context, settings: AgentSettings) -> Place:
    if settings.forge == "none":
        raise ConfigurationError('forge is "none", so there are no pull requests', 'Set forge to "github" or "local"')
    if not settings.repo:
        raise ConfigurationError("repo is not set, so what changed cannot be looked at", "Set it")
    folder = context.data_dir / "gate" / f"{hashlib.sha256(settings.repo.encode()).hexdigest()[:16]}.git"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Place(forge_of(settings, os.environ, folder), Origin(settings.repo, Git(folder, os.environ)))


def _read_recommendation(name: str) -> Recommendation:
    try:
        if name == "-":
            text = sys.stdin.buffer.read(RECOMMENDATION_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                text = file.read(RECOMMENDATION_BYTES + 1)
        return msgspec.json.decode(text, type=Recommendation)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        problem = f"--recommendation: {one_line(str(error), 200)}"
        raise UsageError(problem, 'It has to be as {"by": "…", "merge": true, "why": "…"}') from error


# ------------------------------------------------------------------ showing


def _note(path: Path, done: Done) -> None:
    """Remember the verdict. That it cannot be remembered is no reason to say something else than what was done."""
    if done.verdict is None:
        return
    try:
        notes.add(
            path,
            Note(
                at=now().ms,
                task=done.record.spec.id,
                head_sha=done.pull.head_sha,
                decision=done.verdict.decision,
                against=tuple(ruling.rule for ruling in done.verdict.against),
                by=one_line(done.verdict.recommendation.by, NAME_WIDTH)
                if done.verdict.recommendation is not None
                else "",
                merged=isinstance(done.end, Merged),
            ),
        )
    except OSError as error:
        warn(f"agentcom: the verdict cannot be added to the history: {error}")


def _show(done: Done) -> None:
    pull = done.pull
    tell(f"{short(done.record.spec.id)}  {pull.pull_request.url}  {pull.branch} → {pull.base}")
    if done.verdict is not None:
        show(lay_out(COLUMNS, _rows(done.verdict), width()))
    tell(_conclusion(done), "bold")


def _rows(verdict: Verdict) -> list[list[Text]]:
    rows = [
        [said("holds" if one.holds else "AGAINST", "" if one.holds else "bold red"), said(one.rule), said(one.why)]
        for one in verdict.rulings
    ]
    if verdict.recommendation is not None:
        thought = verdict.recommendation
        words = (
            f"{thought.by}: {'merge' if thought.merge else 'do not merge'}{': ' if thought.why else ''}{thought.why}"
        )
        rows.append([said("told"), said("recommendation"), said(one_line(words, WHY_WIDTH))])
    return rows


def _conclusion(done: Done) -> str:
    match done.end:
        case NotMerged(why=why):
            return f"not merged: {why}"
        case Merged(sha=sha, as_judged=True):
            return f"merged as {sha}"
        case Merged(sha=sha):
            return f"merged as {sha}, but {done.pull.base} had moved meanwhile: nobody has checked what came of it"
    if done.verdict is None:
        return "it is merged already"
    if done.verdict.decision == "merge":
        return "it may be merged without a person"
    against = done.verdict.against
    why = (
        f"{count(len(against), 'rule is', 'rules are')} against it" if against else "it was recommended not to merge it"
    )
    return f"a person has to decide: {why}"


def _document(done: Done) -> dict[str, Any]:
    verdict = done.verdict
    return {
        "task": done.record.spec.id,
        "pull_request": msgspec.to_builtins(done.pull.pull_request) | {"state": done.pull.pull_request.state},
        "branch": done.pull.branch,
        "base": done.pull.base,
        "head_sha": done.pull.head_sha,
        "base_sha": done.facts.base_sha if done.facts is not None else "",
        "decision": verdict.decision if verdict is not None else "merge",
        "rules": [msgspec.to_builtins(ruling) for ruling in verdict.rulings] if verdict is not None else [],
        "recommendation": msgspec.to_builtins(verdict.recommendation) if verdict is not None else None,
        "merged": isinstance(done.end, Merged) or verdict is None,
        "merge_sha": done.end.sha if isinstance(done.end, Merged) else "",
        "conclusion": _conclusion(done),
    }


def _show_history(path: Path, *, json: bool) -> None:
    total = summary(notes.read(path))
    if json:
        show_json({"history": msgspec.to_builtins(total), "remark": total.remark})
        return
    tell(total.told)
    show(said(f"{number:>6,}  {rule}") for rule, number in total.against.items())
    if total.recommended_against:
        tell(f"{total.recommended_against:>6,}  a recommendation alone")
    if total.remark:
        tell(total.remark, "bold")
