"""Rules decide; a recommendation can only keep from merging."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.forge.base import PullDetails
from agentcom.gate.facts import NO_FILE, Change, PullFacts, Recommendation
from agentcom.gate.rules import RULES, judge
from agentcom.model.task import Check, PullRequest
from agentcom.settings import GateSettings
from tests.gate.cases import BASE, CHECK, HEAD, OTHER, PULL, SAFE, adding, pull, safe, touching

pytestmark = pytest.mark.pitfall_8

RULES_OF_THE_HOUSE = GateSettings()

# Kept in the repository itself, which the agent and whoever judges reach by different paths.
IN_THE_REPOSITORY = safe(
    pull_request=PullRequest("local:/srv/a.git#t"),
    pull=PullDetails(PullRequest("local:ssh://h/a.git#t"), PULL.branch, "main", HEAD),
)


def against(facts: PullFacts, settings: GateSettings = RULES_OF_THE_HOUSE) -> list[str]:
    """The rules that are against it."""
    return [ruling.rule for ruling in judge(facts, settings).against]


def test_what_is_trivially_safe_is_merged() -> None:
    verdict = judge(SAFE, RULES_OF_THE_HOUSE)
    assert verdict.decision == "merge"
    assert [ruling.rule for ruling in verdict.rulings] == list(RULES)
    assert all(ruling.why for ruling in verdict.rulings)


@pytest.mark.parametrize(
    "facts",
    [
        touching("README.md"),
        touching("docs/deep/er/page.rst"),
        touching("a b/c.md", inserted=0, deleted=9),
        adding("docs/new.md"),
        adding("tests/test_new.py"),
        adding("pkg/cart_test.go"),
        adding("src/cart.test.ts"),
        IN_THE_REPOSITORY,
        safe(required=()),
    ],
)
def test_documentation_and_new_tests_need_no_person(facts: PullFacts) -> None:
    assert against(facts) == []


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        (safe(state="working"), "completed"),
        (safe(state="failed"), "completed"),
        (safe(state="canceled"), "completed"),
        # another pull request or branch of the same task
        (safe(pull_request=None), "own"),
        (safe(pull_request=PullRequest("https://github.com/acme/shop/pull/4", 4)), "own"),
        (safe(pull_request=PullRequest("local:/srv/x.git#other")), "own"),
        (safe(branch="birch/01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"), "own"),
        (safe(branch=""), "own"),
        (pull(others=("https://github.com/acme/shop/pull/4",)), "own"),
        (pull(pull_request=PullRequest(PULL.pull_request.url, 3, "closed")), "open"),
        # something was pushed after the checks
        (safe(verified_sha=OTHER), "head"),
        (safe(branch_sha=OTHER), "head"),
        (safe(branch_sha=""), "head"),
        (safe(verified_sha=""), "head"),
        # the checks
        (safe(checks=()), "checks"),
        (safe(checks=(), required=()), "checks"),
        (safe(required=None), "checks"),
        (safe(required=("make test", "make lint")), "checks"),
        (safe(checks=(CHECK, Check("make lint", "oak", HEAD, False, 1))), "checks"),
        (safe(checks=(CHECK, Check("make lint", "oak", HEAD, False, None))), "checks"),
        (safe(checks=(Check("make test", "oak", OTHER, True, 0),)), "checks"),
        (safe(checks=(Check("make test", "oak", "", True, 0),)), "checks"),
        (safe(checks=(Check("make test", "birch", HEAD, True, 0),)), "checks"),
        (safe(checks=(Check("make test", "", HEAD, True, 0),), agent=""), "checks"),
        # the base
        (safe(base_contained=False, base_sha=OTHER), "base"),
        (pull(base="release"), "base"),
        (safe(verified_base=""), "base"),
        # how much
        (safe(changes=()), "files"),
        (safe(changes=tuple(Change(f"{number}.md", inserted=1) for number in range(21))), "files"),
        (touching("a.md", inserted=401), "lines"),
        (touching("a.md", inserted=0, deleted=401), "lines"),
        # what happens to files
        (touching("docs/old.md", mode_after=NO_FILE), "kept"),
        (touching("a.md", binary=True, inserted=0), "plain"),
        (touching("a.md", mode_after="100755"), "plain"),
        (touching("a.md", mode_before="100755", mode_after="100755"), "plain"),
        (adding("a.md", mode_after="120000"), "plain"),
        (adding("a.md", mode_after="160000"), "plain"),
        (touching("a\x1b[2J.md"), "readable"),
        (touching("docs/\u202edm.exe.md"), "readable"),
        (touching("docs/\udcff.md"), "readable"),
        # which
        (touching("src/cart.py"), "allowed"),
        (adding("src/cart.py"), "allowed"),
        (touching("tests/test_cart.py"), "allowed"),
        (adding("tests/helper.py"), "allowed"),
        (touching("docs/generate.py"), "allowed"),
        (touching("README"), "allowed"),
        (touching("README.MD"), "allowed"),
        (touching("CLAUDE.md"), "denied"),
        (touching("sub/agents.md"), "denied"),
        (touching("BACKLOG.md"), "denied"),
        (touching(".github/PULL_REQUEST_TEMPLATE.md"), "denied"),
        (touching("docs/.hidden/page.md"), "denied"),
        (touching(".cursor/rules.md"), "denied"),
        (touching("hooks/readme.md"), "denied"),
        (touching("tools/hooks/readme.md"), "denied"),
    ],
)
def test_what_any_single_rule_is_against_goes_to_a_person(facts: PullFacts, rule: str) -> None:
    verdict = judge(facts, RULES_OF_THE_HOUSE)
    assert verdict.decision == "escalate"
    assert [ruling.rule for ruling in verdict.against] == [rule]


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/ci.yml",
        ".gitlab-ci.yml",
        ".ci/run",
        ".gitattributes",
        ".gitmodules",
        ".claude/settings.json",
        ".husky/pre-push",
        "pyproject.toml",
        "agentcom.toml",
        "setup.py",
        "setup.cfg",
        "package.json",
        "poetry.lock",
        "requirements-dev.txt",
        "Dockerfile",
        "docker/dockerfile.prod",
        "docker-compose.yml",
        "infra/main.tf",
        "infra/prod.tfvars",
        "Makefile",
        "makefile",
        "scripts/install.sh",
        "tests/conftest.py",
        "Jenkinsfile",
        "CODEOWNERS",
        "LICENSE",
    ],
)
def test_configuration_goes_to_a_person_even_where_everything_else_is_allowed(path: str) -> None:
    lenient = GateSettings(allow=("*",), allow_new=("*",))
    assert against(touching(path), lenient) == against(adding(path), lenient) == ["denied"]
    assert against(touching("src/cart.py"), lenient) == []


def test_a_known_bad_one_says_everything_that_is_wrong_with_it() -> None:
    bad = safe(
        checks=(Check("make test", "oak", HEAD, False, 1),),
        base_contained=False,
        changes=(
            Change("src/billing.py", inserted=900, deleted=300),
            Change("tests/test_billing.py", mode_after=NO_FILE, deleted=120),
            Change(".github/workflows/release.yml", inserted=2),
        ),
    )
    verdict = judge(bad, RULES_OF_THE_HOUSE, Recommendation("reviewer", merge=True, why="looks good"))
    assert verdict.decision == "escalate"
    assert {ruling.rule for ruling in verdict.against} == {"checks", "base", "lines", "kept", "denied", "allowed"}
    whys = {ruling.rule: ruling.why for ruling in verdict.against}
    assert "make test" in whys["checks"]
    assert "tests/test_billing.py" in whys["kept"]
    assert ".github/workflows/release.yml" in whys["denied"]


def test_a_recommendation_is_kept_with_the_verdict_and_can_stop_a_merge() -> None:
    thought = Recommendation("reviewer", merge=False, why="the guide contradicts the code")
    verdict = judge(SAFE, RULES_OF_THE_HOUSE, thought)
    assert (verdict.decision, verdict.recommendation, verdict.against) == ("escalate", thought, ())


def test_long_lists_and_nasty_names_make_short_lines() -> None:
    changes = tuple(Change(f"src/{'x' * 3_000}{number}\x1b[31m\n.py", inserted=1) for number in range(50))
    for ruling in judge(safe(changes=changes), RULES_OF_THE_HOUSE).rulings:
        assert ruling.why.isprintable()
        assert len(ruling.why) < 400


# --------------------------------------------------------------- properties

SHAS = st.sampled_from([BASE, HEAD, OTHER, ""])
NAMES = st.sampled_from(["oak", "birch", "", "main", SAFE.branch, "make test", "make lint"])
MODES = st.sampled_from(["100644", "100644", "100755", "120000", "160000", NO_FILE])
PATHS = (
    st.sampled_from(["README.md", "docs/a.md", "tests/test_a.py", "src/a.py", ".ci/run", "CLAUDE.md", ""]) | st.text()
)
CHANGES = st.builds(Change, PATHS, MODES, MODES, st.integers(0, 500), st.integers(0, 500), st.booleans())
PULLS = st.builds(
    PullRequest, st.sampled_from([PULL.pull_request.url, "local:x#t", ""]), st.just(3),
    st.sampled_from(["open", "merged", "closed"]),
)  # fmt: skip
CHECKS = st.just(CHECK) | st.builds(Check, NAMES, NAMES, SHAS, st.booleans())
DETAILS = st.just(PULL) | st.builds(PullDetails, PULLS, NAMES, NAMES, SHAS, st.sampled_from([(), ("x",)]))
FACTS = st.builds(
    PullFacts,
    state=st.sampled_from(["completed", "completed", "failed", "working"]),
    branch=st.just(SAFE.branch) | NAMES,
    pull_request=st.just(SAFE.pull_request) | st.none() | PULLS,
    agent=st.just("oak") | NAMES,
    verified_base=st.just("main") | NAMES,
    verified_sha=st.just(HEAD) | SHAS,
    checks=st.lists(CHECKS, max_size=3).map(tuple),
    required=st.just(()) | st.none() | st.lists(NAMES, max_size=2).map(tuple),
    pull=DETAILS,
    base_sha=SHAS,
    branch_sha=st.just(HEAD) | SHAS,
    base_contained=st.booleans(),
    changes=st.just(SAFE.changes) | st.lists(CHANGES, max_size=4).map(tuple),
)
ANY_FACTS = st.just(SAFE) | FACTS
PATTERNS = st.lists(
    st.sampled_from(["*", "*.md", ".*", "[", "[!a]", "**", "src/*", "?"]) | st.text(min_size=1), max_size=4
)
SETTINGS = st.just(GateSettings()) | st.builds(
    GateSettings,
    max_files=st.integers(1, 30),
    max_lines=st.integers(1, 500),
    allow=PATTERNS.map(tuple),
    allow_new=PATTERNS.map(tuple),
    deny=PATTERNS.map(tuple),
)
RECOMMENDATIONS = st.none() | st.builds(Recommendation, st.text(), st.booleans(), st.text())
PLACE = {"escalate": 0, "merge": 1}


@given(ANY_FACTS, SETTINGS, RECOMMENDATIONS)
def test_no_recommendation_ever_lets_through_what_rules_do_not(
    facts: PullFacts, settings: GateSettings, recommendation: Recommendation | None
) -> None:
    alone = judge(facts, settings)
    advised = judge(facts, settings, recommendation)
    assert PLACE[advised.decision] <= PLACE[alone.decision]
    assert advised.rulings == alone.rulings
    assert advised.recommendation == recommendation


@given(ANY_FACTS, SETTINGS, RECOMMENDATIONS)
def test_it_is_merged_only_if_every_rule_holds(
    facts: PullFacts, settings: GateSettings, recommendation: Recommendation | None
) -> None:
    verdict = judge(facts, settings, recommendation)
    assert (verdict.decision == "merge") == (not verdict.against and (recommendation is None or recommendation.merge))


@given(ANY_FACTS, SETTINGS)
def test_what_is_merged_is_what_was_checked_and_the_tasks_own(facts: PullFacts, settings: GateSettings) -> None:
    """Said once more, without the rules' own words."""
    if judge(facts, settings).decision != "merge":
        return
    assert facts.state == "completed"
    assert facts.checks
    assert {check.sha for check in facts.checks} == {facts.pull.head_sha} == {facts.branch_sha} == {facts.verified_sha}
    assert all(check.passed and check.by == facts.agent for check in facts.checks)
    assert facts.base_contained
    assert facts.pull.branch == facts.branch
    assert not facts.pull.others
    assert 0 < len(facts.changes) <= settings.max_files
    assert not any(change.is_gone or change.binary for change in facts.changes)
    assert all(change.mode_after == "100644" for change in facts.changes)


@given(st.lists(CHANGES, min_size=1, max_size=4).map(tuple), CHANGES)
def test_one_more_file_never_makes_it_safer(changes: tuple[Change, ...], change: Change) -> None:
    before = judge(safe(changes=changes), RULES_OF_THE_HOUSE)
    after = judge(safe(changes=(*changes, change)), RULES_OF_THE_HOUSE)
    assert PLACE[after.decision] <= PLACE[before.decision]
