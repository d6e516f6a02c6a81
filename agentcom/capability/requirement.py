"""What the scheduler holds: a parsed requirement, and parsed preferences, ready to be asked."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from agentcom.capability.attributes import NUMBERS, Attributes, quote
from agentcom.capability.grammar import check_length, parse_term, parse_weighted
from agentcom.capability.terms import Term, Test

# Many tasks are submitted with the same few texts; this bounds the memory that spares parsing them again.
PARSED_TEXTS: Final = 1_024

# What a skill nobody asked for adds to the surplus: it decides only between agents whose levels fit alike.
UNUSED_SKILL: Final = 0.01


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition on an agent's attributes. Two with the same `canonical` are equal, and mean the same.

    `canonical` is itself a requirement: one spelling of space, quotes and numbers, `not` only before a bare
    name or `in`, the parts of an `and` or `or` sorted and without doubles. It is "" for the empty
    requirement, which everyone satisfies.
    """

    canonical: str
    _term: Term = field(repr=False, compare=False)
    _test: Test = field(repr=False, compare=False)
    _names: frozenset[str] = field(repr=False, compare=False)

    def satisfied_by(self, attributes: Attributes) -> bool:
        """Whether `attributes`, which are valid, satisfy it."""
        return self._test(attributes)

    def explain(self, attributes: Attributes) -> tuple[str, ...]:
        """The reasons why it is not satisfied, such as "python 2 < 3" or "no gpu"; empty exactly when it is.

        An `or` gives one reason, made of those of all its parts: "no gpu and os is darwin, not linux".
        """
        return self._term.reasons(attributes)

    def surplus(self, attributes: Attributes) -> float:
        """How far attributes that satisfy it go beyond it; lower is a better fit, 0 is an exact one.

        The sum over its `>=`, `>` and bare names of the levels over what is needed, at most 10 for each; of
        an `or` the part that fits best. Then 0.01 for every other number of 1 or more, a skill left unused.
        """
        unused = 0
        for name, value in attributes.items():
            level: Any = value
            if type(level) in NUMBERS and level >= 1 and name not in self._names:
                unused += 1
        return self._term.surplus(attributes) + UNUSED_SKILL * unused

    def names(self) -> frozenset[str]:
        """The attributes it looks at."""
        return self._names


@dataclass(frozen=True, slots=True)
class Preferences:
    """Conditions that are good to have, each with a weight. Two with the same `canonical` are equal.

    `canonical` has the conditions in theirs, sorted, with their weights where these are not 1.
    """

    canonical: str
    _weighted: tuple[tuple[Test, float], ...] = field(repr=False, compare=False)
    _total: float = field(repr=False, compare=False)

    def score(self, attributes: Attributes) -> float:
        """The share of the weights that `attributes` satisfy, from 0.0 to 1.0; without preferences 0.0."""
        if not self._weighted:
            return 0.0
        satisfied = sum(weight for test, weight in self._weighted if test(attributes))
        return satisfied / self._total


def parse(text: str) -> Requirement:
    """The requirement `text` states; see the package for the language. Blank text requires nothing.

    Raises InvalidRequirement, also for over 1,000 characters or 20 nested parentheses, be it as written or
    in `canonical`.
    """
    return _parse(text)


def parse_preferences(text: str) -> Preferences:
    """Comma separated requirements, each with an optional weight (over 0, at most 100, normally 1).

    Raises InvalidRequirement, with the limits of `parse`.
    """
    return _parse_preferences(text)


@lru_cache(PARSED_TEXTS)
def _parse(text: str) -> Requirement:
    term = parse_term(text)
    return Requirement(term.canonical, term, term.compiled(), term.names())


@lru_cache(PARSED_TEXTS)
def _parse_preferences(text: str) -> Preferences:
    # In one order, so that rounding gives equal preferences equal scores.
    preferences = sorted(parse_weighted(text), key=lambda preference: _spelling(*preference))
    canonical = ", ".join(_spelling(term, weight) for term, weight in preferences)
    check_length(len(canonical))
    weighted = tuple((term.compiled(), weight) for term, weight in preferences)
    return Preferences(canonical, weighted, sum(weight for _, weight in weighted))


def _spelling(term: Term, weight: float) -> str:
    return term.canonical if weight == 1 else f"{term.canonical} : {quote(weight)}"
