"""The git side of a task, for a person or a script: what a sidecar does before it wakes an agent, and afterwards."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct
from msgspec.structs import replace

from agentcom.cli.context import EXIT_FAILED, Context, context_of, end, run
from agentcom.cli.screen import show_json, tell
from agentcom.cli.tasks import Json
from agentcom.errors import AgentComError, ConfigurationError, UsageError
from agentcom.git import ATTEMPT, Finished, GitProblem, Place, Started, arm, disarm, finish, publishable, push, start
from agentcom.git.doctor import Finding, examine
from agentcom.git.guarding import armed
from agentcom.git.layout import place_of
from agentcom.git.status import Standing, status
from agentcom.places import expanded
from agentcom.settings import AgentSettings
from agentcom.settings.rendering import mask_url
from agentcom.wording import clean, count, one_line

BY_HAND = "by-hand"
"""The token of whoever starts on a task without a sidecar."""

git_app = typer.Typer(no_args_is_help=True, help="The git side of a task, as a sidecar does it.")

Task = Annotated[str, typer.Argument(metavar="TASK", help="The task's whole id, or any name for work of your own.")]
Agent = Annotated[str, typer.Option(metavar="NAME", help="Whose worktree; its settings are taken.", show_default=False)]
Repo = Annotated[str, typer.Option(metavar="URL", help="The repository, in place of the agent's.")]
Base = Annotated[str, typer.Option(metavar="BRANCH", help="What work goes into, in place of the agent's.")]
Branch = Annotated[str, typer.Option(metavar="BRANCH", help="The task's branch.", show_default="AGENT/TASK")]
Worktree = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The folder to work in.", show_default="in the agent's workspace")
]


class GitFailed(AgentComError):
    """A step of git could not be made."""

    def __init__(self, problem: GitProblem) -> None:
        super().__init__(f"{problem.reason}: {problem.detail}")


class Chosen(Struct, frozen=True):
    """What the options of a command come to."""

    agent: str = ""
    repo: str = ""
    base: str = ""
    branch: str = ""
    worktree: Path | None = None


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(git_app, name="git", rich_help_panel="Run")


@git_app.command("start")
def start_task(
    ctx: typer.Context,
    task: Task,
    agent: Agent = "",
    repo: Repo = "",
    base: Base = "",
    branch: Branch = "",
    worktree: Worktree = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave uncommitted files as they are.")] = False,
    json: Json = False,
) -> None:
    """Make a worktree ready on the task's branch, verified against origin; what was begun is gone on from.

    \b
    Examples:
      agentcom git start TASK --agent oak
      agentcom git start try-1 --repo git@example.com:team/project.git --worktree ~/try-1
    """
    place = _place(context_of(ctx), task, Chosen(agent, repo, base, branch, worktree))
    _refuse_at_work(place)
    began = run(lambda: start(place, keep=keep))
    if isinstance(began, GitProblem):
        raise GitFailed(began)
    arm(place, BY_HAND, began)
    if json:
        _print(place, began)
    else:
        tell(f"{place.worktree} is on {place.branch}, {'which goes on' if began.resumed else f'from {began.base}'}")
        if began.conflicts:
            tell(f"merge origin/{began.base} first; it conflicts in {', '.join(began.conflicts)}")
        if began.detail:
            tell(clean(began.detail))
        tell(f"push from there with: {ATTEMPT}={BY_HAND} git push", "dim")


@git_app.command("status")
def show_status(
    ctx: typer.Context,
    task: Task,
    agent: Agent = "",
    repo: Repo = "",
    base: Base = "",
    branch: Branch = "",
    worktree: Worktree = None,
    json: Json = False,
) -> None:
    """Say how a task's worktree and branch stand, here and on origin. Nothing is changed.

    Example: agentcom git status TASK --agent oak
    """
    place = _place(context_of(ctx), task, Chosen(agent, repo, base, branch, worktree))
    stands = run(lambda: status(place))
    if isinstance(stands, GitProblem):
        raise GitFailed(stands)
    if json:
        _print(place, stands)
    else:
        for line in _standing(stands):
            tell(clean(line))
    if stands.problem is not None:
        end(EXIT_FAILED)


@git_app.command("finish")
def finish_task(
    ctx: typer.Context,
    task: Task,
    agent: Agent = "",
    repo: Repo = "",
    base: Base = "",
    branch: Branch = "",
    worktree: Worktree = None,
    to_push: Annotated[bool, typer.Option("--push", help="Push the branch, if it keeps the rules.")] = False,
    json: Json = False,
) -> None:
    """Say what was done since the start, as git tells it, and whether it may be published.

    It ends with 1 if it may not. What is not committed is saved on a rescue branch; the worktree stays as it is.

    Example: agentcom git finish TASK --agent oak --push
    """
    place = _place(context_of(ctx), task, Chosen(agent, repo, base, branch, worktree))
    guard = armed(place)
    if guard is None:
        raise UsageError(f"{task!r} was not started in {place.worktree}", "Start it with `agentcom git start`")
    done, problem = run(lambda: _finish(place, guard.started, to_push))
    if json:
        _print(place, replace(done, problem=problem))
    else:
        for line in _finished(done, problem):
            tell(clean(line))
    if problem is not None:
        end(EXIT_FAILED)
    if to_push and guard.token == BY_HAND:
        disarm(place)


@git_app.command("doctor")
def doctor(ctx: typer.Context, agent: Agent = "", repo: Repo = "", base: Base = "", json: Json = False) -> None:
    """Look at git, the repository and this machine's clone of it, and say what to do about what is wrong.

    It ends with 1 if something is.

    Example: agentcom git doctor --agent oak
    """
    place = _place(context_of(ctx), "doctor", Chosen(agent, repo, base))
    findings = run(lambda: examine(place.repository, place.author))
    if json:
        show_json({"repository": mask_url(place.repository.url), "findings": msgspec.to_builtins(findings)})
    else:
        for finding in findings:
            _show(finding)
    if not all(finding.ok for finding in findings):
        end(EXIT_FAILED)


# ------------------------------------------------------------------ choosing


def _place(context: Context, task: str, chosen: Chosen) -> Place:
    """Where it is about, of the options and the settings.

    Raises:
        UsageError: it is not said which agent, or which repository.
        ConfigurationError: the settings have no such agent.
    """
    name, settings = _agent(context, chosen)
    settings = replace(settings, repo=_absolute(chosen.repo or settings.repo), base=chosen.base or settings.base)
    if not settings.repo:
        raise UsageError(f"agent {name!r} has no repository", "Set `repo` in its section, or name one with --repo")
    data_dir = context.data_dir.absolute()
    place = place_of(data_dir, name, settings, task, os.environ, branch=chosen.branch)
    return replace(place, worktree=chosen.worktree.absolute()) if chosen.worktree is not None else place


def _agent(context: Context, chosen: Chosen) -> tuple[str, AgentSettings]:
    agents = context.settings.agents
    if chosen.agent:
        if chosen.agent not in agents and not chosen.repo:
            problem = f"the settings have no agent {one_line(chosen.agent, 60)!r}"
            raise ConfigurationError(problem, "Add its section to agentcom.toml, or name a repository with --repo")
        return chosen.agent, agents.get(chosen.agent, AgentSettings())
    if chosen.repo:
        return getpass.getuser(), AgentSettings()
    if len(agents) != 1:
        known = f": {', '.join(sorted(agents))}" if agents else ""
        raise UsageError(f"it is not said which agent{known}", "Name one with --agent, or a repository with --repo")
    return next(iter(agents.items()))


def _absolute(repo: str) -> str:
    """A path as it is from anywhere; a URL as it is."""
    local = expanded(repo)
    return str(local.absolute()) if repo and "://" not in repo and local.exists() else repo


def _refuse_at_work(place: Place) -> None:
    """A start clears up a worktree: not under the hands of an agent.

    Raises:
        UsageError: an attempt is at work there.
    """
    guard = armed(place)
    if guard is not None and guard.token != BY_HAND:
        problem = f"attempt {guard.token} is at work in {place.worktree}"
        raise UsageError(problem, "Cancel its task first, or name another folder with --worktree")


async def _finish(place: Place, began: Started, to_push: bool) -> tuple[Finished, GitProblem | None]:
    """What was done, and why it is not published, if it is not.

    Raises:
        GitFailed: it cannot be told.
    """
    done = await finish(place, began)
    if isinstance(done, GitProblem):
        raise GitFailed(done)
    problem = done.problem or await publishable(place, began)
    if problem is None and to_push:
        problem = await push(place, done.evidence.head_sha, done.origin_sha)
        if problem is None:
            done = replace(done, evidence=replace(done.evidence, pushed=True))
    return done, problem


# ------------------------------------------------------------------- showing


def _print(place: Place, answer: Struct) -> None:
    told: dict[str, Any] = {"task": place.task, "branch": place.branch, "worktree": str(place.worktree)}
    show_json(told | msgspec.to_builtins(answer))


def _standing(stands: Standing) -> Iterator[str]:
    where = "is nowhere yet"
    if stands.head_sha:
        where = f"is at {stands.head_sha[:12]} here, with {count(stands.commits, 'commit')} over the base"
    there = stands.origin_sha[:12] if stands.origin_sha else "not there"
    yield f"{stands.branch} {where}; on origin: {'unknown' if stands.problem else there}"
    if stands.base:
        yield f"{stands.base} is at {stands.base_sha[:12]} on origin"
    if stands.worktree:
        yield f"{stands.worktree} is on {stands.on or 'no branch'}"
    for words in (stands.uncommitted, stands.under_way and f"{stands.under_way} is under way"):
        if words:
            yield words
    if stands.attempt:
        yield f"may push: attempt {stands.attempt}"
    for rescue in stands.rescues:
        yield f"rescued: {rescue}"
    if stands.problem is not None:
        yield f"{stands.problem.reason}: {stands.problem.detail}"


def _finished(done: Finished, problem: GitProblem | None) -> Iterator[str]:
    found = done.evidence
    changed = f"{count(found.files, 'file')}, {found.insertions:,} insertions, {found.deletions:,} deletions"
    state = "pushed" if found.pushed else "not pushed"
    yield f"{found.branch} is at {found.head_sha[:12]}, {state}: {count(found.commits, 'commit')}, {changed}"
    if done.detail:
        yield done.detail
    if problem is not None:
        yield f"{problem.reason}: {problem.detail}"
    elif not found.pushed:
        yield "it may be pushed: repeat with --push"


def _show(finding: Finding) -> None:
    tell(f"{'ok' if finding.ok else 'wrong':5}  {finding.name}: {clean(finding.text)}", "" if finding.ok else "red")
    if finding.remedy:
        tell(f"       {clean(finding.remedy)}", "dim")
