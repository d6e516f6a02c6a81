"""What every command starts from: the settings in force, and a way to run async code and end with the right code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import anyio
import typer
from msgspec import MsgspecError

from agentcom.broker.connection import Connections, connected, named
from agentcom.client import Client
from agentcom.errors import AgentComError, ConfigurationError
from agentcom.locate import data_dir_of, redis_url
from agentcom.settings import Loaded, Settings, load

log = logging.getLogger("agentcom.cli")

T = TypeVar("T")

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOBODY = 4

CONFIG_NAME = "agentcom.toml"


class Context:
    """The settings of this call, read when they are first needed: `--help` needs none."""

    def __init__(self, config: Path | None, overrides: Mapping[str, object]) -> None:
        self._config = config
        self._overrides = dict(overrides)
        self._loaded: Loaded | None = None

    @property
    def loaded(self) -> Loaded:
        """The settings, with where each came from."""
        if self._loaded is None:
            self._loaded = load(self._file(), os.environ, self._overrides)
        return self._loaded

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.loaded.settings

    @property
    def data_dir(self) -> Path:
        """Where this machine keeps the pool's files."""
        return data_dir_of(self.settings, os.environ)

    @property
    def url(self) -> str:
        """The Redis to talk to."""
        return redis_url(self.settings, os.environ)

    @property
    def config_path(self) -> Path | None:
        """The settings file in force, if there is one."""
        if self._config is not None:
            return self._config
        named_file = os.environ.get("AGENTCOM_CONFIG")
        if named_file:
            return Path(named_file)
        here = Path.cwd()
        return next(
            (folder / CONFIG_NAME for folder in (here, *here.parents) if (folder / CONFIG_NAME).is_file()), None
        )

    def _file(self) -> tuple[str, str] | None:
        path = self.config_path
        if path is None:
            return None
        try:
            return str(path), path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the settings file {path} cannot be read: {error}") from error

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A connected client of the pool. What Redis or its content refuses tells a person what to do."""
        with _telling(self.url):
            async with Client(self.url, self.settings.pool) as client:
                yield client

    @asynccontextmanager
    async def connections(self) -> AsyncIterator[Connections]:
        """Connections alone, for who only looks on."""
        with _telling(self.url):
            async with connected(self.url) as connections:
                yield connections

    @asynccontextmanager
    async def any_server(self) -> AsyncIterator[Connections]:
        """Connections to a server whatever its state: what makes it unfit for work is what is looked for."""
        connections = Connections(self.url)
        with _telling(self.url):
            try:
                yield connections
            finally:
                with anyio.CancelScope(shield=True):
                    await connections.close()


def context_of(ctx: typer.Context) -> Context:
    """The context that the main callback made."""
    context: Context = ctx.find_root().obj
    return context


@contextmanager
def _telling(url: str) -> Iterator[None]:
    """What comes from Redis, or from what is kept there, is raised as an error that tells a person what to do."""
    try:
        yield
    except Exception as error:
        told = _told(error, url)
        if told is error:
            raise
        raise told from error


def _told(error: Exception, url: str) -> BaseException:
    first = telling(error) if isinstance(error, ExceptionGroup) else error
    if isinstance(first, MsgspecError | UnicodeError):
        return AgentComError(
            f"something kept in this pool cannot be read: {first}", "A newer AgentCom may have written it: upgrade"
        )
    return named(first, url) if isinstance(first, Exception) else first


def run(action: Callable[[], Awaitable[T]]) -> T:
    """Run async code to its end. Of a group of errors, the one that says what to do is raised.

    Raises:
        KeyboardInterrupt: SIGINT came, and the code handled it no better itself.
    """
    try:
        return anyio.run(_interruptible, action)
    except BaseExceptionGroup as group:
        raise telling(group) from group


async def _interruptible(action: Callable[[], Awaitable[T]]) -> T:
    """SIGINT cancels a scope of anyio's, which insists. asyncio's own handler cancels once, and if that happens while
    a time limit of redis-py is being set, it is taken for the limit's and lost."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    with anyio.CancelScope() as scope:
        loop.add_signal_handler(signal.SIGINT, scope.cancel)
        try:
            return await action()
        finally:
            loop.remove_signal_handler(signal.SIGINT)
    raise KeyboardInterrupt


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio reports when nobody asks for an exception, but for the loss of a connection.

    Whoever used that connection was told. Its `StreamReaderProtocol` asks once more when it is finalized, so that
    nothing is reported; but if both are collected as garbage, the future may be finalized first.
    """
    future = context.get("future")
    of_connection = isinstance(future, asyncio.Future) and not isinstance(future, asyncio.Task)
    if of_connection and isinstance(context.get("exception"), OSError):
        log.debug("a connection was lost: %s", context["exception"])
    else:
        loop.default_exception_handler(context)


def telling(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of a group of errors, the one that a person is to be told: ours first, then any."""
    flat: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
        else:
            flat.append(error)
    return next((error for error in flat if isinstance(error, AgentComError)), flat[0])


def end(code: int) -> NoReturn:
    """End the command with an exit code."""
    raise typer.Exit(code)
