"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentcom.errors import ConfigurationError
from agentcom.places import expanded


@pytest.mark.parametrize(
    ("written", "meant"), [("~", "/home/oak"), ("~/a", "/home/oak/a"), ("/a/~", "/a/~"), ("a~b", "a~b")]
)
def test_a_home_is_put_in(written: str, meant: str) -> None:
    assert expanded(written, "/home/oak") == Path(meant)


def test_without_a_home_it_is_that_of_who_runs_this(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/elm")
    assert expanded("~/a") == Path("/home/elm/a")


def test_the_home_of_nobody_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match="'~no-such-user/a' begins with the home of a user") as refused:
        expanded("~no-such-user/a", "/home/oak")
    assert refused.value.remedy
