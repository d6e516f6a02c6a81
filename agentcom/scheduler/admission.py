"""Whether a task, or an agent, may be taken on: rules on one by itself, and on the order within one submission."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from agentcom.capability import InvalidRequirement, parse, parse_preferences, valid_attributes
from agentcom.ids import is_id
from agentcom.model.agent import MAX_SLOTS, Card
from agentcom.model.task import TaskSpec
from agentcom.settings import AGENT_NAME_RULE, Policy
from agentcom.wording import AMOUNT_MAX, USD_MAX, parse_command

AGENT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

MAX_TITLE = 200
MAX_AFTER = 100
MAX_CONTEXT_FILES = 100
MAX_PATH = 1_000
MAX_KEY = 200
MAX_ATTEMPTS = 100
MAX_SECONDS = 30 * 86_400
MAX_TOKENS = 100_000_000
MAX_CHECKS = 20
MAX_CHECK = 1_000
MAX_WORD = 255
"""A host's name, a version."""


def problem_of(spec: TaskSpec, policy: Policy) -> str:
    """Why this spec cannot be taken on, in one line; empty if it can."""
    return _text_problem(spec, policy) or _number_problem(spec) or checks_problem(spec) or language_problem(spec)


def _text_problem(spec: TaskSpec, policy: Policy) -> str:
    size = len(spec.text.encode("utf-8", "surrogatepass"))
    checks = (
        (not is_id(spec.id), f"id {spec.id[:80]!r} is not a UUIDv7"),
        (not spec.text.strip(), "text is empty: say what is to be done"),
        (size > policy.max_text_bytes, f"text has {size:,} bytes, over {policy.max_text_bytes:,}"),
        (len(spec.title) > MAX_TITLE, f"title is longer than {MAX_TITLE} characters"),
        (len(spec.key) > MAX_KEY, f"key is longer than {MAX_KEY} characters"),
        (len(spec.after) > MAX_AFTER, f"after names more than {MAX_AFTER} tasks"),
        (spec.id in spec.after, "after names the task itself"),
        (len(spec.context) > MAX_CONTEXT_FILES, f"context names more than {MAX_CONTEXT_FILES} files"),
        (
            any(len(path) > MAX_PATH for path in spec.context),
            f"a context path is longer than {MAX_PATH} characters",
        ),
        (
            spec.agent and not AGENT_NAME.fullmatch(spec.agent),
            f"agent {spec.agent[:80]!r} is not an agent's name",
        ),
    )
    return next((problem for wrong, problem in checks if wrong), "")


def _number_problem(spec: TaskSpec) -> str:
    seconds = {"expect_s": spec.expect_s, "timeout_s": spec.timeout_s, "expires_s": spec.expires_s}
    for name, value in seconds.items():
        if not 0 <= value <= MAX_SECONDS:
            return f"{name} is {value}, not between 0 and {MAX_SECONDS:,} seconds"
    if not 0 <= spec.max_attempts <= MAX_ATTEMPTS:
        return f"max_attempts is {spec.max_attempts}, not between 0 and {MAX_ATTEMPTS}"
    if not 0 <= spec.context_tokens <= MAX_TOKENS:
        return f"context_tokens is {spec.context_tokens}, not between 0 and {MAX_TOKENS:,}"
    if not 0 <= spec.budget_tokens <= AMOUNT_MAX:
        return f"budget_tokens is {spec.budget_tokens}, not between 0 and {AMOUNT_MAX:,}"
    if not 0 <= spec.budget_usd <= USD_MAX:
        return f"budget_usd is {spec.budget_usd}, not between 0 and {USD_MAX:,}"
    return ""


def checks_problem(spec: TaskSpec) -> str:
    """What is wrong with its checks, in one line; empty if nothing is."""
    if len(spec.checks) > MAX_CHECKS:
        return f"checks holds {len(spec.checks)} commands, over {MAX_CHECKS}"
    for command in spec.checks:
        if len(command) > MAX_CHECK:
            return f"a check is longer than {MAX_CHECK:,} characters"
        try:
            parse_command(command)
        except ValueError as error:
            return f"check: {error}"
    return ""


def language_problem(spec: TaskSpec) -> str:
    """What is wrong with its `requires` or `prefer`, in one line; empty if nothing is."""
    return _unparsable(("requires", spec.requires, parse), ("prefer", spec.prefer, parse_preferences))


def _unparsable(*parts: tuple[str, str, Callable[[str], object]]) -> str:
    """Why the first of these that cannot be read in the language of requirements cannot; empty if all can."""
    for name, text, read in parts:
        try:
            read(text)
        except InvalidRequirement as error:
            return f"{name}: {error}"
    return ""


def card_problem(agent: str, card: Card) -> str:
    """Why an agent of this name and card cannot be one of a pool's, in one line; empty if it can."""
    checks = (
        (not AGENT_NAME.fullmatch(agent), f"{agent[:80]!r} is not an agent's name: {AGENT_NAME_RULE}"),
        (not 1 <= card.slots <= MAX_SLOTS, f"{card.slots} slots, not 1 to {MAX_SLOTS}"),
        (not 0.1 <= card.beat_s <= 3_600, f"a beat every {card.beat_s} s, not every 0.1 to 3,600 s"),
        (
            not 0 <= card.context_tokens <= MAX_TOKENS,
            f"a context window of {card.context_tokens} tokens, not 0 to {MAX_TOKENS:,}",
        ),
        *(
            (len(word) > MAX_WORD, f"its {name} is longer than {MAX_WORD} characters")
            for name, word in (("host", card.host), ("runner", card.runner), ("version", card.version))
        ),
    )
    problem = next((problem for wrong, problem in checks if wrong), "")
    return problem or next(iter(valid_attributes(card.attributes)), "") or _unparsable(("accepts", card.accepts, parse))


def in_order(specs: Mapping[str, TaskSpec]) -> tuple[list[str], Collection[str]]:
    """The ids of one submission so that each follows what it waits for, and those that wait for each other in a ring.

    A task of the submission may name one that comes later in it.
    """
    ordered: list[str] = []
    unplaced = dict.fromkeys(specs)
    while unplaced:
        ready = [id_ for id_ in unplaced if not any(other in unplaced for other in specs[id_].after)]
        if not ready:
            return ordered, unplaced.keys()
        for id_ in ready:
            del unplaced[id_]
        ordered += ready
    return ordered, ()
