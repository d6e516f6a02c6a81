"""What follows what in an attempt: claims, looks and checks as data, and what comes of each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.adapters.base import Turn
from agentcom.git.place import Finished, GitProblem, Started
from agentcom.model.codec import MAX_REPORT_BYTES, encode
from agentcom.model.messages import Finished as Finished_
from agentcom.model.task import Check, Evidence, Outcome, PullRequest, Usage
from agentcom.sidecar.runners.progress import Progress
from agentcom.sidecar.runners.stages import Done, Next, Rules, after_checks, after_look, after_turn, at_start, completed
from agentcom.sidecar.runners.turnend import TurnEnd

GIT = Rules(max_returns=2, repository=True)
PLAIN = Rules(max_returns=2, repository=False)
CLAIM = Outcome("completed", summary="did it", exit_code=0)
WORK = Evidence(branch="oak/t", base="main", base_sha="b", head_sha="h", commits=1, files=1)
PASSED = Check("make test", "oak", "h", passed=True, exit_code=0)
FAILED = Check("make lint", "oak", "h", passed=False, exit_code=2, tail="line 3 is too long")


def ended(outcome: Outcome = CLAIM, turn: Turn | None = None, **more: Any) -> TurnEnd:
    return TurnEnd(outcome, turn or Turn(), **more)


def going_on(step: Next | Done) -> Progress:
    assert isinstance(step, Next), step
    return step.progress


def over(step: Next | Done) -> Outcome:
    assert isinstance(step, Done), step
    return step.outcome


def test_without_repository_and_checks_the_agents_word_is_all_there_is() -> None:
    assert over(after_turn(Progress(), ended(), PLAIN)).result == "completed"


@pytest.mark.parametrize(
    ("rules", "commands"), [(GIT, ()), (PLAIN, ("make test",)), (GIT, ("make test",))], ids=["git", "checks", "both"]
)
def test_with_either_its_word_is_not_enough(rules: Rules, commands: tuple[str, ...]) -> None:
    assert going_on(after_turn(Progress(commands=commands), ended(), rules)).stage == "checks"


def test_what_it_says_that_it_failed_is_over_and_tells_what_it_used() -> None:
    turn = Turn(session="s", model="m", context_used=900, context_size=1_000)
    said = ended(Outcome("failed", "rate_limited"), turn, usage=Usage(input_tokens=7, cost_usd=0.2), program="x 1.2")
    outcome = over(after_turn(Progress(spent=Usage(input_tokens=3)), said, GIT))
    assert (outcome.reason, outcome.usage) == ("rate_limited", Usage(input_tokens=10, cost_usd=0.2))
    assert (outcome.session, outcome.session_usage, outcome.model) == ("s", Usage(input_tokens=7, cost_usd=0.2), "m")
    assert (outcome.program, outcome.context_used, outcome.context_size) == ("x 1.2", 900, 1_000)


def test_all_turns_of_an_attempt_are_counted_once() -> None:
    progress = Progress(commands=("x",))
    for _ in range(2):
        progress = going_on(after_turn(progress, ended(usage=Usage(output_tokens=5)), GIT))
        progress = going_on(after_checks(progress, [FAILED], GIT))
    final = over(after_turn(progress, ended(Outcome("failed", "lost"), usage=Usage(output_tokens=1)), GIT))
    assert final.usage == Usage(output_tokens=11)


def test_committed_work_goes_on_to_its_checks() -> None:
    progress = going_on(after_look(Progress(stage="checks"), Finished(WORK, origin_sha="o"), GIT))
    assert (progress.stage, progress.evidence, progress.origin_sha) == ("checks", WORK, "o")


@pytest.mark.parametrize("reason", ["uncommitted", "stale_base"])
def test_what_the_agent_can_mend_goes_back_to_it(reason: str) -> None:
    found = Finished(WORK, GitProblem(reason, "a.py, b.py"))
    progress = going_on(after_look(Progress(stage="checks"), found, GIT))
    assert (progress.stage, progress.turn, progress.returned) == ("agent", 2, 1)
    assert "a.py, b.py" in progress.problem


def test_what_it_cannot_mend_fails_at_once_with_the_reason() -> None:
    outcome = over(after_look(Progress(stage="checks"), GitProblem("git_fetch_failed", "no route to host"), GIT))
    assert (outcome.result, outcome.reason, outcome.detail) == ("failed", "git_fetch_failed", "no route to host")


def test_nothing_committed_is_asked_about_once_more_and_then_no_change() -> None:
    nothing = Finished(Evidence(base="main"))
    progress = Progress(stage="checks", claimed=CLAIM)
    for _ in range(GIT.max_returns):
        progress = going_on(after_look(progress, nothing, GIT))
        assert "committed nothing" in progress.problem
    assert over(after_look(progress, nothing, GIT)).reason == "no_change"


def test_an_explicit_no_change_is_evidence_of_its_own() -> None:
    progress = Progress(stage="checks", no_change="it is right already")
    assert going_on(after_look(progress, Finished(Evidence(base="main")), GIT)).stage == "checks"


def test_nothing_committed_after_a_denied_tool_is_a_matter_for_a_person() -> None:
    denied = Outcome("completed", "permission_denied", "it was denied Bash")
    progress = Progress(stage="checks", claimed=denied)
    outcome = over(after_look(progress, Finished(Evidence(base="main")), GIT))
    assert (outcome.result, outcome.reason, outcome.detail) == ("failed", "permission_denied", "it was denied Bash")


def test_where_nobody_looks_what_was_done_without_a_denied_tool_is_a_matter_for_a_person_too() -> None:
    denied = Outcome("completed", "permission_denied", "it was denied Bash")
    outcome = over(after_turn(Progress(), ended(denied), PLAIN))
    assert (outcome.result, outcome.reason) == ("failed", "permission_denied")
    assert going_on(after_turn(Progress(commands=("make test",)), ended(denied), PLAIN)).stage == "checks"


def test_work_that_was_done_in_spite_of_a_denied_tool_counts() -> None:
    progress = Progress(stage="checks", claimed=Outcome("completed", "permission_denied", "it was denied Bash"))
    assert going_on(after_look(progress, Finished(WORK), GIT)).stage == "checks"


def test_passed_checks_let_it_be_published_and_are_told() -> None:
    progress = going_on(after_checks(Progress(stage="checks", claimed=CLAIM, evidence=WORK), [PASSED], GIT))
    assert progress.stage == "publish"
    outcome = completed(progress, PullRequest("u", 3))
    assert (outcome.result, outcome.summary, outcome.checks) == ("completed", "did it", (PASSED,))
    assert (outcome.evidence, outcome.pull_request) == (WORK, PullRequest("u", 3))


def test_failed_checks_go_back_with_what_they_printed() -> None:
    progress = going_on(after_checks(Progress(stage="checks"), [PASSED, FAILED], GIT))
    assert (progress.stage, progress.turn, progress.failed) == ("agent", 2, (FAILED,))


def test_after_so_many_returns_the_attempt_has_failed_verification() -> None:
    progress = Progress(stage="checks", returned=2, claimed=CLAIM, evidence=WORK)
    outcome = over(after_checks(progress, [PASSED, FAILED], GIT))
    assert (outcome.result, outcome.reason) == ("failed", "verification_failed")
    assert (outcome.detail, outcome.checks, outcome.evidence) == ("failed checks: make lint", (PASSED, FAILED), WORK)


STEPS = st.sampled_from(["done", "failed", "uncommitted", "nothing", "red", "green"])


@given(st.lists(STEPS, max_size=30), st.integers(0, 4))
def test_no_attempt_is_completed_that_was_not_checked_and_none_goes_on_for_ever(steps: list[str], most: int) -> None:
    """Whatever an agent says and does, in whatever order."""
    rules = Rules(max_returns=most, repository=True)
    progress = Progress(commands=("make test",))
    for word in steps:
        step: Next | Done
        if progress.stage == "agent":
            step = after_turn(progress, ended(Outcome("failed", "lost") if word == "failed" else CLAIM), rules)
        elif word in ("red", "green"):
            looked = after_look(progress, Finished(WORK), rules)
            step = after_checks(going_on(looked), [PASSED if word == "green" else FAILED], rules)
        else:
            problem = GitProblem("uncommitted", "x") if word == "uncommitted" else None
            step = after_look(progress, Finished(Evidence(base="main"), problem), rules)
        if isinstance(step, Done):
            assert step.outcome.result == "failed"
            break
        progress = step.progress
        assert progress.turn <= 1 + most
        if progress.stage == "publish":
            assert word == "green"
            assert completed(progress, None).checks == (PASSED,)
            break


def test_what_checks_printed_is_kept_as_far_as_a_report_can_carry_it() -> None:
    loud = [Check(f"check {number}", "oak", "h", passed=number % 2 == 0, tail="x" * 4_000) for number in range(50)]
    outcome = over(after_checks(Progress(stage="checks", returned=2), loud, GIT))
    assert len(outcome.checks) == 50
    report = Finished_(agent="oak", incarnation="i", task="t", token="k", outcome=outcome)
    assert len(encode(report)) < MAX_REPORT_BYTES / 10
    assert {len(check.tail) for check in outcome.checks} == {200, 1_500}


def test_what_git_could_not_bring_together_the_agent_is_told_from_the_beginning() -> None:
    clean = Started("main", "b", "h", resumed=True)
    assert at_start(Progress(), clean, ("make test",)) == Progress(started=clean, commands=("make test",))
    torn = Started("main", "b", "h", resumed=True, conflicts=("a.py", "b.py"))
    assert at_start(Progress(), torn, ()).problem.endswith("(merge origin/main: a.py, b.py)")


def test_where_a_session_is_no_more_a_new_one_begins_at_once_and_is_told_everything() -> None:
    lost = ended(Outcome("failed", "session_lost", "no such session"))
    progress = going_on(after_turn(Progress(session="s", session_usage=Usage(cost_usd=1.0)), lost, GIT))
    assert (progress.stage, progress.turn, progress.session, progress.returned) == ("agent", 2, "", 0)
    assert progress.session_usage == Usage()
    assert over(after_turn(progress, lost, GIT)).reason == "session_lost", "but only once"
