"""A backlog: tasks written as a Markdown checklist, for `agentcom submit --from FILE`.

    ## Accounts
    - [ ] Add a login form {#login} {requires: python >= 2} {expect: 20m}
      This is the task's text, in Markdown, for the agent to read.

      - [ ] a checkbox in here is part of the text
    - [ ] Remember the session {after: login, store} {priority: high}
    - [x] Pick a session store {#store}

An item is a task when its bullet (`-`, `*`, `+` or a number) is not indented. The indented lines below it are
its text, and so is a line that directly continues it. Ticked items are done: they are not tasks, but satisfy
an `after`. Headings name the section; code fences, HTML comments and other prose between items are ignored.

On an item's first line `{name: value}` sets an attribute, and `{#slug}` the name by which `after` and the
idempotency key know the item; without one it is made from the title. The case of a slug makes no difference.
Braces of any other shape, and all braces inside `backticks`, belong to the title.

| attribute | value |
|---|---|
| after | slugs, separated by commas |
| requires, prefer | the requirements language of `agentcom submit` |
| priority | urgent, high, normal, low |
| expect, timeout | a duration: 90s, 20m, 1h30m |
| max-attempts, context-tokens | a whole number from 1 |
| context | paths, separated by commas |
| agent, key | a name |
| check | a command that has to pass before the work counts as done; may be repeated |
| budget | what all attempts may cost: $2 |
| tokens | what all attempts may read and write: 200k |
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from itertools import takewhile
from typing import Any

import msgspec

from agentcom.backlog_attributes import attribute, given_slug, nearest, quoted, slugified
from agentcom.wording import clean

MAX_BYTES = 1 << 20
MAX_ITEMS = 10_000

_CIRCLE_SHOWN = 8
_MAX_HINTS = 5  # looking for a near name among thousands takes its time

# Each takes time linear in the length of any line: no two repeats that meet match the same characters.
_BULLET = r"(?:[-*+]|[0-9]{1,9}[.)])"
_ITEM = re.compile(rf"{_BULLET}[ \t]+\[([ xX])\][ \t]+(\S.*)")
_NEARLY_ITEM = re.compile(rf"(?:{_BULLET}[ \t]+|-)\[ *(?:[xX] *)?\](?![(:\[])")
_HEADING = re.compile(r"#{1,6}[ \t]+(.*)")
_HEADING_END = re.compile(r"[ \t]#+$")
_FENCE = re.compile(r"`{3,}(?=[^`]*$)|~{3,}")
# What starts a block of its own, and so never continues the paragraph above it.
_BLOCK_START = re.compile(
    rf"{_BULLET}[ \t]|#{{1,6}}[ \t]|>|<|\||---|===|\*\*\*|___|{_FENCE.pattern}|{_NEARLY_ITEM.pattern}"
)
_BRACES = re.compile(r"`[^`]*`|\{([^{}]*)\}")
_SLUG_GIVEN = re.compile(r"#([^\s,#]+)")
_ATTRIBUTE = re.compile(r"([A-Za-z][A-Za-z0-9_-]*) *:(.*)")


class Problem(msgspec.Struct, frozen=True):
    """Something in a backlog that its author must mend. The message is one line; lines count from 1."""

    line: int
    message: str


TOO_LARGE = Problem(1, f"a backlog may have at most {MAX_BYTES:,} bytes: split it")


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An open task of a backlog. What its author did not say is empty, or None for numbers.

    `after` holds the slugs of other open items. `requires` and `prefer` are as written: whoever submits them
    parses them.
    """

    slug: str
    title: str
    text: str
    line: int
    section: str = ""
    requires: str = ""
    prefer: str = ""
    priority: str = ""
    after: tuple[str, ...] = ()
    expect_s: float | None = None
    timeout_s: float | None = None
    max_attempts: int | None = None
    context: tuple[str, ...] = ()
    context_tokens: int | None = None
    agent: str = ""
    key: str = ""
    checks: tuple[str, ...] = ()
    budget_usd: float | None = None
    budget_tokens: int | None = None


def parse(text: str) -> tuple[list[Item], list[Problem]]:
    """The open items of a checklist, each behind all those it is `after`, else in the order of the file.

    A backlog is taken whole or not at all: with any problem there are no items. Never raises. Control
    characters are taken out (see `wording.clean`); a byte order mark and any kind of line end are tolerated.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return [], [TOO_LARGE]
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    scanner = _Scanner()
    scanner.scan(clean(plain, keep_lines=True).split("\n"))
    problems, items, done = scanner.problems, list[Item](), set[str]()
    if over := scanner.drafts[MAX_ITEMS:]:
        return [], [Problem(over[0].line, f"a backlog may have at most {MAX_ITEMS:,} items: split it")]
    for draft in scanner.drafts:
        item, wrong = _read(draft)
        if draft.done:
            done.add(item.slug)
        else:
            items.append(item)
            problems += wrong
    linked, wrong = _link(items, done)
    if problems or wrong:
        return [], sorted(problems + wrong, key=lambda problem: problem.line)
    return _sort(linked)


def item_key(source: str, item: Item) -> str:
    """The idempotency key to submit an item under, so that submitting a backlog again adds only what is new.

    That is the item's own `{key: ...}`, or one derived from the slug and `source`, the name of the backlog,
    which must be the same each time. The text has no part in it: an item that was edited is still the same
    task. An item without a `{#slug}` becomes another task when its title changes.
    """
    if item.key:
        return item.key
    digest = hashlib.sha256(f"{source}\0{item.slug}".encode("utf-8", "surrogatepass"))
    return f"backlog:{digest.hexdigest()[:32]}"


class _Draft(msgspec.Struct):
    """An item as it stands in the file: its first line behind the checkbox, and the lines of its text."""

    line: int
    done: bool
    heading: str
    section: str
    body: list[str] = []

    def text(self) -> str:
        """The body without the indentation its indented lines share, spaces and tabs taken literally."""
        margins = [_margin(line) for line in self.body if _is_indented(line)]
        low, high = min(margins, default=""), max(margins, default="")
        alike = takewhile(lambda pair: pair[0] == pair[1], zip(low, high, strict=False))
        shared = "".join(pair[0] for pair in alike)
        return "\n".join(line.removeprefix(shared) for line in self.body).strip("\n")


class _Scanner:
    """Goes through the lines once and sorts them into drafts."""

    def __init__(self) -> None:
        self.drafts: list[_Draft] = []
        self.problems: list[Problem] = []
        self._draft: _Draft | None = None
        self._section = ""
        self._continues = False  # whether an unindented line continues the item's paragraph, as in Markdown
        self._closes: Callable[[str], bool] | None = None
        self._opened_line = 0

    def scan(self, lines: Iterable[str]) -> None:
        for number, line in enumerate(lines, start=1):
            self._take(number, line)
        if self._closes is not None:
            message = "this code fence or comment is never closed, so the items after it would be lost"
            self.problems.append(Problem(self._opened_line, message))

    def _take(self, number: int, line: str) -> None:
        bare = line.strip()
        indented = _is_indented(line)
        if self._closes is not None:
            self._keep(line)
            self._closes = None if self._closes(bare) else self._closes
            self._continues = False
        elif not bare:
            self._keep("")
            self._continues = False
        elif indented and self._draft is not None:
            self._keep(line)
            self._continues = True
            self._open(number, bare)
        elif not indented and (match := _ITEM.fullmatch(bare)):
            self._draft = _Draft(number, match[1] != " ", match[2], self._section)
            self.drafts.append(self._draft)
            self._continues = True
        elif self._continues and not _BLOCK_START.match(bare):
            self._keep(bare)
        else:
            self._leave(number, bare, indented)

    def _leave(self, number: int, bare: str, indented: bool) -> None:
        """A line that is part of no item. What only looks like an item is a problem, lest a task be lost."""
        self._draft = None
        self._continues = False
        if indented and _ITEM.fullmatch(bare):
            message = "this indented checklist item is part of no task: take its indentation away"
            self.problems.append(Problem(number, message))
        elif not indented and (match := _HEADING.fullmatch(bare)):
            self._section = _HEADING_END.sub("", match[1]).rstrip()
        elif not indented and _NEARLY_ITEM.match(bare):
            self.problems.append(Problem(number, "not quite a checklist item: write it as '- [ ] title'"))
        self._open(number, bare)

    def _keep(self, line: str) -> None:
        if self._draft is not None:
            self._draft.body.append(line)

    def _open(self, number: int, bare: str) -> None:
        """Notes when a code fence or an HTML comment starts, and what will close it."""
        if match := _FENCE.match(bare):
            fence = match[0]
            self._closes = lambda line: len(line) >= len(fence) and set(line) == {fence[0]}
        elif bare.startswith("<!--") and "-->" not in bare:
            self._closes = lambda line: "-->" in line
        self._opened_line = number


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _is_indented(line: str) -> bool:
    return len(_margin(line).expandtabs(4)) >= 2


def _read(draft: _Draft) -> tuple[Item, list[Problem]]:
    """Reads the braces of an item's first line. `after` is left with all its slugs, known or not."""
    values: dict[str, Any] = {}
    wrong: list[str] = []

    def take(match: re.Match[str]) -> str:
        inside = (match[1] or "").strip()
        try:
            if slug := _SLUG_GIVEN.fullmatch(inside):
                _set(values, "slug", "slug", given_slug(slug[1]))
            elif named := _ATTRIBUTE.fullmatch(inside):
                name = named[1].lower()
                _set(values, name, *attribute(name, named[2].strip()))
            else:
                return match[0]
        except ValueError as error:
            wrong.append(str(error))
        return " "

    title = " ".join(_BRACES.sub(take, draft.heading).split())
    slug = values.pop("slug", None) or slugified(title)
    if not title:
        wrong.append("an item needs a title")
    elif not slug:
        wrong.append("no slug can be made from this title: give the item one, such as {#first-task}")
    item = Item(slug=slug, title=title, text=draft.text(), line=draft.line, section=draft.section, **values)
    return item, [Problem(draft.line, message) for message in wrong]


def _set(values: dict[str, Any], name: str, field: str, value: Any) -> None:
    if field == "checks":
        value = (*values.get(field, ()), *value)
    elif field in values:
        raise ValueError(f"{name} is given twice")
    values[field] = value


def _link(items: list[Item], done: set[str]) -> tuple[list[Item], list[Problem]]:
    """The items, `after` only open ones. A slug or key must be one item's, and each in `after` some item's."""
    holders = dict.fromkeys(done, "an item already done")
    keys: dict[str, str] = {}
    problems: list[Problem] = []
    for item in items:
        for what, name, taken in (("slug", item.slug, holders), ("key", item.key, keys)):
            if name in taken:
                message = f"the {what} {quoted(name)} is that of {taken[name]}: give this item its own"
                problems.append(Problem(item.line, message))
            elif name:
                taken[name] = f"line {item.line}"
    linked = []
    for item in items:
        if unknown := next((slug for slug in item.after if slug not in holders), None):
            hint = nearest(unknown, holders) if len(problems) < _MAX_HINTS else ""
            message = f"after names {quoted(unknown)}, which is no item here{hint and ': ' + hint}"
            problems.append(Problem(item.line, message))
        after = tuple(slug for slug in item.after if slug not in done)
        linked.append(msgspec.structs.replace(item, after=after))
    return linked, problems


def _sort(items: list[Item]) -> tuple[list[Item], list[Problem]]:
    """Each item behind those it is after; of those that may be next, the first in the file is."""
    place = {item.slug: at for at, item in enumerate(items)}
    sorter = TopologicalSorter({item.slug: item.after for item in items})
    try:
        sorter.prepare()
    except CycleError as error:
        return [], [_circle(items, error.args[1])]
    order: list[Item] = []
    ready: list[int] = []
    while sorter.is_active():
        for slug in sorter.get_ready():
            heappush(ready, place[slug])
        order.append(items[heappop(ready)])
        sorter.done(order[-1].slug)
    return order, []


def _circle(items: list[Item], path: list[str]) -> Problem:
    """Names a circle, given as slugs that each come before the next and the last of which is the first."""
    members, backwards = set(path), path[::-1]
    shown = backwards if len(path) <= _CIRCLE_SHOWN else [*backwards[: _CIRCLE_SHOWN - 1], "…", backwards[-1]]
    line = min(item.line for item in items if item.slug in members)
    return Problem(line, f"these items wait for each other: {' after '.join(shown)}")
