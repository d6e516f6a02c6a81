"""Backlogs: which lines are items, what their braces say, and in which order they come."""

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentcom.backlog import MAX_BYTES, MAX_ITEMS, Item, Problem, item_key, parse


def items_of(text: str) -> list[Item]:
    items, problems = parse(text)
    assert problems == []
    return items


def only(text: str) -> Item:
    (item,) = items_of(text)
    return item


def problems_of(text: str) -> list[Problem]:
    items, problems = parse(text)
    assert problems
    assert items == []
    return problems


def titles(text: str) -> list[str]:
    return [item.title for item in items_of(text)]


def test_the_example_of_the_documentation_reads_as_it_says():
    text = """\
## Accounts
- [ ] Add a login form {#login} {requires: python >= 2} {expect: 20m}
  This is the task's text, in Markdown, for the agent to read.

  - [ ] a checkbox in here is part of the text
- [ ] Remember the session {after: login, store} {priority: high}
- [x] Pick a session store {#store}
"""
    login, session = items_of(text)
    assert login == Item(
        slug="login",
        title="Add a login form",
        text="This is the task's text, in Markdown, for the agent to read.\n\n"
        "- [ ] a checkbox in here is part of the text",
        line=2,
        section="Accounts",
        requires="python >= 2",
        expect_s=1200.0,
    )
    assert (session.slug, session.after, session.priority) == ("remember-the-session", ("login",), "high")


def test_every_attribute_is_read():
    item = only(
        "- [ ] Everything {#all} {requires: python >= 2, os == linux} {prefer: gpu} {priority: Urgent} {expect: 20s}"
        " {timeout: 10m} {max-attempts: 3} {context: a.py, b c.py,} {context-tokens: 4000} {agent: oak} {key: K 1}"
        " {check: make test} {budget: $2} {tokens: 200k} {check: sh -c 'a; b'}"
    )
    assert item == Item(
        slug="all",
        title="Everything",
        text="",
        line=1,
        requires="python >= 2, os == linux",
        prefer="gpu",
        priority="urgent",
        expect_s=20.0,
        timeout_s=600.0,
        max_attempts=3,
        context=("a.py", "b c.py"),
        context_tokens=4000,
        agent="oak",
        key="K 1",
        checks=("make test", "sh -c 'a; b'"),
        budget_usd=2.0,
        budget_tokens=200_000,
    )


def test_what_is_not_said_is_empty():
    assert only("- [ ] Bare") == Item(slug="bare", title="Bare", text="", line=1)


@pytest.mark.parametrize("bullet", ["-", "*", "+", " -", "1.", "12)", "-  "])
def test_any_list_bullet_makes_an_item(bullet):
    assert titles(f"{bullet} [ ] Title") == ["Title"]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# Plan\n\nprose", "- plain", "- [link](x)", "- [1] note", "-", "[ ] none"]
)
def test_what_is_no_checklist_has_no_items_and_no_problems(text):
    assert parse(text) == ([], [])


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Handle {} and {x} and {not an attribute}", "Handle {} and {x} and {not an attribute}"),
        ('Read {"a": 1} {1: 2} {#two words} {open', 'Read {"a": 1} {1: 2} {#two words} {open'),
        ("Route `/users/{id: int}` {priority: low}", "Route `/users/{id: int}`"),
        ("In {priority: low} the   middle", "In the middle"),
        ("Ticks ` {priority: low}", "Ticks `"),
    ],
)
def test_the_title_is_what_no_attribute_takes(text, title):
    assert only(f"- [ ] {text}").title == title


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Add a Login form!", "add-a-login-form"),
        ("Upgrade `lib` to 1.2", "upgrade-lib-to-1-2"),
        ("Войти в систему", "войти-в-систему"),
        ("x" * 200, "x" * 80),
        ("Given {#My.Slug_2}", "my.slug_2"),
    ],
)
def test_a_slug_is_given_or_made_from_the_title(title, slug):
    assert only(f"- [ ] {title}").slug == slug


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["  one", "  two"], "one\ntwo"),
        (["      one", "        deeper"], "one\n  deeper"),
        (["    deeper", "  one"], "  deeper\none"),
        (["", "  one", "", "", "  two", ""], "one\n\n\ntwo"),
        (["\tone", "\t\tdeeper"], "one\n\tdeeper"),
        (["  \tone", "   two"], "\tone\n two"),
        (["  ```make", "  all:", "  \tcc", "  ```"], "```make\nall:\n\tcc\n```"),
        (["  break  ", "  two"], "break  \ntwo"),
        (["straight on", "  one"], "straight on\none"),
        (["  one", "straight on"], "one\nstraight on"),
        (
            ["  # heading", "  - [ ] nested", "  - [x] nested {foo: bar}"],
            "# heading\n- [ ] nested\n- [x] nested {foo: bar}",
        ),
        (["  ```", "- [ ] not an item", "  ```", "  after"], "```\n- [ ] not an item\n```\nafter"),
        (["  <!-- note", "- [ ] not an item", "  -->"], "<!-- note\n- [ ] not an item\n-->"),
    ],
)
def test_the_lines_below_an_item_are_its_text(lines, text):
    first, second = items_of("\n".join(["- [ ] First", *lines, "- [ ] Second"]))
    assert first.text == text
    assert (second.title, second.text, second.line) == ("Second", "", len(lines) + 2)


@pytest.mark.parametrize(
    "line", ["# Heading", "- plain", "> quote", "---", "***", "| table |", "<!-- note -->", "```\ncode\n```", "\nprose"]
)
def test_an_unindented_block_ends_the_item_above_it(line):
    assert only(f"- [ ] Title\n  text\n{line}\n").text == "text"


@pytest.mark.parametrize("outside", ["```\n{}\n```", "~~~~ text\n{}\n~~~\n~~~~", "<!--\n{}\n-->", "<!-- {} -->"])
def test_fences_and_comments_hide_what_looks_like_an_item(outside):
    hidden = outside.format("- [ ] Hidden {foo: bar}")
    assert titles(f"{hidden}\n- [ ] Seen") == ["Seen"]


def test_code_in_backticks_at_the_start_of_a_line_is_no_fence():
    assert titles("```x``` is code\n\n- [ ] Seen") == ["Seen"]


def test_an_item_knows_the_heading_above_it():
    text = "- [ ] A\n# One #\n- [ ] B\n  ## not this\n\n## C#\n- [ ] C\n#no heading\n- [ ] D"
    assert [item.section for item in items_of(text)] == ["", "One", "C#", "C#"]


def test_done_items_are_skipped_with_all_they_say():
    text = "- [x] Old {#old} {foo: bar}\n  its text\n- [X] Old {#old}\n- [x] {#bare}\n- [ ] New {after: old, bare}"
    assert [(item.title, item.after) for item in items_of(text)] == [("New", ())]


def test_line_ends_of_any_system_and_a_byte_order_mark_are_tolerated():
    unix = "# S\n- [ ] A\n  text\n\n  more\n- [ ] B\n"
    assert len(items_of(unix)) == 2
    assert parse("\ufeff" + unix.replace("\n", "\r\n")) == parse(unix)
    assert parse(unix.replace("\n", "\r")) == parse(unix)


def test_control_characters_do_not_reach_the_task():
    item = only("- [ ] Ti\x1b[31mtle\ud800 {agent: o\x07ak}\n  te\u202ext\x1b]0;x\x07")
    assert (item.title, item.text, item.agent) == ("Title", "text", "oak")


def test_items_come_behind_those_they_are_after_and_else_stay_in_place():
    text = """\
- [ ] A {after: #d}
- [ ] B
- [ ] C {after: A, a}
- [ ] D
- [ ] E {after: b, c}
"""
    items = items_of(text)
    assert [item.slug for item in items] == ["b", "d", "a", "c", "e"]
    assert [item.after for item in items] == [(), (), ("d",), ("a",), ("b", "c")]


@given(st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=12), st.randoms())
def test_any_order_of_a_backlog_without_circles_can_be_sorted(befores, shuffler):
    lines = []
    for at, slugs in enumerate(befores):
        after = ", ".join(f"t{slug}" for slug in sorted(slugs) if slug < at)
        lines.append(f"- [ ] Task {{#t{at}}}" + (f" {{after: {after}}}" if after else ""))
    shuffler.shuffle(lines)
    placed: set[str] = set()
    for item in items_of("\n".join(lines)):
        assert placed.issuperset(item.after)
        placed.add(item.slug)
    assert len(placed) == len(befores)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("- [ ] A {requirse: x}", [(1, "unknown attribute 'requirse': did you mean 'requires'?")]),
        ("- [ ] A {max_attempts: 3}", [(1, "unknown attribute 'max_attempts': did you mean 'max-attempts'?")]),
        (
            "- [ ] A {q: x}",
            [(1, "unknown attribute 'q': put it in `backticks` if it is part of the title")],
        ),
        ("- [ ] A {agent: }", [(1, "agent has no value")]),
        ("- [ ] A {after: ,}", [(1, "after: expected a list with commas in between, not ','")]),
        ("- [ ] A {after: #}", [(1, "after: expected a list with commas in between, not ''")]),
        ("- [ ] A {agent: a} {agent: a}", [(1, "agent is given twice")]),
        ("- [ ] A {budget: 1} {budget: 2}", [(1, "budget is given twice")]),
        ("- [ ] A {budget: lots}", [(1, "budget: expected dollars such as 2, $2 or 2.50, not 'lots'")]),
        ("- [ ] A {tokens: 0}", [(1, "tokens: expected a number such as 5000, 200k or 1.5M, not '0'")]),
        (
            "- [ ] A {check: echo 'a}",
            [(1, "check: expected a program and its arguments, with every quote closed, not 'echo 'a'")],
        ),
        ("- [ ] A {expect: 1s} {expect: 2s}", [(1, "expect is given twice")]),
        ("- [ ] A {#a} {#b}", [(1, "slug is given twice")]),
        (
            "- [ ] A {expect: soon}",
            [(1, "expect: expected a duration such as 90s, 20m, 1h30m, 1.5h or 2d, not 'soon'")],
        ),
        ("- [ ] A {timeout: 0}", [(1, "timeout: expected more than no time at all")]),
        ("- [ ] A {max-attempts: 0}", [(1, "max-attempts: expected a whole number from 1 to 999999999, not '0'")]),
        (
            "- [ ] A {context-tokens: 4k}",
            [(1, "context-tokens: expected a whole number from 1 to 999999999, not '4k'")],
        ),
        ("- [ ] A {priority: hi}", [(1, "priority: expected one of urgent, high, normal, low, not 'hi'")]),
        ("- [ ] A {#-}", [(1, "a slug is up to 80 letters, digits, . _ and -, not '-'")]),
        ("- [ ] {agent: oak}", [(1, "an item needs a title")]),
        ("- [ ] !!!", [(1, "no slug can be made from this title: give the item one, such as {#first-task}")]),
        ("- [ ] A\n\n- [ ] a", [(3, "the slug 'a' is that of line 1: give this item its own")]),
        ("- [ ] A\n- [x] a", [(1, "the slug 'a' is that of an item already done: give this item its own")]),
        (
            "- [ ] Login\n- [ ] B {after: logn}",
            [(2, "after names 'logn', which is no item here: did you mean 'login'?")],
        ),
        ("- [ ] A {key: K}\n- [ ] B {key: K}", [(2, "the key 'K' is that of line 1: give this item its own")]),
        ("- [ ] A {after: zebra}", [(1, "after names 'zebra', which is no item here")]),
        ("- [ ] A {after: a}", [(1, "these items wait for each other: a after a")]),
        (
            "- [ ] Z\n- [ ] A {after: c}\n- [ ] B {after: a}\n- [ ] C {after: b, z}",
            [(2, "these items wait for each other: c after b after a after c")],
        ),
        ("- [] A", [(1, "not quite a checklist item: write it as '- [ ] title'")]),
        ("- [ ]", [(1, "not quite a checklist item: write it as '- [ ] title'")]),
        ("- [x]A", [(1, "not quite a checklist item: write it as '- [ ] title'")]),
        ("- [ ] A\n-[ ] B", [(2, "not quite a checklist item: write it as '- [ ] title'")]),
        (
            "- Group\n  - [ ] A",
            [(2, "this indented checklist item is part of no task: take its indentation away")],
        ),
        (
            "- [ ] A\n  ```\n- [ ] B",
            [(2, "this code fence or comment is never closed, so the items after it would be lost")],
        ),
        (
            "<!--\n- [ ] B",
            [(1, "this code fence or comment is never closed, so the items after it would be lost")],
        ),
        (
            "- [ ] A {after: b}\n- [ ] C {priority: x} {agent: }\n-[ ] D",
            [
                (1, "after names 'b', which is no item here"),
                (2, "priority: expected one of urgent, high, normal, low, not 'x'"),
                (2, "agent has no value"),
                (3, "not quite a checklist item: write it as '- [ ] title'"),
            ],
        ),
    ],
)
def test_what_its_author_must_mend_is_named_with_its_line(text, problems):
    assert [(problem.line, problem.message) for problem in problems_of(text)] == problems


def test_a_long_circle_is_cut_short():
    lines = [f"- [ ] T {{#t{at}}} {{after: t{(at + 1) % 5000}}}" for at in range(5000)]
    (problem,) = problems_of("\n".join(lines))
    assert problem.line == 1
    assert problem.message.count(" after ") == 8
    assert len(problem.message) < 200


def test_a_long_chain_is_sorted():
    lines = [f"- [ ] T {{#t{at}}} {{after: t{at + 1}}}" for at in range(MAX_ITEMS - 1)]
    items = items_of("\n".join([*lines, f"- [ ] T {{#t{MAX_ITEMS - 1}}}"]))
    assert [items[0].slug, items[-1].slug] == [f"t{MAX_ITEMS - 1}", "t0"]


def test_a_backlog_of_too_many_items_or_bytes_is_a_problem():
    lines = [f"- [x] {at}" for at in range(MAX_ITEMS + 1)]
    assert items_of("\n".join(lines[:-1])) == []
    assert problems_of("\n".join(lines)) == [
        Problem(MAX_ITEMS + 1, "a backlog may have at most 10,000 items: split it")
    ]
    assert parse("x" * MAX_BYTES) == ([], [])
    for too_long in ("x" * (MAX_BYTES + 1), "ü" * (MAX_BYTES // 2 + 1)):
        assert problems_of(too_long) == [Problem(1, "a backlog may have at most 1,048,576 bytes: split it")]


@pytest.mark.parametrize("start", ["", "- [ ] A ", "- [ ] A\n", "- [x", "# A"])
@pytest.mark.parametrize(
    "piece", ["{", "{a:", "`", "{a: ", " ", "\t", "#", " #", "-", "[ ", "~", "\n```", "\n<!--", "\n  "]
)
def test_a_backlog_full_of_beginnings_takes_no_time_to_speak_of(start, piece):
    # Were any pattern quadratic, this would take minutes.
    items, problems = parse(start + piece * (200_000 // len(piece)) + "a")
    assert len(items) + len(problems) <= 1


def test_deep_indentations_that_differ_are_compared_in_no_time_to_speak_of():
    text = "\t" * 300_000 + "a\n" + " " * 300_000 + "b"
    assert only(f"- [ ] A\n{text}").text == text


def test_a_key_survives_a_new_text_but_not_a_new_slug_or_source():
    key = item_key("plan.md", only("- [ ] Title {#a}"))
    assert key == "backlog:" + hashlib.sha256(b"plan.md\0a").hexdigest()[:32]
    assert item_key("plan.md", only("\n- [ ] Other title {#a} {priority: low}\n  text")) == key
    assert item_key("plan.md", only("- [ ] Title {#b}")) != key
    assert item_key("other.md", only("- [ ] Title {#a}")) != key


def test_a_given_key_is_used_as_it_is():
    assert item_key("plan.md", only("- [ ] Title {key: JIRA-1}")) == "JIRA-1"


def test_a_source_with_a_name_that_is_not_text_still_has_a_key():
    assert item_key("plan\udcff.md", only("- [ ] Title")).startswith("backlog:")


MARKS = [
    "- [ ] ",
    "- [x] ",
    "* [ ]",
    "-[ ]",
    "1. [ ] ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "```",
    "~~~",
    "<!--",
    "-->",
    "# ",
    "`",
    "{",
    "}",
    ",",
    ":",
    "9",
    "a",
    "b",
    "ß",
    "㎒",
]
BRACES = ["{#", "{#a}", "{#b}", "{after:a}", "{after:b,#}", "{after:#}", "{expect:", "1m}", "{max-attempts:"]
STRANGE = ["\x1b[", "\u2028", "\ud800", "\x00", "\ufeff"]
PIECES = st.sampled_from([*MARKS, *BRACES, *STRANGE])


@given(st.text(st.characters(), max_size=200) | st.lists(PIECES, max_size=60).map("".join))
@example("- [ ] A {after: #}")
@example("- [ ] A {after: ㎒}\n- [ ] B {#㎒}")
def test_no_text_makes_the_parser_raise(text):
    items, problems = parse(text)
    assert not (items and problems)
    for problem in problems:
        assert len(problem.message.splitlines()) == 1
        assert 1 <= problem.line <= text.count("\n") + text.count("\r") + 1
    for item in items:
        assert item.title
        assert item.slug
        assert len(item.title.splitlines()) == 1
        item.text.encode()
        item_key("source", item)
    assert len({item.slug for item in items}) == len(items)
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)
