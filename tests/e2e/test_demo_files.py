"""The demonstration's project, backlog and agents, run by hand as the `command` runner would run them: no Redis."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from agentcom import backlog, capability, settings
from agentcom.backlog import Item

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"
WORKER = DEMO / "agents" / "worker.py"
AGENTS = {"format": ("birch", "format,docs"), "docs": ("birch", "format,docs"), "fix": ("cedar", "fix,test")}
AUTHOR = ("-c", "user.name=demo", "-c", "user.email=demo@agents.invalid")
TIMEOUT_S = 120.0

pytest.importorskip("ruff")


@dataclasses.dataclass(frozen=True)
class Answer:
    exit_code: int
    output: str
    result: dict[str, object]


def read_backlog() -> dict[str, Item]:
    items, problems = backlog.parse((DEMO / "project" / "BACKLOG.md").read_text())
    assert problems == []
    return {item.slug: item for item in items}


def told(item: Item, before: str, after: str) -> Item:
    """The item with another text: `before` in it, which must be there, replaced by `after`."""
    assert before in item.text
    return replace(item, text=item.text.replace(before, after))


def skill(item: Item) -> str:
    return item.requires.partition(",")[0]


BACKLOG = read_backlog()
# The soak is long for people to watch; its length is a parameter of the task.
BACKLOG["invariants"] = told(BACKLOG["invariants"], "soak_s: 7", "soak_s: 1")


class Bench:
    """A bare origin with the untouched project as its first commit, and agents that are run against it by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.origin = root / "origin.git"
        home = root / "home"
        home.mkdir()
        # A machine without any git configuration, not even an author.
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "HOME": str(home),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._runs = 0
        seed = root / "seed"
        shutil.copytree(DEMO / "project", seed)
        self.git(root, "init", "--quiet", "--bare", "-b", "main", str(self.origin))
        self.git(seed, "init", "--quiet", "-b", "main")
        self.git(seed, "add", "--all")
        self.git(seed, *AUTHOR, "commit", "--quiet", "-m", "The project as the agents find it")
        self.git(seed, "push", "--quiet", str(self.origin), "HEAD:main")

    def git(self, where: Path, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=where,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def main(self) -> str:
        return self.git(self.origin, "rev-parse", "main")

    def trailers(self) -> list[str]:
        """The `Task:` trailers on main, one per commit that has one."""
        return self.git(self.origin, "log", "--format=%(trailers:key=Task,valueonly,separator=%x2C)", "main").split()

    def checkout(self) -> Path:
        self._runs += 1
        where = self.root / f"checkout-{self._runs}"
        self.git(self.root, "clone", "--quiet", str(self.origin), str(where))
        return where

    def module(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `python -m …` on a fresh checkout of main."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.checkout(),
            env={**self.environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def failing_tests(self) -> set[str]:
        done = self.module("pytest", "-q", "-p", "no:cacheprovider")
        assert done.returncode in (0, 1), done.stdout
        return {line.split("[")[0].split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED")}

    def start(
        self, item: Item, attempt: int = 1, agent: str = "", **changed: str
    ) -> tuple[subprocess.Popen[str], Path]:
        """Starts the agent for an item the way the `command` runner does; returns its process and its result file."""
        self._runs += 1
        run = self.root / f"run-{self._runs}"
        workspace = run / "workspace"
        workspace.mkdir(parents=True)
        name, skills = AGENTS.get(skill(item), ("oak", "docs,test,fix"))
        task_id = f"task-{item.slug}"
        described = {"id": task_id, "title": item.title, "text": item.text, "context": [], "attempt": attempt}
        (run / "task.json").write_text(json.dumps(described))
        contract = {
            "AGENTCOM_TASK_FILE": str(run / "task.json"),
            "AGENTCOM_RESULT_FILE": str(run / "result.json"),
            "AGENTCOM_TASK_ID": task_id,
            "AGENTCOM_AGENT": agent or name,
            "AGENTCOM_ATTEMPT": str(attempt),
            "DEMO_ORIGIN": str(self.origin),
        }
        process = subprocess.Popen(
            [sys.executable, str(WORKER), "--skills", changed.pop("skills", skills)],
            cwd=workspace,
            env={**self.environment, **contract, **changed},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return process, run / "result.json"

    def run(self, item: Item, attempt: int = 1, agent: str = "", **changed: str) -> Answer:
        process, result = self.start(item, attempt, agent, **changed)
        output, _ = process.communicate(timeout=TIMEOUT_S)
        return Answer(process.returncode, output, json.loads(result.read_text()) if result.exists() else {})

    def complete(self, item: Item) -> Answer:
        """Attempts an item until it is done, at most twice."""
        answer = self.run(item)
        return answer if answer.exit_code == 0 else self.run(item, attempt=2)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, dict[str, Answer]]:
    """The backlog done one item after the other, which is an order that respects every `after`."""
    bench = Bench(tmp_path_factory.mktemp("demo"))
    return bench, {slug: bench.complete(item) for slug, item in BACKLOG.items()}


def pool_settings() -> settings.Settings:
    text = (DEMO / "agentcom.toml").read_text()
    for placeholder, value in (("@PYTHON@", sys.executable), ("@FILES@", str(DEMO)), ("@ORIGIN@", "/origin.git")):
        assert placeholder in text
        text = text.replace(placeholder, value)
    assert not re.search(r"@[A-Z]+@", text)
    return settings.load(("agentcom.toml", text), {}, {}).settings


def test_the_backlog_shows_skills_priorities_preferences_and_dependencies() -> None:
    assert 9 <= len(BACKLOG) <= 10
    assert {skill(item) for item in BACKLOG.values()} == {"format", "fix", "test", "docs"}
    assert [item.slug for item in BACKLOG.values() if item.priority == "urgent"] == ["free-shipping"]
    assert [item.slug for item in BACKLOG.values() if item.after] == ["readme-api"]
    assert [item.slug for item in BACKLOG.values() if item.prefer] == ["invariants"]


@pytest.mark.parametrize("killed", ["", "cedar", "oak"])
def test_the_pools_agents_can_do_the_whole_backlog_whoever_of_the_programmers_is_killed(killed: str) -> None:
    agents = {name: agent for name, agent in pool_settings().agents.items() if name != killed}
    for item in BACKLOG.values():
        requirement = capability.parse(item.requires)
        assert any(requirement.satisfied_by(agent.skills) for agent in agents.values()), item.slug


def test_an_agents_program_is_told_the_skills_that_the_scheduler_sees() -> None:
    for name, agent in pool_settings().agents.items():
        python, worker, option, skills = agent.command
        assert (python, Path(worker), option) == (sys.executable, WORKER, "--skills")
        assert {*skills.split(","), "python"} == set(agent.skills), name
        assert agent.env == {"DEMO_ORIGIN": "/origin.git"}


def test_the_project_fails_the_tests_that_the_backlog_is_about(bench: Bench) -> None:
    failing = bench.failing_tests()
    for slug in ("free-shipping", "rounding", "receipt", "empty-cart"):
        shown = re.search(r"Shown by (\S+)\.$", BACKLOG[slug].text, re.MULTILINE)
        assert shown
        assert shown[1] in failing
    assert len(failing) == 7
    assert bench.module("ruff", "check", "--no-cache", ".").returncode == 1


def test_every_task_succeeds_and_says_what_it_changed(finished: tuple[Bench, dict[str, Answer]]) -> None:
    bench, answers = finished
    for slug, answer in answers.items():
        assert answer.exit_code == 0, f"{slug}: {answer.output}"
        assert answer.result["summary"]
        shown = bench.git(bench.origin, "show", "--name-only", "--format=", str(answer.result["commit"]))
        assert answer.result["changed"] == shown.splitlines()


def test_each_task_is_one_commit_of_its_agent_on_main(finished: tuple[Bench, dict[str, Answer]]) -> None:
    bench, _ = finished
    assert sorted(bench.trailers()) == sorted(f"task-{slug}" for slug in BACKLOG)
    assert bench.git(bench.origin, "rev-list", "--count", "main") == str(len(BACKLOG) + 1)
    authors = set(bench.git(bench.origin, "log", "--format=%an %cn", "main").splitlines())
    assert authors == {"demo demo", "birch birch", "cedar cedar", "oak oak"}


def test_afterwards_the_project_passes_its_tests_and_its_linter(finished: tuple[Bench, dict[str, Answer]]) -> None:
    bench, _ = finished
    assert bench.failing_tests() == set()
    for command in (["format", "--check"], ["check"], ["check", "--select=D100,D101,D102,D103", "--exclude=tests"]):
        done = bench.module("ruff", *command, "--no-cache", ".")
        assert done.returncode == 0, done.stdout


def test_running_every_task_again_changes_nothing_and_answers_the_same_commits(
    finished: tuple[Bench, dict[str, Answer]],
) -> None:
    bench, answers = finished
    main = bench.main()
    for slug, item in BACKLOG.items():
        again = bench.run(item, attempt=3, agent="oak", skills="format,fix,test,docs")
        assert again.exit_code == 0, again.output
        assert again.result["commit"] == answers[slug].result["commit"]
        assert again.result["changed"] == answers[slug].result["changed"]
    assert bench.main() == main


def test_the_first_way_of_rounding_fails_the_projects_own_test_and_publishes_nothing(bench: Bench) -> None:
    main = bench.main()
    first = bench.run(BACKLOG["rounding"], attempt=1)
    assert first.exit_code == 1
    assert "still failing: tests/test_money.py::test_half_a_cent_is_rounded_up[2.665-2.67]" in first.output
    assert first.result == {}
    assert bench.git(bench.origin, "for-each-ref", "--format=%(refname) %(objectname)") == f"refs/heads/main {main}"
    second = bench.run(BACKLOG["rounding"], attempt=2)
    assert second.exit_code == 0, second.output
    assert bench.trailers() == ["task-rounding"]


def test_agents_that_race_for_main_all_get_their_commit_in(bench: Bench) -> None:
    together = [BACKLOG[slug] for slug in ("format", "docstrings", "free-shipping", "inventory-tests")]
    with ThreadPoolExecutor(len(together)) as pool:
        answers = list(pool.map(bench.run, together))
    assert [answer.exit_code for answer in answers] == [0, 0, 0, 0], "\n".join(answer.output for answer in answers)
    assert sorted(bench.trailers()) == sorted(f"task-{item.slug}" for item in together)
    assert bench.module("ruff", "format", "--check", "--no-cache", "src").returncode == 0


def test_two_agents_with_the_same_task_make_one_commit_of_it(bench: Bench) -> None:
    with ThreadPoolExecutor(2) as pool:
        doubled = list(pool.map(lambda agent: bench.run(BACKLOG["receipt"], agent=agent), ("cedar", "oak")))
    assert [answer.exit_code for answer in doubled] == [0, 0]
    assert doubled[0].result["commit"] == doubled[1].result["commit"] == bench.main()
    assert bench.trailers() == ["task-receipt"]


@pytest.mark.parametrize("successor", ["oak", "cedar"])
def test_a_task_whose_agent_was_killed_half_way_is_done_once_by_whoever_gets_it_next(
    bench: Bench, successor: str
) -> None:
    item = BACKLOG["invariants"]
    long = told(item, "soak_s: 1", "soak_s: 60")
    process, result = bench.start(long, agent="oak")
    assert process.stdout
    try:
        assert any(line.startswith("soak: 1 of 60 s") for line in process.stdout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=TIMEOUT_S)
    assert not result.exists()
    assert bench.trailers() == []

    answer = bench.run(item, attempt=2, agent=successor)
    assert answer.exit_code == 0, answer.output
    assert (f"starts from origin/oak/task-{item.slug}" in answer.output) == (successor == "oak")
    assert bench.trailers() == [f"task-{item.slug}"]


def test_a_killed_agents_soak_does_not_outlive_it(bench: Bench) -> None:
    item = BACKLOG["invariants"]
    process, _ = bench.start(told(item, "soak_s: 1", "soak_s: 60"))
    assert process.stdout
    assert any(line.startswith("soak: 1 of 60 s") for line in process.stdout)
    os.kill(process.pid, signal.SIGKILL)
    # The pipe ends when the last process that could write to it is gone; the soak shares the agent's standard error.
    output, _ = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL
    assert "Traceback" not in output


def test_an_agent_refuses_what_it_has_no_skill_for_as_a_matter_of_configuration(bench: Bench) -> None:
    answer = bench.run(BACKLOG["format"], skills="fix,test")
    assert answer.exit_code == 78
    assert "takes the skill format" in answer.output


def test_a_task_is_not_done_when_the_test_that_would_show_it_is_gone(bench: Bench) -> None:
    checkout = bench.checkout()
    bench.git(checkout, "rm", "--quiet", "tests/test_housekeeping.py")
    bench.git(checkout, *AUTHOR, "commit", "--quiet", "-m", "Away with it")
    bench.git(checkout, "push", "--quiet", "origin", "HEAD:main")
    answer = bench.run(BACKLOG["changelog"])
    assert answer.exit_code == 1
    assert "there is no test tests/test_housekeeping.py::test_the_changelog_has" in answer.output
    assert bench.trailers() == []


def test_a_change_that_breaks_a_test_which_passes_on_main_is_not_published(bench: Bench) -> None:
    checkout = bench.checkout()
    (checkout / "tests" / "test_notes.py").write_text(
        'def test_the_changelog_starts_as_it_did():\n    assert "## 0.2.0" in open("CHANGELOG.md").read()[:80]\n'
    )
    bench.git(checkout, "add", "--all")
    bench.git(checkout, *AUTHOR, "commit", "--quiet", "-m", "Pin the changelog")
    bench.git(checkout, "push", "--quiet", "origin", "HEAD:main")
    answer = bench.run(BACKLOG["changelog"])
    assert answer.exit_code == 1
    assert "fails with the change, not on main: tests/test_notes.py" in answer.output
    assert bench.trailers() == []


def test_an_unknown_recipe_is_a_matter_of_configuration(bench: Bench) -> None:
    answer = bench.run(told(BACKLOG["format"], "recipe: format", "recipe: brew-coffee"))
    assert answer.exit_code == 78
    assert "no recipe 'brew-coffee'" in answer.output


def test_an_origin_that_can_not_be_reached_is_tried_again_later(bench: Bench) -> None:
    answer = bench.run(BACKLOG["format"], DEMO_ORIGIN=str(bench.root / "nowhere.git"))
    assert answer.exit_code == 75
    assert "git clone failed" in answer.output


def test_without_the_runners_variables_the_agent_says_what_starts_it(bench: Bench) -> None:
    done = subprocess.run(
        [sys.executable, str(WORKER), "--skills", "fix"],
        cwd=bench.root,
        env=bench.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 78
    assert "AgentCom's command runner starts this program" in done.stdout
