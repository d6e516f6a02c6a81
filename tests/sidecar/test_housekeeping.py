"""An agent's folder stays bounded, and what is in use is never touched."""

import os
from pathlib import Path

from agentcom.sidecar.housekeeping import remove_old

NOW_S = 1_000_000.0


def old(path: Path, age_s: float = 500) -> Path:
    os.utime(path, (NOW_S - age_s, NOW_S - age_s), follow_symlinks=False)
    return path


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text("x")
    return path


def test_what_is_older_than_the_retention_goes_and_the_rest_stays(tmp_path: Path):
    gone = [old(folder(tmp_path / "attempts" / "a.1.x")), old(folder(tmp_path / "workspaces" / "a"))]
    kept = [old(folder(tmp_path / "attempts" / "b.1.x"), 99), old(folder(tmp_path / "journal" / "runs"))]
    assert remove_old(tmp_path, NOW_S, 100) == 2
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)


def test_tasks_at_work_keep_their_files_however_long_they_run(tmp_path: Path):
    kept = [old(folder(tmp_path / "attempts" / "a.1.x")), old(folder(tmp_path / "workspaces" / "a"))]
    assert remove_old(tmp_path, NOW_S, 100, keep={"a"}) == 0
    assert all(path.exists() for path in kept)


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path):
    target = folder(tmp_path / "elsewhere")
    (tmp_path / "workspaces").mkdir()
    for name, to in (("a", target), ("b", tmp_path / "nowhere")):
        link = tmp_path / "workspaces" / name
        link.symlink_to(to)
        old(link)
    assert remove_old(tmp_path, NOW_S, 100) == 2
    assert list((tmp_path / "workspaces").iterdir()) == []
    assert (target / "file").exists()


def test_a_stray_file_goes_too(tmp_path: Path):
    (tmp_path / "attempts").mkdir()
    (tmp_path / "attempts" / "core").write_text("x")
    old(tmp_path / "attempts" / "core")
    assert remove_old(tmp_path, NOW_S, 100) == 1


def test_a_new_agent_has_nothing_to_remove(tmp_path: Path):
    assert remove_old(tmp_path, NOW_S, 100) == 0


def test_files_that_were_set_aside_stay_for_people_to_look_at_but_not_for_ever(tmp_path: Path):
    for name, age_s in (("old", 100), ("new", 1)):
        path = tmp_path / "journal" / "runs" / f"{name}.corrupt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1_000 - age_s, 1_000 - age_s))
    assert remove_old(tmp_path, 1_000, 50) == 1
    assert [path.name for path in (tmp_path / "journal" / "runs").iterdir()] == ["new.corrupt"]
