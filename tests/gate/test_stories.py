"""`agentcom gate` as people and scripts use it: a real repository, its own pull requests, and what was pushed when."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis import Redis

from agentcom.broker.embedded import EmbeddedServer, find_server
from agentcom.broker.keys import Keys
from agentcom.forge.drafting import drafted
from agentcom.forge.git import Git
from agentcom.forge.local import LocalForge
from agentcom.forge.origin import Origin
from agentcom.gate import merging, notes
from agentcom.gate.history import Note
from agentcom.model.codec import encode
from agentcom.model.task import Attempt, Check, Evidence, Outcome, PullRequest, TaskRecord, TaskSpec
from tests.cli.harness import Said, Terminal
from tests.forge.github_server import TOKEN, GithubServer, github_server
from tests.forge.repositories import ENVIRON, Workshop, git

pytestmark = [pytest.mark.process, pytest.mark.pitfall_8]

POOL = "gate"
NUMBERS = count(0x100000)

SETTINGS = """
[agents.oak]
command = ["work"]
repo = "{repo}"
base = "main"
forge = "{forge}"
forge_repo = "acme/shop"
forge_url = "{url}"
"""

SETTINGS_OF_THE_PROJECT = '[checks]\ncommands = ["make test"]\n'


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedServer(tmp_path_factory.mktemp("gate-redis"), find_server(os.environ)) as server:
        yield server.url


class Shop:
    """A repository with a pool that works on it, and somebody at a terminal."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.origin = Workshop(folder)
        self.origin.commit(
            {"agentcom.toml": SETTINGS_OF_THE_PROJECT, "docs/guide.md": "one\n", "tests/test_old.py": ""}
        )
        self.origin.push("main")
        self.redis_url = redis_url
        self.agentcom = Terminal(folder, {"AGENTCOM_REDIS": redis_url, "AGENTCOM_POOL": POOL, "GITHUB_TOKEN": TOKEN})
        self.agentcom.environ["AGENTCOM_DATA_DIR"] = str(folder / "data")
        self.configure()
        self.forge = LocalForge(Origin(str(self.origin.path), Git(folder / "sidecar.git", ENVIRON)))

    def configure(self, forge: str = "local", url: str = "", more: str = "") -> None:
        text = SETTINGS.format(repo=self.origin.path, forge=forge, url=url)
        (self.folder / "agentcom.toml").write_text(text + more)

    def task(self) -> str:
        return f"01934a7e-6f10-7c3a-9b54-0e6d7c{next(NUMBERS):06x}"

    def work(self, task: str, files: dict[str, Any], agent: str = "oak", start: str = "origin/main") -> Evidence:
        """An agent's work, pushed; and what its sidecar saw of it."""
        branch = f"{agent}/{task}"
        self.origin.branch(branch, start)
        base_sha = self.origin.sha("main")
        head_sha = self.origin.commit(files)
        self.origin.push(branch)
        return Evidence(branch, "main", base_sha, head_sha, 1, len(files), 1, 0, True)

    def completed(
        self,
        task: str,
        evidence: Evidence,
        *,
        passed: bool = True,
        pull: PullRequest | None = None,
        publish: bool = True,
    ) -> Outcome:
        """The sidecar checks, publishes and reports; and the scheduler's record says so."""
        checks = (Check("make test", "oak", evidence.head_sha, passed, 0 if passed else 1, 1.0),)
        outcome = Outcome("completed", summary="done", evidence=evidence, checks=checks)
        spec = TaskSpec(id=task, text="Mend the guide. Fixes #7 @all")
        if publish:
            pull = anyio.run(self.forge.publish, drafted(spec, outcome, "oak", 1))
        record = TaskRecord(
            spec=spec,
            seq=1,
            state="completed",
            submitted_at=1,
            changed_at=2,
            ended_at=2,
            generation=1,
            attempts=(Attempt(1, "1.x", "oak", "1.y", 1, outcome=outcome),),
            branch=evidence.branch,
            pull_request=pull,
        )
        with Redis.from_url(self.redis_url) as redis:
            redis.set(Keys(POOL).task(task), encode(record))
        return outcome

    def gate(self, *arguments: str, **how: Any) -> Said:
        return self.agentcom("gate", *arguments, **how)

    def against(self, task: str, *arguments: str) -> list[str]:
        """Has the task's pull request judged, which a person has to decide on; the rules that are against it."""
        said = self.gate(task, "--json", *arguments)
        assert said.code == 3, said
        assert said.document["decision"] == "escalate"
        return [rule["rule"] for rule in said.document["rules"] if not rule["holds"]]


@pytest.fixture
def shop(tmp_path: Path, redis_url: str) -> Shop:
    return Shop(tmp_path, redis_url)


def test_a_trivially_safe_pull_request_is_merged_and_once(shop: Shop) -> None:
    task = shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "one\ntwo\n", "tests/test_new.py": "def test_x(): pass\n"}))
    said = shop.gate(task)
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith("it may be merged without a person\n")
    before = shop.origin.sha("main")
    assert before != shop.origin.sha(f"oak/{task}"), "judging changes nothing"

    document = shop.gate(task, "--merge", "--json").document
    assert document["merged"] is True
    assert document["merge_sha"] == shop.origin.sha("main")
    assert shop.origin.sha("main^{tree}") == shop.origin.sha(f"oak/{task}^{{tree}}"), (
        "what was checked is what is there"
    )

    for _ in range(2):
        again = shop.gate(task, "--merge")
        assert (again.code, again.out.splitlines()[-1]) == (0, "it is merged already")
    assert shop.origin.sha("main") == document["merge_sha"]


def test_the_merge_says_why_and_nothing_in_it_acts(shop: Shop) -> None:
    task = shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n"}))
    shop.gate(task, "--merge")
    message = git(shop.origin.path, "show", "--no-patch", "--format=%B", "main")
    assert message.startswith("Merge Mend the guide.")
    assert f"Task: {task}" in message
    assert "- checks: 1 check passed at this commit" in message
    assert "#7" not in message
    assert "@all" not in message


def test_a_known_bad_pull_request_goes_to_a_person(shop: Shop) -> None:
    task = shop.task()
    bad = {"src/cart.py": None, ".github/workflows/ci.yml": "on: push\n", "tests/test_old.py": "pass\n"}
    shop.completed(task, shop.work(task, bad))
    before = shop.origin.sha("main")
    said = shop.gate(task, "--merge")
    assert said.code == 3
    assert said.out.splitlines()[-1] == "a person has to decide: 3 rules are against it"
    for words in ("AGAINST  kept", "src/cart.py", "AGAINST  denied", ".github/workflows/ci.yml", "AGAINST  allowed"):
        assert words in said.out
    assert shop.origin.sha("main") == before


def test_what_an_agent_pushed_after_its_checks_is_not_merged(shop: Shop) -> None:
    task = shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n"}))
    shop.origin.commit({"docs/guide.md": "what nobody checked\n"})
    shop.origin.push(f"oak/{task}")
    assert shop.against(task, "--merge") == ["head", "checks"]


def test_of_two_branches_of_a_task_only_its_own_can_be_merged(shop: Shop) -> None:
    """A second agent pushed a branch of its own, and had the repository's pull request say so."""
    task = shop.task()
    own = shop.work(task, {"docs/guide.md": "x\n"})
    pull = shop.forge._at_hand(task, "open")
    other = shop.work(task, {"docs/guide.md": "y\n"}, agent="birch")
    shop.completed(task, own, publish=False, pull=pull)
    spec = TaskSpec(id=task, text="x")
    anyio.run(shop.forge.publish, drafted(spec, Outcome("completed", evidence=other), "birch", 2))
    before = shop.origin.sha("main")
    assert "own" in shop.against(task, "--merge")
    git(shop.origin.path, "update-ref", "-d", f"refs/agentcom/pulls/{task}")
    anyio.run(shop.forge.publish, drafted(spec, Outcome("completed", evidence=own), "oak", 1))
    assert shop.gate(task, "--merge").code == 0
    assert shop.origin.sha("main^1") == before
    assert shop.origin.sha("main^2") == own.head_sha


def test_checks_that_failed_or_are_missing_go_to_a_person(shop: Shop) -> None:
    task = shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n"}), passed=False)
    assert shop.against(task) == ["checks"]


def test_a_branch_cannot_take_a_required_check_away(shop: Shop) -> None:
    """What is required stands in the repository at its base, not on the branch."""
    shop.origin.branch("main")
    shop.origin.commit({"agentcom.toml": '[checks]\ncommands = ["make test", "make audit"]\n'})
    shop.origin.push("main")
    task = shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n", "agentcom.toml": ""}))
    assert shop.against(task) == ["checks", "denied", "allowed"]


def test_a_repository_without_settings_requires_what_the_task_does(shop: Shop) -> None:
    shop.origin.branch("main")
    shop.origin.commit({"agentcom.toml": None})
    shop.origin.push("main")
    task = shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n"}))
    assert shop.gate(task).code == 0


def test_a_base_that_is_gone_goes_to_a_person(shop: Shop) -> None:
    task = shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n"}))
    git(shop.origin.path, "update-ref", "-d", "refs/heads/main")
    assert shop.against(task, "--merge") == ["checks", "base", "files"]


def test_work_on_an_old_base_goes_to_a_person(shop: Shop) -> None:
    task = shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n"}))
    shop.origin.branch("main")
    shop.origin.commit({"src/other.py": "x\n"})
    shop.origin.push("main")
    assert shop.against(task, "--merge") == ["base"]


def test_a_base_that_moves_while_it_is_judged_is_not_merged_into(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    task = shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n"}))
    said_of = merging.message_of
    pushed = []

    def push_first(*arguments: Any) -> str:
        shop.origin.branch("main")
        pushed.append(shop.origin.commit({"src/other.py": "x\n"}))
        shop.origin.push("main")
        return said_of(*arguments)

    monkeypatch.setattr(merging, "message_of", push_first)
    said = shop.gate(task, "--merge")
    assert (said.code, said.out.splitlines()[-1]) == (3, "not merged: main moved meanwhile")
    assert [shop.origin.sha("main")] == pushed


@pytest.mark.parametrize(("merge", "code"), [(True, 0), (False, 3)])
def test_a_reviewer_can_only_keep_it_from_being_merged(shop: Shop, merge: bool, code: int) -> None:
    task, bad = shop.task(), shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n"}))
    shop.completed(bad, shop.work(bad, {"src/cart.py": "x\n"}))
    thought = json.dumps({"by": "reviewer", "merge": merge, "why": "looks good"}).encode()
    said = shop.gate(task, "--merge", "--recommendation", "-", "--json", stdin=thought)
    assert said.code == code
    assert said.document["recommendation"] == json.loads(thought)
    assert said.document["merged"] is merge
    assert shop.gate(bad, "--merge", "--recommendation", "-", stdin=thought).code == 3


def test_people_may_widen_what_is_let_through(shop: Shop) -> None:
    task = shop.task()
    shop.completed(task, shop.work(task, {"src/cart.py": "x\n"}))
    assert shop.against(task) == ["allowed"]
    shop.configure(more='[gate]\nallow = ["*.md", "src/*"]\nmax_lines = 2\n')
    assert shop.against(task) == ["lines"]
    shop.configure(more='[gate]\nallow = ["*.md", "src/*"]\n')
    assert shop.gate(task, "--merge").code == 0


def test_the_history_counts_what_went_to_a_person(shop: Shop) -> None:
    good, bad = shop.task(), shop.task()
    shop.completed(bad, shop.work(bad, {"src/cart.py": "x\n"}))
    shop.completed(good, shop.work(good, {"docs/guide.md": "x\n"}))
    for arguments in ((bad,), (bad,), (good,), (good, "--merge")):
        shop.gate(*arguments)
    said = shop.gate("--history")
    assert said.out.splitlines() == [
        "2 pull requests judged, 1 of them for a person (50%), 1 merged",
        "     1  allowed",
    ]
    assert shop.gate("--history", "--json").document["history"]["against"] == {"allowed": 1}
    thought = b'{"by": "reviewer", "merge": false}'
    for _ in range(2):
        late = shop.task()
        shop.completed(late, shop.work(late, {"docs/guide.md": "y\n"}))
        assert shop.gate(late, "--recommendation", "-", stdin=thought).code == 3
    path = shop.folder / "data" / "gate" / "history.jsonl"
    for number in range(10):
        notes.add(path, Note(1, f"t{number}", "a", "escalate", ("base",)))
    assert shop.gate("--history").out.splitlines()[1:] == [
        "    10  base",
        "     1  allowed",
        "     2  a recommendation alone",
        "over 80% went to a person: are the rules too strict? Most often against: base, allowed",
    ]


def test_a_verdict_stands_also_if_it_cannot_be_noted(shop: Shop) -> None:
    task = shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n"}))
    (shop.folder / "data" / "gate" / "history.jsonl").mkdir(parents=True)
    said = shop.gate(task, "--merge")
    assert (said.code, said.err.count("\n")) == (0, 1)
    assert "cannot be added to the history" in said.err


def test_what_cannot_be_judged_is_said_in_one_line(shop: Shop, tmp_path: Path) -> None:
    task, published = shop.task(), shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n"}), publish=False)
    shop.completed(published, shop.work(published, {"docs/guide.md": "x\n"}))
    (tmp_path / "thought.json").write_text('{"by": "x"}')

    def refusal(code: int, *arguments: str) -> str:
        said = shop.gate(*arguments)
        assert (said.code, said.out, said.err.count("\n")) == (code, "", 1), said
        return said.err

    assert "the forge has no pull request of" in refusal(1, task)
    assert "which task?" in refusal(2)
    assert "has no task" in refusal(1, shop.task())
    assert "--history takes no task" in refusal(2, task, "--history")
    assert "no agent 'ash'" in refusal(2, published, "--agent", "ash")
    assert "--recommendation" in refusal(2, published, "--recommendation", str(tmp_path / "thought.json"))
    assert "--recommendation" in refusal(2, published, "--recommendation", str(tmp_path / "none.json"))
    shop.configure(forge="none")
    assert "there are no pull requests" in refusal(78, published)
    (shop.folder / "agentcom.toml").write_text(SETTINGS.format(repo="", forge="github", url=""))
    assert "repo is not set" in refusal(78, published)
    shop.configure()
    shop.origin.path.rename(tmp_path / "away.git")
    assert "Nothing is lost: try again later" in refusal(1, published)
    (shop.folder / "agentcom.toml").write_text("")
    assert "Name an agent of the settings with --agent" in refusal(78, published)


def test_another_agents_settings_serve_where_all_are_on_one_repository(shop: Shop) -> None:
    task = shop.task()
    shop.completed(task, shop.work(task, {"docs/guide.md": "x\n"}))
    text = (shop.folder / "agentcom.toml").read_text().replace("oak", "birch")
    (shop.folder / "agentcom.toml").write_text(text)
    assert shop.gate(task).code == 0
    assert shop.gate(task, "--agent", "birch").code == 0


# ------------------------------------------------------------------- GitHub


@pytest.fixture
def github(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[GithubServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with github_server() as server:
        shop.configure("github", server.url)
        yield server


def on_github(shop: Shop, github: GithubServer, files: dict[str, Any]) -> str:
    """A completed task with a pull request on GitHub."""
    task = shop.task()
    evidence = shop.work(task, files)
    github.branches |= {"main": shop.origin.sha("main"), evidence.branch: evidence.head_sha}
    pull = github.add_pull(evidence.branch, body=f"<!-- agentcom task: {task} -->")
    shop.completed(task, evidence, publish=False, pull=PullRequest(pull["html_url"], pull["number"]))
    return task


def test_on_github_the_api_merges_exactly_what_was_judged(shop: Shop, github: GithubServer) -> None:
    task = on_github(shop, github, {"docs/guide.md": "x\n"})
    head = github.branches[f"oak/{task}"]
    assert shop.gate(task, "--merge").code == 0
    assert [asked.said["sha"] for asked in github.writes()] == [head]
    assert shop.gate(task, "--merge").out.splitlines()[-1] == "it is merged already"
    assert len(github.writes()) == 1


def test_on_github_a_second_pull_request_of_a_task_goes_to_a_person(shop: Shop, github: GithubServer) -> None:
    task = on_github(shop, github, {"docs/guide.md": "x\n"})
    github.add_pull("birch/elsewhere", body=f"<!-- agentcom task: {task} -->")
    assert shop.against(task, "--merge") == ["own"]
    assert not github.writes()


def test_on_github_a_push_after_the_judgement_is_refused(shop: Shop, github: GithubServer) -> None:
    task = on_github(shop, github, {"docs/guide.md": "x\n"})
    github.fails("PUT", "/pulls/1/merge", 409, text='{"message": "Head branch was modified."}')
    said = shop.gate(task, "--merge")
    assert said.code == 3
    assert "not merged: " in said.out


def test_on_github_a_base_that_moved_during_the_merge_is_told(shop: Shop, github: GithubServer) -> None:
    task = on_github(shop, github, {"docs/guide.md": "x\n"})
    performed = github._merge

    def merge_late(asked: Any, pull: Any) -> Any:
        github.branches["main"] = "c" * 40
        return performed(asked, pull)

    github._merge = merge_late  # type: ignore[method-assign]
    said = shop.gate(task, "--merge")
    assert said.code == 3
    assert "main had moved meanwhile" in said.out
