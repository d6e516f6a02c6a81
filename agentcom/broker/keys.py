"""The names of a pool's keys. All carry one hash tag, so that they live in one slot and a commit stays atomic."""

from __future__ import annotations


class Keys:
    """Key names of one pool. The table in docs/architecture.md says what each holds, who owns it and its bound."""

    def __init__(self, pool: str) -> None:
        self._prefix = f"ac:{{{pool}}}:"
        self.inbox = f"{self._prefix}inbox"
        self.reports = f"{self._prefix}reports"
        self.open = f"{self._prefix}open"
        self.agents = f"{self._prefix}agents"
        self.keys = f"{self._prefix}keys"
        self.journal = f"{self._prefix}journal"
        self.dead = f"{self._prefix}dead"
        self.head = f"{self._prefix}head"
        self.leader = f"{self._prefix}leader"

    def task(self, task: str) -> str:
        """The record of a task."""
        return f"{self._prefix}task:{task}"

    def orders(self, agent: str) -> str:
        """The stream of orders to one agent."""
        return f"{self._prefix}orders:{agent}"

    def beat(self, agent: str) -> str:
        """An agent's last beat."""
        return f"{self._prefix}beat:{agent}"

    def output(self, task: str) -> str:
        """The tail of a task's output."""
        return f"{self._prefix}output:{task}"

    def refused(self, entry: str) -> str:
        """Why an inbox entry was not taken on."""
        return f"{self._prefix}refused:{entry}"

    @property
    def every(self) -> str:
        """A glob pattern of all of this pool's keys."""
        return f"{self._literal_prefix}*"

    @property
    def tasks_pattern(self) -> str:
        """A glob pattern of the keys of all of this pool's task records."""
        return f"{self._literal_prefix}task:*"

    @property
    def _literal_prefix(self) -> str:
        return self._prefix.replace("{", "[{]").replace("}", "[}]")


ORDERS_GROUP = "sidecar"
"""The consumer group of every orders stream; its consumers are incarnations of the sidecar, and `SWEEPER`."""

SWEEPER = "scheduler"
"""The consumer as which the scheduler claims what is stuck."""

BODY = b"m"
"""The field of an entry of inbox, reports and orders that holds its message."""

LINES = b"l"
"""The field of a journal entry that holds its lines."""
