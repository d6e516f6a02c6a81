"""What pull requests say, and that nothing in them acts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.forge.base import MARKER
from agentcom.forge.drafting import drafted
from agentcom.forge.neutral import _ACTING, BREAK, block, neutral
from agentcom.model.task import Check, Evidence, Outcome, TaskSpec, Usage

TASK = "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"
HEAD = "b" * 40
EVIDENCE = Evidence(
    branch=f"oak/{TASK}", base="main", base_sha="a" * 40, head_sha=HEAD, commits=2, files=3, insertions=10, deletions=4
)
GITHUB_BODY_MAX = 65_536
GITHUB_TITLE_MAX = 256


def acts(text: str) -> bool:
    return any(pattern.search(text) for pattern, _ in _ACTING)


def outcome(**what: object) -> Outcome:
    return Outcome("completed", evidence=EVIDENCE, **what)  # type: ignore[arg-type]


def test_it_says_what_was_asked_who_did_it_who_checked_what_and_what_it_used() -> None:
    done = outcome(
        summary="Added a total.",
        checks=(Check("make test", "oak", HEAD, True, 0, 75.0), Check("make lint", "oak", HEAD, False, 2, 1.0)),
        usage=Usage(input_tokens=1_200, output_tokens=34, cache_read_tokens=5_000, cost_usd=0.25),
        program="claude 2.1.330",
        model="opus",
    )
    draft = drafted(TaskSpec(id=TASK, text="Add a total.\nWith a test."), done, "oak", 3, part=2)
    assert draft.title == f"Add a total. ({TASK})"
    assert (draft.task, draft.branch, draft.base, draft.head_sha) == (TASK, f"oak/{TASK}", "main", HEAD)
    for line in (
        f"Task `{TASK}`, attempt 3 by oak, part 2 (claude 2.1.330, opus).",
        "    Add a total.",
        "    With a test.",
        "    Added a total.",
        "    bbbbbbbbbbbb: 2 commits, 3 files, +10 -4",
        "    on main at aaaaaaaaaaaa",
        "    passed  make test  (75s, at bbbbbbbbbbbb by oak)",
        "    FAILED  make lint  (1s, at bbbbbbbbbbbb by oak)",
        "    tokens: 1,200 input, 34 output, 5,000 read from cache",
        "    cost: 0.25 USD",
        MARKER.format(task=TASK),
    ):
        assert line in draft.body.split("\n"), draft.body


def test_without_checks_it_says_so() -> None:
    assert "Nothing was checked." in drafted(TaskSpec(id=TASK, text="x"), outcome(), "oak", 1).body


def test_without_a_branch_there_is_nothing_to_draft() -> None:
    with pytest.raises(ValueError, match="names no branch"):
        drafted(TaskSpec(id=TASK, text="x"), Outcome("completed"), "oak", 1)


@pytest.mark.parametrize(
    "text",
    [
        "fixes #12",
        "Closes: acme/shop#12",
        "resolves GH-12",
        "closes https://github.com/acme/shop/issues/12",
        "see https://github.com/acme/shop/pull/12",
        "thanks @octocat",
        "@acme/admins please look",
        "@dependabot merge",
        "/lgtm",
        "fine\n  /approve",
        "[skip ci]",
        "[CI SKIP]",
        "[no ci] and [skip actions]",
        "done\n\nskip-checks: true",
        "Co-authored-by: Mallory <m@example.com>",
        "Signed-off-by: Mallory",
        "<!-- hidden -->",
        "<script>alert(1)</script>",
        "<img src=x>",
        "!12",
        MARKER.format(task=TASK),
    ],
)
def test_nothing_acts_and_all_of_it_can_be_read(text: str) -> None:
    assert acts(text)
    said = neutral(text)
    assert not acts(said)
    assert re.sub(rf"[{BREAK} ]", "", said) == text.replace(" ", "")


@pytest.mark.parametrize("text", ["a < b", "mail", "C# 8", "50 % off!", "a/b", "issue 12", "[skip]", "x -> y", "#tag"])
def test_what_does_not_act_stays_as_it_is(text: str) -> None:
    assert neutral(text) == text


def test_a_block_cannot_be_left() -> None:
    shown = block("```\n</pre>\n\n# not a heading\n\t* x\r\n---", 1_000)
    assert all(line == "" or line.startswith("    ") for line in shown.split("\n"))


NASTY = (
    st.text(alphabet=st.sampled_from("@#!/<>-[]() \n\t\r`*_a1:\x00\x1b\x85\u2028\u202e\u200b"))
    | st.lists(
        st.sampled_from(
            [
                "@a",
                "#1",
                "fixes ",
                "<!--",
                "-->",
                "/merge",
                "\n",
                " ",
                "[skip ci]",
                "GH-1",
                "x-by:",
                "```",
                "agentcom task:",
            ]
        )
    ).map("".join)
    | st.text()
)


@given(NASTY)
def test_whatever_the_text_nothing_acts(text: str) -> None:
    assert not acts(neutral(text))


@given(NASTY, NASTY, NASTY, st.lists(NASTY, max_size=3), st.sampled_from([1, 400]))
def test_whatever_others_wrote_the_draft_holds(
    text: str, summary: str, title: str, commands: list[str], times: int
) -> None:
    checks = tuple(Check(command * times, command, HEAD, True) for command in commands)
    done = outcome(summary=summary * times, checks=checks * 20, program=text[:50], model=title[:50])
    draft = drafted(TaskSpec(id=TASK, text=text * times, title=title), done, "oak", 1)
    marker = MARKER.format(task=TASK)
    assert draft.body.count("<!--") == draft.body.count(marker) == draft.body.count("-->") == 1
    assert draft.body.endswith(f"{marker}\n")
    assert len(draft.body) < GITHUB_BODY_MAX
    assert len(draft.title) < GITHUB_TITLE_MAX
    assert "\n" not in draft.title
    assert not acts(draft.body.replace(marker, ""))
    assert not acts(draft.title)
