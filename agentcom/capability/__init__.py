"""The requirements language: what a task needs, matched against what an agent has.

An agent has *attributes*: names with a number (a skill's level, a size), a text or true/false. A task's
requirement is a condition on them:

    python >= 3, os == linux     a comma is an `and` that binds loosest: "a or b, c" is "(a or b) and c"
    review and not gpu           a bare name asks for level 1 or more, or true
    os in (linux, macos) or (go >= 2 and arch not in (arm64, "risc-v 64"))

- Operators: == != < <= > >= in, not in; `not` binds tighter than `and`, `and` tighter than `or`.
- A value is a number, true, false or a text. A text needs quotes unless it is written like a name.
- Numbers compare as numbers, so 3.10 is 3.1: write the parts of a version as separate attributes.
  Texts, and true/false, compare only with == != in.
- A comparison is neither true nor false when the attribute is missing or of another type: it is not
  satisfied, and its `not` isn't either. A bare name is false when the attribute is missing, so `not gpu` is
  satisfied by an agent that says nothing about a gpu. Of a text a bare name is, like a comparison, neither.
- Preferences are requirements with weights: "python >= 5 : 2, os == linux".

Texts are parsed by hand and compiled to closures; nothing is evaluated. Length and nesting are bounded.
"""

from agentcom.capability.attributes import Attributes, Value, quote, valid_attributes
from agentcom.capability.grammar import InvalidRequirement
from agentcom.capability.requirement import Preferences, Requirement, parse, parse_preferences

__all__ = [
    "Attributes",
    "InvalidRequirement",
    "Preferences",
    "Requirement",
    "Value",
    "parse",
    "parse_preferences",
    "quote",
    "valid_attributes",
]
