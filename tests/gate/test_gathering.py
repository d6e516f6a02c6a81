"""What cannot be told now is asked again later, and is never taken for what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from agentcom.forge.base import ForgeTrouble
from agentcom.gate.gathering import gathered
from agentcom.model.task import ReadRecord, TaskSpec
from tests.gate.cases import BASE, BRANCH, HEAD, PULL, TASK

pytestmark = pytest.mark.anyio

TOLD = {
    "merge-base": BASE,
    "ls-tree": "100644 blob 1\tagentcom.toml",
    "cat-file": '[checks]\ncommands = ["make audit"]',
}


class Git:
    """Answers what it was told to, and cannot tell what it was not."""

    def __init__(self, told: dict[str, str]) -> None:
        self._told = told

    async def read(self, name: str, *_: str) -> str:
        if name not in self._told:
            raise ForgeTrouble(f"git {name} failed: unable to read")
        return self._told[name]

    async def run(self, name: str, *_: str) -> Any:
        return type("Ran", (), {"code": 0 if name in self._told else 128, "text": self._told.get(name, "")})

    async def checked(self, *_: str) -> Any:
        return type("Ran", (), {"out": b""})


class Origin:
    def __init__(self, told: dict[str, str]) -> None:
        self.git = Git(told)

    async def heads(self, *_: str) -> tuple[str, str]:
        return BASE, HEAD

    async def contains(self, *_: str) -> bool:
        return True


async def required(told: dict[str, str]) -> tuple[str, ...] | None:
    spec = TaskSpec(id=TASK, text="x", checks=("make test",))
    record = ReadRecord(spec=spec, seq=1, state="completed", branch=BRANCH, submitted_at=0, changed_at=0)
    return (await gathered(record, PULL, Origin(told))).required  # type: ignore[arg-type]


async def test_what_the_repository_requires_comes_on_top_of_what_the_task_does() -> None:
    assert await required(TOLD) == ("make test", "make audit")


async def test_a_repository_without_settings_requires_nothing_more() -> None:
    assert await required(TOLD | {"ls-tree": ""}) == ("make test",)


@pytest.mark.pitfall_8
@pytest.mark.parametrize("unreadable", ["ls-tree", "cat-file"])
async def test_that_git_cannot_tell_what_is_required_leaves_no_check_out(unreadable: str) -> None:
    with pytest.raises(ForgeTrouble, match="unable to read"):
        await required({name: told for name, told in TOLD.items() if name != unreadable})
