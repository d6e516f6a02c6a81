"""What an agent is: the card it presents, and the record the pool keeps of it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from agentcom.model.task import NO_USAGE, Usage

Link = Literal["online", "stale", "offline"]
Health = Literal["available", "degraded", "rate_limited", "cordoned", "draining"]
Activity = Literal["unknown", "idle", "assigned", "working", "input_required"]
Attribute = str | int | float | bool

MAX_SLOTS = 1_000

MAX_AGENTS = 100_000
"""A pool registers no more: whoever can say hello must not fill its memory."""

STARTS_KEPT = 10
"""How many starts of its sidecar an agent's record remembers."""


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

    Three axes, not one. What can be given work is derived from them: see `free_slots`.

    Attributes:
        incarnation: which start of the sidecar; a newer one compares greater.
        link: whether the sidecar is heard from: online, stale, offline. Derived from beats, never commanded.
        since_at: since when it has this link.
        health: whether it should be given work, as the causes below make it: the gravest one that holds.
        health_at: since when it has this health.
        health_why: the cause, for people.
        activity: what its beats say that it does.
        activity_at: since when.
        cordoned, draining: a person took it out of service, and for the second reason is waiting for it to be empty.
        unfit: what its last self-test found, or why it last refused work; empty if it was fit.
        damage: damaged files that its sidecar has set aside, as of its last self-test.
        tests: how many self-tests this incarnation had made when its last beat was read.
        tested_at: a time at which the last of them had not ended yet, by the pool's clock.
        strikes: attempts in a row that it failed.
        lost_at: when it last lost an attempt that counted as a strike; what it had then, and loses too, is none more.
        broken: its breaker is open, so that it comes back with one task at a time; else it is only suspected.
        degraded_until: no work before, after too many strikes; it then needs a healthy self-test made since.
        degraded_at: when it was degraded last.
        degraded_why: what it was degraded for.
        probation: back from being degraded, and not proven yet: one task at a time.
        limited_until: its provider takes no requests before.
        limited_why: what the provider said.
        starts: when its sidecar was last started, the newest last.
        left: its sidecar said goodbye; only a hello brings it back, and no beat from before that is read late.
        running: token → task id of what it was given and has not given up; each occupies a slot.
        ghosts: token → task id of what was taken from it while it was silent. Until its sidecar says otherwise, it may
            run, and each occupies a slot: whoever got that slot would be refused.
        reserved: tasks that asked a person, and that a slot each is kept for until they are answered.
        completed, failed: attempts that ended so.
        success: share of attempts that completed, the latest weighing most; 1.0 for a new agent.
        spent: what its attempts have used, as far as they told.
        used: when it was last given work, as a count of assignments; ties go to the least recently used.
    """

    name: str
    incarnation: str
    card: Card
    link: Link = "online"
    since_at: int = 0
    seen_at: int = 0
    health: Health = "available"
    health_at: int = 0
    health_why: str = ""
    activity: Activity = "unknown"
    activity_at: int = 0
    cordoned: bool = False
    draining: bool = False
    unfit: str = ""
    damage: str = ""
    tests: int = 0
    tested_at: int = 0
    strikes: int = 0
    lost_at: int = 0
    broken: bool = False
    degraded_until: int = 0
    degraded_at: int = 0
    degraded_why: str = ""
    probation: bool = False
    limited_until: int = 0
    limited_why: str = ""
    starts: tuple[int, ...] = ()
    left: bool = False
    running: dict[str, str] = {}
    ghosts: dict[str, str] = {}
    reserved: tuple[str, ...] = ()
    completed: int = 0
    failed: int = 0
    success: float = 1.0
    spent: Usage = NO_USAGE
    used: int = 0

    @property
    def in_service(self) -> bool:
        """Whether it may be given work at all, now or when it has a free slot."""
        return self.link == "online" and self.health == "available"

    @property
    def free_slots(self) -> int:
        """Slots that the scheduler may fill now."""
        if not self.in_service:
            return 0
        taken = len(self.running) + len(self.ghosts) + len(self.reserved)
        return max(0, (1 if self.probation else self.card.slots) - taken)
