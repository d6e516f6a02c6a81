"""Pull requests in the repository itself, for teams without a forge: one JSON document for each task, under a ref.

`refs/agentcom/pulls/TASK` of `origin` names a blob. It is written by a push that names what it replaces, so that of two
writers one is refused, and looks again; a task cannot have two. The document says open or closed; it is merged when its
head is contained in the base, whoever merged it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from agentcom.forge.base import Draft, ForgeTrouble, Merged, NotMerged, PullDetails
from agentcom.forge.git import Git
from agentcom.ids import is_id
from agentcom.model.task import PullRequest, PullState
from agentcom.settings.rendering import mask_url

PULLS = "refs/agentcom/pulls/"
KEPT = "refs/kept/"
TRIES = 5
"""Of a look or a write that others were faster than."""

BranchName = Annotated[str, Meta(pattern=r"^[^\x00-\x20\x7f~^:?*\[\\]+\Z", max_length=250)]
Sha = Annotated[str, Meta(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})\Z")]


class Document(Struct, frozen=True, kw_only=True):
    """A pull request, as the repository keeps it. `merge_sha` is the commit that merged it, where AgentCom did."""

    task: str
    branch: BranchName
    base: BranchName
    head_sha: Sha
    title: str
    body: str
    state: PullState = "open"
    merge_sha: str = ""


class _Seen(Struct, frozen=True):
    """What `origin` has now; a sha is empty where there is no such ref. The document's is that of its blob."""

    document: Document
    document_sha: str
    base_sha: str
    branch_sha: str
    merged: bool

    @property
    def state(self) -> PullState:
        return "merged" if self.merged else self.document.state


class LocalForge:
    """The pull requests in a repository.

    Args:
        url: of the repository, or its path.
        git: on a repository of this machine, to fetch into.
    """

    name = "local"

    def __init__(self, url: str, git: Git) -> None:
        self.url = url
        self._git = git

    async def find(self, task: str, branch: str) -> PullRequest | None:  # noqa: ARG002 - the task names it
        """See `Forge`."""
        seen = await self._seen(task)
        return self._at_hand(task, seen.state) if seen is not None else None

    async def publish(self, draft: Draft) -> PullRequest:
        """See `Forge`."""
        for _ in range(TRIES):
            seen = await self._seen(draft.task)
            if seen is not None and seen.state != "open":
                return self._at_hand(draft.task, seen.state)
            if seen is None:
                await self._check_new(draft)
            wanted = Document(
                task=draft.task,
                branch=draft.branch,
                base=draft.base,
                head_sha=draft.head_sha,
                title=draft.title,
                body=draft.body,
            )
            if seen is not None and seen.document == wanted:
                return self._at_hand(draft.task, "open")
            lease = (_ref(draft.task), await self._stored(wanted), seen.document_sha if seen is not None else "")
            if not await self._pushed(lease):
                return self._at_hand(draft.task, "open")
        raise ForgeTrouble(f"others keep writing the pull request of {draft.task}")

    async def details(self, task: str, branch: str) -> PullDetails | None:  # noqa: ARG002 - as above
        """See `Forge`. There are no other pull requests of a task."""
        seen = await self._seen(task)
        if seen is None:
            return None
        return PullDetails(self._at_hand(task, seen.state), seen.document.branch, seen.document.base, seen.branch_sha)

    async def merge(self, task: str, judged: PullDetails, base_sha: str, message: str) -> Merged | NotMerged:
        """See `Forge`. Base and document move in one push, each from what was judged, or neither does."""
        seen = await self._seen(task)
        if seen is None:
            return NotMerged("its pull request is gone")
        if seen.merged:
            return Merged(seen.document.merge_sha)
        moved = _moved(seen, judged, base_sha)
        if moved:
            return NotMerged(moved)
        sha = await self._git.read(
            "commit-tree", f"{judged.head_sha}^{{tree}}", "-p", base_sha, "-p", judged.head_sha, stdin=message.encode()
        )
        document = replace(seen.document, state="merged", head_sha=judged.head_sha, merge_sha=sha)
        refused = await self._pushed(
            (f"refs/heads/{judged.base}", sha, base_sha), (_ref(task), await self._stored(document), seen.document_sha)
        )
        if not refused:
            return Merged(sha)
        now = await self._seen(task)
        if now is not None and now.document.merge_sha == sha:
            return Merged(sha)
        return NotMerged(f"it was refused: {refused}")

    def _at_hand(self, task: str, state: PullState) -> PullRequest:
        return PullRequest(f"local:{mask_url(self.url)}#{task}", state=state)

    # ------------------------------------------------------------------ git

    async def _seen(self, task: str) -> _Seen | None:
        ref = _ref(task)
        document_sha = (await self._fetched(ref)).get(ref, "")
        if not document_sha:
            return None
        document = _decoded(await self._git.read("cat-file", "blob", document_sha), task)
        base_sha, branch_sha = await self._heads(document.base, document.branch)
        merged = document.state == "merged" or (
            document.state == "open" and await self._contains(base_sha, document.head_sha)
        )
        return _Seen(document, document_sha, base_sha, branch_sha, merged)

    async def _check_new(self, draft: Draft) -> None:
        """A pull request needs work that is there and is not in its base; one without would count as merged at once."""
        base_sha, branch_sha = await self._heads(draft.base, draft.branch)
        if not base_sha:
            raise ForgeTrouble(f"{mask_url(self.url)} has no branch {draft.base}", hopeless=True)
        if not branch_sha:
            raise ForgeTrouble(f"{draft.branch} has not been pushed to {mask_url(self.url)}")
        if await self._contains(base_sha, draft.head_sha):
            raise ForgeTrouble(f"{draft.branch} has no commits that {draft.base} has not", hopeless=True)

    async def _fetched(self, *refs: str) -> dict[str, str]:
        """Those of the refs that `origin` has, with what they name, which is here now."""
        for _ in range(TRIES):
            listed = await self._git.read("ls-remote", "--quiet", "--", self.url, *refs)
            pairs = (line.split("\t", 1) for line in listed.splitlines())
            found = {name: sha for sha, name in pairs if name in refs}
            if await self._has(*found.values()):
                return found
            fetched = await self._git.run(
                "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", self.url, *found
            )
            # A ref that moved or went away since it was listed is looked at again.
            if await self._has(*found.values()):
                return found
        raise ForgeTrouble(f"git fetch brings not what git ls-remote lists: {fetched.said or 'it keeps changing'}")

    async def _has(self, *objects: str) -> bool:
        listed = await self._git.read(
            "cat-file", "--batch-check=%(objecttype)", stdin="".join(f"{sha}\n" for sha in objects).encode()
        )
        return not any(line.endswith(" missing") for line in listed.splitlines())

    async def _heads(self, base: str, branch: str) -> tuple[str, str]:
        """Where two branches of `origin` stand; empty where there is none. The base is remembered, so that the next
        fetch brings only what is new; two at a time may collide in that, without harm."""
        refs = await self._fetched(f"refs/heads/{base}", f"refs/heads/{branch}")
        base_sha = refs.get(f"refs/heads/{base}", "")
        if base_sha:
            await self._git.run("update-ref", f"{KEPT}{base}", base_sha)
        return base_sha, refs.get(f"refs/heads/{branch}", "")

    async def _contains(self, base_sha: str, head_sha: str) -> bool:
        """Whether a commit is in the history of the base. One that is not even here is not."""
        return bool(base_sha) and (await self._git.run("merge-base", "--is-ancestor", head_sha, base_sha)).code == 0

    async def _stored(self, document: Document) -> str:
        return await self._git.read("hash-object", "-w", "--stdin", stdin=msgspec.json.encode(document))

    async def _pushed(self, *moves: tuple[str, str, str]) -> str:
        """Move refs, each given with its new and its old object, all or none; why it was refused, if it was."""
        leases = [f"--force-with-lease={ref}:{old}" for ref, _, old in moves]
        specs = [f"{new}:{ref}" for ref, new, _ in moves]
        ran = await self._git.run("push", "--quiet", "--atomic", "--no-verify", *leases, "--", self.url, *specs)
        return "" if ran.code == 0 else ran.said or "git push failed"


def _ref(task: str) -> str:
    if not is_id(task):
        raise ValueError(f"{task!r} is no id of a task")
    return PULLS + task


def _decoded(text: str, task: str) -> Document:
    try:
        document = msgspec.json.decode(text, type=Document)
    except msgspec.MsgspecError as error:
        raise ForgeTrouble(f"{_ref(task)} cannot be read: {error}; mend it", hopeless=True) from error
    if document.task != task:
        raise ForgeTrouble(f"{_ref(task)} is about another task: mend it", hopeless=True)
    return document


def _moved(seen: _Seen, judged: PullDetails, base_sha: str) -> str:
    if seen.state != "open":
        return "it was closed meanwhile"
    if (seen.document.branch, seen.document.base) != (judged.branch, judged.base):
        return f"it goes from {seen.document.branch} into {seen.document.base} now"
    if seen.branch_sha != judged.head_sha:
        return f"something was pushed to {judged.branch} meanwhile"
    return f"{judged.base} moved meanwhile" if seen.base_sha != base_sha else ""
