"""Pull requests on GitHub, or on what answers as GitHub does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from agentcom.forge.base import Draft, ForgeTrouble, Merged, NotMerged, PullDetails
from agentcom.forge.github_answers import Access, GithubRefusal, Pull, details_of
from agentcom.forge.github_api import GithubApi
from agentcom.forge.threads import Threads
from agentcom.model.task import PullRequest

T = TypeVar("T")

TIMEOUT_S = 20
LIMIT_S = 90.0
MAY_BE_DONE = frozenset({422})
"""Statuses below 500 of a request that may have been made before, by an earlier try whose answer was lost."""
NOT_NOW = frozenset({405, 409})
"""Statuses of a merge that the repository's rules forbid, or whose head moved."""


class GithubForge:
    """The pull requests of one repository.

    Args:
        access: where it is.
        token: that the API takes; never shown.
        timeout_s: how long the API may be silent.
        limit_s: how long one call may take as a whole.
    """

    name = "github"

    def __init__(self, access: Access, token: str, *, timeout_s: int = TIMEOUT_S, limit_s: float = LIMIT_S) -> None:
        self.access = access
        self._token = token
        self._timeout_s = timeout_s
        self._limit_s = limit_s
        self._threads = Threads()

    async def find(self, task: str, branch: str) -> PullRequest | None:
        """See `Forge`."""
        pulls = await self._with_api(lambda api: api.pulls_of(task, branch, all_of_them=False))
        return pulls[0].at_hand if pulls else None

    async def publish(self, draft: Draft) -> PullRequest:
        """See `Forge`. Two that are first at the same time make one: the API refuses a second of the same branch."""
        return await self._with_api(lambda api: _published(api, draft))

    async def details(self, task: str, branch: str) -> PullDetails | None:
        """See `Forge`."""
        pulls = await self._with_api(lambda api: api.pulls_of(task, branch, all_of_them=True))
        return details_of(pulls) if pulls else None

    async def merge(self, task: str, judged: PullDetails, base_sha: str, message: str) -> Merged | NotMerged:  # noqa: ARG002 - the number names it
        """See `Forge`. The API refuses another head than the judged one, but knows no such thing for the base: it is
        looked at before and after."""
        return await self._with_api(lambda api: _merged(api, judged, base_sha, message))

    async def _with_api(self, call: Callable[[GithubApi], T]) -> T:
        def work() -> T:
            api = GithubApi(self.access, self._token, self._timeout_s)
            try:
                return call(api)
            finally:
                api.close()

        try:
            return await self._threads.run(work, self._limit_s)
        except TimeoutError:
            raise ForgeTrouble(f"{self.access.url} did not answer within {self._limit_s:g} s") from None


def _published(api: GithubApi, draft: Draft) -> PullRequest:
    found = api.pulls_of(draft.task, draft.branch, all_of_them=False)
    if found:
        return _updated(api, found[0], draft)
    api.repo()  # lest a redirect from a repository's old name made the look before creating a look elsewhere
    try:
        return api.create(draft).at_hand
    except ForgeTrouble as trouble:
        made = _made_all_the_same(api, trouble, draft.branch)
        if made is None:
            raise
        return _updated(api, made, draft)


def _made_all_the_same(api: GithubApi, trouble: ForgeTrouble, branch: str) -> Pull | None:
    """The pull request whose creation failed, where only the answer was lost, or another sidecar was first."""
    if isinstance(trouble, GithubRefusal) and trouble.status < 500 and trouble.status not in MAY_BE_DONE:
        return None
    with suppress(ForgeTrouble):
        # A closed one may be there from before, and a branch may have another after it: an open one is what was made.
        return next((pull for pull in api.of_branch(branch) if pull.state == "open"), None)
    return None


def _updated(api: GithubApi, pull: Pull, draft: Draft) -> PullRequest:
    if pull.state != "open" or pull.says(draft.title, draft.body):
        return pull.at_hand
    return api.edit(pull.number, draft.title, draft.body).at_hand


def _merged(api: GithubApi, judged: PullDetails, base_sha: str, message: str) -> Merged | NotMerged:
    number = judged.pull_request.number
    pull = api.pull(number)
    if pull.merged_at:
        return Merged(pull.merge_commit_sha or "")
    moved = _moved(api, pull, judged, base_sha)
    if moved:
        return NotMerged(moved)
    # Where merge commits are not allowed, one commit with the same content is what comes next to it.
    method = "merge" if api.repo().allow_merge_commit else "squash"
    try:
        sha = api.merge(number, judged.head_sha, method, message)
    except ForgeTrouble as trouble:
        if isinstance(trouble, GithubRefusal) and trouble.status in NOT_NOW:
            return NotMerged(trouble.why)
        now = api.pull(number)
        if not now.merged_at or not now.merge_commit_sha:
            raise
        sha = now.merge_commit_sha
    return Merged(sha, as_judged=_stands_on(api, sha, base_sha))


def _moved(api: GithubApi, pull: Pull, judged: PullDetails, base_sha: str) -> str:
    if pull.state != "open":
        return "it was closed meanwhile"
    if pull.head.sha != judged.head_sha:
        return f"something was pushed to {judged.branch} meanwhile"
    if pull.base.ref != judged.base:
        return f"it goes into {pull.base.ref} now"
    return f"{judged.base} moved meanwhile" if api.head_of(judged.base) != base_sha else ""


def _stands_on(api: GithubApi, sha: str, base_sha: str) -> bool:
    """Whether the base was still where it had been judged to be; where that cannot be told, it may not have been."""
    with suppress(ForgeTrouble):
        return [parent.sha for parent in api.commit(sha).parents][:1] == [base_sha]
    return False
