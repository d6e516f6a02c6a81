"""From text to terms: a tokenizer and a recursive-descent parser, bounded in length and depth.

list  = any { "," any }                       binds loosest
any   = all { "or" all }
all   = not { "and" not }
not   = { "not" } atom
atom  = "(" list ")" | name [ test ]
test  = ("==" | "!=") value | ("<" | "<=" | ">" | ">=") number
      | [ "not" ] "in" "(" value { "," value } ")"
preferences = any [ ":" number ] { "," any [ ":" number ] }
"""

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from agentcom.capability.attributes import (
    FLAGS,
    KEYWORDS,
    LARGEST_NUMBER,
    NAME,
    Value,
    plain_number,
    types_like,
)
from agentcom.capability.terms import AllOf, Comparison, Has, Term, all_of, any_of, one_of

LONGEST: Final = 1_000
DEEPEST: Final = 20
HEAVIEST: Final = 100

_LEXEMES: Final = re.compile(
    rf"""(?P<space>\s+)
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_.-])
      | (?P<word>{NAME})
      | (?P<text>"(?:[^"\\]|\\["\\'])*"|'(?:[^'\\]|\\["\\'])*')
      | (?P<symbol>==|!=|<=|>=|[<>(),:])
      | (?P<stray>[A-Za-z0-9_.-]+)""",
    re.VERBOSE,
)
_EQUALITIES: Final = frozenset({"==", "!="})
_ORDERINGS: Final = frozenset({"<", "<=", ">", ">="})
_OTHER_LANGUAGES: Final = {"=": "'=='", "&": "'and'", "|": "'or'", "!": "'not'", ";": "','"}


class InvalidRequirement(ValueError):
    """The text is no requirement. The message is one line: the position, from 0, and what was expected."""

    def __init__(self, position: int, expected: str) -> None:
        super().__init__(f"at {position}: expected {expected}")
        self.position = position
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Token:
    """A lexeme. `kind` is name, value, end, or for a keyword or symbol the lexeme itself."""

    kind: str
    spelling: str
    position: int
    value: Value = ""


def parse_term(text: str) -> Term:
    """The condition `text` states; of blank text one that is always satisfied. Raises InvalidRequirement."""
    parser = _Parser(_tokens(text))
    term = AllOf(()) if parser.at("end") else parser.conditions()
    if not parser.at("end"):
        parser.fail_after_condition("',' or the end")
    return _bounded(term)


def parse_weighted(text: str) -> tuple[tuple[Term, int | float], ...]:
    """The conditions of a list of preferences with their weights, as written. Raises InvalidRequirement."""
    parser = _Parser(_tokens(text))
    if parser.at("end"):
        return ()
    weighted = [parser.preference()]
    while parser.took(","):
        weighted.append(parser.preference())
    if not parser.at("end"):
        parser.fail("',' or the end")
    return tuple((_bounded(term), weight) for term, weight in weighted)


def check_length(length: int) -> None:
    """Raises InvalidRequirement if a canonical text of `length` characters could not be parsed again."""
    if length > LONGEST:
        raise InvalidRequirement(0, f"a simpler requirement: written out it takes {length} of {LONGEST} characters")


def _bounded(term: Term) -> Term:
    """`term`, if its canonical text is itself within the limits, so that it can always be parsed again."""
    check_length(len(term.canonical))
    if term.depth > DEEPEST:
        raise InvalidRequirement(
            0, f"a simpler requirement: written out it nests {term.depth} of {DEEPEST} parentheses"
        )
    return term


def _tokens(text: str) -> list[Token]:
    if len(text) > LONGEST:
        raise InvalidRequirement(LONGEST, f"the end, at most {LONGEST} characters are allowed")
    tokens: list[Token] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        lexeme = _LEXEMES.match(text, position)
        if lexeme is None:
            raise InvalidRequirement(position, _instead_of(text[position]))
        if lexeme.lastgroup != "space":
            tokens.append(_token(lexeme))
        position = lexeme.end()
    tokens.append(Token("end", "", end))
    return tokens


def _token(lexeme: re.Match[str]) -> Token:
    spelling, position = lexeme.group(), lexeme.start()
    match lexeme.lastgroup:
        case "number":
            return Token("value", spelling, position, _number(spelling, position))
        case "text":
            if not spelling.isprintable():
                raise InvalidRequirement(position, "a text of printable characters only")
            return Token("value", spelling, position, re.sub(r"\\(.)", r"\1", spelling[1:-1]))
        case "word" if spelling in FLAGS:
            return Token("value", spelling, position, FLAGS[spelling])
        case "word" if spelling not in KEYWORDS:
            return Token("name", spelling, position, spelling)
        case "stray":
            raise InvalidRequirement(position, f"a number, or quotes around {spelling[:40]}")
    return Token(spelling, spelling, position)


def _number(spelling: str, position: int) -> int | float:
    number = plain_number(float(spelling))
    if abs(number) > LARGEST_NUMBER:
        raise InvalidRequirement(position, "a number between -10^15 and 10^15")
    return number


def _instead_of(character: str) -> str:
    if character in {'"', "'"}:
        return 'a closing quote, with \\" and \\\\ for a quote and a backslash inside'
    wanted = _OTHER_LANGUAGES.get(character, "a name, a value or an operator")
    return f"{wanted}, not {character!a}"


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0
        self._after_bare_name = 0

    def at(self, kind: str) -> bool:
        return self._tokens[self._next].kind == kind

    def took(self, kind: str) -> Token | None:
        token = self._tokens[self._next]
        if token.kind != kind:
            return None
        self._next += 1
        return token

    def fail(self, expected: str) -> NoReturn:
        raise InvalidRequirement(self._tokens[self._next].position, expected)

    def fail_after_condition(self, endings: str) -> NoReturn:
        operator = "an operator, " if self._next == self._after_bare_name else ""
        self.fail(f"{operator}'and', 'or', {endings}")

    def preference(self) -> tuple[Term, int | float]:
        """A condition with its weight, 1 if none is written."""
        term = self.alternatives()
        if self.took(":"):
            return term, self._weight()
        if not self.at(",") and not self.at("end"):
            self.fail_after_condition("':', ',' or the end")
        return term, 1

    def conditions(self) -> Term:
        terms = [self.alternatives()]
        while self.took(","):
            terms.append(self.alternatives())
        return all_of(terms)

    def alternatives(self) -> Term:
        terms = [self._all()]
        while self.took("or"):
            terms.append(self._all())
        return any_of(terms)

    def _all(self) -> Term:
        terms = [self._not()]
        while self.took("and"):
            terms.append(self._not())
        return all_of(terms)

    def _not(self) -> Term:
        negated = False
        while self.took("not"):
            negated = not negated
        term = self._atom()
        return term.opposite() if negated else term

    def _atom(self) -> Term:
        if name := self.took("name"):
            return self._test(name.spelling)
        if self.at("(") and self._depth == DEEPEST:
            self.fail(f"at most {DEEPEST} nested parentheses")
        if not self.took("("):
            self.fail("a name, '(' or 'not'")
        self._depth += 1
        term = self.conditions()
        if not self.took(")"):
            self.fail_after_condition("',' or ')'")
        self._depth -= 1
        return term

    def _test(self, name: str) -> Term:
        symbol = self._tokens[self._next].kind
        if symbol in _EQUALITIES and self.took(symbol):
            return Comparison(name, symbol, self._value(f"after '{symbol}'"))
        if symbol in _ORDERINGS and self.took(symbol):
            return Comparison(name, symbol, self._number(f"a number after '{symbol}'"))
        if self.took("in"):
            return one_of(name, self._values())
        if self.took("not"):
            if not self.took("in"):
                self.fail("'in' after 'not'")
            return one_of(name, self._values()).opposite()
        self._after_bare_name = self._next
        return Has(name)

    def _values(self) -> list[Value]:
        if not self.took("("):
            self.fail("'(' after 'in'")
        values = [self._value("in the list")]
        while self.took(","):
            value = self._value("in the list")
            if types_like(value) != types_like(values[0]):
                self._next -= 1
                self.fail("a value of the same type as the first of the list")
            values.append(value)
        if not self.took(")"):
            self.fail("',' or ')'")
        return values

    def _value(self, where: str) -> Value:
        token = self.took("value") or self.took("name")
        if token is None:
            self.fail(f"a value {where}")
        return token.value

    def _number(self, expected: str) -> int | float:
        value = self._tokens[self._next].value
        if not self.at("value") or isinstance(value, str | bool):
            self.fail(expected)
        self._next += 1
        return value

    def _weight(self) -> int | float:
        expected = f"a weight over 0, at most {HEAVIEST}"
        weight = self._number(expected)
        if not 0 < weight <= HEAVIEST:
            self._next -= 1
            self.fail(expected)
        return weight
