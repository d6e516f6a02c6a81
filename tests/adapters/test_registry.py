"""Which adapters there are, and what is wrong with one that cannot be used."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from agentcom.adapters import registry
from agentcom.adapters.base import Adapter
from agentcom.adapters.registry import BUILT_IN, adapter_named, adapter_of
from agentcom.errors import ConfigurationError
from agentcom.settings import AgentSettings

PACKAGE = """
from agentcom.adapters.claude import Claude

class Mine(Claude):
    name = "mine"

class Half:
    name = "half"

half = Half()
mine = Mine()

class Raises(Claude):
    def __init__(self):
        raise OSError("no\\nlicence")
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that registers adapters, as `pip install` leaves one."""
    (tmp_path / "my_adapters.py").write_text(PACKAGE)
    info = tmp_path / "my_adapters-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-adapters\nVersion: 1.0\n")
    points = ("mine:mine", "made:Mine", "half:half", "raises:Raises", "missing:nothing")
    lines = [f"{name} = my_adapters:{value}" for name, value in (point.split(":") for point in points)]
    lines.append("gone = no_such_module_at_all:x")
    (info / "entry_points.txt").write_text("[agentcom.adapters]\n" + "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_adapters", raising=False)


def refusal(name: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        adapter_named(name)
    message = str(caught.value)
    assert message.isprintable(), "one line"
    return message


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_adapter_is_found_by_its_name_and_is_one(name: str) -> None:
    adapter = adapter_named(name)
    assert isinstance(adapter, Adapter)
    assert adapter.name == name


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    assert refusal("clude") == (
        "there is no adapter 'clude'. Known: acp, aider, claude, codex, command, gemini, openclaw, opencode, openhands"
    )


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["mine", "made"])
def test_a_package_registers_an_adapter_or_a_class_of_one(name: str) -> None:
    assert adapter_named(name).name == "mine"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("missing", "AttributeError"),
        ("raises", "OSError: no licence"),
        ("half", "lacks something of agentcom.adapters.base.Adapter"),
    ],
)
def test_a_broken_one_is_refused_in_one_line_that_names_its_package(name: str, why: str) -> None:
    message = refusal(name)
    assert message.startswith(f"the adapter '{name}' of my-adapters ")
    assert why in message


@pytest.mark.usefixtures("installed")
def test_those_of_packages_are_known_too() -> None:
    assert "gone, half, made, mine, missing," in refusal("nothing").replace("gemini, ", "")


def test_a_packages_own_adapter_goes_before_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("claude", "agentcom.adapters.codex:Codex", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert adapter_named("claude").name == "codex"


def test_an_adapter_without_a_program_of_its_own_needs_a_command() -> None:
    with pytest.raises(ConfigurationError, match=r"agents\.oak\.command: expected a program"):
        adapter_of("oak", AgentSettings(adapter="acp"))
    assert adapter_of("oak", AgentSettings(adapter="acp", command=("x",))).name == "acp"
    assert adapter_of("oak", AgentSettings(adapter="claude")).name == "claude"


def test_what_is_wrong_with_an_adapter_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"agents\.oak\.adapter: there is no adapter 'cloud'\. Known: "):
        adapter_of("oak", AgentSettings(adapter="cloud"))
