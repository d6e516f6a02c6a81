"""What real programs printed, as `tests.adapters.record` recorded it, and what their adapters make of it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.adapters.base import Alive, Denied, Did, Event, Over, Said, Session, Turn
from agentcom.adapters.registry import BUILT_IN
from agentcom.model.task import Usage
from tests.adapters.record import TRANSCRIPTS
from tests.adapters.scenarios import SCENARIOS, turn_in

RECORDED = sorted(path.relative_to(TRANSCRIPTS) for path in TRANSCRIPTS.glob("*/*.jsonl"))
PROGRAMS = sorted({path.parts[0] for path in RECORDED})
ONE_ANSWER = Usage(input_tokens=1_200, output_tokens=40, cache_read_tokens=300)
"""What the stand-in says of each answer."""


def parts(recorded: Path) -> tuple[str, str]:
    return recorded.parts[0].rsplit("-", 1)[0], recorded.stem


def turn_of(recorded: Path | str) -> Turn:
    path = TRANSCRIPTS / recorded
    end = json.loads(path.with_suffix(".end.json").read_text(encoding="utf-8"))
    name, _ = parts(Path(recorded))
    return turn_in(BUILT_IN[name], end["code"], path.read_bytes(), end["errors"])


def events_of(recorded: Path | str) -> list[Event]:
    name, _ = parts(Path(recorded))
    lines = (TRANSCRIPTS / recorded).read_bytes().splitlines()
    return [event for line in lines for event in BUILT_IN[name].parse(line)]


def times(usage: Usage, number: int) -> Usage:
    return sum((usage for _ in range(number)), Usage())


@pytest.mark.parametrize("recorded", RECORDED, ids=str)
def test_every_end_has_its_reason_and_only_an_agent_that_was_reached_shows_life(recorded: Path) -> None:
    _, title = parts(recorded)
    scenario = SCENARIOS[title]
    turn = turn_of(recorded)
    assert turn.over is not None
    assert (turn.over.ok, turn.over.reason) == (not scenario.reason, scenario.reason)
    assert turn.alive is scenario.alive
    assert turn.over.ok or turn.over.detail, "a person is told why"
    assert sum(turn.unknown.values()) <= 2, turn.unknown


@pytest.mark.parametrize("recorded", RECORDED, ids=str)
def test_the_session_is_known_by_the_first_sign_of_life(recorded: Path) -> None:
    turn = Turn()
    for event in events_of(recorded):
        turn.take(event)
        assert turn.session or not turn.alive


@pytest.mark.parametrize("program", ["claude-2.1.197", "claude-2.1.330", "codex-0.171.0", "opencode-1.18.33"])
def test_what_an_agent_says_and_does_is_told_and_its_tokens_counted_once(program: str) -> None:
    events = events_of(f"{program}/ok.jsonl")
    turn = turn_of(f"{program}/ok.jsonl")
    deeds = [event.text for event in events if isinstance(event, Did)]
    assert any("a.txt" in deed for deed in deeds)
    assert any("git commit" in deed for deed in deeds)
    assert [event for event in events if isinstance(event, Said)] == [Said("Done.")]
    assert turn.summary == "Done."
    used = turn.added(Usage())
    assert used.tokens == times(ONE_ANSWER, 3).tokens
    assert (used.input_tokens, used.cache_read_tokens, used.output_tokens) == (3_600, 900, 120)


@pytest.mark.parametrize(
    ("program", "cost_usd"),
    [("claude-2.1.197", 0.01287), ("claude-2.1.330", 0.01287), ("opencode-1.18.33", 0.0048), ("codex-0.171.0", 0.0)],
)
def test_cost_is_what_the_program_says(program: str, cost_usd: float) -> None:
    assert turn_of(f"{program}/ok.jsonl").added(Usage()).cost_usd == pytest.approx(cost_usd)


@pytest.mark.parametrize(
    "program", ["claude-2.1.197", "claude-2.1.280", "claude-2.1.330", "codex-0.171.0", "opencode-1.18.33"]
)
def test_a_resumed_session_is_not_counted_twice(program: str) -> None:
    turn = turn_of(f"{program}/resumed.jsonl")
    cost_usd = {"codex": 0.0, "opencode": 0.0016}.get(program.split("-", 1)[0], 0.00429)
    before = Usage(1_200, 40, 300, cost_usd=cost_usd)
    added = turn.added(before)
    assert (added.input_tokens, added.output_tokens, added.cache_read_tokens) == (1_200, 40, 300)
    assert added.cost_usd == pytest.approx(cost_usd)


@pytest.mark.parametrize("version", ["2.1.197", "2.1.330"])
def test_claude_tells_its_version_model_and_context(version: str) -> None:
    turn = turn_of(f"claude-{version}/ok.jsonl")
    assert (turn.model, turn.version) == ("claude-sonnet-4-5", version)
    assert (turn.context_used, turn.context_size) == (1_540, 200_000)
    assert turn.session == "11111111-1111-4111-8111-111111111111"


@pytest.mark.parametrize("version", ["2.1.197", "2.1.330"])
def test_claudes_beginning_is_of_the_program_and_the_first_piece_of_a_message_of_the_agent(version: str) -> None:
    events = events_of(f"claude-{version}/ok.jsonl")
    assert isinstance(events[0], Session)
    first = next(index for index, event in enumerate(events) if isinstance(event, Alive))
    lines = (TRANSCRIPTS / f"claude-{version}" / "ok.jsonl").read_text(encoding="utf-8").splitlines()
    assert '"message_start"' in lines[2]
    assert first < next(index for index, event in enumerate(events) if isinstance(event, Did))


@pytest.mark.parametrize("version", ["2.1.197", "2.1.330"])
def test_claude_counts_what_it_used_when_a_budget_ended_it(version: str) -> None:
    turn = turn_of(f"claude-{version}/budget.jsonl")
    added = turn.added(Usage())
    assert added.tokens == ONE_ANSWER.tokens
    assert added.cost_usd == pytest.approx(0.00429)


@pytest.mark.parametrize("version", ["2.1.197", "2.1.330"])
def test_claude_says_until_when_a_limit_holds(version: str) -> None:
    turn = turn_of(f"claude-{version}/limited-until.jsonl")
    assert turn.over is not None
    assert turn.over.resets_at_s == 1_900_000_000


@pytest.mark.parametrize("version", ["2.1.197", "2.1.330"])
def test_a_denied_tool_is_told_though_claude_ends_well(version: str) -> None:
    turn = turn_of(f"claude-{version}/denied.jsonl")
    assert turn.denied == ["Bash curl http://127.0.0.1:9/"]
    assert turn.over is not None
    assert turn.over.ok


def test_opencode_ends_without_a_word_when_a_tool_is_denied() -> None:
    events = events_of("opencode-1.18.33/denied-and-gone.jsonl")
    assert Denied("bash curl http://127.0.0.1:9/") in events
    assert not [event for event in events if isinstance(event, Over)]


def test_opencode_goes_on_after_it_has_summed_up_a_full_context() -> None:
    turn, overs = Turn(), 0
    for event in events_of("opencode-1.18.33/summed-up.jsonl"):
        turn.take(event)
        overs += isinstance(event, Over)
    assert overs == 2, "the end of the summary looked like one"
    assert turn.over == Over(ok=True)
    assert turn.summary == "Done."


def test_opencode_passes_on_when_to_come_again() -> None:
    over = turn_of("opencode-1.18.33/limited-briefly.jsonl").over
    assert over is not None
    assert over.resets_after_s == 1.0


def test_transcripts_name_no_machine() -> None:
    for path in TRANSCRIPTS.glob("*/*.json*"):
        text = path.read_text(encoding="utf-8")
        assert "/root" not in text
        assert str(Path.home()) not in text or Path.home() == Path("/")


LINES = [(parts(path)[0], line) for path in RECORDED for line in (TRANSCRIPTS / path).read_bytes().splitlines()]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def changed(value: object, draw: st.DrawFn) -> object:
    """The value with something else at a place of it."""
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: changed(value[key], draw)}
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], changed(value[at], draw), *value[at + 1 :]]
    return draw(ANYTHING)


@given(st.data())
def test_versions_that_say_something_else_at_any_place_do_not_break_an_adapter(data: st.DataObject) -> None:
    name, line = data.draw(st.sampled_from(LINES))
    other = line
    with suppress(ValueError):
        other = json.dumps(changed(json.loads(line), data.draw)).encode()
    turn = Turn()
    for event in BUILT_IN[name].parse(other):
        turn.take(event)
    assert turn.usage.tokens >= 0
    assert turn.added(Usage()).tokens >= 0
