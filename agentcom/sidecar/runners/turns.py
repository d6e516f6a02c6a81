"""One turn of an attempt: the agent is woken with a prompt, followed while it works, and what it came to is concluded.

Exit code 0 is no success. Of a program that prints events the terminal one decides, and its exit code must not say
otherwise; of any other the exit code decides, with what it wrote to its result file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid5

import anyio
from msgspec import Struct
from msgspec.structs import replace

from agentcom.adapters.base import Adapter, Launch, Over, Prompt, Turn
from agentcom.adapters.prices import priced
from agentcom.adapters.prompting import Told, prompt_of, stated_in
from agentcom.adapters.resets import resets_at_s
from agentcom.model.task import NO_USAGE, Outcome, TaskSpec, Usage
from agentcom.processes import ProcessIdentity
from agentcom.settings import AgentSettings, Policy, Price
from agentcom.sidecar.runners.base import DETAIL_MAX, SUMMARY_MAX, Job, bounded, ignore, not_woken, unfit
from agentcom.sidecar.runners.files import AttemptFiles, Ended
from agentcom.sidecar.runners.kept import Kept, NotStarted, Vanished
from agentcom.sidecar.runners.outcomes import outcome_of
from agentcom.sidecar.runners.progress import Progress
from agentcom.sidecar.runners.reading import Limits
from agentcom.sidecar.runners.tail import Tail
from agentcom.sidecar.runners.transcript import Transcript
from agentcom.sidecar.runners.turnend import CUT_SHORT, TurnEnd

PERCENT = 100
USD_LEAST = 1e-6
"""Of a budget that is used up exactly: 0 would mean that there is none."""


SESSIONS = UUID("6f0d1d0c-52f6-5d0e-9c39-1a8d5c0f7b11")


class Around(Struct, frozen=True):
    """What was made ready for an agent.

    Attributes:
        environ: variables that its environment has more.
        writable: folders outside of the workspace that it writes to when it commits.
    """

    environ: Mapping[str, str] = {}
    writable: tuple[str, ...] = ()


NOTHING = Around()


class Waker:
    """Wakes one agent.

    Args:
        name: the agent's.
        settings: how it is called.
        adapter: knows its program.
        environ: of its processes.
        policy: the pool's.
        prices: of models, for agents that tell no cost.
        clock: Unix time in ms, to which what an agent says of the time is relative.
        steady_s: seconds, monotonic.
    """

    def __init__(
        self,
        name: str,
        settings: AgentSettings,
        adapter: Adapter,
        environ: Mapping[str, str],
        policy: Policy,
        prices: Mapping[str, Price],
        clock: Callable[[], int],
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._settings = settings
        self._adapter = adapter
        self._environ = dict(environ)
        self._policy = policy
        self._prices = prices
        self._clock = clock
        self._steady_s = steady_s
        self._limits = Limits(policy.output_file_bytes, policy.stall_s)

    @property
    def resumes(self) -> bool:
        """Whether a session of it can be gone on with."""
        return self._adapter.resumes

    @property
    def structured(self) -> bool:
        """It tells more than its output and its exit code do."""
        return self._adapter.structured

    def prompt(self, spec: TaskSpec, told: Told) -> str:
        """What it is told: a program of which nothing is known gets the task's text as it is, where that is all."""
        unknown = not (self._adapter.structured or self._adapter.program)
        more = told.problem or told.failed or told.answer or told.part > 1
        return spec.text if unknown and not more else prompt_of(spec, told)

    async def wake(
        self,
        job: Job,
        files: AttemptFiles,
        text: str,
        progress: Progress,
        around: Around = NOTHING,
        cut_short: Callable[[TurnEnd], None] = ignore,
    ) -> TurnEnd:
        """Start the program with this prompt, and follow it to its end. Cancelling this ends it with all its tree.

        Args:
            job: the attempt.
            files: of this turn.
            text: what the agent is told.
            progress: how far the attempt came.
            around: what is made ready for it.
            cut_short: is told what it came to, and used, if this is cancelled.
        """
        try:
            files.prepare(job, text)
        except OSError as error:
            return TurnEnd(unfit(f"the attempt's files cannot be written: {error}"), begun=False)
        prompt = self._prompt(job, files, text, progress, around.writable)
        launch = self._adapter.argv(prompt, self._settings)
        return await self._follow(job, files, launch, progress, around, cut_short)

    async def canary(self, job: Job, files: AttemptFiles) -> TurnEnd | None:
        """Wake it for a word, which reaches its model and costs a few tokens; None if its adapter knows no such turn.

        Raises:
            OSError: the files cannot be written.
        """
        launch = self._adapter.canary(self._settings)
        if not launch.argv:
            return None
        files.prepare(job, "")
        return await self._follow(job, files, launch, Progress(), NOTHING, ignore)

    async def adopt(
        self,
        job: Job,
        files: AttemptFiles,
        process: ProcessIdentity | None,
        progress: Progress,
        cut_short: Callable[[TurnEnd], None] = ignore,
    ) -> TurnEnd:
        """Go on with a turn that an earlier start of the sidecar began; a process with the same pid is never taken for
        its own. Where it has ended already, its keeper says how."""
        watch = self._watch(job, files, progress)
        with self._told_if_cancelled(watch, progress, cut_short):
            ended = await self._kept(job, files).adopt(process, watch)
        if not isinstance(ended, Vanished):
            return self._end(job, files, ended, watch, progress)
        if not ended.begun:
            why = "its sidecar was restarted before it was started"
            return TurnEnd(Outcome("handed_back", "handed_back", why), begun=False)
        lost = Outcome("lost", "lost", "its process ended while no sidecar watched")
        return TurnEnd(lost, watch.turn, self._usage(watch.turn, progress))

    def conclude(self, files: AttemptFiles, ended: Ended) -> Outcome:
        """What a turn came to by how its program ended alone, and by what stands in its files."""
        if ended.unstarted:
            return not_woken(f"the command cannot be started: {ended.unstarted}")
        if self._adapter.structured:
            return Outcome("lost", "lost", "it ended while no sidecar watched, and its work was not looked at")
        return self._by_code(files, ended, self._last_said(files))

    # -------------------------------------------------------------- private

    async def _follow(
        self,
        job: Job,
        files: AttemptFiles,
        launch: Launch,
        progress: Progress,
        around: Around,
        cut_short: Callable[[TurnEnd], None],
    ) -> TurnEnd:
        watch = self._watch(job, files, progress)
        with self._told_if_cancelled(watch, progress, cut_short):
            ended = await self._kept(job, files).run(
                launch.argv,
                self._environ_of(job, files, launch.env, around.environ),
                files.workspace,
                watch,
                stdin=launch.stdin,
                errors_apart=self._adapter.structured,
            )
        if isinstance(ended, NotStarted):
            return TurnEnd(unfit(ended.why) if ended.unfit else not_woken(ended.why), begun=False)
        return self._end(job, files, ended, watch, progress)

    @contextmanager
    def _told_if_cancelled(
        self, watch: Tail | Transcript, progress: Progress, cut_short: Callable[[TurnEnd], None]
    ) -> Iterator[None]:
        """What a turn that is ended has used is spent all the same."""
        try:
            yield
        except anyio.get_cancelled_exc_class():
            cut_short(TurnEnd(CUT_SHORT, watch.turn, self._usage(watch.turn, progress)))
            raise

    def _prompt(
        self, job: Job, files: AttemptFiles, text: str, progress: Progress, writable: tuple[str, ...]
    ) -> Prompt:
        return Prompt(
            text=text,
            workspace=str(files.workspace),
            agent=self._name,
            session=progress.session if self._adapter.resumes else "",
            new_session=session_of(job.token, progress.turn),
            usd_left=max(USD_LEAST, job.order.usd_left - progress.spent.cost_usd) if job.order.usd_left else 0.0,
            task_id=job.spec.id,
            task_file=str(files.task),
            result_file=str(files.result),
            prompt_file=str(files.prompt),
            writable=writable,
        )

    def _environ_of(
        self, job: Job, files: AttemptFiles, launched: Mapping[str, str], around: Mapping[str, str]
    ) -> dict[str, str]:
        """What the adapter wants, overruled by what the settings say, overruled by what is the sidecar's alone."""
        return {
            **launched,
            **self._environ,
            **around,
            "AGENTCOM_TASK_FILE": str(files.task),
            "AGENTCOM_RESULT_FILE": str(files.result),
            "AGENTCOM_TASK_ID": job.spec.id,
            "AGENTCOM_AGENT": self._name,
            "AGENTCOM_ATTEMPT": str(job.attempt),
        }

    def _watch(self, job: Job, files: AttemptFiles, progress: Progress) -> Tail | Transcript:
        if not self._adapter.structured:
            return Tail(files.output, job, self._limits, self._steady_s)

        def overspent(turn: Turn) -> bool:
            if turn.context_size:
                job.filled(PERCENT * turn.context_used // turn.context_size)
            return bool(self._overspent(job, progress.spent + self._usage(turn, progress)))

        return Transcript(
            files.output,
            files.errors,
            self._adapter,
            job,
            limits=self._limits,
            linger_s=self._policy.grace_s,
            on_line=overspent,
            clock=self._steady_s,
        )

    def _kept(self, job: Job, files: AttemptFiles) -> Kept:
        def ended_by(ended: Ended, by_itself: bool) -> None:
            # Of what was asked to end, exit 0 alone says only that it obeyed; with a result file, that it is done.
            if self._adapter.structured or not (by_itself or files.result.exists()):
                return
            outcome = self.conclude(files, ended)
            if outcome.result == "completed":
                job.alive()
                job.reached(outcome)

        return Kept(files, self._policy.grace_s, job.spawned, ended_by)

    def _end(
        self, job: Job, files: AttemptFiles, ended: Ended, watch: Tail | Transcript, progress: Progress
    ) -> TurnEnd:
        turn = watch.turn
        if not ended.unstarted and not self._adapter.structured:
            job.alive()
            turn = self._last_said(files)
        usage = self._usage(turn, progress)
        why = self._overspent(job, progress.spent + usage)
        if why:
            outcome = Outcome("failed", "budget_exceeded", why, ended.code)
        elif watch.excess:
            outcome = Outcome("failed", watch.excess, self._limits.told(watch.excess), ended.code)
        elif ended.unstarted:
            outcome = self.conclude(files, ended)
        elif self._adapter.structured:
            outcome = self._structured(files, ended, turn)
        else:
            outcome = self._by_code(files, ended, turn)
            usage = outcome.usage or usage
        program = f"{self._adapter.name} {turn.version}" if turn.version else ""
        return TurnEnd(outcome, turn, usage, stated_in(outcome.summary).no_change, program)

    def _last_said(self, files: AttemptFiles) -> Turn:
        """What a program that prints no events says at the end of its output, as far as its adapter reads that."""
        turn = Turn()
        for line in files.last_lines():
            for event in self._adapter.parse(line):
                turn.take(event)
        return turn

    def _by_code(self, files: AttemptFiles, ended: Ended, turn: Turn) -> Outcome:
        """Of a program that prints no events the exit code decides; where its result file says nothing of it, what it
        printed at its end says why, and what came of it."""
        over = turn.ended(self._adapter.exited(ended.code, files.last_words()))
        outcome = outcome_of(over, ended.code, files, self._clock())
        resets_at = outcome.resets_at or (self._resets_at(over) if turn.trouble is not None else 0)
        return replace(outcome, summary=outcome.summary or bounded(turn.summary, SUMMARY_MAX), resets_at=resets_at)

    def _resets_at(self, over: Over) -> int:
        return int(resets_at_s(over, self._clock() / 1000) * 1000)

    def _structured(self, files: AttemptFiles, ended: Ended, turn: Turn) -> Outcome:
        """What a program says that prints events. Its terminal event decides; one that was ended because it lingered
        after that is not to blame for its exit code."""
        over = turn.ended(self._adapter.exited(ended.code, files.last_words()))
        said = Outcome("failed", exit_code=ended.code, summary=bounded(turn.summary, SUMMARY_MAX))
        stated = stated_in(turn.summary)
        question = stated.question or (turn.question if not over.ok else "")
        if question:
            return _why(said, "input_required", question, question=bounded(question, SUMMARY_MAX))
        if stated.unfinished:
            left = bounded(stated.unfinished, SUMMARY_MAX)
            return _why(said, "context_exhausted", "it says that it is not finished", summary=left)
        if over.ok and ended.code > 0:
            told = f"it says that it is done, and ended with exit code {ended.code}: {files.last_words()}"
            return _why(said, "exit_code", told)
        if over.ok and turn.denied:
            return replace(
                _why(said, "permission_denied", f"it was denied {', '.join(turn.denied)}"), result="completed"
            )
        if over.ok:
            return replace(said, result="completed")
        detail = over.detail or files.last_words()
        return _why(said, over.reason or "exit_code", detail, resets_at=self._resets_at(over))

    def _overspent(self, job: Job, used: Usage) -> str:
        """Why the task's budget is used up; empty if it is not."""
        order = job.order
        if order.tokens_left and used.new_tokens > order.tokens_left:
            left = f"{order.tokens_left:,} were left of the task's budget"
            return f"this attempt used {used.new_tokens:,} tokens, and {left}"
        if order.usd_left and used.cost_usd > order.usd_left:
            return f"this attempt cost ${used.cost_usd:.4f}, and ${order.usd_left:.4f} were left of the task's budget"
        return ""

    def _usage(self, turn: Turn, progress: Progress) -> Usage:
        """What the turn used. Of a session that tells what it used all in all, what is counted already is taken off."""
        before = progress.session_usage if turn.session == progress.session else NO_USAGE
        return priced(turn.added(before), turn.model or self._settings.model, self._prices)


def _why(outcome: Outcome, reason: str, detail: str, **more: Any) -> Outcome:
    return replace(outcome, reason=reason, detail=bounded(detail, DETAIL_MAX), **more)


def session_of(token: str, turn: int) -> str:
    """A UUID for a new session, which follows from the turn: a repeated start makes no second one."""
    return str(uuid5(SESSIONS, f"{token}/{turn}"))
