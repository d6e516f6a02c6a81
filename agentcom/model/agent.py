"""What an agent is: the card it presents, and the record the pool keeps of it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Link = Literal["online", "stale", "offline"]
Activity = Literal["idle", "assigned", "working"]
Attribute = str | int | float | bool

MAX_SLOTS = 1_000


class Card(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an agent says of itself when its sidecar starts.

    Attributes:
        attributes: skills with their levels, and facts such as `os`.
        slots: how many tasks it works on at once.
        accepts: a requirement on the task (see `agentcom.scheduler.matching`); empty accepts everything.
        context_tokens: its context window; 0 means that it has no such limit.
        runner: `command` or `python`.
        beat_s: how often its sidecar beats.
        host: machine, for people.
        version: of AgentCom.
    """

    attributes: dict[str, Attribute] = {}
    slots: int = 1
    accepts: str = ""
    context_tokens: int = 0
    runner: str = "command"
    beat_s: float = 30.0
    host: str = ""
    version: str = ""


class AgentRecord(Struct, omit_defaults=True, kw_only=True):
    """What the pool keeps of an agent, in the hash `agents`. Written only by the scheduler's commits.

    Attributes:
        incarnation: which start of the sidecar; a newer one compares greater.
        link: whether the sidecar is heard from: online, stale, offline. Derived from beats, never commanded.
        since_at: since when it has this link.
        left: its sidecar said goodbye; only a hello brings it back, and no beat from before that is read late.
        running: token → task id of what it was given and has not given up; each occupies a slot.
        completed, failed: attempts that ended so.
        success: share of attempts that completed, the latest weighing most; 1.0 for a new agent.
        used: when it was last given work, as a count of assignments; ties go to the least recently used.
    """

    name: str
    incarnation: str
    card: Card
    link: Link = "online"
    since_at: int = 0
    seen_at: int = 0
    left: bool = False
    running: dict[str, str] = {}
    completed: int = 0
    failed: int = 0
    success: float = 1.0
    used: int = 0

    @property
    def free_slots(self) -> int:
        """Slots that the scheduler may fill now."""
        return max(0, self.card.slots - len(self.running)) if self.link == "online" else 0
