"""From what a person typed to the task that is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentcom.client import Client
from agentcom.errors import AgentComError, UsageError
from agentcom.ids import MIN_DIGITS, SHORT_MARK, find, is_id, shorten
from agentcom.model.task import ReadRecord

OPEN_IDS_MAX = 2_000_000
CANDIDATES_SHOWN = 5

_TYPED = re.compile(rf"(?:{SHORT_MARK})?[0-9a-f-]+")


class NoSuchTask(AgentComError):
    """No task has an id like that."""


async def resolve(client: Client, typed: Sequence[str]) -> list[str]:
    """The full ids that are meant, in their order, each once.

    A full id is taken at its word. Else open tasks are looked through first, and only then all that are kept.

    Raises:
        UsageError: it is not written like an id, or can mean several tasks.
        NoSuchTask: no task has it.
    """
    meant = {text: [text.strip().lower()] if is_id(text.strip().lower()) else [] for text in map(checked, typed)}
    for all_kept in (False, True):
        missing = [text for text, found in meant.items() if not found]
        if missing:
            ids = await all_ids(client) if all_kept else await client.store.open_ids(OPEN_IDS_MAX)
            meant |= {text: find(text, ids) for text in missing}
    for text, found in meant.items():
        if not found:
            raise NoSuchTask(*_unknown(client, text))
        if len(found) > 1:
            raise UsageError(_ambiguous(text, found), "Give more digits")
    return list(dict.fromkeys(found[0] for found in meant.values()))


async def records_of(client: Client, typed: Sequence[str]) -> list[ReadRecord]:
    """The records of the tasks that are meant, in their order. Raises as `resolve` does."""
    ids = await resolve(client, typed)
    found = await client.store.records(ids)
    for id_ in ids:
        if id_ not in found:
            raise NoSuchTask(*_unknown(client, id_))
    return [found[id_] for id_ in ids]


async def all_ids(client: Client) -> list[str]:
    """Ids of all tasks that are kept, each once, which a scan alone does not promise."""
    return list({id_: None async for id_ in client.store.all_ids()})


def checked(text: str) -> str:
    """What a person typed, refused where no id can be written like that."""
    asked = text.strip().lower()
    if not _TYPED.fullmatch(asked):
        raise UsageError(f"{text[:60]!r} is not a task's id", "Give one as `agentcom tasks` shows it")
    if len(asked.removeprefix(SHORT_MARK).replace("-", "")) < MIN_DIGITS:
        raise UsageError(f"{text!r} is too short", f"Give at least {MIN_DIGITS} digits of the id")
    return text


def _unknown(client: Client, text: str) -> tuple[str, str]:
    return (
        f"pool {client.pool!r} has no task {text[:60]!r}",
        "A submission that no scheduler has read yet is not found either; see `agentcom tasks --all`",
    )


def _ambiguous(text: str, found: Sequence[str]) -> str:
    names = list(shorten(found).values())
    shown = ", ".join(names[:CANDIDATES_SHOWN])
    more = f" and {len(names) - CANDIDATES_SHOWN:,} more" if len(names) > CANDIDATES_SHOWN else ""
    return f"{text!r} can mean {shown}{more}"
