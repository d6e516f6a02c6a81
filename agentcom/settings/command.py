"""The template language of an agent's argv: `{name}` stands for a value, `{{name}}` for a literal `{name}`.

Braces around anything but a single name mean themselves, so that JSON and awk programs can be written as they
are.
"""

import re
from collections.abc import Iterable, Mapping

PLACEHOLDERS = ("task_file", "result_file", "workspace", "task_id", "agent")

_BRACED = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")


def unknown_placeholders(template: Iterable[str]) -> list[str]:
    """The names in `template` that stand for nothing, in order of appearance."""
    names = (match[2] for part in template for match in _BRACED.finditer(part))
    return [name for name in names if name and name not in PLACEHOLDERS]


def fill(template: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """The argv that `template` makes with `values`, one for each of `PLACEHOLDERS`.

    A value always stays within its argument and is not looked at again, whatever it contains.
    """

    def replace(match: re.Match[str]) -> str:
        return f"{{{match[1]}}}" if match[1] else values[match[2]]

    return [_BRACED.sub(replace, part) for part in template]
