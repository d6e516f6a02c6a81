"""What people see of tasks that did not simply complete: what a person has to do, what came late, what counts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from rich.text import Text

from agentcom.cli import asking
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.lifecycle import NEXT
from agentcom.model.messages import Requeue, Retry
from agentcom.model.reasons import ASKED_OF_A_PERSON
from agentcom.model.task import Attempt, Check, Evidence, Outcome, PullRequest, ReadRecord, TaskRecord, TaskSpec, Usage
from agentcom.monitor import task_view
from agentcom.monitor.explain_view import document, judge, lines
from agentcom.monitor.look import Now
from agentcom.monitor.wishes import Wish, sent_back

AT = 1_760_000_000_000
NOW = Now(AT, lambda _: 3_600)
S, M = 1_000, 60_000
TASK = "0199c8ab-0000-7000-8000-00000001eeee"


def text(told: Iterable[Text]) -> str:
    return "\n".join(line.plain for line in told)


def attempt(agent: str, generation: int, outcome: Outcome | None = None, **more: object) -> Attempt:
    ended_at = AT - M if outcome is not None else 0
    facts = {"accepted_at": AT - 2 * M, "ended_at": ended_at, "outcome": outcome} | more
    return Attempt(generation, f"{generation}.00", agent, "sc-1", AT - 2 * M, **facts)  # type: ignore[arg-type]


def record(state: str, *attempts: Attempt, **more: object) -> ReadRecord:
    facts = {"changed_at": AT - M, "generation": len(attempts), "attempts": attempts} | more
    facts = {"spec": TaskSpec(id=TASK, text="Do it.")} | facts
    return TaskRecord(seq=1, state=state, submitted_at=AT - 3 * M, **facts)  # type: ignore[arg-type]


def agent(name: str, **more: object) -> AgentRecord:
    return AgentRecord(name=name, incarnation="sc-1", card=Card(), **more)  # type: ignore[arg-type]


REFUSED = Outcome("failed", "permission_denied", "it may not push")
ASKING = record("input_required", attempt("oak", 1, REFUSED), reason="permission_denied", detail="it may not push")
TAKEN = Outcome("handed_back", "requeued", "it hangs")


def test_what_a_person_has_to_do_is_said_wherever_the_task_is_shown() -> None:
    to_do = ASKED_OF_A_PERSON["permission_denied"]
    page = text(task_view.page(ASKING, {}, [], NOW, None))
    assert "  reason     permission_denied: it may not push\n" in page
    assert f"  to do      {to_do}\n" in page
    assert task_view.why(ASKING, NOW) == f"permission_denied: it may not push; {to_do}"
    assert task_view.brief(ASKING)["to_do"] == to_do
    told = text(lines(judge(ASKING.spec, ASKING, [agent("oak")]), ASKING, NOW, None))
    assert told.startswith(f"it is input_required: permission_denied: it may not push; {to_do}\n")


CHECKED = Outcome(
    "failed", "verification_failed", "make test failed", usage=Usage(1_000, 200, 30_000, 400, 50, 0.004),
    evidence=Evidence("oak/x", "main", "a" * 40, "b" * 40, 3, 4, 1_200, 33, pushed=True, rescue="rescue/oak/1"),
    checks=(
        Check("make lint", "oak", "b" * 40, passed=True, exit_code=0, seconds=3.2),
        Check("make test", "oak", "b" * 40, exit_code=2, seconds=61.0),
        Check("make slow", seconds=600.0),
    ),
    context_used=170, context_size=200,
)  # fmt: skip
ASKS = Outcome("failed", "input_required", question="tabs or\nspaces?")


def test_what_came_of_the_work_and_what_it_took_is_shown() -> None:
    shown = record(
        "input_required", attempt("oak", 1, CHECKED, spent=True), attempt("oak", 2, ASKS), reason="input_required",
        branch="oak/x", part=2, parts_summary="half is done", spent=CHECKED.usage, question=ASKS.question,
        answer_by=AT + 5 * M, pull_request=PullRequest("https://forge/pull/7", 7),
        spec=TaskSpec(id=TASK, text="x", checks=("make test",), budget_usd=2.0, budget_tokens=200_000), granted_usd=1.0,
    )  # fmt: skip
    page = " ".join(text(task_view.page(shown, {}, [], NOW, None)).split())
    for told in (
        "question tabs or spaces? answer due",
        "(in 5m)",
        "checks make lint: passed at bbbbbbbbbb, by oak in 3s make test: failed with 2 at bbbbbbbbbb, by oak in 61s",
        "make slow: ended for its time limit, by nobody known in 10m",
        "3 commits from main aaaaaaaaaa to bbbbbbbbbb, 4 files, +1,200 −33, pushed; what was not committed is on",
        "is on rescue/oak/1",
        "branch oak/x pull request https://forge/pull/7 (open) part 2, after agents had run out of context",
        "part before half is done",
        "spent $0.0040; tokens: 1,000 in, 200 out, 30,000 from cache, 400 to cache, 50 of reasoning",
        "budget $3.00 and 200,000 tokens",
        "must pass make test",
        "context 85 % full",
    ):
        assert told in page
    assert task_view.why(shown, NOW) == "asks: tabs or spaces?; answer it with `agentcom answer`"
    whole = task_view.whole(shown)
    assert (whole["branch"], whole["part"], whole["spent"]["cost_usd"]) == ("oak/x", 2, 0.004)
    assert whole["pull_request"] == {"url": "https://forge/pull/7", "number": 7}
    assert whole["attempts"][0]["context_percent"] == 85
    assert whole["attempts"][0]["outcome"]["checks"][1]["command"] == "make test"


def test_a_reason_that_this_version_does_not_know_asks_for_something_too() -> None:
    assert "`agentcom retry`" in task_view.asked_of_a_person(record("input_required", reason="new_reason"))


def test_nothing_is_asked_of_a_person_in_any_other_state() -> None:
    assert [state for state in NEXT if task_view.asked_of_a_person(record(state))] == ["input_required"]


def test_every_state_has_its_place_in_the_order() -> None:
    assert set(task_view.STATE_ORDER) == set(NEXT)


def test_late_evidence_and_what_does_not_count_are_told() -> None:
    late = Outcome("completed", summary="pushed it all the same", changed=("a.py", "b.py"))
    shown = record(
        "working",
        attempt("oak", 1, TAKEN, counted=False, late=late),
        attempt("elm", 2),
        waits=2,
    )
    page = text(task_view.page(shown, {}, [], NOW, None))
    assert "attempt 1 by oak: completed, pushed it all the same (changed a.py, b.py)" in page
    assert "not counted, completed late" in page
    assert "2×, which counts as no attempt" in page
    whole = task_view.whole(shown)
    assert whole["rate_limits"] == 2
    told = whole["attempts"][0]["late"]
    assert (told["result"], list(told["changed"])) == ("completed", ["a.py", "b.py"])
    assert (whole["attempts"][0]["counted"], whole["attempts"][1]["late"]) == (False, None)


def test_evidence_that_says_nothing_is_still_told() -> None:
    shown = record("queued", attempt("oak", 1, TAKEN, late=Outcome("failed", "exit_code")))
    assert "attempt 1 by oak: failed, exit_code\n" in text(task_view.page(shown, {}, [], NOW, None))


def test_an_explanation_says_what_keeps_an_agent_out_of_service() -> None:
    agents = [
        agent("ash", health="degraded", health_why="3 attempts in a row failed, the last: lost"),
        agent("elm", health="rate_limited", health_why="429", limited_until=AT + M),
        agent("fir", probation=True, running={"1.00": TASK}),
        agent("oak", link="offline", health="degraded", health_why="long ago"),
    ]
    judged = judge(TaskSpec(text="x"), None, agents)
    told = {line.split()[0]: line for line in text(lines(judged, None, NOW, None)).splitlines()[2:]}
    assert told["ash"].endswith("degraded: 3 attempts in a row failed, the last: lost")
    assert told["elm"].endswith("rate limited until 08:54 UTC: 429")
    assert told["fir"].endswith("busy: it proves itself with one task at a time")
    assert told["oak"].endswith("offline")
    causes = {one["name"]: one["cause"] for one in document(judged, None)["agents"]}
    assert (causes["elm"], causes["oak"]) == ("429", "")


def test_an_agent_that_a_task_was_taken_from_is_passed_over_for_that_reason() -> None:
    taken = record("queued", attempt("oak", 1, TAKEN, counted=False), granted=1)
    told = {one.name: one.now for one in judge(taken.spec, taken, [agent("oak"), agent("elm")])}
    assert told == {"oak": "a person took it from there, and another could take it", "elm": ""}


# ------------------------------------------------------------------- asking


@pytest.mark.parametrize(
    ("state", "all_read", "wish"),
    [
        ("failed", True, Wish("tk", Retry(task=TASK), "sent back")),
        ("canceled", False, Wish("tk", Retry(task=TASK), "sent back")),
        ("input_required", True, Wish("tk", Retry(task=TASK), "sent on")),
        ("working", True, Wish("tk", None, "is working already")),
        ("working", False, Wish("tk", Retry(task=TASK), "sent back")),
    ],
)
def test_what_is_open_is_not_sent_back_unless_the_inbox_may_still_change_that(
    state: str, all_read: bool, wish: Wish
) -> None:
    assert sent_back("tk", TASK, record(state), all_read) == wish


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (TAKEN, "requeued"),
        (Outcome("completed"), "was not requeued: the attempt had ended, and it is completed"),
        (None, "requeued"),
    ],
)
def test_what_ended_before_it_could_be_taken_back_is_not_said_to_be_requeued(end: Outcome | None, said: str) -> None:
    before = record("working", attempt("oak", 1))
    after = record("completed", attempt("oak", 1, end))
    wish = Wish("tk", Requeue(task=TASK, generation=1), "requeued")
    assert asking.as_it_came(wish, before, {TASK: after}).said == said


def test_a_task_counts_as_an_agents_whether_that_works_on_it_or_ever_did() -> None:
    later = record("retry_wait", attempt("oak", 1, CHECKED), attempt("elm", 2, CHECKED))
    assert [task_view.was_with(later, name) for name in ("oak", "elm", "ash")] == [True, True, False]
