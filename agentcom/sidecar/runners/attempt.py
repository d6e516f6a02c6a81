"""One attempt, from its order to its outcome: performs what `stages` decides; each stage is noted before it begins."""

from __future__ import annotations

from collections.abc import Awaitable

import anyio
from msgspec import Struct
from msgspec.structs import replace

from agentcom.adapters.prompting import Told, envelope_tokens
from agentcom.ending import end_orphan
from agentcom.forge.base import Forge, ForgeTrouble
from agentcom.forge.drafting import drafted
from agentcom.git.place import GitProblem, Started
from agentcom.model.task import Outcome, PullRequest
from agentcom.processes import ProcessIdentity
from agentcom.settings import Policy
from agentcom.sidecar.runners.base import DETAIL_MAX, Job, bounded, ignore, unfit
from agentcom.sidecar.runners.checking import Checker, leave
from agentcom.sidecar.runners.files import AttemptFiles
from agentcom.sidecar.runners.progress import Progress, finished_before, load, save
from agentcom.sidecar.runners.publishing import Patience, publish
from agentcom.sidecar.runners.stages import (
    Done,
    Next,
    Rules,
    after_checks,
    after_look,
    after_turn,
    at_start,
    completed,
    resumed_at_checks,
    told,
)
from agentcom.sidecar.runners.turnend import CUT_SHORT, TurnEnd
from agentcom.sidecar.runners.turns import Around, Waker
from agentcom.sidecar.runners.workshop import Desk, Workshop

SALVAGE_S = 60.0
"""How long it may take to save the work of an attempt that is being ended."""


class Means(Struct):
    """What attempts of one agent are made with.

    Attributes:
        agent: its name.
        policy: the pool's.
        waker: wakes it.
        workshop: prepares and looks at git; None without a repository.
        checker: runs checks.
        forge: where work is reviewed.
        program: the agent's program and version, where that is known before it says so itself.
    """

    agent: str
    policy: Policy
    waker: Waker
    workshop: Workshop | None
    checker: Checker
    forge: Forge
    program: str = ""


class Attempt:
    """One attempt.

    Args:
        means: what it is made with.
        job: what is to be done.
        files: of its first turn.
    """

    def __init__(self, means: Means, job: Job, files: AttemptFiles) -> None:
        self._means = means
        self._job = job
        self._files = files
        self._rules = Rules(means.policy.max_returns, means.workshop is not None)
        self._desk: Desk | None = means.workshop.desk(job) if means.workshop is not None else None
        order = job.order
        self._progress = Progress(
            session=order.session,
            session_usage=order.session_usage,
            program=means.program,
            commands=job.spec.checks,
        )
        self._outcome: Outcome | None = None
        self._cut: TurnEnd | None = None
        self._reached = False

    async def run(self) -> Outcome:
        """Begin, and take it to its end. Cancelling this ends it, with what it did saved as far as possible."""
        return await self._ended(self._begin())

    async def adopt(self, process: ProcessIdentity | None) -> Outcome:
        """Go on from the stage that an earlier start of the sidecar had reached."""
        noted = load(self._files.progress)
        if noted != Progress():
            self._progress = noted
        return await self._ended(self._resume(process))

    async def _ended(self, stages: Awaitable[Outcome]) -> Outcome:
        try:
            self._outcome = await stages
            return await self._closed(self._outcome)
        except anyio.get_cancelled_exc_class():
            await self._salvage()
            raise

    # --------------------------------------------------------------- stages

    async def _begin(self) -> Outcome:
        outcome = await self._prepare()
        if outcome is not None:
            return outcome
        return await self._go_on(await self._wake() if self._progress.stage == "agent" else None)

    async def _resume(self, process: ProcessIdentity | None) -> Outcome:
        unfounded = self._progress.started is not None and self._desk is None
        if self._progress.stage == "agent" and not unfounded:
            return await self._go_on(await self._found_turn(process))
        # What checks are still under way would see the files of those that begin now. The agent's time stands still.
        self._job.entered("verifying")
        with anyio.CancelScope(shield=True):
            await end_orphan(process, self._files.mark, self._means.policy.grace_s)
        if unfounded:
            why = "it worked on a repository, and by its agent's settings there is none any more"
            return told(self._progress, Outcome("lost", "lost", why))
        return await self._go_on(None)

    async def _prepare(self) -> Outcome | None:
        """Git, before the agent is woken. An outcome where there is nothing to wake it for."""
        if self._desk is None:
            return None
        self._job.entered("preparing")
        pull_request = await self._pull_request()
        if pull_request is not None and pull_request.state != "open":
            return _over_already(pull_request)
        started = await self._started(self._desk)
        if isinstance(started, Outcome):
            return started
        if started.resumed and await self._desk.is_merged():
            return Outcome("completed", summary=f"its work is in {started.base} already", pull_request=pull_request)
        named = await self._desk.checks(started)
        if isinstance(named, str):
            return Outcome("failed", "checks_unreadable", bounded(named, DETAIL_MAX))
        commands = tuple(dict.fromkeys((*self._job.spec.checks, *named)))
        progress = at_start(self._progress, started, commands)
        earlier = finished_before(self._files, self._job.spec.id, started.head_sha)
        if earlier is not None:
            self._say("an earlier attempt was done, and could not be published: its work is checked once more")
            progress = resumed_at_checks(progress, earlier)
        return self._note(progress)

    async def _started(self, desk: Desk) -> Started | Outcome:
        """The worktree, ready; or what comes of an attempt that cannot have one."""
        try:
            with anyio.fail_after(self._means.policy.prepare_s):
                started = await desk.start()
        except TimeoutError:
            why = f"git was not ready within {self._means.policy.prepare_s:g} s (policy.prepare_s)"
            started = GitProblem("git_fetch_failed", why)
        except OSError as error:
            return unfit(f"the workspace cannot be prepared: {error}")
        if isinstance(started, GitProblem):
            if started.reason == "unfit":
                return unfit(started.detail)
            return Outcome("failed", started.reason, bounded(started.detail, DETAIL_MAX))
        if started.detail:
            self._say(started.detail)
        return started

    async def _pull_request(self) -> PullRequest | None:
        """The task's, if the forge can tell: one that is away holds up no work, as git itself tells what was merged."""
        try:
            return await self._means.forge.find(self._job.spec.id, self._job.order.branch)
        except ForgeTrouble as trouble:
            self._say(f"the forge cannot say whether there is a pull request: {trouble.why}")
            return self._job.order.pull_request

    async def _wake(self) -> TurnEnd:
        progress = self._progress
        resumed = bool(progress.session) and self._means.waker.resumes
        text = self._means.waker.prompt(
            self._job.spec,
            Told(
                resumed=resumed,
                git=self._desk is not None,
                checks=progress.commands,
                part=self._job.order.part,
                summary=self._job.order.summary,
                question=self._job.order.question if not progress.returned else "",
                answer=self._job.order.answer if not progress.returned else "",
                failed=progress.failed,
                problem=progress.problem,
            ),
        )
        put_around = envelope_tokens(text, self._job.spec)
        failure = self._note(replace(progress, envelope_tokens=progress.envelope_tokens + put_around))
        if failure is not None:
            return TurnEnd(failure, begun=False)
        self._job.entered("working")
        desk = self._desk
        around = Around(desk.environ, desk.writable) if desk is not None else Around()
        return await self._means.waker.wake(
            self._turn_job(), self._turn_files(), text, self._progress, around, self._cut_short
        )

    async def _found_turn(self, process: ProcessIdentity | None) -> TurnEnd:
        """The turn that was under way. One that had only been decided on begins now."""
        files = self._turn_files()
        if self._progress.turn > 1 and process is not None and process.pid != files.keeper:
            process = None  # it is that of the turn before, and has ended
        end = await self._means.waker.adopt(self._turn_job(), files, process, self._progress, self._cut_short)
        return end if end.begun or self._progress.turn == 1 else await self._wake()

    async def _go_on(self, end: TurnEnd | None) -> Outcome:
        """From the end of a turn, or from a later stage, to the outcome."""
        while True:
            if self._progress.stage == "agent":
                assert end is not None
                step = after_turn(self._progress, end, self._rules)
            elif self._progress.stage == "checks":
                self._job.entered("verifying")
                step = await self._look_and_check()
            else:
                self._job.entered("verifying")
                return await self._publish()
            if isinstance(step, Done):
                return step.outcome
            failure = self._note(step.progress)
            if failure is not None:
                return told(self._progress, failure)
            if step.progress.stage == "agent":
                self._say(_why(step.progress))
                end = await self._wake()

    async def _look_and_check(self) -> Next | Done:
        progress, sha = self._progress, ""
        if self._desk is not None:
            looked = after_look(progress, await self._desk.look(progress), self._rules)
            if isinstance(looked, Done) or looked.progress.stage == "agent":
                return looked
            progress = looked.progress
            assert progress.evidence is not None
            sha = progress.evidence.head_sha
        try:
            found = await self._means.checker.run(
                progress.commands,
                self._files.workspace,
                sha,
                self._files.mark,
                self._files.checks / str(progress.turn),
                self._job.printed,
                self._desk.restore if self._desk is not None else leave,
            )
        except OSError as error:
            return Done(told(progress, unfit(f"what checks print cannot be kept: {error}")))
        if isinstance(found, GitProblem):
            return Done(told(progress, Outcome("failed", found.reason, found.detail)))
        return after_checks(progress, found, self._rules)

    async def _publish(self) -> Outcome:
        progress, desk = self._progress, self._desk
        evidence = progress.evidence
        if desk is None or evidence is None or not evidence.commits:
            return completed(progress, None)
        final = completed(replace(progress, evidence=replace(evidence, pushed=True)), None)
        draft = drafted(self._job.spec, final, self._means.agent, self._job.attempt, self._job.order.part)
        pull_request = await publish(
            self._means.forge,
            draft,
            lambda: desk.push(evidence.head_sha, progress.origin_sha),
            Patience(self._means.policy.publish_s, self._say),
        )
        if isinstance(pull_request, GitProblem):
            return told(progress, Outcome("failed", pull_request.reason, bounded(pull_request.detail, DETAIL_MAX)))
        return replace(final, pull_request=pull_request)

    # --------------------------------------------------------------- ending

    async def _closed(self, outcome: Outcome) -> Outcome:
        """What an attempt that failed leaves is kept for whoever goes on with it."""
        if self._desk is None:
            return outcome
        if outcome.result != "completed":
            outcome = await self._saved(outcome)
        await self._desk.close()
        return outcome

    async def _salvage(self) -> None:
        """It is being ended: what is known of it is told, and what it did is saved, unless it is another's now."""
        with anyio.CancelScope(shield=True):
            known = self._outcome or self._unfinished()
            with anyio.move_on_after(SALVAGE_S):
                known = await self._saved(known)
            if self._desk is not None:
                await self._desk.close()
            if not self._reached:
                self._job.reached(known)

    def _unfinished(self) -> Outcome:
        """What is known of it, with what its agent used up to now."""
        step = after_turn(self._progress, self._cut or TurnEnd(CUT_SHORT), self._rules)
        assert isinstance(step, Done), "nothing follows what did not complete"
        return step.outcome

    def _cut_short(self, end: TurnEnd) -> None:
        self._cut = end

    def _turn_reached(self, outcome: Outcome) -> None:
        """It is being ended, and its agent had completed all the same: where nobody has to look, that is its end."""
        self._reached = True
        self._job.reached(outcome)

    async def _saved(self, outcome: Outcome) -> Outcome:
        desk = self._desk
        if desk is None or self._progress.started is None or not self._job.ours():
            return outcome
        evidence = await desk.save(self._progress)
        return replace(outcome, evidence=evidence) if evidence is not None else outcome

    # ---------------------------------------------------------------- small

    def _turn_files(self) -> AttemptFiles:
        return self._files.turn(self._progress.turn)

    def _turn_job(self) -> Job:
        """Of a later turn, nothing was passed on before. A turn that completed is no attempt that did, where its work
        has to be looked at."""
        job = self._job if self._progress.turn == 1 else replace(self._job, offset=0)
        looked_at = self._rules.repository or bool(self._progress.commands)
        return replace(job, reached=ignore if looked_at else self._turn_reached)

    def _note(self, progress: Progress) -> Outcome | None:
        """Remember how far it came; the outcome if the disk refuses. Where there is nothing but the agent's own word,
        its files say all."""
        self._progress = progress
        if self._desk is None and not progress.commands and not self._means.waker.structured:
            return None
        try:
            save(progress, self._files.progress)
        except OSError as error:
            return unfit(f"the sidecar's disk refuses: {error}")
        return None

    def _say(self, text: str) -> None:
        self._job.printed(f"[{self._means.agent}'s sidecar] {text}\n".encode("utf-8", "backslashreplace"))


def _over_already(pull_request: PullRequest) -> Outcome:
    if pull_request.state == "merged":
        return Outcome("completed", summary="its pull request was merged already", pull_request=pull_request)
    detail = f"its pull request {pull_request.url} was closed without being merged"
    return Outcome("failed", "pull_request_closed", detail, pull_request=pull_request)


def _why(progress: Progress) -> str:
    """Why the agent is woken again."""
    if not (progress.problem or progress.failed):
        return "its session is no more: the agent begins a new one"
    what = progress.problem or f"failed checks: {', '.join(check.command for check in progress.failed)}"
    return f"sent back to the agent: {what}"
