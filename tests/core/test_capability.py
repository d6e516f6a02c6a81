"""The requirements language: what it accepts, what it means, how it is spelled, explained and scored."""

import math
from typing import Any

import pytest

from agentcom.capability import (
    Attributes,
    InvalidRequirement,
    Value,
    parse,
    parse_preferences,
    quote,
    valid_attributes,
)

AGENT: Attributes = {
    "python": 3,
    "review": 1,
    "go": 0,
    "ratio": 2.5,
    "os": "linux",
    "gpu": True,
    "tpu": False,
}


# ---- meaning


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "python >= 3",
        "python>=3",
        "python > 2.5",
        "python < 4",
        "python <= 3.0",
        "python == 3.0",
        "python != -3",
        "ratio >= 2.5",
        "os == linux",
        "os == 'linux'",
        'os == "linux"',
        "os != darwin",
        "os in (darwin, linux)",
        "os not in (darwin)",
        "not os in (darwin, windows)",
        "python in (1, 3)",
        "gpu == true",
        "tpu == False",
        "review",
        "gpu",
        "not go",
        "not tpu",
        "not cuda",
        "not not review",
        "review and not cuda",
        "cuda or review",
        "(cuda or review) and os == linux",
        "python >= 3, os == linux, review",
        "not (cuda or tpu)",
        "not (python >= 4)",
    ],
)
def test_an_agent_satisfies_what_its_attributes_meet(text: str) -> None:
    requirement = parse(text)
    assert requirement.satisfied_by(AGENT)
    assert requirement.explain(AGENT) == ()


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("python >= 4", ("python 3 < 4",)),
        ("python > 3", ("python 3 <= 3",)),
        ("python <= 2", ("python 3 > 2",)),
        ("python < 3", ("python 3 >= 3",)),
        ("ratio >= 2.75", ("ratio 2.5 < 2.75",)),
        ("python == 4", ("python is 3, not 4",)),
        ("python != 3", ("python is 3",)),
        ("os == darwin", ("os is linux, not darwin",)),
        ("os != linux", ("os is linux",)),
        ("os in (windows, darwin)", ("os is linux, not darwin or windows",)),
        ("os not in (linux, darwin)", ("os is linux",)),
        ("gpu == false", ("gpu is true, not false",)),
        ("go", ("go 0 < 1",)),
        ("tpu", ("tpu is false",)),
        ("cuda", ("no cuda",)),
        ("not review", ("has review",)),
        ("not gpu", ("has gpu",)),
        ("cuda, python >= 4, review", ("no cuda", "python 3 < 4")),
        ("cuda >= 1, cuda >= 2", ("no cuda",)),
        ("cuda or os == darwin", ("no cuda and os is linux, not darwin",)),
        ("(cuda or tpu), go", ("no cuda and tpu is false", "go 0 < 1")),
    ],
)
def test_what_is_not_satisfied_is_explained_in_few_words(text: str, reasons: tuple[str, ...]) -> None:
    assert not parse(text).satisfied_by(AGENT)
    assert sorted(parse(text).explain(AGENT)) == sorted(reasons)


@pytest.mark.parametrize("comparison", ["x == 1", "x != 1", "x < 1", "x >= 1", "x in (a, b)", "x not in (a, b)"])
def test_a_comparison_with_a_missing_attribute_is_not_satisfied_and_its_not_is_not_either(
    comparison: str,
) -> None:
    assert parse(comparison).explain({}) == ("no x",)
    assert parse(f"not ({comparison})").explain({}) == ("no x",)


def test_a_missing_attribute_does_not_spoil_an_alternative_that_is_satisfied() -> None:
    assert parse("cuda >= 2 or python >= 3").satisfied_by(AGENT)
    assert parse("not (cuda >= 2 and python >= 4)").satisfied_by(AGENT)


@pytest.mark.parametrize(
    ("text", "attributes", "reason"),
    [
        ("x >= 3", {"x": "many"}, "x is many, not a number"),
        ("x >= 3", {"x": "3"}, 'x is "3", not a number'),
        ("x == 1", {"x": True}, "x is true, not a number"),
        ("x == true", {"x": 1}, "x is 1, not true or false"),
        ("x == linux", {"x": 3.0}, "x is 3, not a text"),
        ("x in (a, b)", {"x": False}, "x is false, not a text"),
        ("x", {"x": "linux"}, "x is linux, not a level"),
    ],
)
def test_a_value_of_another_type_satisfies_neither_a_condition_nor_its_not(
    text: str, attributes: Attributes, reason: str
) -> None:
    assert parse(text).explain(attributes) == (reason,)
    assert parse(f"not ({text})").explain(attributes) == (reason,)
    assert not parse(f"not ({text})").satisfied_by(attributes)


def test_a_comma_binds_loosest_then_or_then_and_then_not() -> None:
    assert parse("a or b, c") == parse("(a or b) and c")
    assert parse("a or b and c") == parse("a or (b and c)")
    assert parse("not a and b") == parse("(not a) and b")
    assert parse("not a >= 2") == parse("not (a >= 2)")


def test_a_requirement_names_the_attributes_it_looks_at() -> None:
    assert parse("python >= 3, (os in (a, b) or not gpu), x.y-z == 1").names() == {
        "python",
        "os",
        "gpu",
        "x.y-z",
    }
    assert parse("").names() == frozenset()


# ---- spelling


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("  ", ""),
        ("python>=3", "python >= 3"),
        ("python >= 3.0", "python >= 3"),
        ("x == -0.0", "x == 0"),
        ("x > 1e-7", "x > 1e-07"),
        ("os=='linux'", "os == linux"),
        ('x == "3"', 'x == "3"'),
        ("x == 'and'", 'x == "and"'),
        ("x == 'true'", 'x == "true"'),
        ("x == True", "x == true"),
        ("x == 'say \"hi\"'", r'x == "say \"hi\""'),
        (r"x == 'C:\\it\'s'", r'''x == "C:\\it's"'''),
        ("x == ''", 'x == ""'),
        ("b, a", "a and b"),
        ("b and a and b", "a and b"),
        ("b or a or b", "a or b"),
        ("((a))", "a"),
        ("a and (b and (c))", "a and b and c"),
        ("(a or b), c", "(a or b) and c"),
        ("a or (b, c)", "a or b and c"),
        ("x in (b, a, 'b')", "x in (a, b)"),
        ("x in (10, 9, 9.0)", "x in (9, 10)"),
        ("x in (a)", "x == a"),
        ("x not in (a)", "x != a"),
        ("not x in (a, b)", "x not in (a, b)"),
        ("not x < 3", "x >= 3"),
        ("not (a, b or x == 1)", "not a or not b and x != 1"),
        ("not not a", "a"),
    ],
)
def test_texts_that_mean_the_same_have_one_canonical_text(text: str, canonical: str) -> None:
    assert parse(text).canonical == canonical
    assert parse(canonical).canonical == canonical


def test_requirements_with_one_canonical_text_are_equal_and_hash_alike() -> None:
    one, other = parse("os == 'linux', python>=3"), parse("python >= 3.0 and os == linux")
    assert one == other
    assert len({one, other, parse("python >= 4")}) == 2


def test_a_number_and_the_text_of_it_are_different_requirements() -> None:
    assert parse("x == 3") != parse("x == '3'")
    assert not parse("x == 3").satisfied_by({"x": "3"})


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("linux", "linux"),
        ("x86_64", "x86_64"),
        ("risc-v 64", '"risc-v 64"'),
        ("7zip", '"7zip"'),
        ("not", '"not"'),
        ("False", '"False"'),
        ('a"b\\', r'"a\"b\\"'),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (3.0, "3"),
        (0.5, "0.5"),
        (math.inf, "inf"),
    ],
)
def test_a_value_is_quoted_only_where_it_needs_it(value: Value, quoted: str) -> None:
    assert quote(value) == quoted


# ---- what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("python >=", "at 9: expected a number after '>='"),
        ("python >= ", "at 9: expected a number after '>='"),
        ("python >= three", "at 10: expected a number after '>='"),
        ("python < true", "at 9: expected a number after '<'"),
        ("os ==", "at 5: expected a value after '=='"),
        ("os == and", "at 6: expected a value after '=='"),
        ("os = linux", "at 3: expected '==', not '='"),
        ("a && b", "at 2: expected 'and', not '&'"),
        ("a || b", "at 2: expected 'or', not '|'"),
        ("!a", "at 0: expected 'not', not '!'"),
        ("a; b", "at 1: expected ',', not ';'"),
        ("a \u00a7", "at 2: expected a name, a value or an operator, not '\\xa7'"),
        ("python 3", "at 7: expected an operator, 'and', 'or', ',' or the end"),
        ("python == 3 4", "at 12: expected 'and', 'or', ',' or the end"),
        ("(a", "at 2: expected an operator, 'and', 'or', ',' or ')'"),
        ("a)", "at 1: expected an operator, 'and', 'or', ',' or the end"),
        ("()", "at 1: expected a name, '(' or 'not'"),
        ("a,", "at 2: expected a name, '(' or 'not'"),
        ("a and", "at 5: expected a name, '(' or 'not'"),
        ("3 >= a", "at 0: expected a name, '(' or 'not'"),
        ("true", "at 0: expected a name, '(' or 'not'"),
        ("os in linux", "at 6: expected '(' after 'in'"),
        ("os in ()", "at 7: expected a value in the list"),
        ("os in (a,)", "at 9: expected a value in the list"),
        ("os in (a b)", "at 9: expected ',' or ')'"),
        ("os in (a, 3)", "at 10: expected a value of the same type as the first of the list"),
        ("os not linux", "at 7: expected 'in' after 'not'"),
        ("v == 3.11.2", "at 5: expected a number, or quotes around 3.11.2"),
        ("v == 'x", 'at 5: expected a closing quote, with \\" and \\\\ for a quote and a backslash inside'),
        (
            r"v == 'C:\x'",
            'at 5: expected a closing quote, with \\" and \\\\ for a quote and a backslash inside',
        ),
        ("v == 'a\x1bb'", "at 5: expected a text of printable characters only"),
        ("v == 1e16", "at 5: expected a number between -10^15 and 10^15"),
        ("v == 1e999", "at 5: expected a number between -10^15 and 10^15"),
        ("a : 2", "at 2: expected an operator, 'and', 'or', ',' or the end"),
        ("__import__('os')", "at 10: expected an operator, 'and', 'or', ',' or the end"),
    ],
)
def test_a_text_that_is_no_requirement_is_refused_with_the_place_and_what_belongs_there(
    text: str, message: str
) -> None:
    with pytest.raises(InvalidRequirement) as refusal:
        parse(text)
    assert str(refusal.value) == message
    assert message.startswith(f"at {refusal.value.position}: expected {refusal.value.expected}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a" * 1001, "at 1000: expected the end, at most 1000 characters are allowed"),
        ("(" * 500, "at 20: expected at most 20 nested parentheses"),
        ("not (" * 200, "at 104: expected at most 20 nested parentheses"),
        (
            f"not ({','.join(f'n{n}' for n in range(190))})",
            "at 0: expected a simpler requirement: written out it takes 2166 of 1000 characters",
        ),
        (
            "a, b or c and (" * 20 + "a, b or d" + ")" * 20,
            "at 0: expected a simpler requirement: written out it nests 21 of 20 parentheses",
        ),
    ],
)
def test_a_hostile_text_is_refused_by_its_size(text: str, message: str) -> None:
    with pytest.raises(InvalidRequirement) as refusal:
        parse(text)
    assert str(refusal.value) == message


def test_what_is_just_within_the_limits_is_accepted() -> None:
    assert parse("(" * 20 + "a" + ")" * 20).canonical == "a"
    assert parse("not " * 249 + "a").canonical == "not a"
    assert parse("a" * 1000).canonical == "a" * 1000


# ---- surplus


@pytest.mark.parametrize(
    ("text", "attributes", "surplus"),
    [
        ("", {}, 0),
        ("python >= 3", {"python": 3}, 0),
        ("python >= 3", {"python": 5}, 2),
        ("python > 3", {"python": 5}, 2),
        ("review", {"review": 4}, 3),
        ("review", {"review": True}, 0),
        ("python >= 3, review", {"python": 4.5, "review": 2}, 2.5),
        ("python <= 3, os == linux", {"python": 1, "os": "linux"}, 0),
        ("not gpu, os in (linux, darwin), go != 2", {"go": 9, "os": "linux"}, 0),
        ("python >= 3 or go >= 2", {"python": 5, "go": 3}, 1),
        ("python >= 3 or go >= 2", {"python": 5, "go": 1}, 2),
        ("context >= 100000", {"context": 200_000}, 10),
        ("python >= 3", {"python": 3, "go": 5, "rust": 1, "os": "linux", "gpu": True, "c": 0}, 0.02),
        ("", {"python": 3}, 0.01),
    ],
)
def test_surplus_tells_how_far_an_agent_goes_beyond_what_is_needed(
    text: str, attributes: Attributes, surplus: float
) -> None:
    assert parse(text).satisfied_by(attributes)
    assert parse(text).surplus(attributes) == pytest.approx(surplus)


def test_the_specialist_fits_better_than_the_expert_and_that_better_than_the_expert_of_everything() -> None:
    specialist = {"python": 3}
    expert = {"python": 5}
    polymath = {"python": 5, "go": 5}
    surplus = parse("python >= 3").surplus
    assert surplus(specialist) < surplus(expert) < surplus(polymath)


# ---- preferences


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("", 0.0),
        ("cuda", 0.0),
        ("review", 1.0),
        ("python >= 5 : 2, os == linux", 1 / 3),
        ("python >= 3 : 2, os == darwin", 2 / 3),
        ("cuda or review : 100, (cuda, review) : 0.5", 100 / 100.5),
    ],
)
def test_preferences_score_the_share_of_weights_that_is_satisfied(text: str, score: float) -> None:
    assert parse_preferences(text).score(AGENT) == pytest.approx(score)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" ", ""),
        ("os=='linux':1.0, python>=5:2", "os == linux, python >= 5 : 2"),
        ("(b, a) : 0.50, c or a", "a and b : 0.5, a or c"),
    ],
)
def test_preferences_that_mean_the_same_have_one_canonical_text_and_are_equal(text: str, canonical: str) -> None:
    assert parse_preferences(text).canonical == canonical
    assert parse_preferences(text) == parse_preferences(canonical)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a :", "at 3: expected a weight over 0, at most 100"),
        ("a : 0", "at 4: expected a weight over 0, at most 100"),
        ("a : -1", "at 4: expected a weight over 0, at most 100"),
        ("a : 101", "at 4: expected a weight over 0, at most 100"),
        ("a : true", "at 4: expected a weight over 0, at most 100"),
        ("a : 1 b", "at 6: expected ',' or the end"),
        ("a == 1 2", "at 7: expected 'and', 'or', ':', ',' or the end"),
        ("a,", "at 2: expected a name, '(' or 'not'"),
        (": 2", "at 0: expected a name, '(' or 'not'"),
        (
            ",".join("a" for _ in range(400)),
            "at 0: expected a simpler requirement: written out it takes 1198 of 1000 characters",
        ),
    ],
)
def test_preferences_that_are_none_are_refused_with_the_place_and_what_belongs_there(text: str, message: str) -> None:
    with pytest.raises(InvalidRequirement) as refusal:
        parse_preferences(text)
    assert str(refusal.value) == message


# ---- attributes


def test_sound_attributes_have_no_problems() -> None:
    assert valid_attributes(AGENT) == ()
    assert valid_attributes({}) == ()
    assert valid_attributes({"a" * 200: "b" * 200, "_x.y-z": -(10**15), "empty": ""}) == ()
    assert valid_attributes({f"a{n}": n for n in range(200)}) == ()


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"a b": 1}, "'a b': a name has only letters, digits, _ . - and starts with a letter or _"),
        (
            {"caf\u00e9\n": 1},
            "'caf\u00e9\\n': a name has only letters, digits, _ . - and starts with a letter or _",
        ),
        ({3: 1}, "a int: a name has only letters, digits, _ . - and starts with a letter or _"),
        ({"not": 1}, "not: a word of the requirements language can't be a name"),
        ({"true": 1}, "true: a word of the requirements language can't be a name"),
        ({"n" * 201: 1}, "n" * 40 + ": a name has at most 200 characters, not 201"),
        ({"x": None}, "x: a value is a number, a text, true or false, not NoneType"),
        ({"x": ["a"]}, "x: a value is a number, a text, true or false, not list"),
        ({"x": math.nan}, "x: a number is between -10^15 and 10^15"),
        ({"x": -math.inf}, "x: a number is between -10^15 and 10^15"),
        ({"x": 10**400}, "x: a number is between -10^15 and 10^15"),
        ({"x": "t" * 201}, "x: a text has at most 200 characters, not 201"),
        ({"x": "a\x1b[2J"}, "x: a text has only printable characters"),
        ({f"a{n}": n for n in range(201)}, "201 attributes, at most 200 are allowed"),
    ],
)
def test_each_problem_of_attributes_is_told_in_one_line(attributes: dict[Any, object], problem: str) -> None:
    assert valid_attributes(attributes) == (problem,)


def test_all_problems_of_attributes_are_told_in_their_order() -> None:
    problems = valid_attributes({"b c": 1, "ok": 1, "a": None})
    assert [problem.split(":")[0] for problem in problems] == ["'b c'", "a"]
