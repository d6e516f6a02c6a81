"""What a sidecar decides, told as stories: orders in, effects out."""

import pytest
from msgspec import Raw

from agentcom.model.codec import encode
from agentcom.model.messages import Accepted, Ask, Assign, Finished, SelfTest, Stop
from agentcom.model.task import Outcome, Usage
from agentcom.sidecar.effects import Adopt, Disown, Effect, End, Forget, Send, Start
from agentcom.sidecar.machine import REMEMBERED_BYTES, REMEMBERED_MAX, Machine

ME = "sc-2"
DONE = Outcome("completed", summary="done")
BROKEN = Outcome("failed", "exit_code", "exit code 1", 1)
ACCEPT_REPORT_MS = 250


def machine(slots: int = 2) -> Machine:
    return Machine("oak", ME, slots, ACCEPT_REPORT_MS)


def order(name: str = "a", *, incarnation: str = ME, timeout_s: float = 60.0) -> Assign:
    return Assign(
        incarnation=incarnation,
        task=f"task-{name}",
        token=f"1.{name}",
        spec=Raw(encode({"text": name})),
        attempt=1,
        timeout_s=timeout_s,
    )


def stop(name: str = "a", why: str = "not wanted") -> Stop:
    return Stop(incarnation=ME, task=f"task-{name}", token=f"1.{name}", why=why)


def told(effects: list[Effect]) -> list[tuple[str, str, str]]:
    """Kind of report, task and result of everything that is sent."""
    reports = [report for effect in effects if isinstance(effect, Send) for report in effect.reports]
    return [
        ("finished", report.task, report.outcome.result)
        if isinstance(report, Finished)
        else ("accepted", report.task, "")
        for report in reports
        if isinstance(report, Finished | Accepted)
    ]


def settled(effects: list[Effect]) -> list[str]:
    return [entry for effect in effects if isinstance(effect, Send) for entry in effect.settled]


def test_an_order_is_started_and_its_end_is_reported_and_settled_in_one_step():
    sidecar = machine()
    assert sidecar.ordered("1-0", order(), now=0) == [Start("1-0", order())]
    [send] = sidecar.ended("1-0", DONE)
    assert isinstance(send, Send)
    assert send.settled == ["1-0"]
    [report] = send.reports
    assert isinstance(report, Finished)
    assert (report.agent, report.incarnation, report.token, report.outcome) == ("oak", ME, "1.a", DONE)
    assert sidecar.held == []


def test_an_order_for_an_earlier_start_is_handed_back():
    effects = machine().ordered("1-0", order(incarnation="sc-1"), now=0)
    assert told(effects) == [("finished", "task-a", "handed_back")]
    assert settled(effects) == ["1-0"]


def test_an_order_beyond_the_slots_is_handed_back():
    sidecar = machine(slots=1)
    sidecar.ordered("1-0", order("a"), now=0)
    assert told(sidecar.ordered("2-0", order("b"), now=0)) == [("finished", "task-b", "handed_back")]
    sidecar.ended("1-0", DONE)
    assert sidecar.ordered("3-0", order("c"), now=2) == [Start("3-0", order("c"))]


def test_an_order_delivered_twice_is_started_once():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    assert sidecar.ordered("1-0", order(), now=1) == []


@pytest.mark.pitfall_1
@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize("slots", [1, 2])
def test_an_attempt_ordered_by_two_entries_is_not_handed_back_while_it_runs(slots, draining):
    sidecar = machine(slots)
    sidecar.ordered("1-0", order(), now=0)
    if draining:
        sidecar.drain()
    assert sidecar.ordered("2-0", order(), now=1) == [Send(settled=["2-0"])]
    assert told(sidecar.ended("1-0", DONE)) == [("finished", "task-a", "completed")]


def test_what_cannot_be_read_is_settled_and_nothing_is_said_of_it():
    assert machine().ordered("1-0", "not JSON", now=0) == [Send(settled=["1-0"])]


@pytest.mark.parametrize("timeout_s", [1e308, 10.0**15])
def test_a_time_limit_beyond_all_measure_is_no_limit(timeout_s):
    sidecar = machine()
    sidecar.ordered("1-0", order(timeout_s=timeout_s), now=0)
    assert sidecar.tick(now=10**11) == []


def test_acceptance_is_reported_when_the_agent_has_lived_for_a_while():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    assert sidecar.wake_at() is None
    sidecar.alive("1-0", now=10)
    assert sidecar.wake_at() == 10 + ACCEPT_REPORT_MS
    assert sidecar.tick(now=259) == []
    effects = sidecar.tick(now=260)
    assert told(effects) == [("accepted", "task-a", "")]
    assert settled(effects) == []
    sidecar.alive("1-0", now=300)
    assert sidecar.tick(now=10_000) == []


def test_what_ends_quickly_is_not_reported_accepted():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    sidecar.alive("1-0", now=10)
    sidecar.ended("1-0", DONE)
    assert sidecar.tick(now=1_000) == []
    assert sidecar.wake_at() is None


@pytest.mark.pitfall_7
def test_an_agent_that_shows_no_life_is_never_reported_accepted():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    assert sidecar.tick(now=59_999) == []
    assert sidecar.beat(60_000, 0).state == "assigned"


def test_stop_ends_what_runs_and_the_end_is_its_answer():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    assert sidecar.ordered("2-0", stop(), now=5) == [End("1-0")]
    effects = sidecar.ended("1-0", BROKEN)
    assert told(effects) == [("finished", "task-a", "canceled")]
    assert settled(effects) == ["1-0", "2-0"], "a later start of the sidecar has to find the stop until it is over"


@pytest.mark.pitfall_3
def test_a_stop_is_leased_until_it_is_over_and_not_followed_twice():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    sidecar.ordered("2-0", stop(), now=5)
    assert sidecar.held == ["1-0"]
    assert sidecar.leased == ["1-0", "2-0"]
    assert sidecar.ordered("2-0", stop(), now=6) == [], "a fail-over delivers it once more"
    sidecar.ended("1-0", BROKEN)
    assert sidecar.leased == []


@pytest.mark.pitfall_4
def test_a_stop_that_is_anothers_now_is_not_settled_and_the_run_ends_all_the_same():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    sidecar.ordered("2-0", stop(), now=5)
    assert sidecar.leases_lost(["2-0"]) == []
    assert sidecar.leased == ["1-0"]
    assert sidecar.ordered("3-0", stop(), now=6) == [], "this one is kept in its place"
    effects = sidecar.ended("1-0", BROKEN)
    assert (told(effects), settled(effects)) == ([("finished", "task-a", "canceled")], ["1-0", "3-0"])


def test_stop_of_what_is_not_here_is_answered_so_that_its_slot_becomes_free():
    effects = machine().ordered("2-0", stop(), now=5)
    assert told(effects) == [("finished", "task-a", "lost")]
    assert settled(effects) == ["2-0"]


def test_a_second_stop_is_settled_and_ends_nothing_twice():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    sidecar.ordered("2-0", stop(), now=5)
    assert sidecar.ordered("3-0", stop(), now=6) == [Send(settled=["3-0"])]


def test_a_canceled_task_that_completed_meanwhile_is_canceled():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    sidecar.ordered("2-0", stop(), now=5)
    assert told(sidecar.ended("1-0", DONE)) == [("finished", "task-a", "canceled")]


def test_what_runs_over_its_limit_is_ended_and_fails_by_timeout():
    sidecar = machine()
    sidecar.ordered("1-0", order(timeout_s=2), now=0)
    assert sidecar.tick(now=1_999) == []
    assert sidecar.tick(now=2_000) == [End("1-0")]
    assert sidecar.tick(now=3_000) == []
    [send] = sidecar.ended("1-0", BROKEN)
    assert isinstance(send, Send)
    [report] = send.reports
    assert isinstance(report, Finished)
    assert (report.outcome.result, report.outcome.reason) == ("failed", "timeout")
    assert report.outcome.detail == "not done within 2 s"


def test_what_completed_just_when_its_time_ended_is_completed():
    sidecar = machine()
    sidecar.ordered("1-0", order(timeout_s=2), now=0)
    sidecar.tick(now=2_000)
    assert told(sidecar.ended("1-0", DONE)) == [("finished", "task-a", "completed")]


@pytest.mark.pitfall_1
def test_a_lost_lease_ends_what_runs_and_nothing_is_reported_or_settled():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    assert sidecar.leases_lost(["1-0", "9-9"]) == [Disown("1-0"), End("1-0")]
    assert sidecar.leases_lost(["1-0"]) == []
    assert sidecar.ended("1-0", DONE) == [Forget("1-0")]


@pytest.mark.pitfall_2
@pytest.mark.parametrize("stopped", [False, True])
def test_what_was_used_is_told_also_when_the_lease_is_lost(stopped):
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    sidecar.leases_lost(["1-0"])
    if stopped:
        sidecar.ordered("2-0", stop(), now=1)
    effects = sidecar.ended("1-0", Outcome("failed", "lost", usage=Usage(input_tokens=5)))
    [report] = [report for effect in effects if isinstance(effect, Send) for report in effect.reports]
    assert (report.outcome.result, report.outcome.usage) == (
        "canceled" if stopped else "lost",
        Usage(input_tokens=5),
    )
    assert settled(effects) == (["2-0"] if stopped else [])


@pytest.mark.pitfall_1
@pytest.mark.parametrize("before", ["stop", "timeout", "drain"])
def test_a_lease_lost_while_it_is_being_ended_is_not_settled(before):
    sidecar = machine()
    sidecar.ordered("1-0", order(timeout_s=1), now=0)
    {
        "stop": lambda: sidecar.ordered("2-0", stop(), now=1),
        "timeout": lambda: sidecar.tick(now=1_000),
        "drain": sidecar.give_back,
    }[before]()
    assert sidecar.leases_lost(["1-0"]) == [Disown("1-0")]
    effects = sidecar.ended("1-0", BROKEN)
    assert settled(effects) == (["2-0"] if before == "stop" else []), "the stop is still its own"
    assert effects[-1] == Forget("1-0")
    assert told(effects) == ([("finished", "task-a", "canceled")] if before == "stop" else [])


@pytest.mark.pitfall_4
def test_stop_of_what_lost_its_lease_is_answered_when_it_is_over():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    sidecar.leases_lost(["1-0"])
    assert sidecar.ordered("2-0", stop(), now=1) == []
    effects = sidecar.ended("1-0", BROKEN)
    assert told(effects) == [("finished", "task-a", "canceled")]
    assert settled(effects) == ["2-0"]


def test_draining_hands_back_what_arrives_and_lets_run_what_runs():
    sidecar = machine()
    sidecar.ordered("1-0", order("a"), now=0)
    sidecar.drain()
    assert sidecar.free_slots == 0
    assert told(sidecar.ordered("2-0", order("b"), now=1)) == [("finished", "task-b", "handed_back")]
    assert told(sidecar.ended("1-0", BROKEN)) == [("finished", "task-a", "failed")]


def test_what_is_given_back_is_handed_back_unless_it_completed():
    sidecar = machine()
    sidecar.ordered("1-0", order("a"), now=0)
    sidecar.ordered("2-0", order("b"), now=0)
    assert sidecar.give_back() == [End("1-0"), End("2-0")]
    assert told(sidecar.ended("1-0", BROKEN)) == [("finished", "task-a", "handed_back")]
    assert told(sidecar.ended("2-0", DONE)) == [("finished", "task-b", "completed")]


@pytest.mark.pitfall_4
def test_a_beat_says_what_really_runs():
    sidecar = machine()
    assert (sidecar.beat(1, 0).state, sidecar.beat(2, 0).count) == ("idle", 2)
    sidecar.ordered("1-0", order("a"), now=0)
    sidecar.ordered("2-0", order("b"), now=0)
    assert sidecar.beat(3, 0).state == "assigned"
    sidecar.alive("2-0", now=4)
    beat = sidecar.beat(5, unsent=7)
    assert (beat.state, beat.running, beat.unsent) == ("working", {"1.a": "task-a", "1.b": "task-b"}, 7)
    sidecar.ended("1-0", DONE)
    assert sidecar.beat(7, 0).running == {"1.b": "task-b"}


def test_the_end_of_what_is_not_held_changes_nothing():
    assert machine().ended("1-0", DONE) == []


def test_an_order_for_a_newer_start_says_that_this_one_is_superseded():
    sidecar = machine()
    newer = f"{ME}-newer"
    assert told(sidecar.ordered("1-0", order(incarnation=newer), now=0)) == [("finished", "task-a", "handed_back")]
    assert sidecar.superseded_by == newer


# ---------------------------------------------------------------- not available


@pytest.mark.pitfall_7
def test_while_its_agent_cannot_work_orders_are_handed_back_with_the_reason():
    sidecar = machine()
    sidecar.ordered("1-0", order("a"), now=0)
    sidecar.unfit = "the disk is full"
    [send] = sidecar.ordered("2-0", order("b"), now=1)
    assert isinstance(send, Send)
    [report] = send.reports
    assert isinstance(report, Finished)
    assert report.outcome == Outcome("handed_back", "unfit", "the disk is full")
    assert send.settled == ["2-0"]
    assert sidecar.held == ["1-0"], "what runs goes on"
    sidecar.unfit = ""
    assert sidecar.ordered("3-0", order("c"), now=2) == [Start("3-0", order("c"))]


def test_a_beat_tells_the_last_self_test():
    test = SelfTest(3, 7, ("the disk is full",))
    assert machine().beat(1, 0, test).test == test
    assert machine().beat(1, 0).test == SelfTest()


# ------------------------------------------------------------------------- asked


def ask(name: str = "a") -> Ask:
    return Ask(incarnation=ME, task=f"task-{name}", token=f"1.{name}")


@pytest.mark.pitfall_4
def test_asked_for_what_runs_it_says_nothing_as_its_end_will_be_said():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    assert sidecar.ordered("2-0", ask(), now=1) == [Send(settled=["2-0"])]
    assert told(sidecar.ended("1-0", DONE)) == [("finished", "task-a", "completed")]


@pytest.mark.pitfall_4
def test_asked_for_what_ended_it_says_the_same_again():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    [said] = sidecar.ended("1-0", DONE)
    assert isinstance(said, Send)
    for entry in ("2-0", "3-0"):
        assert sidecar.ordered(entry, ask(), now=1) == [Send(said.reports, [entry])]
    assert sidecar.ordered("4-0", stop(), now=2) == [Send(said.reports, ["4-0"])]


@pytest.mark.pitfall_4
def test_asked_for_what_it_does_not_know_it_says_that_it_is_lost():
    effects = machine().ordered("1-0", ask(), now=0)
    assert told(effects) == [("finished", "task-a", "lost")]
    assert settled(effects) == ["1-0"]


@pytest.mark.pitfall_1
@pytest.mark.parametrize("question", [ask(), stop()])
def test_what_it_said_that_it_does_not_have_never_begins_afterwards(question):
    """The order may be found pending only later, when the reply with its delivery was lost."""
    sidecar = machine()
    sidecar.ordered("2-0", question, now=0)
    effects = sidecar.ordered("1-0", order(), now=1)
    assert (told(effects), settled(effects)) == ([("finished", "task-a", "lost")], ["1-0"])
    assert sidecar.held == []


@pytest.mark.pitfall_1
def test_an_attempt_that_ended_is_not_begun_again_by_a_second_entry():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    sidecar.ended("1-0", DONE)
    effects = sidecar.ordered("2-0", order(), now=1)
    assert (told(effects), settled(effects)) == ([("finished", "task-a", "completed")], ["2-0"])


@pytest.mark.pitfall_6
def test_of_many_ends_the_last_ones_are_remembered():
    sidecar = machine()
    for number in range(REMEMBERED_MAX + 1):
        sidecar.ordered(f"{number}-0", order(str(number)), now=0)
        sidecar.ended(f"{number}-0", DONE)
    assert told(sidecar.ordered("a-0", ask("0"), now=1)) == [("finished", "task-0", "lost")]
    assert told(sidecar.ordered("b-0", ask("2"), now=1)) == [("finished", "task-2", "completed")]


@pytest.mark.pitfall_6
def test_large_ends_are_remembered_only_as_far_as_memory_is_meant_for_them():
    sidecar = machine()
    large = Outcome("completed", value="x" * (REMEMBERED_BYTES // 10))
    for number in range(12):
        sidecar.ordered(f"{number}-0", order(str(number)), now=0)
        sidecar.ended(f"{number}-0", large)
    assert told(sidecar.ordered("a-0", ask("2"), now=1)) == [("finished", "task-2", "lost")]
    assert told(sidecar.ordered("b-0", ask("4"), now=1)) == [("finished", "task-4", "completed")]


# ----------------------------------------------------------------------- adopted


@pytest.mark.pitfall_3
def test_what_an_earlier_start_began_is_held_as_if_begun_here():
    sidecar = machine()
    earlier = order(incarnation="sc-1")
    assert sidecar.adopt("1-0", earlier, since_at=0, now=100) == [Adopt("1-0", earlier)]
    assert sidecar.adopt("1-0", earlier, since_at=0, now=100) == []
    assert sidecar.beat(100, 0).running == {"1.a": "task-a"}
    sidecar.alive("1-0", now=110)
    assert told(sidecar.tick(now=110 + ACCEPT_REPORT_MS)) == [("accepted", "task-a", "")]
    [send] = sidecar.ended("1-0", DONE)
    assert isinstance(send, Send)
    [report] = send.reports
    assert isinstance(report, Finished)
    assert (report.incarnation, report.token, send.settled) == (ME, "1.a", ["1-0"])


@pytest.mark.pitfall_3
def test_the_time_limit_of_what_is_adopted_goes_on_but_for_a_clock_that_was_set_back():
    sidecar = machine()
    sidecar.adopt("1-0", order("a", incarnation="sc-1", timeout_s=10), since_at=1_000, now=9_000)
    sidecar.adopt("2-0", order("b", incarnation="sc-1", timeout_s=10), since_at=10**12, now=9_000)
    assert sidecar.tick(now=10_999) == []
    assert sidecar.tick(now=11_000) == [End("1-0")]
    assert sidecar.tick(now=19_000) == [End("2-0")]


@pytest.mark.pitfall_3
def test_what_is_adopted_can_be_more_than_the_slots_and_then_no_more_is_taken():
    sidecar = machine(slots=1)
    for name in ("a", "b"):
        sidecar.adopt(f"{name}-0", order(name, incarnation="sc-1"), since_at=0, now=0)
    assert sidecar.free_slots == 0
    assert told(sidecar.ordered("3-0", order("c"), now=1)) == [("finished", "task-c", "handed_back")]


def test_a_late_result_is_reported_and_settles_nothing():
    effects = machine().late(order(incarnation="sc-1"), DONE)
    assert (told(effects), settled(effects)) == ([("finished", "task-a", "completed")], [])


def test_what_ran_and_was_ended_for_its_lost_lease_does_not_begin_again_when_it_is_delivered_once_more() -> None:
    one = machine()
    one.ordered("1-0", order(), 0)
    one.leases_lost(["1-0"])
    one.ended("1-0", Outcome("failed", "exit_code"))
    effects = one.ordered("1-0", order(), 1_000)
    assert not any(isinstance(effect, Start) for effect in effects)
    assert told(effects) == [("finished", "task-a", "lost")]
    assert settled(effects) == ["1-0"]


@pytest.mark.parametrize("phase", ["preparing", "verifying"])
def test_time_that_is_spent_on_git_and_on_checks_is_not_the_agents(phase):
    sidecar = machine()
    sidecar.ordered("1-0", order(timeout_s=10), now=0)
    assert sidecar.entered("1-0", phase, 4_000)
    assert not sidecar.entered("1-0", phase, 5_000), "that is no news"
    assert sidecar.tick(now=100_000) == []
    assert getattr(sidecar.beat(100_000, 0), phase) == (order().token,)
    sidecar.entered("1-0", "working", 100_000)
    assert (sidecar.beat(100_000, 0).verifying, sidecar.beat(100_000, 0).preparing) == ((), ())
    assert sidecar.tick(now=105_000) == []
    assert sidecar.tick(now=106_000) == [End("1-0")]


def test_the_beat_tells_how_full_an_agents_context_was_at_its_fullest():
    sidecar = machine()
    sidecar.ordered("1-0", order(), now=0)
    assert sidecar.beat(0, 0).context == {}
    sidecar.filled("1-0", 85)
    sidecar.filled("1-0", 40)
    assert sidecar.beat(0, 0).context == {order().token: 85}
