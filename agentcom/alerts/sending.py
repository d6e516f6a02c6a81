"""Messages that are about no incident in Redis: sent to every receiver at once, by a command."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Literal, NamedTuple

import anyio

from agentcom.alerts.delivery import deliver
from agentcom.alerts.message import Alert, note
from agentcom.alerts.receivers import Receiver, receivers_of
from agentcom.alerts.teller import PROGRAMS_MAX
from agentcom.settings import Settings

TRIES = 3
WAIT_S = 2.0
"""Before the second try; twice as long before each further one."""


class Delivery(NamedTuple):
    """What became of a message to one receiver: how this is called, and what went wrong, empty if nothing did."""

    receiver: str
    problem: str


async def send_now(
    settings: Settings, title: str, text: str, *, kind: Literal["note", "test"] = "note", tries: int = TRIES
) -> list[Delivery]:
    """Send a message to every receiver, each by itself, and wait for all.

    Args:
        settings: the receivers, and the pool that the message is about.
        title: what it is about, in a few words.
        text: the rest; it may have several lines.
        kind: a note that a person should read, or a test.
        tries: how often it is tried with each receiver, with waits in between.

    Returns what became of it at each receiver, in the order of the settings; nothing if nobody is to be told.
    """
    receivers = receivers_of(settings.alerts)
    alert = note(kind, settings.pool, socket.gethostname(), title, text)
    problems = dict.fromkeys((receiver.id for receiver in receivers), "")
    room = anyio.CapacityLimiter(PROGRAMS_MAX)

    async def send(receiver: Receiver) -> None:
        async with room:
            problems[receiver.id] = await _try(receiver, alert, settings.alerts.timeout_s, tries)

    async with anyio.create_task_group() as group:
        for receiver in receivers:
            group.start_soon(send, receiver)
    return [Delivery(receiver.shown, problems[receiver.id]) for receiver in receivers]


async def _try(receiver: Receiver, alert: Alert, timeout_s: float, tries: int) -> str:
    problem = ""
    for number in range(tries):
        if number:
            await anyio.sleep(WAIT_S * 2 ** (number - 1))
        problem = await deliver(receiver, alert, timeout_s)
        if not problem:
            break
    return problem


def failed(deliveries: Sequence[Delivery]) -> list[str]:
    """What went wrong, a line for each receiver that was not told."""
    return [f"{delivery.receiver}: {delivery.problem}" for delivery in deliveries if delivery.problem]
