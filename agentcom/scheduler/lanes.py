"""Where work waits. Tasks with the same demand share a lane (HTCondor's autoclusters), so that matching looks at
lanes, and its cost does not grow with the number of waiting tasks.
"""

from __future__ import annotations

from collections import deque

from agentcom.model.task import PRIORITIES
from agentcom.scheduler.work import Demand, Work

LEVELS = len(PRIORITIES)

GHOSTS = 100
"""A queue is cleared of its ghosts when they outnumber those that wait by so many."""

Rank = tuple[int, int, int]
"""Priority, fresh before retried, order of admission: the smaller goes first."""


class Lane:
    """One queue per priority, for fresh and for retried work each.

    A task that leaves other than by `take` (canceled, expired) stays behind as a ghost that is not `queued`: removing
    it from the middle would cost time in proportion to the waiting tasks. It is skipped when it comes to the front, and
    dropped when there are many.
    """

    __slots__ = ("avoid", "capable", "counts", "demand", "fits", "fresh", "index", "only", "retried", "turn")

    def __init__(self, index: int, demand: Demand, avoid: frozenset[str], held_for: str = "") -> None:
        self.index = index
        self.demand = demand
        self.avoid = avoid
        self.only = demand.agent or held_for
        """The one agent that may take this; empty: any."""
        self.fresh: list[deque[Work]] = [deque() for _ in range(LEVELS)]
        self.retried: list[deque[Work]] = [deque() for _ in range(LEVELS)]
        self.counts = [0] * LEVELS
        self.capable = 0
        """Bit n: agents of profile n could do this."""
        self.fits: dict[int, float] = {}
        """Profile index → the part of the score that is the same for all of its agents."""
        self.turn = 0
        """The profile index from which the next look for an agent begins."""

    @property
    def waiting(self) -> int:
        """How many tasks wait here."""
        return sum(self.counts)

    def push(self, work: Work, *, first: bool = False) -> None:
        """Let it wait here; `first` puts it before the others of its kind, for work that was handed back.

        Retried work waits in the order in which it became ready all the same: what has aged must not stand behind what
        comes back again and again.
        """
        assert not work.ghost, "where its ghost stands, it would seem to wait again"
        queue = (self.retried if work.record.retried else self.fresh)[work.priority]
        if first and not work.record.retried:
            queue.appendleft(work)
        else:
            queue.append(work)
        work.queued = True
        self.counts[work.priority] += 1

    def forget(self, work: Work) -> None:
        """It leaves without having been given to an agent."""
        work.queued, work.ghost = False, True
        self._count_down(work.priority)
        for queues in (self.fresh, self.retried):
            if len(queues[work.priority]) > 2 * self.counts[work.priority] + GHOSTS:
                queues[work.priority] = deque(waits for waits in queues[work.priority] if waits.queued)

    def head(self, now: int, age_ms: int) -> Work | None:
        """Who is next: the highest priority; in it fresh work, unless the retried has waited for `age_ms`."""
        for level, count in enumerate(self.counts):
            if count:
                fresh, retried = _front(self.fresh[level]), _front(self.retried[level])
                if fresh is None or (retried is not None and now - retried.record.ready_at >= age_ms):
                    return retried
                return fresh
        return None

    def take(self, work: Work) -> None:
        """The head leaves: it was given to an agent."""
        queue = (self.retried if work.record.retried else self.fresh)[work.priority]
        assert queue[0] is work, "only the head of a lane can be taken"
        queue.popleft()
        work.queued = False
        self._count_down(work.priority)

    def _count_down(self, level: int) -> None:
        self.counts[level] -= 1
        if not self.counts[level]:
            self.fresh[level].clear()
            self.retried[level].clear()


def rank(work: Work, now: int, age_ms: int) -> Rank:
    """The order among the heads of lanes."""
    late = work.record.retried and now - work.record.ready_at < age_ms
    return (work.priority, 1 if late else 0, work.record.seq)


def _front(queue: deque[Work]) -> Work | None:
    while queue:
        if queue[0].queued:
            return queue[0]
        queue.popleft()
    return None
