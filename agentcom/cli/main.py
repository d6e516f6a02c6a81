"""The `agentcom` command. Here and in its sibling modules only: typer, os.environ, exit codes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from agentcom.cli import (
    agent,
    alert,
    check,
    costs,
    fsck,
    gate,
    git,
    monitor,
    pool,
    service,
    services,
    submit,
    tasks,
    trying,
    up,
)
from agentcom.cli.context import EXIT_FAILED, EXIT_USAGE, Context, telling
from agentcom.errors import EXIT_INTERRUPTED, AgentComError
from agentcom.version import VERSION
from agentcom.wording import clean

EXIT_CODES = """\
Exit codes: 0 ok · 1 failed · 2 usage · 3 critical finding · 4 nobody can take it · 78 configuration · 130 Ctrl-C.
"""

GLOBAL_OPTIONS = ("--redis", "--pool", "--config", "--data-dir")
"""Options of `agentcom` itself that are understood behind a command, too. No command has one of its own so named."""

TyperUsageError: type[Exception] = typer.BadParameter.__mro__[1]
TyperError: type[Exception] = typer.BadParameter.__mro__[2]
"""Taken from an exception that every typer exports: which click they come from differs between its versions."""

app = typer.Typer(
    name="agentcom",
    help="Gives work to autonomous coding agents on many machines.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agentcom {VERSION}")
        raise typer.Exit


@app.callback()
def common(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings file.", show_default="agentcom.toml")
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            "--redis",
            help="URL of Redis: redis://HOST[,HOST…], rediss://, unix:// or sentinel://HOST[,HOST…]/SERVICE.",
        ),
    ] = None,
    pool_name: Annotated[str | None, typer.Option("--pool", help="Name of the pool.", show_default="default")] = None,
    data_dir: Annotated[str | None, typer.Option("--data-dir", help="This machine's folder for the pool.")] = None,
    _version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Gives work to autonomous coding agents on many machines, and never loses, doubles or misreports a piece of it."""
    ctx.obj = Context(config, {"redis": redis, "pool": pool_name, "data_dir": data_dir})


for module in (
    services, up, service, agent, trying, submit, tasks, git, gate, pool, monitor, costs, check, alert, fsck
):  # fmt: skip
    module.register(app)


def main() -> None:
    """Run the command line; what went wrong is one line on stderr and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # What the long-running programs log is theirs to say; a command says what it has to say itself.
    logging.getLogger("agentcom").addHandler(logging.NullHandler())
    try:
        arguments = hoisted(_as_text(sys.argv[1:]))
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except BaseExceptionGroup as group:
        _fail(telling(group))
    except (AgentComError, OSError, TyperError) as error:
        _fail(error)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(EXIT_INTERRUPTED)


def hoisted(arguments: Sequence[str]) -> list[str]:
    """The arguments with global options in front, where typer looks for them, wherever a person typed them."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    front: list[str] = []
    behind: list[str] = []
    rest = iter(arguments[:end])
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if name not in GLOBAL_OPTIONS:
            behind.append(argument)
        elif equals:
            front.append(argument)
        else:
            value = next(rest, None)
            if value is None:
                return [*front, argument]  # typer then says what is missing, instead of taking the command for it
            front += [argument, value]
    return [*front, *behind, *arguments[end:]]


def _as_text(arguments: Sequence[str]) -> Sequence[str]:
    """The arguments, refused where they are not text: nothing of AgentCom could carry them."""
    for argument in arguments:
        try:
            argument.encode("utf-8")
        except UnicodeEncodeError:
            sys.stderr.write(f"agentcom: the argument {argument!r} is not UTF-8 text\n")
            sys.exit(EXIT_USAGE)
    return arguments


def _fail(error: BaseException) -> None:
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    if isinstance(error, TyperError):
        sys.exit(_say_usage(error))
    if not isinstance(error, AgentComError | OSError):
        raise error
    sys.stderr.write(f"agentcom: {clean(' '.join(str(error).split()))}\n")
    sys.exit(error.exit_code if isinstance(error, AgentComError) else EXIT_FAILED)


def _say_usage(error: Exception) -> int:
    """Say in one line what is wrong with the arguments. Without any, the help that was shown says enough."""
    message = " ".join(str(getattr(error, "format_message", error.__str__)()).split())
    ctx = getattr(error, "ctx", None)
    if message and type(error).__name__ != "NoArgsIsHelpError":
        command = ctx.command_path if ctx is not None else "agentcom"
        sys.stderr.write(f"agentcom: {clean(message)} (see {command} --help)\n")
    return EXIT_USAGE if isinstance(error, TyperUsageError) else EXIT_FAILED
