"""The gate counts its verdicts, so that people see if it stops everything or nothing."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from agentcom.gate import notes
from agentcom.gate.facts import Decision
from agentcom.gate.history import Note, summary

pytestmark = pytest.mark.pitfall_8


def note(task: int, decision: Decision = "merge", *against: str, sha: str = "a", merged: bool = False) -> Note:
    return Note(1, f"t{task}", sha, decision, against, merged=merged)


def test_nothing_was_judged_yet() -> None:
    total = summary([])
    assert total.told == "0 pull requests judged, 0 of them for a person, 0 merged"
    assert total.remark == ""


def test_what_was_judged_several_times_counts_once_as_it_was_last() -> None:
    total = summary([note(1, "escalate", "base"), note(1), note(1, merged=True), note(2, "escalate", "base", "files")])
    assert (total.judged, total.escalated, total.merged) == (2, 1, 1)
    assert total.against == {"base": 1, "files": 1}


def test_another_commit_is_judged_for_itself() -> None:
    assert summary([note(1, "escalate", "base"), note(1, sha="b")]).judged == 2


def test_what_only_a_recommendation_stopped_is_counted() -> None:
    assert summary([note(1, "escalate"), note(2, "escalate", "base")]).recommended_against == 1


@pytest.mark.parametrize(
    ("escalated", "judged", "remark"),
    [
        (9, 10, "over 80% went to a person: are the rules too strict? Most often against: base"),
        (8, 10, ""),
        (9, 9, ""),
        (1, 10, ""),
        (0, 10, "nothing went to a person: are the rules too loose?"),
        (0, 9, ""),
    ],
)
def test_a_gate_that_stops_nearly_everything_or_nothing_is_conspicuous(
    escalated: int, judged: int, remark: str
) -> None:
    history = [note(number, "escalate", "base") for number in range(escalated)]
    history += [note(number) for number in range(escalated, judged)]
    assert summary(history).remark == remark


# --------------------------------------------------------------- on the disk


def test_notes_are_kept_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "gate" / "history.jsonl"
    assert notes.read(path) == []
    kept = [note(1), note(2, "escalate", "base", "files", merged=False), note(1, merged=True)]
    for one in kept:
        notes.add(path, one)
    assert notes.read(path) == kept


def test_a_line_that_was_cut_or_damaged_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    notes.add(path, note(1))
    with path.open("ab") as file:
        file.write(b'\xff\n{"at": 1}\n')
    notes.add(path, note(2))
    assert notes.read(path) == [note(1), note(2)]


def test_old_notes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "KEPT", 10)
    path = tmp_path / "history.jsonl"
    for number in range(35):
        notes.add(path, note(number))
        assert len(path.read_bytes().splitlines()) < 20
    assert notes.read(path) == [note(number) for number in range(25, 35)]


def add_many(path: Path, first: int) -> None:
    for number in range(first, first + 20):
        notes.add(path, note(number))


@pytest.mark.process
def test_many_programs_may_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=add_many, args=(path, first)) for first in (0, 20, 40)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert sorted(note.task for note in notes.read(path)) == sorted(f"t{number}" for number in range(60))
