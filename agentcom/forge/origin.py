"""A repository that others share: what it has, fetched to this machine, and pushes that name what they replace."""

from __future__ import annotations

from agentcom.forge.base import ForgeTrouble
from agentcom.forge.git import Git
from agentcom.settings.rendering import mask_url

HEADS = "refs/heads/"
KEPT = "refs/kept/"
TRIES = 5
"""Of a look or a write that others were faster than."""


class Origin:
    """A repository by its URL or path.

    Args:
        url: where it is.
        git: on a bare repository of this machine, to fetch into.
    """

    def __init__(self, url: str, git: Git) -> None:
        self.url = url
        self.git = git

    @property
    def name(self) -> str:
        """For people, without a password."""
        return mask_url(self.url)

    async def fetched(self, *refs: str) -> dict[str, str]:
        """Those of the refs that it has, with what they name, which is here now.

        Raises:
            ForgeTrouble: it cannot be reached, or it changes all the time.
        """
        for _ in range(TRIES):
            listed = await self.git.read("ls-remote", "--quiet", "--", self.url, *refs)
            pairs = (line.split("\t", 1) for line in listed.splitlines())
            found = {name: sha for sha, name in pairs if name in refs}
            if await self._has(*found.values()):
                return found
            options = ("--quiet", "--no-tags", "--no-write-fetch-head")
            fetch = await self.git.run("fetch", *options, "--", self.url, *found)
            # A ref that moved or went away since it was listed is looked at again.
            if await self._has(*found.values()):
                return found
        raise ForgeTrouble(f"git fetch brings not what git ls-remote lists: {fetch.said or 'it keeps changing'}")

    async def heads(self, base: str, branch: str) -> tuple[str, str]:
        """Where two branches stand; empty where there is none. The base is remembered, so that the next fetch brings
        only what is new; two at a time may collide in that, without harm.

        Raises:
            ForgeTrouble: it cannot be reached, or it changes all the time.
        """
        refs = await self.fetched(HEADS + base, HEADS + branch)
        base_sha = refs.get(HEADS + base, "")
        if base_sha:
            await self.git.run("update-ref", KEPT + base, base_sha)
        return base_sha, refs.get(HEADS + branch, "")

    async def contains(self, base_sha: str, head_sha: str) -> bool:
        """Whether a commit is in the history of the base. One that is not even here is not."""
        return bool(base_sha) and (await self.git.run("merge-base", "--is-ancestor", head_sha, base_sha)).code == 0

    async def push(self, *moves: tuple[str, str, str]) -> str:
        """Move refs, each given with its new and its old object, all or none; why it was refused, if it was.

        Raises:
            ForgeTrouble: it did not end in time. It may have been done all the same.
        """
        leases = [f"--force-with-lease={ref}:{old}" for ref, _, old in moves]
        specs = [f"{new}:{ref}" for ref, new, _ in moves]
        ran = await self.git.run("push", "--quiet", "--atomic", "--no-verify", *leases, "--", self.url, *specs)
        return "" if ran.code == 0 else ran.said or "git push failed"

    async def _has(self, *objects: str) -> bool:
        listed = await self.git.read(
            "cat-file", "--batch-check=%(objecttype)", stdin="".join(f"{sha}\n" for sha in objects).encode()
        )
        return not any(line.endswith(" missing") for line in listed.splitlines())
