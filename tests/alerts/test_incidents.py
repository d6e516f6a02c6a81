"""What is told, to whom and when: stories of looks, without a clock and without a receiver."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agentcom.alerts.incidents import (
    CALM_MAX_MS,
    FOLDED_OVER,
    HELD_BACK,
    HOUR_MS,
    MAX_INCIDENTS,
    MEMORY_MS,
    MINUTE_MS,
    UNDELIVERED_MS,
    Attempt,
    Book,
    Rules,
    claim,
    due,
    is_unsettled,
    next_due_at,
    observe,
    settle,
)
from agentcom.diagnosis.finding import Finding, Severity

LOOK_MS = 10_000
RULES = Rules(severity="critical", per_hour=60, look_ms=LOOK_MS)


def down(agent: str = "oak", severity: Severity = "critical") -> Finding:
    return Finding(rule="agent_down", severity=severity, subject=f"agent:{agent}", text=f"{agent} is silent")


def down_all(count: int) -> list[Finding]:
    return [down(f"a{number:03}") for number in range(count)]


def leaderless() -> Finding:
    return Finding(rule="leaderless", severity="critical", subject="pool", text="no scheduler leads")


OAK = down().incident
LEADERLESS = leaderless().incident


class Story:
    """A book, a clock, and receivers that get what is due; a receiver in `refusing` gets nothing."""

    def __init__(self, rules: Rules = RULES, receivers: Iterable[str] = ("ntfy",)) -> None:
        self.book = Book()
        self.rules = rules
        self.receivers = list(receivers)
        self.refusing: set[str] = set()
        self.now = 1_000_000_000
        self.told: list[tuple[str, str, str]] = []
        self.messages: list[tuple[str, ...]] = []

    def look(self, *findings: Finding, times: int = 1, every_ms: int = LOOK_MS, unseen: tuple[str, ...] = ()) -> None:
        for _ in range(times):
            self.now += every_ms
            observe(self.book, findings, self.now, self.rules, lambda finding: finding.incident in unseen)
            self.tell()

    def tell(self) -> None:
        for attempt in due(self.book, self.receivers, self.now):
            claim(self.book, attempt, self.now + 30_000)
            delivered = attempt.receiver not in self.refusing
            settle(self.book, attempt, self.now, self.rules, delivered=delivered)
            if delivered:
                self.messages.append(attempt.incidents)
                self.told += [(attempt.stage, incident, attempt.receiver) for incident in attempt.incidents]

    def rules_told(self) -> Counter[str]:
        return Counter(incident.partition(":")[0] for _, incident, _ in self.told)


def test_an_incident_is_told_once_however_long_it_lasts() -> None:
    story = Story()
    story.look(down(), times=500)
    assert story.told == [("open", OAK, "ntfy")]


def test_what_only_one_look_found_is_never_told() -> None:
    story = Story()
    for _ in range(20):
        story.look(down())
        story.look()
    assert story.told == []


def test_two_looks_of_several_schedulers_at_the_same_time_count_as_one() -> None:
    story = Story()
    story.look(down())
    story.look(down(), every_ms=100)
    assert story.told == []
    story.look(down())
    assert len(story.told) == 1


def test_what_is_not_looked_for_any_more_is_not_said_to_be_over() -> None:
    story = Story()
    story.look(down(), down("elm"), times=2)
    story.look(times=20, unseen=(OAK,))
    assert [told for told in story.told if told[1] == OAK] == [("open", OAK, "ntfy")]
    assert [told[0] for told in story.told if told[1] == down("elm").incident] == ["open", "over"]
    assert story.book.incidents.keys() == {down("elm").incident}


def test_its_end_is_told_once_when_looks_have_not_found_it_for_a_while() -> None:
    story = Story()
    story.look(down(), times=5)
    story.look(times=2)
    assert len(story.told) == 1
    story.look(times=500)
    assert story.told == [("open", OAK, "ntfy"), ("over", OAK, "ntfy")]


def test_a_look_that_misses_it_once_ends_nothing() -> None:
    story = Story()
    for _ in range(50):
        story.look(down(), down("elm"), times=3)
        story.look(down("elm"))
    assert [told[:2] for told in story.told] == [("open", OAK), ("open", down("elm").incident)]


def test_what_flaps_becomes_one_long_incident() -> None:
    story = Story()
    minutes = 4 * 60
    for _ in range(minutes // 2):
        story.look(down(), times=6)
        story.look(times=6)
    assert len(story.told) <= 6, "as a naive one would tell it 240 times"
    assert story.told[-1][0] == "open"
    story.look(times=CALM_MAX_MS // LOOK_MS + 2)
    assert story.told[-1][0] == "over"


def test_one_that_comes_back_much_later_is_a_new_incident() -> None:
    story = Story()
    story.look(down(), times=3)
    story.look(times=4)
    story.look(every_ms=MEMORY_MS + LOOK_MS)
    assert story.book.incidents == {}
    story.look(down(), times=3)
    assert [told[0] for told in story.told] == ["open", "over", "open"]


def test_one_that_comes_back_soon_is_told_again_at_once() -> None:
    story = Story()
    story.look(down(), times=3)
    story.look(times=4)
    story.look(down())
    assert [told[0] for told in story.told] == ["open", "over", "open"]


def test_findings_below_the_threshold_are_not_told() -> None:
    story = Story()
    story.look(down(severity="warning"), down("elm", "notice"), times=5)
    assert story.told == []
    story.rules = replace(RULES, severity="warning")
    story.look(down(severity="warning"), down("elm", "notice"), times=5)
    assert story.told == [("open", OAK, "ntfy")]


def asking(since_at: int = 1, task: str = "t1") -> Finding:
    return Finding(
        rule="waits_for_person", severity="warning", subject=f"task:{task}", text="which?", since_at=since_at, asks=True
    )


def test_what_waits_for_a_person_is_told_once_although_only_what_is_critical_is() -> None:
    story = Story()
    story.look(asking(), times=500)
    story.look(times=5)
    assert story.told == [("open", asking().incident, "ntfy"), ("over", asking().incident, "ntfy")]


def test_another_question_of_the_same_task_is_told_however_soon_it_comes() -> None:
    story = Story()
    story.look(asking(since_at=1), times=5)
    story.look(asking(since_at=2), times=5)
    assert [told[0] for told in story.told] == ["open", "open"]


def test_one_that_becomes_graver_is_told_again() -> None:
    story = Story(replace(RULES, severity="warning"))
    story.look(down(severity="warning"), times=5)
    story.look(down(severity="critical"), times=5)
    assert [told[0] for told in story.told] == ["open", "open"]
    assert story.book.incidents[OAK].finding.severity == "critical"


def test_every_receiver_is_told_once_and_one_that_refuses_delays_no_other() -> None:
    story = Story(receivers=["ntfy", "mail", "hook"])
    story.refusing = {"mail"}
    story.look(down(), times=20)
    assert sorted(receiver for _, _, receiver in story.told) == ["hook", "ntfy"]
    story.refusing = set()
    story.look(down(), times=100)
    assert sorted(receiver for _, _, receiver in story.told) == ["hook", "mail", "ntfy"]


def test_who_was_never_told_of_it_is_not_told_that_it_is_over() -> None:
    story = Story(receivers=["ntfy", "mail"])
    story.refusing = {"mail"}
    story.look(down(), times=20)
    story.look(times=5)
    story.refusing = set()
    story.look(times=200)
    assert story.told == [("open", OAK, "ntfy"), ("over", OAK, "ntfy")]


def test_an_end_that_cannot_be_told_is_tried_for_a_day() -> None:
    story = Story()
    story.look(down(), times=3)
    story.refusing = {"ntfy"}
    story.look(times=10)
    story.look(every_ms=UNDELIVERED_MS - 3 * HOUR_MS)
    story.refusing = set()
    story.look(times=100)
    assert [told[0] for told in story.told] == ["open", "over"]
    story.look(every_ms=2 * UNDELIVERED_MS)
    assert story.book.incidents == {}


def test_tries_are_ever_further_apart_up_to_ten_minutes() -> None:
    story = Story()
    story.refusing = {"ntfy"}
    tried = []
    for _ in range(4_000):
        story.look(down(), every_ms=1_000)
        count = story.book.incidents[OAK].tries["ntfy"].count if story.book.incidents[OAK].tries else 0
        if count > len(tried):
            tried.append(story.now)
    waits = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert waits == sorted(waits)
    assert waits[0] < LOOK_MS
    assert waits[-1] == pytest.approx(600_000, abs=1_001)


def test_what_is_claimed_is_nobody_elses_until_the_claim_expires() -> None:
    story = Story()
    story.look(down())
    observe(story.book, [down()], story.now + LOOK_MS, RULES)
    story.now += LOOK_MS
    (attempt,) = due(story.book, ["ntfy"], story.now)
    claim(story.book, attempt, story.now + 30_000)
    assert due(story.book, ["ntfy"], story.now + 29_999) == []
    assert next_due_at(story.book, ["ntfy"]) == story.now + 30_000
    assert due(story.book, ["ntfy"], story.now + 30_000) == [attempt], "its teller is dead"


def test_a_message_on_its_way_while_the_incident_ends_is_followed_by_its_end() -> None:
    story = Story()
    story.receivers = []
    story.look(down(), times=3)
    attempt = Attempt(OAK, "open", "ntfy")
    claim(story.book, attempt, story.now + 30_000)
    story.look(times=5)
    settle(story.book, attempt, story.now, RULES, delivered=True)
    story.receivers = ["ntfy"]
    story.look(times=2)
    assert story.told == [("over", OAK, "ntfy")]


def test_an_end_on_its_way_while_the_incident_comes_back_is_followed_by_the_alert() -> None:
    story = Story()
    story.look(down(), times=3)
    story.receivers = []
    story.look(times=5)
    attempt = Attempt(OAK, "over", "ntfy")
    claim(story.book, attempt, story.now + 30_000)
    story.look(down())
    settle(story.book, attempt, story.now, RULES, delivered=True)
    story.receivers = ["ntfy"]
    story.look(down(), times=2)
    assert [told[0] for told in story.told] == ["open", "open"]


def test_over_the_limit_one_message_says_that_there_are_more_and_the_rest_comes_later() -> None:
    story = Story(replace(RULES, per_hour=5))
    agents = down_all(FOLDED_OVER)
    story.look(*agents, times=20)
    assert story.rules_told() == {"agent_down": 5, HELD_BACK: 1}
    held = next(incident for incident in story.book.incidents.values() if incident.finding.rule == HELD_BACK)
    assert held.finding.text.startswith("5 more alerts are held back")
    story.look(*agents, times=3 * HOUR_MS // MINUTE_MS, every_ms=MINUTE_MS)
    assert story.rules_told() == {"agent_down": FOLDED_OVER, HELD_BACK: 1}
    assert {incident.finding.rule for incident in story.book.incidents.values()} == {"agent_down"}


def test_what_was_held_back_until_it_was_over_is_not_told_at_all() -> None:
    story = Story(replace(RULES, per_hour=1))
    story.look(down("elm"), times=3)
    story.look(down("elm"), down(), times=3)
    story.look(down("elm"), times=30)
    story.look(down("elm"), every_ms=2 * HOUR_MS)
    assert story.rules_told() == {"agent_down": 1, HELD_BACK: 1}


def test_ends_count_towards_the_limit_too_and_are_told_later() -> None:
    story = Story(replace(RULES, per_hour=1))
    story.look(down(), times=3)
    story.look(times=10)
    assert story.rules_told() == {"agent_down": 1, HELD_BACK: 1}
    story.look(times=80, every_ms=MINUTE_MS)
    assert [told[0] for told in story.told if told[1] == OAK] == ["open", "over"]


def test_there_are_never_more_incidents_than_the_bound_and_the_gravest_come_first() -> None:
    story = Story(replace(RULES, severity="warning", per_hour=10_000))
    warnings = [down(f"w{number}", "warning") for number in range(MAX_INCIDENTS)]
    story.look(*warnings, *(down(f"c{number}") for number in range(20)), times=4)
    assert len(story.book.incidents) == MAX_INCIDENTS
    assert sum(incident.finding.severity == "critical" for incident in story.book.incidents.values()) == 20


def test_what_is_about_the_whole_pool_is_told_at_once_however_much_is_held_back() -> None:
    story = Story(replace(RULES, per_hour=5))
    agents = down_all(FOLDED_OVER)
    story.look(*agents, times=3)
    assert story.rules_told() == {"agent_down": 5, HELD_BACK: 1}
    story.look(*agents, leaderless(), times=2)
    assert story.told[-1] == ("open", LEADERLESS, "ntfy")
    story.look(*agents, times=4)
    assert story.told[-1] == ("over", LEADERLESS, "ntfy")
    story.look(*agents, times=70, every_ms=MINUTE_MS)
    assert story.rules_told()["agent_down"] == FOLDED_OVER, "and has not used up what the others may be told"


def test_what_is_about_the_whole_pool_gets_into_a_book_that_is_full() -> None:
    story = Story()
    agents = down_all(MAX_INCIDENTS + 50)
    story.look(*agents, times=3)
    story.look(*agents, leaderless(), times=2)
    assert story.told[-1] == ("open", LEADERLESS, "ntfy")
    assert len(story.book.incidents) == MAX_INCIDENTS + 1


def test_what_is_about_the_whole_pool_is_delivered_first() -> None:
    story = Story()
    story.receivers = []
    story.look(*down_all(3), times=3)
    story.look(*down_all(3), leaderless(), times=2)
    first, *others = due(story.book, ["ntfy"], story.now)
    assert (first.incident, len(others)) == (LEADERLESS, 3)


def test_many_of_one_rule_that_come_at_once_and_go_at_once_are_one_message_each() -> None:
    story = Story(replace(RULES, per_hour=2), receivers=["ntfy", "mail"])
    agents = down_all(300)
    story.look(*agents, times=5)
    assert [len(message) for message in story.messages] == [300, 300], "one for each receiver"
    assert sum(story.book.told_in.values()) == 1
    story.look(*agents[:5], times=5)
    assert [len(message) for message in story.messages] == [300, 300, 295, 295]
    assert set(Counter(story.told).values()) == {1}
    assert HELD_BACK not in story.rules_told()


def test_what_is_held_back_is_one_message_when_its_time_comes() -> None:
    story = Story(replace(RULES, per_hour=1))
    story.look(down(), times=3)
    story.look(down(), *down_all(20), times=3)
    assert story.rules_told() == {"agent_down": 1, HELD_BACK: 1}
    story.look(down(), *down_all(20), times=70, every_ms=MINUTE_MS)
    assert [len(message) for message in story.messages] == [1, 1, 20]


def test_as_few_as_can_be_read_one_by_one_are_told_one_by_one() -> None:
    story = Story()
    story.look(*down_all(FOLDED_OVER), times=5)
    assert [len(message) for message in story.messages] == [1] * FOLDED_OVER


def test_a_message_about_many_that_failed_is_tried_again_with_those_that_still_are() -> None:
    story = Story()
    story.refusing = {"ntfy"}
    agents = down_all(20)
    story.look(*agents, times=4)
    story.look(*agents[:15], times=4)
    assert story.messages == []
    story.refusing = set()
    story.look(*agents[:15], times=20)
    assert [len(message) for message in story.messages] == [15]
    story.look(times=20)
    assert [len(message) for message in story.messages] == [15, 15]


def test_of_a_message_about_many_that_is_on_its_way_nothing_is_told_twice_and_every_end_is_told() -> None:
    story = Story(receivers=[])
    agents = down_all(20)
    story.look(*agents, times=2)
    (attempt,) = due(story.book, ["ntfy"], story.now)
    claim(story.book, attempt, story.now + 300_000)
    story.look(*agents[:15], times=5)
    assert due(story.book, ["ntfy"], story.now) == [], "it is claimed"
    settle(story.book, attempt, story.now, RULES, delivered=True)
    story.receivers = ["ntfy"]
    story.look(*agents[:15], times=5)
    assert sorted(story.told) == [("over", agent.incident, "ntfy") for agent in agents[15:]]


def test_a_finding_of_any_length_is_kept_in_bounds() -> None:
    long = replace(down(), text="x" * 10_000, evidence=("y" * 10_000,) * 1_000, next_step="z" * 10_000)
    story = Story()
    story.look(long, times=3)
    finding = story.book.incidents[OAK].finding
    assert len(finding.text + "".join(finding.evidence) + finding.next_step) < 3_000


def test_after_every_change_another_look_is_wanted_soon_and_at_rest_not() -> None:
    story = Story()
    story.look()
    assert not is_unsettled(story.book)
    story.look(down())
    assert is_unsettled(story.book)
    story.look(down(), times=2)
    assert not is_unsettled(story.book)
    story.look()
    assert is_unsettled(story.book)
    story.look(times=3)
    assert not is_unsettled(story.book)


def test_since_when_it_is_wrong_is_what_the_finding_says_or_when_it_was_first_seen() -> None:
    story = Story()
    story.look(replace(down(), since_at=5), down("elm"), times=3)
    assert story.book.incidents[OAK].since_at == 5
    assert story.book.incidents[down("elm").incident].since_at == story.now - 2 * LOOK_MS


LOOKS = st.lists(st.lists(st.sampled_from(["oak", "elm", "fir"]), unique=True), max_size=60)


@given(LOOKS, st.integers(0, 2**32))
def test_a_receiver_hears_of_each_incident_alternately_that_it_is_open_and_over(
    looks: list[list[str]], seed: int
) -> None:
    chance = random.Random(seed)
    story = Story(receivers=["ntfy", "mail"])
    for agents in looks:
        story.refusing = {receiver for receiver in story.receivers if chance.random() < 0.3}
        story.look(*(down(agent) for agent in agents), every_ms=chance.choice([100, LOOK_MS, 10 * LOOK_MS]))
    story.refusing = set()
    story.look(times=300)
    for incident in {told[1] for told in story.told}:
        for receiver in story.receivers:
            heard = [stage for stage, of, by in story.told if (of, by) == (incident, receiver)]
            assert heard == ["open", "over"] * (len(heard) // 2), "and at the end, that it is over"
