"""One attempt in a process of its own, to be killed: `attempt_process.py FILE`, which holds what `Described` says."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import msgspec
from msgspec import Struct

from agentcom.forge.base import Draft, ForgeTrouble
from agentcom.forge.git import Git
from agentcom.forge.local import LocalForge
from agentcom.forge.origin import Origin
from agentcom.model.codec import read_spec
from agentcom.model.messages import Assign
from agentcom.model.task import PullRequest
from agentcom.settings import AgentSettings, Policy
from agentcom.sidecar.runners.base import Job
from agentcom.sidecar.runners.command import CommandRunner


class Described(Struct):
    """An attempt, and the agent that makes it."""

    agent: str
    settings: AgentSettings
    order: Assign
    folder: str
    environ: dict[str, str]
    policy: Policy
    forge_is_away: bool


class Away(LocalForge):
    """A forge that never answers what is to be published."""

    async def publish(self, draft: Draft) -> PullRequest:
        raise ForgeTrouble(f"away, so {draft.branch} waits")


async def attempt(described: Described) -> None:
    kind = Away if described.forge_is_away else LocalForge
    forge = kind(Origin(described.settings.repo, Git(Path(described.folder) / "forge", described.environ)))
    runner = CommandRunner(
        described.agent,
        described.settings,
        Path(described.folder),
        described.environ,
        described.policy,
        forge=forge,
    )

    def printed(body: bytes) -> None:
        sys.stdout.buffer.write(body)
        sys.stdout.flush()

    order = described.order
    job = Job(
        "1-0",
        read_spec(order.spec),
        1,
        order.token,
        alive=lambda: None,
        spawned=lambda _: None,
        printed=printed,
        order=order,
    )
    await runner.run(job)


if __name__ == "__main__":
    anyio.run(attempt, msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Described))
