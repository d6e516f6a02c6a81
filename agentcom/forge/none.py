"""No forge: finished work stays on its branch."""

from __future__ import annotations

from agentcom.forge.base import Draft, ForgeTrouble, Merged, NotMerged, PullDetails
from agentcom.model.task import PullRequest


class NoForge:
    """Has no pull requests, and makes none; whoever publishes looks at its name first."""

    name = "none"

    async def find(self, task: str, branch: str) -> PullRequest | None:  # noqa: ARG002 - as `Forge` has it
        """Nothing."""
        return None

    async def publish(self, draft: Draft) -> PullRequest:
        """Refused."""
        raise ForgeTrouble(
            f'{draft.branch} has no forge to be reviewed on: set forge to "github" or "local"', hopeless=True
        )

    async def details(self, task: str, branch: str) -> PullDetails | None:  # noqa: ARG002 - as `Forge` has it
        """Nothing."""
        return None

    async def merge(self, task: str, judged: PullDetails, base_sha: str, message: str) -> Merged | NotMerged:  # noqa: ARG002
        """Refused."""
        return NotMerged('there is no forge: set forge to "github" or "local"')
