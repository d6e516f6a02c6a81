"""How texts are written into systemd's files, so that systemd reads back exactly what was meant.

Each kind of setting has rules of its own: systemd.syntax(7), and for command lines systemd.service(5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from agentcom.errors import ConfigurationError

_BARE = re.compile(r"[A-Za-z0-9_./:=@,+-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_TEXT = re.compile(r"[\x00\ud800-\udfff]")
_NAMED_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_UNFIT_FOR_PROGRAM = re.compile(r"[\x00-\x1f\x7f'\"\\]")
_GLOB = re.compile(r"([*?\[\\])")
_QUOTED_IN_ENV_FILE = re.compile(r'(["\\`$])')


def word(text: str) -> str:
    """One word of a command line or of `Environment=`.

    Raises:
        ConfigurationError: it is no UTF-8 text.
    """
    _refuse_other_than_text(text)
    if _BARE.fullmatch(text):
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def command_line(argv: Sequence[str]) -> str:
    """The value of `ExecStart=`. The first of `argv` is an absolute path.

    A colon in front says that `$` means itself; it is set only where there is one, as systemd 243 does not know it.

    Raises:
        ConfigurationError: systemd takes no such program, or an argument is no UTF-8 text.
    """
    if _UNFIT_FOR_PROGRAM.search(argv[0]):
        raise ConfigurationError(
            f"the path of the program, {argv[0]!r}, has a character in it that systemd does not take there",
            "Install AgentCom into a folder without quotes or backslashes in its name",
        )
    prefix = ":" if any("$" in part for part in argv) else ""
    return prefix + " ".join(word(part) for part in argv)


def assignment(name: str, value: str) -> str:
    """The value of an `Environment=` with one variable.

    Raises:
        ConfigurationError: systemd takes no such value.
    """
    _refuse_value(name, value)
    return word(f"{name}={value}")


def path(text: str) -> str:
    """The value of a setting that takes one path as it stands, such as `WorkingDirectory=`.

    Raises:
        ConfigurationError: the path cannot be written there.
    """
    _refuse_control(text)
    # A slash keeps a space at the end from being trimmed, and a backslash from continuing the line.
    end = "/" if text.endswith((" ", "\\")) else ""
    return _specifiers(text) + end


def glob(text: str) -> str:
    """The value of `EnvironmentFile=`, which takes a pattern, for the one path that is meant.

    Raises:
        ConfigurationError: the path cannot be written there.
    """
    return path(_GLOB.sub(r"\\\1", text))


def path_in_list(text: str) -> str:
    """One path of `ReadWritePaths=`: quotes group, and a backslash is only itself.

    Raises:
        ConfigurationError: the path cannot be written there.
    """
    _refuse_control(text)
    doubled = _specifiers(text)
    return doubled if _BARE.fullmatch(text) else "'" + doubled.replace("'", "'\"'\"'") + "'"


def environment_file(variables: Mapping[str, str]) -> str:
    """The text of a file for `EnvironmentFile=`, where `%` means itself, and so do line breaks within quotes.

    Raises:
        ConfigurationError: systemd takes no such value.
    """
    for name, value in variables.items():
        _refuse_value(name, value)
    lines = (f'{name}="{_QUOTED_IN_ENV_FILE.sub(_behind_backslash, value)}"\n' for name, value in variables.items())
    return "".join(lines)


def _behind_backslash(match: re.Match[str]) -> str:
    return "\\" + match[1]


def _escaped(character: str) -> str:
    if character == "%":
        return "%%"
    if character in _NAMED_ESCAPES:
        return _NAMED_ESCAPES[character]
    return f"\\x{ord(character):02x}" if _CONTROL.match(character) else character


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _refuse_other_than_text(text: str) -> None:
    if _NOT_TEXT.search(text):
        raise ConfigurationError(f"{text!r} is not UTF-8 text, which is all that systemd takes", "Rename it")


def _refuse_value(name: str, value: str) -> None:
    _refuse_other_than_text(value)
    if _CONTROL.search(value.replace("\n", "").replace("\t", "")):
        raise ConfigurationError(
            f"the variable {name} has a control character in it, which systemd does not take", "Set it otherwise"
        )


def _refuse_control(text: str) -> None:
    _refuse_other_than_text(text)
    if _CONTROL.search(text):
        raise ConfigurationError(
            f"the path {text!r} has a line break or control character in it, which systemd cannot be told",
            "Move or rename the folder",
        )
