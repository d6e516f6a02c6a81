"""What agents list as running against the orders that they have, against the records, and against who holds what."""

from __future__ import annotations

from collections.abc import Iterator

from agentcom.fsck.facts import NO_KEY, AgentFacts, Discrepancy, Facts, OrderFacts, StreamFacts, stream_id
from agentcom.model.commit import LAST_ID
from agentcom.model.lifecycle import RUNNING
from agentcom.model.messages import Fix

LOST = "the attempt is lost, and its task goes on as after any lost attempt"


def check(facts: Facts) -> Iterator[Discrepancy]:
    """What contradicts an agent's record, or its stream of orders."""
    for name, agent in facts.agents.items():
        if not agent.readable:
            remedy = "it is written again if the scheduler still has it, else it is forgotten until its next hello"
            yield _about(name, "damaged_agent", "its record cannot be read", remedy, Fix("forget", agent=name))
            continue
        yield from _reserved(facts, name, agent)
        stream = facts.orders.get(name)
        if stream is not None and stream.type in (NO_KEY, "stream") and stream.whole:
            yield from _running(facts, name, agent, stream)
    for name, stream in facts.orders.items():
        yield from _stream(facts, name, stream)


def _running(facts: Facts, name: str, agent: AgentFacts, stream: StreamFacts) -> Iterator[Discrepancy]:
    """Attempts of its record that it has no order of, or that are about nothing."""
    ordered = {order.token for order in stream.orders.values() if order.kind in ("assign", "stop")}
    stopped = {order.token for order in stream.orders.values() if order.kind == "stop"}
    for token, task in agent.running.items():
        found = facts.tasks.get(task)
        if found is None or token in facts.reported:
            continue
        if token in ordered:
            if found.type == NO_KEY and token not in stopped:
                text = f"it works on attempt {token} of {task}, and there is no record of that"
                fix = Fix("stop", agent=name, token=token, task=task)
                yield _about(name, "works_on_nothing", text, "it is told to stop", fix, token, (task,))
        elif found.readable and found.token == token and found.state in RUNNING:
            text = f"it lists attempt {token} of {task}, and its stream holds no order of it"
            yield _about(name, "order_missing", text, LOST, Fix("reclaim", agent=name, token=token), token, (task,))
        else:
            text = f"it lists attempt {token} of {task}, which is not the current one, and has no order of it"
            fix = Fix("release", agent=name, token=token)
            yield _about(name, "slot_lost", text, "its slot is free again", fix, token, (task,))


def _reserved(facts: Facts, name: str, agent: AgentFacts) -> Iterator[Discrepancy]:
    """Slots that it keeps for tasks that do not wait for a person."""
    for task in agent.reserved:
        found = facts.tasks.get(task)
        if found is not None and not (found.readable and found.state == "input_required" and found.agent == name):
            state = found.state if found.readable else "missing or damaged"
            text = f"it keeps a slot for {task}, which is {state}, and does not wait for a person there"
            fix = Fix("unreserve", agent=name, task=task)
            yield _about(name, "slot_kept", text, "its slot is free again", fix, task, (task,))


def _stream(facts: Facts, name: str, stream: StreamFacts) -> Iterator[Discrepancy]:
    agent = facts.agents.get(name)
    if stream.type == NO_KEY:
        return
    if stream.type != "stream":
        key = f"orders:{name}"
        text = f"it is a {stream.type}, not a stream: the scheduler can write nothing as long as it wants to order"
        yield Discrepancy(
            kind="wrong_type", subject=f"key:{key}", text=text,
            remedy="only a person can say what it is: RENAME or DEL it with redis-cli", agents=(name,),
        )  # fmt: skip
    elif agent is None:
        if name not in facts.greeted and not stream.alive:
            text = "there is a stream of orders for it, and it is no agent of the pool"
            yield _about(name, "orders_of_nobody", text, "the stream is removed", Fix("forget", agent=name))
    elif not agent.readable:
        return
    elif stream.last == LAST_ID:
        text = "its stream of orders can take no more: somebody gave an entry the last possible id"
        remedy = "the stream is made anew; what the agent works on is lost, and goes on as after any lost attempt"
        yield _about(name, "orders_used_up", text, remedy, Fix("remake", agent=name))
    else:
        yield from _orders(facts, name, agent, stream)


def _orders(facts: Facts, name: str, agent: AgentFacts, stream: StreamFacts) -> Iterator[Discrepancy]:
    stopped = {order.token for order in stream.orders.values() if order.kind == "stop"}
    for entry, order in stream.orders.items():
        held = order.kind == "assign" and order.token in agent.running
        if order.kind == "":
            yield _order(name, entry, "order_unreadable", "it cannot be read", order, held=False)
        elif order.kind == "assign" and not held and order.token not in stopped | facts.reported:
            text = f"it orders attempt {order.token} of {order.task}, which the agent's record does not list"
            yield _order(name, entry, "order_of_nobody", text, order, held=False)
        else:
            trouble = _trouble(stream, entry, agent.incarnation)
            if trouble:
                yield _order(name, entry, *trouble, order, held=held)
    for entry in stream.pending:
        if entry not in stream.orders and stream.whole:
            text = "it is pending, and is not in the stream any more"
            yield _order(name, entry, "entry_gone", text, OrderFacts(""), held=False)


def _trouble(stream: StreamFacts, entry: str, incarnation: str) -> tuple[str, str] | None:
    """Why nobody can renew this order, if that is so: a kind, and in words."""
    consumer = stream.pending.get(entry)
    if consumer is None:
        if stream_id(entry) <= stream_id(stream.delivered) and stream.whole:
            return "order_not_removed", "it was acknowledged, or never delivered, and is still in the stream"
        return None
    newer = consumer.startswith("sc-") and consumer > incarnation
    if consumer in ("", incarnation) or newer:
        return None
    return "held_by_stranger", f"it is pending with {consumer!r}, which is no start of the agent that could renew it"


def _order(name: str, entry: str, kind: str, text: str, order: OrderFacts, *, held: bool) -> Discrepancy:
    fix = Fix("reclaim" if held else "settle", agent=name, token=order.token, entry=entry)
    remedy = f"it is removed; {LOST}" if held else "it is removed"
    return _about(name, kind, text, remedy, fix, entry)


def _about(
    name: str, kind: str, text: str, remedy: str, fix: Fix, detail: str = "", tasks: tuple[str, ...] = ()
) -> Discrepancy:
    subject = f"agent:{name}" + (f" {detail}" if detail else "")
    return Discrepancy(kind=kind, subject=subject, text=text, remedy=remedy, fix=fix, tasks=tasks, agents=(name,))
