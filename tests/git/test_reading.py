"""What git prints, and where a branch begins: read and decided without git."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from agentcom.git import hook
from agentcom.git.environment import identity, quiet_environ
from agentcom.git.layout import clone_of
from agentcom.git.parsing import Changes, changes, conflicts, heads, is_branch, made_here, named_by_head, refusals
from agentcom.git.starting import Beginning, Known, beginning

SHA = "0123456789" * 4
OTHER = "abcdef0123" * 4


@pytest.mark.parametrize("name", ["main", "oak/01934a7e-6f10", "a.b/c_d", "ö/日本", "x" * 250])
def test_names_of_branches(name: str):
    assert is_branch(name)


@pytest.mark.parametrize(
    "name",
    ["", "HEAD", "@", "-x", "oak/-x", "a b", "a..b", "a/", "/a", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "a~1",
     "a^", "a:b", "a?", "a*", "a[b", "a\\b", "a@{b", "a.", "a\nb", "a\x7fb", "x" * 251],
)  # fmt: skip
def test_what_is_no_name_of_a_branch(name: str):
    assert not is_branch(name)


def test_only_branches_are_read_from_a_listing_of_refs():
    listed = f"{SHA}\trefs/heads/main\n{OTHER}\trefs/tags/v1\nwarning: x\n{OTHER}\trefs/heads/a/b\nx\trefs/heads/c\n"
    assert heads(listed) == {"main": SHA, "a/b": OTHER}


def test_the_branch_that_head_names():
    assert named_by_head(f"ref: refs/heads/trunk\tHEAD\n{SHA}\tHEAD") == "trunk"
    assert named_by_head(f"{SHA}\tHEAD") == ""


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (" 3 files changed, 5 insertions(+), 1 deletion(-)\n", Changes(3, 5, 1)),
        (" 1 file changed, 1 insertion(+)", Changes(1, 1, 0)),
        (" 1 file changed, 0 insertions(+), 0 deletions(-)", Changes(1, 0, 0)),
        ("", Changes()),
    ],
)
def test_how_much_was_changed(told: str, found: Changes):
    assert changes(told) == found


def test_each_file_in_conflict_is_named_once():
    assert conflicts(f"{SHA}\0a\0b\0a\0\0Auto-merging a\0") == ("a", "b")
    assert conflicts(f"{SHA}\0") == ()


def test_why_a_push_was_refused():
    told = "To x\n!\trefs/heads/a:refs/heads/a\t[rejected] (stale info)\nDone\n"
    assert refusals(told) == "[rejected] (stale info)"
    assert refusals("To x\n*\ta:a\t[new branch]\nDone\n") == ""


def test_only_commits_that_were_made_in_a_worktree_are_its_own():
    lines = [
        f"{SHA} {OTHER} Ann <a@b> 1 +0000\t{message}"
        for message in ("checkout: moving", "pull: Fast-forward", "merge x: Fast-forward", "reset: moving",
                        "rebase (start): checkout x", "rebase (finish): returning")
    ]  # fmt: skip
    assert made_here([*lines, "", "x\tcommit: y"]) == []
    for message in (
        "commit: x",
        "commit (amend): x",
        "cherry-pick: x",
        "rebase (pick): x",
        "merge x: Merge made by the",
    ):
        assert made_here([f"{SHA} {OTHER} Ann <a@b> 1 +0000\t{message}"]) == [OTHER]


def test_what_origin_has_wins_and_what_only_this_clone_has_goes_on_where_it_can():
    known = {"base_sha": "base", "origin_sha": "origin", "local_sha": "local", "other": "x/t", "other_sha": "other"}
    assert beginning(Known("base"), "b") == Beginning("base", resumed=False)
    assert beginning(Known(**known, relation="same"), "b").head_sha == "origin"
    assert beginning(Known(**known, relation="behind"), "b").head_sha == "origin"
    assert beginning(Known(**known, relation="ahead"), "b").head_sha == "local"
    apart = beginning(Known(**known, relation="apart"), "b")
    assert (apart.head_sha, apart.rescued) == ("origin", "local")
    here = known | {"origin_sha": ""}
    assert beginning(Known(**here), "b").head_sha == "local"
    assert beginning(Known(**here, local_is_base=True), "b").head_sha == "other"


def test_an_identity_has_a_name_and_an_address_that_git_takes():
    assert identity("oak") == ("oak", "oak@agentcom.invalid")
    assert identity("  Ö <x>\n") == ("Ö x", "x@agentcom.invalid")
    assert identity("<>") == ("agentcom", "agentcom@agentcom.invalid")


def test_ssh_of_a_user_is_kept_and_told_to_ask_nobody():
    assert quiet_environ({"GIT_SSH_COMMAND": "ssh -i k"})["GIT_SSH_COMMAND"] == "ssh -i k -o BatchMode=yes"
    assert quiet_environ({}, "ssh -i c")["GIT_SSH_COMMAND"] == "ssh -i c -o BatchMode=yes"
    assert "GIT_SSH_COMMAND" not in quiet_environ({"GIT_SSH": "/opt/ssh"})


def test_each_repository_has_a_clone_of_its_own_that_a_person_recognises():
    data = Path("/data")
    names = {
        url: clone_of(data, url).name for url in ("git@h:team/p.git", "https://h/team/p.git", "/srv/p.git", "ssh://h/")
    }
    assert len(set(names.values())) == len(names)
    assert names["git@h:team/p.git"].startswith("p-")
    assert clone_of(data, "x:..").parent == data / "clones"


GUARD = {"token": "1-a", "branch": "oak/t", "base": "main", "base_sha": "b" * 40}
NULL = "0" * 40


def refusal(*pushed: str, attempt: str = "1-a", lost: str = "") -> str:
    return hook.push_refusal(GUARD, attempt, pushed, lambda _, ancestor: ancestor != lost)


def test_the_hook_lets_the_attempt_bring_its_branch_forward_and_refuses_everything_else():
    assert refusal() == ""
    assert refusal(f"refs/heads/oak/t {SHA} refs/heads/oak/t {NULL}") == ""
    assert refusal(f"HEAD {SHA} refs/heads/oak/t {OTHER}") == ""
    assert "is not set" in refusal(attempt="")
    assert "no longer" in refusal(attempt="2-b")
    assert "is the base" in refusal(f"HEAD {SHA} refs/heads/main {OTHER}")
    assert "only oak/t" in refusal(f"HEAD {SHA} refs/heads/oak/t/x {NULL}")
    assert "only oak/t" in refusal(f"v1 {SHA} refs/tags/oak/t {NULL}")
    assert "must not be deleted" in refusal(f"(delete) {NULL} refs/heads/oak/t {OTHER}")
    assert "would lose" in refusal(f"HEAD {SHA} refs/heads/oak/t {OTHER}", lost=OTHER)
    assert "stale: merge origin/main" in refusal(f"HEAD {SHA} refs/heads/oak/t {OTHER}", lost="b" * 40)
    assert "only" in refusal(f"HEAD {SHA} refs/heads/oak/t {NULL}", f"HEAD {SHA} refs/heads/x {NULL}")


def test_the_hook_as_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    guard = tmp_path / "guard.json"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"HEAD {SHA} refs/heads/x {NULL}\n"))
    monkeypatch.setenv(hook.ATTEMPT, "1-a")
    assert hook.main([str(guard)]) == 1
    assert "no attempt is at work here" in capsys.readouterr().err
    guard.write_text(json.dumps(GUARD))
    assert hook.main([str(guard)]) == 1
    assert capsys.readouterr().err.startswith("agentcom: push refused: only oak/t may be pushed")
    assert hook.main([str(guard)]) == 0
    guard.write_text("[]")
    assert hook.main([str(guard)]) == 1
    assert "cannot be read" in capsys.readouterr().err
