"""From the items of a backlog to the tasks to submit: for `agentcom submit --from FILE`, and for the demonstration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import cast

from agentcom.backlog import Item, item_key
from agentcom.model.task import Priority, TaskSpec

NOTHING_KNOWN: Mapping[str, str] = MappingProxyType({})


def specs_of(
    items: Iterable[Item], source: str, make_id: Callable[[], str], known: Mapping[str, str] = NOTHING_KNOWN
) -> list[TaskSpec]:
    """One task for each item, in their order, which must be that of `backlog.parse`.

    Each has a new id and the item's idempotency key, so a pool that has taken an item on before refuses it and names
    the task that it is. An item without a text is told by its title.

    Args:
        items: as `backlog.parse` returns them; `after` names only items of the same list.
        source: the name of the backlog, the same each time; see `backlog.item_key`.
        make_id: makes a task id, such as `IdMaker.make`.
        known: ids of tasks by idempotency key, as far as items were submitted before; an item that comes `after` such
            a one waits for that task.
    """
    ids: dict[str, str] = {}
    specs: list[TaskSpec] = []
    for item in items:
        key = item_key(source, item)
        made = make_id()
        specs.append(_spec(item, made, key, tuple(ids[slug] for slug in item.after)))
        ids[item.slug] = known.get(key, made)
    return specs


def _spec(item: Item, made: str, key: str, after: tuple[str, ...]) -> TaskSpec:
    return TaskSpec(
        id=made,
        text=item.text if item.text.strip() else item.title,
        title=item.title,
        requires=item.requires,
        prefer=item.prefer,
        priority=cast(Priority, item.priority or "normal"),
        after=after,
        context=item.context,
        context_tokens=item.context_tokens or 0,
        expect_s=item.expect_s or 0.0,
        timeout_s=item.timeout_s or 0.0,
        max_attempts=item.max_attempts or 0,
        key=key,
        agent=item.agent,
        checks=item.checks,
        budget_tokens=item.budget_tokens or 0,
        budget_usd=item.budget_usd or 0.0,
    )
