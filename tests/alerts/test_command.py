"""`agentcom alert test`, as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.alerts.harness import Inbox, hook, hooked
from tests.cli.harness import Terminal

pytestmark = pytest.mark.process


def terminal(folder: Path, *urls: str, told: Path | None = None) -> Terminal:
    command = json.dumps(hook(told) if told else [])
    lines = ["[alerts]", f"urls = {json.dumps(urls)}", f"command = {command}"]
    (folder / "agentcom.toml").write_text("\n".join(lines))
    return Terminal(folder, {"AGENTCOM_POOL": "main"})


def test_every_receiver_gets_a_test_message(tmp_path: Path, receiver: Inbox) -> None:
    told = tmp_path / "told"
    said = terminal(tmp_path, receiver.url, told=told)("alert", "test")
    assert (said.code, said.err) == (0, "")
    assert [line.rpartition(": ")[2] for line in said.out.splitlines()] == ["told", "told"]
    assert receiver.titles() == ["AgentCom main: a test of alerts"]
    assert [(alert["kind"], alert["severity"]) for alert in hooked(told)] == [("test", "notice")]


def test_one_that_fails_is_named_without_its_secrets_and_the_others_are_told(tmp_path: Path, receiver: Inbox) -> None:
    receiver.mode = "refuses"
    told = tmp_path / "told"
    said = terminal(tmp_path, receiver.url, told=told)("alert", "test")
    assert said.code == 1
    first, second = said.out.splitlines()
    assert first.startswith("receiver 1 (json://…): ")
    assert "500" in first
    assert second.endswith(": told")
    assert "secret" not in said.out + said.err
    assert len(hooked(told)) == 1


def test_the_outcome_is_also_a_document(tmp_path: Path, receiver: Inbox) -> None:
    said = terminal(tmp_path, receiver.url)("alert", "test", "--json")
    assert said.document == {"schema": 1, "receivers": [{"receiver": "receiver 1 (json://…)", "problem": ""}]}


def test_a_url_that_apprise_does_not_understand_is_refused_in_one_line(tmp_path: Path) -> None:
    said = terminal(tmp_path, "nonsense://secret")("alert", "test")
    assert (said.code, said.out) == (78, "")
    assert "Apprise does not understand number 1" in said.err
    assert "secret" not in said.err


def test_without_receivers_it_says_how_to_name_some(tmp_path: Path) -> None:
    said = terminal(tmp_path)("alert", "test")
    assert (said.code, said.out) == (78, "")
    assert said.err == "agentcom: nobody is to be told. Set urls or command in [alerts] of agentcom.toml\n"
