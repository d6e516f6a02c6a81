"""Text that others wrote, made harmless in a pull request: it names nobody, closes nothing, commands no program. Pure.

What a pull request says ends up in commit messages, too, so markup alone does not help: the words themselves are
broken, by a zero-width space that no reader sees.
"""

from __future__ import annotations

import re

from agentcom.wording import clean

BREAK = "\u200b"

CUT = "…"

# https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls
# https://docs.github.com/en/actions/how-tos/manage-workflow-runs/skip-workflow-runs
_ACTING: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"<(?=[!/?A-Za-z])"), "< "),  # comments, which may be taken for the marker, and tags
    (re.compile(r"--(?=>)"), "-- "),
    (re.compile(r"@(?=\w)"), f"@{BREAK}"),  # names of people, teams and bots
    (re.compile(r"([#!])(?=\d)"), rf"\1{BREAK}"),  # issues, which "fixes #1" closes
    (re.compile(r"\b(GH-)(?=\d)", re.IGNORECASE), rf"\1{BREAK}"),
    (re.compile(r"(/(?:issues|pulls?|discussions|merge_requests)/)(?=\d)", re.IGNORECASE), rf"\1{BREAK}"),
    (re.compile(r"\[(?=(?:skip|no|ci|actions)[ -](?:ci|skip|actions)\])", re.IGNORECASE), f"[{BREAK}"),
    (re.compile(r"^(\s*)(skip-checks|[a-z]+(?:-[a-z]+)*-by)(?=:)", re.IGNORECASE | re.MULTILINE), rf"\1\2{BREAK}"),
    (re.compile(r"^(\s*/)(?=[a-z])", re.IGNORECASE | re.MULTILINE), rf"\1{BREAK}"),  # commands to bots
)


def neutral(text: str) -> str:
    """One line, or several, in which nothing acts."""
    shown = clean(text, keep_lines=True)
    for pattern, replacement in _ACTING:
        shown = pattern.sub(replacement, shown)
    return shown


def block(text: str, limit: int) -> str:
    """Text as a block in which no markup means anything: every line is indented, and so no text can end it.

    At most `limit` characters of it are kept.
    """
    lines = neutral(bounded(text.strip(), limit)).split("\n")
    return "\n".join(f"    {line}".rstrip() for line in lines)


def bounded(text: str, limit: int) -> str:
    """The beginning of a text, which ends in an ellipsis where it was cut."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + CUT
