"""What holds for every requirement and every agent, judged by a second reading of the language."""

import operator
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentcom.capability import (
    Attributes,
    InvalidRequirement,
    Value,
    parse,
    parse_preferences,
    quote,
    valid_attributes,
)

NAMES = st.sampled_from(["python", "os", "gpu", "a.b-c"])
NUMBERS = st.one_of(st.integers(-3, 6), st.sampled_from([0.5, 2.5, 1e-7, 1e15]))
TEXTS = st.one_of(
    st.sampled_from(["linux", "mac os", "and", "true", "3", "", "\"'\\"]),
    st.text(max_size=5).filter(str.isprintable),
)
VALUES = st.one_of(NUMBERS, TEXTS, st.booleans())
ATTRIBUTES = st.dictionaries(st.one_of(NAMES, st.just("other")), VALUES, max_size=5)

# A requirement as nested tuples: the properties write it down and, by themselves, judge what it means.
Tree = tuple[Any, ...]
LEAVES = st.one_of(
    st.tuples(st.just("has"), NAMES),
    st.tuples(st.sampled_from(["<", "<=", ">", ">="]), NAMES, NUMBERS),
    st.tuples(st.sampled_from(["==", "!="]), NAMES, VALUES),
    st.tuples(
        st.sampled_from(["in", "not in"]),
        NAMES,
        st.one_of(
            st.lists(NUMBERS, min_size=1, max_size=3),
            st.lists(TEXTS, min_size=1, max_size=3),
            st.lists(st.booleans(), min_size=1, max_size=3),
        ),
    ),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or", ","]), st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)


def written(tree: Tree) -> str:
    match tree:
        case ("has", name):
            return str(name)
        case ("not", inner):
            return f"not ({written(inner)})"
        case (("and" | "or" | ",") as word, parts):
            return f" {word} ".join(f"({written(part)})" for part in parts)
        case (("in" | "not in") as word, name, values):
            return f"{name} {word} ({','.join(map(quote, values))})"
        case (symbol, name, value):
            return f"{name}{symbol}{quote(value)}"
    raise AssertionError(tree)


def judged(tree: Tree, attributes: Attributes) -> bool | None:
    """True, false, or None for neither, by Kleene's three-valued logic."""
    match tree:
        case ("not", inner):
            verdict = judged(inner, attributes)
            return None if verdict is None else not verdict
        case (("and" | "or" | ",") as word, parts):
            verdicts = {judged(part, attributes) for part in parts}
            decisive = word == "or"
            return decisive if decisive in verdicts else (None if None in verdicts else not decisive)
        case ("has", name):
            level = attributes.get(name, 0)
            return None if isinstance(level, str) else level >= 1
    symbol, name, value = tree
    values = value if isinstance(value, list) else [value]
    if name not in attributes or kind(attributes[name]) != kind(values[0]):
        return None
    actual: Any = attributes[name]
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
    if symbol in compare:
        return bool(compare[symbol](actual, value))
    return (actual in values) is (symbol in {"==", "in"})


def kind(value: Value) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


@given(tree=TREES, attributes=ATTRIBUTES)
def test_a_requirement_is_satisfied_exactly_when_three_valued_logic_finds_it_true(
    tree: Tree, attributes: Attributes
) -> None:
    assert parse(written(tree)).satisfied_by(attributes) is (judged(tree, attributes) is True)


@given(tree=TREES, attributes=ATTRIBUTES)
def test_the_canonical_text_is_its_own_canonical_text_and_means_the_same(tree: Tree, attributes: Attributes) -> None:
    requirement = parse(written(tree))
    again = parse(requirement.canonical)
    assert again.canonical == requirement.canonical
    assert again.satisfied_by(attributes) == requirement.satisfied_by(attributes)
    assert again.explain(attributes) == requirement.explain(attributes)
    assert again.surplus(attributes) == requirement.surplus(attributes)


@given(tree=TREES, attributes=ATTRIBUTES)
def test_an_explanation_is_empty_exactly_when_the_requirement_is_satisfied(tree: Tree, attributes: Attributes) -> None:
    requirement = parse(written(tree))
    reasons = requirement.explain(attributes)
    assert (reasons == ()) is requirement.satisfied_by(attributes)
    assert all(reason.isprintable() and reason for reason in reasons)


@given(tree=TREES, attributes=ATTRIBUTES)
def test_a_requirement_looks_at_no_attribute_but_those_it_names(tree: Tree, attributes: Attributes) -> None:
    requirement = parse(written(tree))
    seen = {name: value for name, value in attributes.items() if name in requirement.names()}
    assert requirement.explain(seen) == requirement.explain(attributes)


@given(tree=TREES, attributes=ATTRIBUTES)
def test_surplus_is_never_negative(tree: Tree, attributes: Attributes) -> None:
    assert parse(written(tree)).surplus(attributes) >= 0


@given(parts=st.lists(TREES, min_size=1, max_size=4), data=st.data())
def test_the_order_of_conditions_does_not_change_the_canonical_text(parts: list[Tree], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(parts))
    assert parse(written(("and", parts))) == parse(written((",", shuffled)))
    assert parse(written(("or", parts))) == parse(written(("or", shuffled)))


@given(
    weighted=st.lists(st.tuples(LEAVES, st.one_of(st.integers(1, 100), st.floats(1e-6, 100))), max_size=5),
    attributes=ATTRIBUTES,
)
def test_a_score_lies_between_0_and_1_and_survives_the_canonical_text(
    weighted: list[tuple[Tree, float]], attributes: Attributes
) -> None:
    preferences = parse_preferences(",".join(f"{written(tree)}:{weight!r}" for tree, weight in weighted))
    assert 0 <= preferences.score(attributes) <= 1
    assert preferences == parse_preferences(preferences.canonical)
    assert preferences.score(attributes) == parse_preferences(preferences.canonical).score(attributes)


PIECES = st.sampled_from(
    [
        "a",
        "os",
        "not",
        "and",
        "or",
        "in",
        "(",
        ")",
        ",",
        ":",
        "==",
        "!=",
        ">=",
        "<",
        "=",
        "3",
        "-1.5",
        "'x'",
        '"',
        "\\",
    ]
)


@settings(max_examples=300)
@given(text=st.one_of(st.text(max_size=1100), st.lists(PIECES, max_size=40).map(" ".join)))
@example(text="a" + "\ud800")
@example(text="x == '\ud800'")
@example(text="x == \u0663")
@example(text="not " * 250)
def test_any_text_is_either_understood_and_written_again_or_refused_in_one_line(text: str) -> None:
    for read in (parse, parse_preferences):
        try:
            understood = read(text)
        except InvalidRequirement as error:
            refusal = error
        else:
            assert read(understood.canonical) == understood
            assert len(understood.canonical) <= 1000
            continue
        assert str(refusal).isprintable()
        assert 0 <= refusal.position <= len(text)


@given(attributes=st.dictionaries(st.one_of(st.text(), st.integers()), st.one_of(VALUES, st.text(), st.none())))
def test_problems_of_any_attributes_are_single_lines_of_bounded_length(attributes: dict[Any, object]) -> None:
    for problem in valid_attributes(attributes):
        assert problem.isprintable()
        assert len(problem) < 200


@given(attributes=ATTRIBUTES)
def test_attributes_the_language_can_speak_of_are_valid(attributes: Attributes) -> None:
    assert valid_attributes(attributes) == ()
