"""The screen at every size, for a pool with one of every finding; and what must be on it however small it is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from agentcom.diagnosis import RULES, Snapshot, diagnose
from agentcom.model.messages import DeadLetter, Line
from agentcom.monitor.live.draw import draw
from agentcom.monitor.live.header import Away
from agentcom.monitor.live.picture import AGENT, TASK, Opened
from agentcom.monitor.live.state import VIEWS, State
from tests.diagnosis.pools import AT, BUSY, POLICY, M, S, agent, id_of, task
from tests.monitor.golden import SIZES, file_of, screens
from tests.monitor.pools import AGENTS, DOOM, EVERYTHING, NO_AOF, NOW, STUCK, picture

SHAPES = [(width, height) for width in (20, 40, 60, 80, 110, 200) for height in (1, 3, 6, 10, 16, 24, 60)]


def shown(state: State, snapshot: Snapshot, size: tuple[int, int], away: Away | None = None) -> str:
    return "\n".join(line.plain for line in draw(state, picture(snapshot), away, NOW, size).lines)


def test_the_pools_of_these_tests_have_one_of_every_finding() -> None:
    found = {finding.rule for pool in (EVERYTHING, DOOM, NO_AOF) for finding in diagnose(pool, POLICY, AT)}
    assert found == {rule.id for rule in RULES}


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_screens_are_as_they_were_last_looked_at(size: tuple[int, int]) -> None:
    assert screens(size) == file_of(size).read_text(encoding="utf-8"), "python -m tests.monitor.golden, and look"


@pytest.mark.parametrize("size", SHAPES, ids=str)
def test_a_screen_fills_the_terminal_and_no_line_is_wider(size: tuple[int, int]) -> None:
    for view in VIEWS:
        for state in (State(view=view), State(view=view, opened=(AGENT + "cedar",)), State(view=view, help=True)):
            lines = draw(state, picture(), None, NOW, size).lines
            assert len(lines) == size[1]
            assert max(line.cell_len for line in lines) <= size[0]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_what_matters_is_on_every_screen_however_small(size: tuple[int, int]) -> None:
    screen = shown(State(), EVERYTHING, size)
    assert "redis ok" in screen
    assert "17 need attention" in screen
    assert "queued 3" in screen
    assert "working 4" in screen
    assert "dead 1" in screen
    assert "! work has gone round for" in screen, "what is critical for the pool"
    assert "▸!  alder" in screen, "the agent that is worst off, first, with its mark"
    assert "down: nothing was" in screen, "and what is wrong with it"
    assert "q quit" in screen
    assert "no scheduler leads" in shown(State(), replace(EVERYTHING, leader=""), size)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_while_redis_is_away_the_last_picture_stays_and_says_since_when(size: tuple[int, int]) -> None:
    screen = draw(State(), picture(), Away(AT - 2 * M, "connection refused"), NOW, size)
    text = "\n".join(line.plain for line in screen.lines)
    assert "redis away since 09:51:20" in text
    assert "alder" in text
    dimmed = [line for line in screen.lines[2:-1] if line.plain.strip()]
    assert all(any("dim" in str(span.style) for span in line.spans) for line in dimmed)


def test_while_redis_is_away_ages_stay_as_they_were_seen() -> None:
    later = replace(NOW, ms=AT + 60 * M)
    text = "\n".join(line.plain for line in draw(State(), picture(), Away(AT, "x"), later, (110, 30)).lines)
    assert "45m/5m" in text
    assert "showing what was seen 1h ago" in text


def test_every_row_with_something_wrong_says_what_and_every_finding_can_be_read_whole_with_what_to_do() -> None:
    for pool in (EVERYTHING, DOOM, NO_AOF):
        findings = diagnose(pool, POLICY, AT)
        for finding in findings:
            state = State(view="findings", chosen={"findings": finding.incident})
            screen = " ".join(shown(state, pool, (200, 60)).split())
            assert finding.text in screen
            assert f"→ {finding.next_step}" in screen
            if finding.subject.startswith((AGENT, TASK)):
                page = " ".join(shown(State(opened=(finding.subject,)), pool, (200, 60)).split())
                assert f"{finding.rule}: {finding.gist}" in page or "is not kept any more" in page


def test_a_bounded_read_says_so() -> None:
    many = replace(EVERYTHING, open=100_000)
    assert "first 11 of 100,000 open tasks" in shown(State(), many, (110, 30))
    assert "2 tasks 11 of 100,000" in shown(State(view="tasks"), many, (110, 30))
    crowd = replace(BUSY, agents=[agent(f"a{number:04}") for number in range(1_034)])
    assert "1 to 22 of 1,034" in shown(State(), crowd, (110, 30))
    assert "; beats and orders of the first 200 of 1,034" in shown(State(), replace(crowd, asked=200), (110, 30))


def test_a_selected_row_stays_selected_when_rows_move() -> None:
    state = State(chosen={"agents": AGENT + "yew"})
    assert "▸   yew" in shown(state, EVERYTHING, (110, 30))
    worse = [replace(each, link="offline", seen_at=AT - 60 * M) if each.name == "yew" else each for each in AGENTS]
    assert "▸!  yew" in shown(state, replace(EVERYTHING, agents=worse), (110, 30))
    gone = [each for each in AGENTS if each.name != "yew"]
    assert "▸!  alder" in shown(state, replace(EVERYTHING, agents=gone), (110, 30)), "then the first is"


def test_a_clock_that_is_wrong_is_shown_as_what_it_is_and_beats_are_as_old_as_the_server_says() -> None:
    screen = shown(State(opened=(AGENT + "elm",)), EVERYTHING, (110, 60))
    assert "has a clock that is 40m ahead of that of Redis" in screen
    assert "beat 2s ago" in screen
    skewed = replace(EVERYTHING, server_at=AT - 90 * S)
    assert "this machine's clock is 90s ahead of that of Redis" in shown(State(), skewed, (110, 30))


def test_an_unknown_beat_is_left_blank_and_not_taken_for_old() -> None:
    unheard = replace(EVERYTHING, beats={}, beat_left_ms={})
    page = shown(State(opened=(AGENT + "cedar",)), unheard, (110, 60))
    assert "unknown" in page
    assert "beat" not in page.partition("link")[2].partition("\n")[0]


# ------------------------------------------------------------------- hostile

HOSTILE = (
    "\x1b[2J\x1b[31mred [bold]markup[/bold] [link=http://x]y[/link] :smile:",
    "\x1b]0;title\x07\x9b5n\x90q\x1b\\ \x00\x08\x7f",
    "line\nbreak\r\ttab\u2028sep \u202eright to left\u202c",
    "中文" * 200 + "🧑‍🚀" * 50 + "a\u0301" * 80,
    "\ud800 lone \x1b[",
    "%s {0} $(rm -rf /) `x` ';--",
)


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("size", [(110, 30), (40, 10)], ids=str)
def test_words_of_others_move_no_cursor_colour_nothing_and_are_no_markup(words: str, size: tuple[int, int]) -> None:
    spec = {"title": words, "text": words, "requires": "python >= 2", "expect_s": 60.0}
    ill = task(0x77, "working", AT - M, spec, attempts=STUCK.attempts, reason=words, detail=words, note=words)
    asked = task(0x78, "input_required", AT - M, spec, reason=words, detail=words, question=words)
    bad = replace(AGENTS[2], health_why=words, unfit=words, running={"1.00": ill.spec.id})
    seen = replace(
        EVERYTHING,
        tasks=[ill, asked],
        agents=[bad],
        pool=words,
        leader=words,
        letters=[DeadLetter(id_of(9), words, AT - M, words, words, 4)],
        lines=[Line(AT, "task", words, "queued", "failed", ill.spec.id, 1, "cedar", words, words)],
    )
    opened = Opened({ill.spec.id: ill}, ())
    for view in VIEWS:
        for pages in ((), (TASK + ill.spec.id,), (TASK + asked.spec.id,), (AGENT + bad.name,)):
            screen = draw(State(view=view, opened=pages), picture(seen, opened), None, NOW, size)
            for line in screen.lines:
                assert line.cell_len <= size[0]
                assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in line.plain)
                assert not set(line.plain) & set("\u2028\u202e\u202c\ud800")
                assert not any("link" in str(span.style) for span in line.spans)
