"""What is exported of a pool, by the conventions of Prometheus: base units, counters that end in `_total`, few labels.

There is never a label for a task. Tokens are named as OpenTelemetry's conventions for generative AI name them: input
tokens include those read from and written to a cache (gen_ai.usage.input_tokens, gen_ai.usage.cache_read.input_tokens).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from agentcom.diagnosis import DOCUMENTED, Snapshot
from agentcom.model.costs import Costs
from agentcom.model.lifecycle import NEXT
from agentcom.monitor.live.picture import Picture

AGENTS_MAX = 1_000
"""Of more agents, those that were given work last have series of their own: each is kept by whoever stores them."""


def families(picture: Picture | None) -> Iterator[Metric]:
    """All of it; of a Redis that is away, that it is."""
    yield _gauge("agentcom_redis_up", "Whether the last look at Redis succeeded.", int(picture is not None))
    if picture is None:
        return
    yield from _of_redis(picture.snapshot)
    yield from _of_tasks(picture)
    yield from _of_agents(picture.snapshot)
    yield _findings(picture)
    if picture.costs.total is not None:
        yield from _of_costs(picture.costs.total)


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_, value=value)


def _counter(name: str, help_: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_, value=value)


def _of_redis(seen: Snapshot) -> Iterable[Metric]:
    yield _gauge("agentcom_redis_latency_seconds", "One trip to Redis.", seen.latency_ms / 1000)
    yield _gauge("agentcom_scheduler_leads", "Whether a scheduler leads.", int(bool(seen.leader)))
    yield _gauge("agentcom_scheduler_epoch", "Number of the leadership: it grows with each new leader.", seen.epoch)
    yield _counter("agentcom_commits", "Commits of the scheduler.", seen.seq)
    server = seen.server
    if server is not None and server.memory_bytes is not None:
        yield _gauge("agentcom_redis_memory_bytes", "What Redis uses.", server.memory_bytes)
    if server is not None and server.memory_max_bytes:
        yield _gauge("agentcom_redis_memory_max_bytes", "What Redis may use.", server.memory_max_bytes)
    unread = GaugeMetricFamily("agentcom_unread", "Entries that no scheduler has read yet.", labels=["stream"])
    unread.add_metric(["inbox"], seen.inbox)
    unread.add_metric(["reports"], seen.reports)
    yield unread


def _of_tasks(picture: Picture) -> Iterable[Metric]:
    seen = picture.snapshot
    yield _gauge("agentcom_tasks_open", "Tasks that have not ended.", seen.open)
    yield _gauge("agentcom_tasks_waiting", "Open tasks that no agent has.", picture.waiting)
    yield _counter("agentcom_tasks_admitted", "Tasks ever taken on.", seen.admitted)
    yield _gauge("agentcom_dead_letters", "Dead letters that are kept.", seen.dead)
    ready = [record.ready_at for record in seen.tasks if record.state == "queued" and record.ready_at]
    oldest_s = max(0.0, (seen.at - min(ready)) / 1000) if ready else 0.0
    yield _gauge("agentcom_oldest_queued_seconds", "For how long the task that waits longest has been ready.", oldest_s)
    if seen.whole:
        states = seen.states()
        named = GaugeMetricFamily(
            "agentcom_tasks", "Open tasks by state; absent while there are too many to be read.", labels=["state"]
        )
        for state in NEXT:
            named.add_metric([state], states[state])
        yield named


def _of_agents(seen: Snapshot) -> Iterable[Metric]:
    standing = Counter((agent.link, agent.health) for agent in seen.agents)
    agents = GaugeMetricFamily("agentcom_agents", "Agents, by link and health.", labels=["link", "health"])
    for (link, health), number in sorted(standing.items()):
        agents.add_metric([link, health], number)
    yield agents
    in_service = [agent for agent in seen.agents if agent.in_service]
    yield _gauge("agentcom_slots", "Slots of agents in service.", sum(agent.card.slots for agent in in_service))
    yield _gauge("agentcom_slots_free", "Those that work could be given now.", sum(a.free_slots for a in seen.agents))
    attempts = CounterMetricFamily(
        "agentcom_attempts", "Attempts that ended, by agent and how they did.", labels=["gen_ai_agent_name", "result"]
    )
    for agent in sorted(seen.agents, key=lambda agent: -agent.used)[:AGENTS_MAX]:
        attempts.add_metric([agent.name, "completed"], agent.completed)
        attempts.add_metric([agent.name, "failed"], agent.failed)
    yield attempts


def _findings(picture: Picture) -> Metric:
    """Every rule, also those that find nothing, so that alerts need no case for what is absent."""
    found = Counter(finding.rule for finding in picture.findings)
    metric = GaugeMetricFamily(
        "agentcom_findings", "What is wrong, as `agentcom check` says it.", labels=["rule", "severity"]
    )
    for rule in DOCUMENTED:
        metric.add_metric([rule.id, rule.severity], found[rule.id])
    return metric


def _of_costs(cost: Costs) -> Iterable[Metric]:
    usage = cost.usage
    read = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    yield _counter("agentcom_gen_ai_usage_input_tokens", "Tokens read, from a cache and into it included.", read)
    yield _counter(
        "agentcom_gen_ai_usage_cache_read_input_tokens", "Of those, read from a cache.", usage.cache_read_tokens
    )
    yield _counter(
        "agentcom_gen_ai_usage_cache_creation_input_tokens", "Of those, put into a cache.", usage.cache_write_tokens
    )
    yield _counter("agentcom_gen_ai_usage_output_tokens", "Tokens written.", usage.output_tokens)
    yield _counter(
        "agentcom_envelope_tokens", "An estimate of what is put around the tasks' texts.", cost.envelope_tokens
    )
    yield _counter("agentcom_cost_usd", "What agents say that their work cost.", usage.cost_usd)
    yield _counter("agentcom_messages", "Messages in streams for attempts that ended.", cost.messages)
    yield _counter("agentcom_working_seconds", "How long agents worked.", cost.seconds)
