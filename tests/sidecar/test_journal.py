"""The sidecar's memory on disk: whole after any crash, readable whatever is in it, honest when the disk refuses."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from agentcom.processes import ProcessIdentity
from agentcom.sidecar import journal as journal_module
from agentcom.sidecar.journal import Journal, RunNote
from tests.sidecar.harness import assign

REPORT = b'{"type":"finished"}'
LOOP_LIMIT_S = 180.0


def test_what_was_noted_is_read_again_after_a_restart(tmp_path: Path):
    journal = Journal(tmp_path)
    order = assign("sc-1")
    journal.started(RunNote("1-0", order, 5))
    journal.started(RunNote("1-0", order, 5, ProcessIdentity(7, "boot:1")))
    journal.queued(["2-0"], [REPORT])
    again = Journal(tmp_path)
    assert again.runs() == [RunNote("1-0", order, 5, ProcessIdentity(7, "boot:1"))]
    [note] = again.unsent()
    assert (note.settled, [bytes(report) for report in note.reports]) == (["2-0"], [REPORT])
    again.ended("1-0")
    again.sent(note)
    assert (again.runs(), again.unsent()) == ([], [])


def test_time_in_which_it_was_not_the_agents_turn_is_not_its_own_after_a_restart_either(tmp_path: Path):
    begun = RunNote("1-0", assign("sc-1"), 1_000)
    assert begun.in_phase("working", 2_000) == begun
    verified = begun.in_phase("preparing", 1_000).in_phase("working", 5_000).in_phase("verifying", 8_000)
    Journal(tmp_path).started(verified.in_phase("verifying", 9_000))
    [note] = Journal(tmp_path).runs()
    assert note.since(60_000) == 60_000 - 3_000, "it had worked for three seconds"
    sent_back = note.in_phase("verifying", 60_000).in_phase("working", 70_000)
    assert (sent_back.since(99_000), sent_back.paused_at) == (67_000, 0)


def test_to_end_what_is_not_noted_changes_nothing(tmp_path: Path):
    noted = RunNote("5-0", assign("sc-1"), 1)
    Journal(tmp_path).started(noted)
    Journal(tmp_path).ended("1-0")
    assert Journal(tmp_path).runs() == [noted]


def test_the_order_of_the_outbox_is_kept_over_restarts(tmp_path: Path):
    for number in range(15):
        Journal(tmp_path).queued([f"{number}-0"], [])
    assert [note.settled for note in Journal(tmp_path).unsent()] == [[f"{number}-0"] for number in range(15)]


@pytest.mark.pitfall_3
@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b'{"number":1}', b"\0" * 4_096])
@pytest.mark.parametrize("folder", ["runs", "outbox"])
def test_a_file_that_cannot_be_read_is_set_aside_and_the_rest_is_used(tmp_path: Path, folder: str, body: bytes):
    journal = Journal(tmp_path)
    order = assign("sc-1")
    journal.started(RunNote("5-0", order, 1))
    journal.queued(["5-0"], [])
    bad = tmp_path / folder / "000000000000.json"
    bad.write_bytes(body)
    again = Journal(tmp_path)
    assert [note.entry for note in again.runs()] == ["5-0"]
    assert [note.settled for note in again.unsent()] == [["5-0"]]
    assert again.set_aside == [bad.with_suffix(".corrupt")]
    assert not bad.exists()
    assert bad.with_suffix(".corrupt").read_bytes() == body
    assert Journal(tmp_path).set_aside == []


def test_a_folder_where_a_file_should_be_is_set_aside(tmp_path: Path):
    (tmp_path / "runs" / "1-0.json").mkdir(parents=True)
    journal = Journal(tmp_path)
    assert journal.runs() == []
    assert (tmp_path / "runs" / "1-0.corrupt").is_dir()


def test_a_file_that_was_being_written_is_removed(tmp_path: Path):
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / "000000000009.json.new").write_bytes(b'{"numb')
    Journal(tmp_path)
    assert list((tmp_path / "outbox").iterdir()) == []


def test_a_damaged_note_still_says_that_its_order_may_have_been_started(tmp_path: Path):
    """Also to the start after the one that set it aside."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "5-0.json").write_bytes(b"\0")
    assert Journal(tmp_path).runs() == []
    assert Journal(tmp_path).damaged() == {"5-0"}


def test_what_was_set_aside_is_told_until_somebody_removes_it(tmp_path: Path):
    journal = Journal(tmp_path)
    assert journal.damage() == ""
    for place, name in (("runs", "5-0"), ("outbox", "000000000001")):
        (tmp_path / place / f"{name}.json").write_bytes(b"\0")
    Journal(tmp_path).runs()
    again = Journal(tmp_path)
    assert again.damage() == f"{tmp_path}/outbox/000000000001.corrupt and 1 more"
    (tmp_path / "outbox" / "000000000001.corrupt").unlink()
    assert again.damage() == f"{tmp_path}/runs/5-0.corrupt"


def test_damaged_starts_are_set_aside_and_begun_anew(tmp_path: Path):
    (tmp_path / "starts.json").write_bytes(b"{")
    journal = Journal(tmp_path)
    assert journal.starts() == []
    journal.began("sc-1")
    assert (journal.starts(), journal.set_aside) == (["sc-1"], [tmp_path / "starts.corrupt"])


def test_folders_that_could_not_be_made_at_first_are_made_when_they_are_needed(tmp_path: Path):
    folder = tmp_path / "journal"
    folder.write_text("in the way")
    journal = Journal(folder)
    with pytest.raises(OSError, match="Not a directory"):
        journal.started(RunNote("1-0", assign("sc-1"), 5))
    folder.unlink()
    journal.started(RunNote("1-0", assign("sc-1"), 5))
    assert [note.entry for note in journal.runs()] == ["1-0"]


def test_a_write_that_the_disk_takes_only_in_parts_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write = os.write
    monkeypatch.setattr(journal_module.os, "write", lambda handle, body: write(handle, body[:7]))
    Journal(tmp_path).queued(["1-0"], [REPORT])
    assert [note.settled for note in Journal(tmp_path).unsent()] == [["1-0"]]


@pytest.mark.pitfall_3
def test_a_disk_that_becomes_full_keeps_what_was_written_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    journal = Journal(tmp_path)
    order = assign("sc-1")
    journal.started(RunNote("1-0", order, 5))
    write = os.write
    room = [10]

    def almost_full(handle: int, body: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = write(handle, body[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(journal_module.os, "write", almost_full)
    with pytest.raises(OSError, match="No space left"):
        journal.started(RunNote("1-0", order, 5, ProcessIdentity(7, "boot:1")))
    with pytest.raises(OSError, match="No space left"):
        journal.queued(["1-0"], [REPORT])
    assert Journal(tmp_path).runs() == [RunNote("1-0", order, 5)]
    assert Journal(tmp_path).unsent() == []
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["1-0.json"]


def test_a_file_that_cannot_be_removed_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    journal = Journal(tmp_path)
    journal.started(RunNote("1-0", assign("sc-1"), 5))

    def read_only(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", read_only)
    journal.ended("1-0")
    assert len(journal.runs()) == 1


WRITER = """
    import sys
    from pathlib import Path
    from agentcom.sidecar.journal import Journal, RunNote
    from tests.sidecar.harness import assign

    journal = Journal(Path(sys.argv[1]))
    order = assign("sc-1", "text " * 2_000)
    print("ready", flush=True)
    turn = 0
    while True:
        turn += 1
        journal.started(RunNote("1-0", order, turn))
        journal.started(RunNote(f"{turn % 3 + 2}-0", order, turn))
        note = journal.queued([f"{turn}-0"], [b'{"turn":%d}' % turn] * 20)
        journal.ended(f"{turn % 3 + 2}-0")
        if turn % 4:
            journal.sent(note)
        for old in journal.unsent()[:-5]:
            journal.sent(old)
"""


@pytest.mark.process
@pytest.mark.pitfall_3
@pytest.mark.timeout(2 * LOOP_LIMIT_S)
def test_the_journal_is_readable_whenever_its_writer_was_killed(tmp_path: Path):
    """Writers are forked 1,000 times from one warm process, so that each dies somewhere else in its loop."""
    script = textwrap.dedent("""
        import os, sys, time, signal, random
        from pathlib import Path
        from agentcom.sidecar.journal import Journal
        import tests.sidecar.harness

        source, folder = compile(sys.argv[1], "writer", "exec"), sys.argv[2]

        def one(patience_s):
            pid = os.fork()
            if pid == 0:
                sys.argv = ["writer", folder]
                sys.stdout = open(os.devnull, "w")
                exec(source, {"__name__": "__main__"})
            time.sleep(patience_s)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

        chance = random.Random(1)
        readable = interrupted = 0
        for _ in range(1_000):
            one(chance.uniform(0.0005, 0.006))
            interrupted += any(Path(folder).rglob("*.new"))
            journal = Journal(Path(folder))
            numbers = [note.number for note in journal.unsent()]
            assert numbers == sorted(numbers), numbers
            assert all(len(note.reports) == 20 for note in journal.unsent())
            runs = journal.runs()
            assert not journal.set_aside, journal.set_aside
            readable += 1
        assert runs and journal.unsent(), "the writers were killed before they wrote anything"
        assert interrupted > 10, f"only {interrupted} were killed while they wrote"
        print(readable)
    """)
    ended = subprocess.run(
        [sys.executable, "-c", script, textwrap.dedent(WRITER), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=LOOP_LIMIT_S,
        check=False,
    )
    assert ended.stdout.strip() == "1000", ended.stderr


@pytest.mark.process
def test_a_killed_writer_leaves_its_last_complete_note(tmp_path: Path):
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None
    with writer, writer.stdout:
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(0.1)
        writer.send_signal(signal.SIGKILL)
    journal = Journal(tmp_path)
    [note] = [note for note in journal.runs() if note.entry == "1-0"]
    assert note.since_at > 1


@pytest.mark.pitfall_3
def test_a_note_that_can_be_read_but_names_no_order_is_set_aside_too(tmp_path: Path):
    """Redis would refuse it for ever, and with it all that waits behind it."""
    journal = Journal(tmp_path)
    journal.queued(["1-0"], [REPORT])
    journal.queued(["2-0"], [REPORT])
    journal.started(RunNote("3-0", assign("sc-1"), 5))
    for path in (tmp_path / "outbox" / "000000000001.json", tmp_path / "runs" / "3-0.json"):
        path.write_bytes(path.read_bytes().replace(b"1-0", b"q-0").replace(b'"3-0"', b'"3-q"'))
    again = Journal(tmp_path)
    assert [note.settled for note in again.unsent()] == [["2-0"]]
    assert again.runs() == []
    assert len(again.set_aside) == 2
