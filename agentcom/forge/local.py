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

from agentcom.forge.base import LOCAL, Draft, ForgeTrouble, Merged, NotMerged, PullDetails
from agentcom.forge.origin import TRIES, Origin
from agentcom.ids import is_id
from agentcom.model.task import PullRequest, PullState

PULLS = "refs/agentcom/pulls/"

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
        origin: the repository.
    """

    name = "local"

    def __init__(self, origin: Origin) -> None:
        self.origin = origin

    async def find(self, task: str, branch: str) -> PullRequest | None:  # noqa: ARG002 - the task names it
        """See `Forge`."""
        seen = await self._seen(task)
        return self._at_hand(task, seen.state) if seen is not None else None

    async def publish(self, draft: Draft) -> PullRequest:
        """See `Forge`."""
        refused = written_over = ""
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
            there = seen.document_sha if seen is not None else ""
            if refused and there == written_over:
                break
            written_over = there
            refused = await self.origin.push((_ref(draft.task), await self._stored(wanted), there))
            if not refused:
                return self._at_hand(draft.task, "open")
        raise ForgeTrouble(f"the pull request of {draft.task} cannot be written: {refused}")

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
        sha = await self.origin.git.read(
            "commit-tree", f"{judged.head_sha}^{{tree}}", "-p", base_sha, "-p", judged.head_sha, stdin=message.encode()
        )
        document = replace(seen.document, state="merged", head_sha=judged.head_sha, merge_sha=sha)
        refused = await self.origin.push(
            (f"refs/heads/{judged.base}", sha, base_sha), (_ref(task), await self._stored(document), seen.document_sha)
        )
        if not refused:
            return Merged(sha)
        now = await self._seen(task)
        if now is not None and now.document.merge_sha == sha:
            return Merged(sha)
        return NotMerged(f"it was refused: {refused}")

    async def _stored(self, document: Document) -> str:
        return await self.origin.git.read("hash-object", "-w", "--stdin", stdin=msgspec.json.encode(document))

    def _at_hand(self, task: str, state: PullState) -> PullRequest:
        return PullRequest(f"{LOCAL}{self.origin.name}#{task}", state=state)

    async def _seen(self, task: str) -> _Seen | None:
        ref = _ref(task)
        document_sha = (await self.origin.fetched(ref)).get(ref, "")
        if not document_sha:
            return None
        document = _decoded(await self.origin.git.read("cat-file", "blob", document_sha), task)
        base_sha, branch_sha = await self.origin.heads(document.base, document.branch)
        merged = document.state == "merged" or (
            document.state == "open" and await self.origin.contains(base_sha, document.head_sha)
        )
        return _Seen(document, document_sha, base_sha, branch_sha, merged)

    async def _check_new(self, draft: Draft) -> None:
        """A pull request needs work that is there and is not in its base; one without would count as merged at once."""
        base_sha, branch_sha = await self.origin.heads(draft.base, draft.branch)
        if not base_sha:
            raise ForgeTrouble(f"{self.origin.name} has no branch {draft.base}", hopeless=True)
        if not branch_sha:
            raise ForgeTrouble(f"{draft.branch} has not been pushed to {self.origin.name}")
        if await self.origin.contains(base_sha, draft.head_sha):
            raise ForgeTrouble(f"{draft.branch} has no commits that {draft.base} has not", hopeless=True)


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
