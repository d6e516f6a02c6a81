"""What an adapter is, and what it can say of a line that an agent's program printed.

An adapter is registered by an entry point of the group `agentcom.adapters`, which names an object of this protocol: see
`agentcom.adapters.registry`. `agentcom.adapters.program` has what most of them share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from msgspec import Struct, field
from msgspec.structs import replace

from agentcom.model.task import Usage
from agentcom.settings import AgentSettings

ENTRY_POINTS = "agentcom.adapters"

LINE_MAX_BYTES = 4 * 1_048_576
"""A longer line is no event. Who reads lines need keep no more of one, and pass on what it kept."""

SAID_MAX = 8_000
"""Characters that are kept of the last words of an agent, of their end."""

DENIED_KEPT = 50
UNKNOWN_KEPT = 50
OTHERS = "others"
"""Where unknown kinds are counted when there are too many of them: the agent chooses what it prints."""


class Prompt(Struct, frozen=True):
    """One turn that an agent is woken for.

    Attributes:
        text: all that it is told; on its stdin, unless the adapter says otherwise.
        workspace: where it works.
        agent: its name.
        session: to resume; empty: a new one.
        new_session: a UUID that a new session may be given, where the program takes one.
        usd_left: what this turn may cost; 0 means no limit.
        task_id, task_file, result_file: for programs that take files.
        prompt_file: holds `text`.
        writable: folders outside of the workspace that it has to write to in order to commit, for programs with a
            sandbox: of a worktree, its own folder in the clone, and there what commits write to. All have to be there.
    """

    text: str
    workspace: str
    agent: str
    session: str = ""
    new_session: str = ""
    usd_left: float = 0.0
    task_id: str = ""
    task_file: str = ""
    result_file: str = ""
    prompt_file: str = ""
    writable: tuple[str, ...] = ()


class Launch(Struct, frozen=True):
    """How a program is to be started: never by a shell.

    Attributes:
        argv: the program and its arguments.
        env: variables that it needs; what the agent's settings set goes over them.
        stdin: carries the prompt; else it is closed.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = {}
    stdin: bool = True


# ------------------------------------------------------------------- events


class Alive(Struct, frozen=True):
    """The agent itself gave a sign of life, such as its first message; that its program started is none."""


class Session(Struct, frozen=True):
    """The id of the session, for resuming."""

    id: str


class Used(Struct, frozen=True):
    """Tokens and cost.

    Attributes:
        usage: how much.
        total: `usage` takes the place of all that was said since the last total; else it is added.
        session_usage: what the session used all in all, earlier turns included, of a program that tells only that; then
            `usage` says the same.
        session_cost_usd: what it cost all in all, likewise.
    """

    usage: Usage
    total: bool = False
    session_usage: Usage | None = None
    session_cost_usd: float | None = None


class Context(Struct, frozen=True):
    """How full the context window is, in tokens; 0 means that the line does not say."""

    used: int = 0
    size: int = 0


class Model(Struct, frozen=True):
    """The model that is used, and the version of the program; empty where the line does not say."""

    name: str = ""
    version: str = ""


class Said(Struct, frozen=True):
    """What the agent says, for people; a `piece` goes on the one before it."""

    text: str
    piece: bool = False


class Did(Struct, frozen=True):
    """What the agent does, in one line for people, such as a tool that it uses."""

    text: str


class Denied(Struct, frozen=True):
    """Something that the agent wanted to do was denied to it. It may have found another way: the work decides."""

    what: str


class Asks(Struct, frozen=True):
    """The agent wants an answer from a person before it goes on."""

    question: str


class Unknown(Struct, frozen=True):
    """A line or event that this version of the adapter does not know; kept, and otherwise ignored."""

    kind: str


class Trouble(Struct, frozen=True):
    """The agent's provider refuses or is away, and the program goes on trying by itself.

    Attributes:
        reason: what it would be if the program gave up, a name from `agentcom.model.reasons`.
        detail: for people.
        resets_after_s, resets_at_s: as of `Over`.
    """

    reason: str
    detail: str = ""
    resets_after_s: float = 0.0
    resets_at_s: float = 0.0


class Over(Struct, frozen=True):
    """The terminal event: the turn came to its end.

    Attributes:
        ok: the agent says that it did what it was told.
        reason: else why, a name from `agentcom.model.reasons`.
        detail: for people.
        resets_after_s: of `rate_limited`: in how many seconds the provider takes requests again; 0 means unknown.
        resets_at_s: the same as Unix time in seconds; 0 means unknown.
        summary: the agent's last words.
    """

    ok: bool
    reason: str = ""
    detail: str = ""
    resets_after_s: float = 0.0
    resets_at_s: float = 0.0
    summary: str = ""


T = TypeVar("T", Trouble, Over)
Event = Alive | Session | Used | Context | Model | Said | Did | Denied | Asks | Trouble | Unknown | Over


@runtime_checkable
class Adapter(Protocol):
    """One kind of program."""

    name: str
    """As in `agents.NAME.adapter`."""

    program: str
    """What is started where `settings.command` is empty; empty: that has to be set."""

    structured: bool
    """It prints events, and the terminal one decides. Else all that it prints is output, and its exit code decides;
    what `parse` makes of the end of its output says the rest."""

    resumes: bool
    """A session can be gone on with."""

    def argv(self, prompt: Prompt, settings: AgentSettings, /) -> Launch:
        """How to wake it for this turn."""
        ...

    def parse(self, line: bytes, /) -> Sequence[Event]:
        """What a line says that the program printed. Never fails: what it does not know is `Unknown`.

        Every line is looked at by itself, so that output can be read again from its beginning.
        """
        ...

    def exited(self, code: int, last_words: str, /) -> Over:
        """What it means that the program ended with this exit code, without a terminal event; minus the signal's number
        where a signal ended it. `last_words` is the end of what it printed."""
        ...

    def self_test(self, settings: AgentSettings, /) -> tuple[str, ...]:
        """An argv that ends with 0 if the program can be woken, and costs no tokens; empty: it exists."""
        ...

    def canary(self, settings: AgentSettings, /) -> Launch:
        """A turn that costs a few tokens, and really reaches the model."""
        ...

    def version(self, settings: AgentSettings, /) -> tuple[str, ...]:
        """An argv that prints the program's version; empty where there is none."""
        ...


class Turn(Struct):
    """What the events of one turn add up to.

    `alive` is of the agent itself: a session, a model's name and an end are said by its program, also where the agent
    never came to life. `trouble` is the last that its provider made, and None since the agent went on. `over` is None
    again when the agent goes on after what looked like its end, as some do. `counted` is `usage` as of the last total,
    and `in_pieces` that `said` may go on.
    """

    alive: bool = False
    session: str = ""
    usage: Usage = Usage()
    counted: Usage = Usage()
    session_usage: Usage | None = None
    session_cost_usd: float | None = None
    context_used: int = 0
    context_size: int = 0
    model: str = ""
    version: str = ""
    denied: list[str] = field(default_factory=list)
    question: str = ""
    said: str = ""
    in_pieces: bool = False
    trouble: Trouble | None = None
    over: Over | None = None
    unknown: dict[str, int] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The agent's last words."""
        return (self.over.summary if self.over is not None else "") or self.said

    def ended(self, exited: Over) -> Over:
        """How the turn ended, now that the program did; `exited` is what its adapter makes of its exit code.

        A terminal event decides, then what stood in the way last.
        """
        if self.over is not None or exited.ok:
            return self.over or exited
        if self.trouble is not None:
            trouble = self.trouble
            return Over(False, trouble.reason, trouble.detail, trouble.resets_after_s, trouble.resets_at_s)
        if self.denied:
            return Over(ok=False, reason="permission_denied", detail="; ".join(self.denied))
        return exited

    def added(self, before: Usage) -> Usage:
        """What this turn used, where `before` is what earlier turns of its session are known to have used.

        A program that says less than `before` for its session counts only this turn after all.
        """
        usage, whole = self.usage, self.session_usage
        if whole is not None and whole.tokens >= before.tokens:
            usage = whole - replace(before, cost_usd=0.0)
        if self.session_cost_usd is not None:
            known_usd = before.cost_usd if self.session_cost_usd >= before.cost_usd else 0.0
            usage = replace(usage, cost_usd=self.session_cost_usd - known_usd)
        return usage

    def take(self, event: Event) -> None:
        """Take an event into account."""
        if isinstance(event, Alive | Said | Did | Denied | Asks):
            self.alive = True
            self.trouble = self.over = None
            self._take_of_agent(event)
            self.in_pieces = isinstance(event, Said) and event.piece
        else:
            self._take_of_program(event)

    def _take_of_agent(self, event: Alive | Said | Did | Denied | Asks) -> None:
        match event:
            case Said():
                before = self.said if event.piece and self.in_pieces else ""
                self.said = (before + event.text)[-SAID_MAX:]
            case Denied() if len(self.denied) < DENIED_KEPT and event.what not in self.denied:
                self.denied.append(event.what)
            case Asks():
                self.question = event.question

    def _take_of_program(self, event: Session | Used | Context | Model | Trouble | Unknown | Over) -> None:
        match event:
            case Session():
                self.session = event.id
            case Used():
                self._use(event)
            case Context():
                self.context_used = max(self.context_used, event.used)
                self.context_size = event.size or self.context_size
            case Model():
                self.model = event.name or self.model
                self.version = event.version or self.version
            case Trouble():
                self.trouble = self._with_reset(event)
            case Unknown():
                kind = event.kind if event.kind in self.unknown or len(self.unknown) < UNKNOWN_KEPT else OTHERS
                self.unknown[kind] = self.unknown.get(kind, 0) + 1
            case Over():
                self.over = self._with_reset(event)

    def _use(self, used: Used) -> None:
        if used.total:
            self.usage = self.counted = self.counted + used.usage
        else:
            self.usage += used.usage
        if used.session_usage is not None:
            self.session_usage = used.session_usage
        if used.session_cost_usd is not None:
            self.session_cost_usd = used.session_cost_usd

    def _with_reset(self, event: T) -> T:
        """What the provider refuses, with the time that it had named before where this names none."""
        known = self.trouble
        if known is None or event.reason != known.reason or event.resets_after_s or event.resets_at_s:
            return event
        return replace(event, resets_after_s=known.resets_after_s, resets_at_s=known.resets_at_s)
