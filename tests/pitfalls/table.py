"""The ten mistakes, what prevents each of them here, and the verdict of the tests that show it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct
from rich import box
from rich.table import Table

Verdict = Literal["PASS", "FAIL", "NONE"]

STYLES: dict[Verdict, str] = {"PASS": "bold green", "FAIL": "bold red", "NONE": "bold red"}


class Mistake(Struct, frozen=True):
    """A mistake, and what prevents it here."""

    number: int
    name: str
    prevention: str

    @property
    def marker(self) -> str:
        """The pytest marker of the tests that would fail without the prevention."""
        return f"pitfall_{self.number}"


MISTAKES = (
    Mistake(
        1,
        "at-least-once delivery without idempotent work",
        "Each attempt has a token of generation and nonce: a report without the current one changes nothing. "
        "A task has one branch and one pull request for ever; what exists is resumed.",
    ),
    Mistake(
        2,
        "coordination costs more than the work",
        "3 messages for a short task, 4 for another, submission included; beats are overwritten, not queued. "
        "The agent is told its task, in an envelope of under 500 tokens; `agentcom costs` shows what it comes to.",
    ),
    Mistake(
        3,
        "the sidecar as a single point of failure",
        "Supervised by `agentcom up`, systemd or pm2, with a watchdog. The journal survives SIGKILL; "
        "the next start adopts what runs. An agent that stays away raises an alert.",
    ),
    Mistake(
        4,
        "the agent's state machine diverges from reality",
        "Every beat names what really runs and is compared with the record: asked, stopped or taken back. "
        "Every change is journalled with its trigger. `agentcom fsck` compares the rest.",
    ),
    Mistake(
        5,
        "a git workflow that enforces nothing",
        "The sidecar does git before the agent wakes, and compares what it fetched with origin; else nobody is woken. "
        "Hook, sidecar and gate apply the same rules; completed means checked at that commit.",
    ),
    Mistake(
        6,
        "a store that melts under load",
        "One commit for many tasks, matching by lanes, no command that looks at all of anything; "
        "every key has a bound, and what is beyond it is refused with a reason.",
    ),
    Mistake(
        7,
        "looks alive, is not",
        "Accepted only by the agent's own first sign of life, else the task goes elsewhere after 60 s. "
        "A self-test, wake included, is part of the beat: connected is not available.",
    ),
    Mistake(
        8,
        "automatic review that blocks or approves everything",
        "`agentcom gate` merges only what every one of its mechanical rules lets through: at first documentation and "
        "new tests. A recommendation can stop a merge, never bring one about. Verdicts are counted.",
    ),
    Mistake(
        9,
        "context windows starved",
        "A task whose context is over 80 % of an agent's window is never given to it, and its submitter is told "
        "who could take it. Who runs out says what is left, and the next part goes on from there.",
    ),
    Mistake(
        10,
        "livelock under failure cascades",
        "Retries are counted, delayed, jittered and go elsewhere; fresh work goes first; a breaker per agent; "
        "a task that was handed back too often fails; a livelock is detected and told.",
    ),
)


class Tally(Struct):
    """How the tests of one mistake ended."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def verdict(self) -> Verdict:
        """What follows. Tests that were all skipped show nothing."""
        if self.failed:
            return "FAIL"
        return "PASS" if self.passed else "NONE"


Outcome = Literal["passed", "failed", "skipped"]


def tallied(outcomes: Iterable[tuple[frozenset[str], Outcome]]) -> dict[int, Tally]:
    """The tally of every mistake, from each test's markers and how it ended. A test may be about several."""
    counts = Counter((marker, outcome) for markers, outcome in outcomes for marker in markers)
    return {
        mistake.number: Tally(*(counts[mistake.marker, outcome] for outcome in ("passed", "failed", "skipped")))
        for mistake in MISTAKES
    }


def holds(tallies: Mapping[int, Tally]) -> bool:
    """Whether every mistake is shown to be prevented."""
    return all(tally.verdict == "PASS" for tally in tallies.values())


def table(tallies: Mapping[int, Tally]) -> Table:
    """What people see."""
    shown = Table(box=box.SIMPLE_HEAD, title="The table of ten", title_justify="left", pad_edge=False)
    shown.add_column("", justify="right")
    shown.add_column("mistake", max_width=24)
    shown.add_column("what prevents it", min_width=20)
    shown.add_column("tests", justify="right", no_wrap=True)
    shown.add_column("verdict", no_wrap=True)
    for mistake in MISTAKES:
        tally = tallies[mistake.number]
        verdict = tally.verdict
        counts = [f"{tally.passed} passed"] * bool(tally.passed) + [f"{tally.failed} failed"] * bool(tally.failed)
        counts += [f"{tally.skipped} skipped"] * bool(tally.skipped)
        told = f"[{STYLES[verdict]}]{verdict}[/]"
        shown.add_row(str(mistake.number), mistake.name, mistake.prevention, "\n".join(counts) or "none", told)
    return shown
