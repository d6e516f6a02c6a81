"""What Prometheus is told of a pool."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from agentcom.diagnosis import DOCUMENTED
from agentcom.errors import ConfigurationError
from agentcom.metrics.families import AGENTS_MAX, families
from agentcom.metrics.service import address_of
from agentcom.monitor.live.picture import Picture
from tests.diagnosis.pools import BUSY, agent
from tests.monitor.pools import EVERYTHING, picture

DASHBOARD = json.loads((Path(__file__).parents[2] / "docs/grafana/agentcom.json").read_text(encoding="utf-8"))


class Told(Collector):
    def __init__(self, seen: Picture | None) -> None:
        self.seen = seen

    def collect(self):  # type: ignore[no-untyped-def]
        return families(self.seen)


def samples(seen: Picture | None) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What a scrape brings, by name and labels."""
    registry = CollectorRegistry()
    registry.register(Told(seen))
    body = generate_latest(registry).decode()
    found = [sample for family in text_string_to_metric_families(body) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in found}


def test_a_pool_is_told_in_base_units_and_by_few_labels() -> None:
    told = samples(picture())
    assert told["agentcom_redis_up", ()] == 1
    assert told["agentcom_redis_latency_seconds", ()] == pytest.approx(0.0004)
    assert told["agentcom_tasks_open", ()] == 11
    assert told["agentcom_tasks_waiting", ()] == 6
    assert told["agentcom_tasks_admitted_total", ()] == 160
    assert told["agentcom_oldest_queued_seconds", ()] == 70 * 60
    assert told["agentcom_tasks", (("state", "working"),)] == 4
    assert told["agentcom_agents", (("health", "available"), ("link", "online"))] == 6
    assert told["agentcom_attempts_total", (("gen_ai_agent_name", "elm"), ("result", "completed"))] == 52
    assert told["agentcom_findings", (("rule", "livelock"), ("severity", "critical"))] == 1
    assert told["agentcom_findings", (("rule", "replica"), ("severity", "critical"))] == 0
    assert told["agentcom_gen_ai_usage_input_tokens_total", ()] == 13_300_000
    assert told["agentcom_cost_usd_total", ()] == 61.5
    assert {dict(labels)["rule"] for name, labels in told if name == "agentcom_findings"} == {r.id for r in DOCUMENTED}


def test_a_redis_that_is_away_is_told_and_nothing_old() -> None:
    assert samples(None) == {("agentcom_redis_up", ()): 0}


def test_no_series_is_of_a_task_and_a_large_pool_has_a_bounded_number() -> None:
    crowd = replace(EVERYTHING, agents=[agent(f"a{number}", used=number) for number in range(3_000)], open=100_000)
    told = samples(picture(crowd))
    named = [dict(labels)["gen_ai_agent_name"] for name, labels in told if name == "agentcom_attempts_total"]
    assert len(named) == 2 * AGENTS_MAX
    assert "a2999" in named, "those that were given work last"
    assert not any(record.spec.id in str(key) for key in told for record in EVERYTHING.tasks)
    assert not any(name == "agentcom_tasks" for name, _ in told), "counted only where all were read"
    assert told["agentcom_tasks_open", ()] == 100_000


def test_what_nobody_counts_is_absent() -> None:
    told = samples(Picture(replace(BUSY, server=None), [], picture().policy))
    assert not [name for name, _ in told if "gen_ai_usage" in name or "memory" in name]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:9464", ("::1", 9464)),
        ("host.example:1", ("host.example", 1)),
    ],
)
def test_an_address_without_a_host_is_on_loopback_only(text: str, place: tuple[str, int]) -> None:
    assert address_of(text) == place


@pytest.mark.parametrize("text", ["x", "host:", "0", "h:70000", "h h:1", "http://h:1", "::1", "1:2:3"])
def test_what_is_no_address_is_said(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected HOST:PORT"):
        address_of(text)


# ---------------------------------------------------------------- the dashboard


def test_the_dashboard_asks_only_for_what_is_exported() -> None:
    exported = {name for name, _ in samples(picture())}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            asked = set(re.findall(r"agentcom_\w+", target["expr"]))
            assert asked
            assert asked <= exported, f"{panel['title']}: {asked - exported}"


def test_the_dashboard_is_one_that_grafana_can_load() -> None:
    assert DASHBOARD.keys() >= {"uid", "title", "schemaVersion", "panels", "templating", "time"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, f"{panel['title']} lies on another"
        taken |= cells
        assert panel["type"] in ("stat", "timeseries")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target.keys() >= {"refId", "expr", "datasource"} for target in panel["targets"])
