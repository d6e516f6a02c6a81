"""The parts of a requirement: what each means, how it is written, tested, explained and scored.

Negation is pushed down to the single terms as they are built (`not (a >= 3 or b)` becomes `a < 3 and not b`).
A term is then simply satisfied or not, a missing attribute being "not", and no third value is needed: `and`
and `or` alone can't turn an unsatisfied term into a satisfied whole.
"""

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Protocol, TypeAlias

from agentcom.capability.attributes import BOOLEANS, NUMBERS, TEXTS, Attributes, Value, quote, types_like

Test: TypeAlias = Callable[[Attributes], bool]

# One attribute in other units (a context window, bytes of memory) must not outweigh every skill.
LARGEST_SURPLUS: Final = 10.0

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPPOSITE: Final = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_TYPE_WORDS: Final = {NUMBERS: "a number", BOOLEANS: "true or false", TEXTS: "a text"}


class Term(Protocol):
    """A condition on attributes; `canonical` is its one spelling, `depth` the parentheses nested in that."""

    @property
    def canonical(self) -> str: ...

    @property
    def depth(self) -> int: ...

    def names(self) -> frozenset[str]:
        """The attributes it looks at."""

    def opposite(self) -> "Term":
        """What `not` of it means."""

    def compiled(self) -> Test:
        """A closure that tells whether attributes satisfy it."""

    def reasons(self, attributes: Attributes) -> tuple[str, ...]:
        """Why it is not satisfied; empty exactly when it is."""

    def surplus(self, attributes: Attributes) -> float:
        """How far attributes that satisfy it go beyond it, in levels."""


@dataclass(frozen=True, slots=True)
class Has:
    """A bare name: level 1 or more, or true; with `wanted` false the opposite, missing included."""

    name: str
    wanted: bool = True
    canonical: str = field(init=False)
    depth: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "canonical", self.name if self.wanted else f"not {self.name}")

    def names(self) -> frozenset[str]:
        return frozenset({self.name})

    def opposite(self) -> Term:
        return Has(self.name, wanted=not self.wanted)

    def compiled(self) -> Test:
        name = self.name

        def has(attributes: Attributes) -> bool:
            value: Any = attributes.get(name)
            return value >= 1 if type(value) in NUMBERS else value is True

        def lacks(attributes: Attributes) -> bool:
            value: Any = attributes.get(name)
            return value < 1 if type(value) in NUMBERS else value is None or value is False

        return has if self.wanted else lacks

    def reasons(self, attributes: Attributes) -> tuple[str, ...]:
        if self.compiled()(attributes):
            return ()
        value = attributes.get(self.name)
        if value is None:
            return (f"no {self.name}",)
        if type(value) not in NUMBERS | BOOLEANS:
            return (f"{self.name} is {quote(value)}, not a level",)
        if not self.wanted:
            return (f"has {self.name}",)
        return (f"{self.name} is false" if value is False else f"{self.name} {quote(value)} < 1",)

    def surplus(self, attributes: Attributes) -> float:
        return _beyond(attributes.get(self.name), 1) if self.wanted else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """`name symbol value`, for the six symbols of comparison."""

    name: str
    symbol: str
    value: Value
    canonical: str = field(init=False)
    depth: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "canonical", f"{self.name} {self.symbol} {quote(self.value)}")

    def names(self) -> frozenset[str]:
        return frozenset({self.name})

    def opposite(self) -> Term:
        return Comparison(self.name, _OPPOSITE[self.symbol], self.value)

    def compiled(self) -> Test:
        name, value, types, compare = self.name, self.value, types_like(self.value), _COMPARE[self.symbol]

        def compares(attributes: Attributes) -> bool:
            actual = attributes.get(name)
            return type(actual) in types and compare(actual, value)

        return compares

    def reasons(self, attributes: Attributes) -> tuple[str, ...]:
        if self.compiled()(attributes):
            return ()
        actual = attributes.get(self.name)
        mismatch = _mismatch(self.name, actual, self.value)
        if mismatch or actual is None:
            return (mismatch,)
        if self.symbol == "==":
            return (f"{self.name} is {quote(actual)}, not {quote(self.value)}",)
        if self.symbol == "!=":
            return (f"{self.name} is {quote(actual)}",)
        return (f"{self.name} {quote(actual)} {_OPPOSITE[self.symbol]} {quote(self.value)}",)

    def surplus(self, attributes: Attributes) -> float:
        return _beyond(attributes.get(self.name), self.value) if self.symbol in {">=", ">"} else 0.0


@dataclass(frozen=True, slots=True)
class Membership:
    """`name in (values)`, or `not in`; two or more values of one type, sorted."""

    name: str
    values: tuple[Value, ...]
    wanted: bool = True
    canonical: str = field(init=False)
    depth: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        symbol = "in" if self.wanted else "not in"
        object.__setattr__(self, "canonical", f"{self.name} {symbol} ({', '.join(map(quote, self.values))})")

    def names(self) -> frozenset[str]:
        return frozenset({self.name})

    def opposite(self) -> Term:
        return Membership(self.name, self.values, wanted=not self.wanted)

    def compiled(self) -> Test:
        name, values, types = self.name, frozenset(self.values), types_like(self.values[0])
        wanted = self.wanted

        def belongs(attributes: Attributes) -> bool:
            actual = attributes.get(name)
            return type(actual) in types and (actual in values) is wanted

        return belongs

    def reasons(self, attributes: Attributes) -> tuple[str, ...]:
        if self.compiled()(attributes):
            return ()
        actual = attributes.get(self.name)
        mismatch = _mismatch(self.name, actual, self.values[0])
        if mismatch or actual is None:
            return (mismatch,)
        if not self.wanted:
            return (f"{self.name} is {quote(actual)}",)
        return (f"{self.name} is {quote(actual)}, not {' or '.join(map(quote, self.values))}",)

    def surplus(self, attributes: Attributes) -> float:  # noqa: ARG002 - a choice of values has no level to exceed
        return 0.0


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of `terms`; build it with `all_of`. Without terms it is always satisfied."""

    terms: tuple[Term, ...]
    canonical: str = field(init=False)
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        spellings = (f"({one.canonical})" if isinstance(one, AnyOf) else one.canonical for one in self.terms)
        object.__setattr__(self, "canonical", " and ".join(spellings))
        depths = (term.depth + isinstance(term, AnyOf) for term in self.terms)
        object.__setattr__(self, "depth", max(depths, default=0))

    def names(self) -> frozenset[str]:
        return frozenset().union(*(term.names() for term in self.terms))

    def opposite(self) -> Term:
        return any_of(term.opposite() for term in self.terms)

    def compiled(self) -> Test:
        tests = tuple(term.compiled() for term in self.terms)

        def all_hold(attributes: Attributes) -> bool:
            # A loop, not all(): a generator costs more than the tests themselves.
            for test in tests:  # noqa: SIM110
                if not test(attributes):
                    return False
            return True

        return all_hold

    def reasons(self, attributes: Attributes) -> tuple[str, ...]:
        return _distinct(reason for term in self.terms for reason in term.reasons(attributes))

    def surplus(self, attributes: Attributes) -> float:
        return sum((term.surplus(attributes) for term in self.terms), 0.0)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of two or more `terms`; build it with `any_of`."""

    terms: tuple[Term, ...]
    canonical: str = field(init=False)
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "canonical", " or ".join(term.canonical for term in self.terms))
        object.__setattr__(self, "depth", max(term.depth for term in self.terms))

    def names(self) -> frozenset[str]:
        return frozenset().union(*(term.names() for term in self.terms))

    def opposite(self) -> Term:
        return all_of(term.opposite() for term in self.terms)

    def compiled(self) -> Test:
        tests = tuple(term.compiled() for term in self.terms)

        def any_holds(attributes: Attributes) -> bool:
            for test in tests:  # noqa: SIM110 - as in AllOf
                if test(attributes):
                    return True
            return False

        return any_holds

    def reasons(self, attributes: Attributes) -> tuple[str, ...]:
        each = [term.reasons(attributes) for term in self.terms]
        if not all(each):
            return ()
        return (" and ".join(_distinct(reason for reasons in each for reason in reasons)),)

    def surplus(self, attributes: Attributes) -> float:
        satisfied = (term for term in self.terms if term.compiled()(attributes))
        return min((term.surplus(attributes) for term in satisfied), default=0.0)


def all_of(terms: Iterable[Term]) -> Term:
    """What is satisfied when all of `terms` are: flattened, without doubles, sorted by spelling."""
    nested = ((term.terms if isinstance(term, AllOf) else (term,)) for term in terms)
    distinct = _sorted(chain.from_iterable(nested))
    return distinct[0] if len(distinct) == 1 else AllOf(distinct)


def any_of(terms: Iterable[Term]) -> Term:
    """What is satisfied when at least one of `terms` is: flattened, without doubles, sorted by spelling."""
    nested = ((term.terms if isinstance(term, AnyOf) else (term,)) for term in terms)
    distinct = _sorted(chain.from_iterable(nested))
    return distinct[0] if len(distinct) == 1 else AnyOf(distinct)


def one_of(name: str, values: Iterable[Value]) -> Term:
    """`name in (values)`, for at least one value and all of one type; a single value makes it `==`."""
    ordered: tuple[Value, ...] = tuple(sorted(set(values)))
    return Membership(name, ordered) if len(ordered) > 1 else Comparison(name, "==", ordered[0])


def _sorted(terms: Iterable[Term]) -> tuple[Term, ...]:
    by_spelling = {term.canonical: term for term in terms}
    return tuple(by_spelling[spelling] for spelling in sorted(by_spelling))


def _distinct(reasons: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reasons))


def _mismatch(name: str, actual: Value | None, wanted: Value) -> str:
    """Why the two can't be compared at all; empty if they can."""
    if actual is None:
        return f"no {name}"
    types = types_like(wanted)
    if type(actual) in types:
        return ""
    return f"{name} is {quote(actual)}, not {_TYPE_WORDS[types]}"


def _beyond(level: Value | None, needed: Value) -> float:
    if isinstance(level, bool | str | None) or isinstance(needed, str):
        return 0.0
    return min(max(0.0, float(level - needed)), LARGEST_SURPLUS)
