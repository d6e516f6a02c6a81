"""The `agentcom` command. Here and in its sibling modules only: typer, os.environ, exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from agentcom.cli import pool, services, submit, tasks, up
from agentcom.cli.context import EXIT_FAILED, Context, telling
from agentcom.errors import AgentComError
from agentcom.version import VERSION

EXIT_CODES = """\
Exit codes: 0 ok · 1 failed · 2 usage · 3 critical finding · 4 nobody can take it · 78 configuration.
"""

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
    redis: Annotated[str | None, typer.Option("--redis", help="URL of Redis: redis://, rediss:// or unix://.")] = None,
    pool_name: Annotated[str | None, typer.Option("--pool", help="Name of the pool.", show_default="default")] = None,
    data_dir: Annotated[str | None, typer.Option("--data-dir", help="This machine's folder for the pool.")] = None,
    _version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Gives work to autonomous coding agents on many machines, and never loses, doubles or misreports a piece of it."""
    ctx.obj = Context(config, {"redis": redis, "pool": pool_name, "data_dir": data_dir})


for module in (services, up, submit, tasks, pool):
    module.register(app)


def main() -> None:
    """Run the command line; what went wrong is one line on stderr and an exit code."""
    try:
        app()
    except BaseExceptionGroup as group:
        _fail(telling(group))
    except (AgentComError, OSError) as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(error: BaseException) -> None:
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    if not isinstance(error, AgentComError | OSError):
        raise error
    message = " ".join(str(error).split())
    sys.stderr.write(f"agentcom: {message}\n")
    sys.exit(error.exit_code if isinstance(error, AgentComError) else EXIT_FAILED)
