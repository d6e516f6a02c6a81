"""The few requests to GitHub's REST API that are needed. They block; one object serves one thread.

PyGithub carries the requests: credentials, redirects, errors. Answers are decoded here, strictly, as its own objects
fetch by further requests what an answer lacks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from github import Auth, Github, GithubException

from agentcom.forge.base import Draft, ForgeTrouble
from agentcom.forge.github_answers import (
    Access,
    Commit,
    GitRef,
    Hits,
    MergeAnswer,
    Pull,
    Repo,
    decoded,
    moved,
    of_task,
    own,
    trouble_of,
)
from agentcom.version import VERSION

PER_PAGE = 100
PAGES = 3
"""The newest pull requests are listed; older ones are found by a search, whose index lags behind by minutes at most."""
HITS = 5


class GithubApi:
    """Requests to one repository."""

    def __init__(self, access: Access, token: str, timeout_s: int) -> None:
        self._access = access
        self._token = token
        # It repeats and delays requests by itself unless told not to; here the caller decides about both.
        self._client = Github(
            auth=Auth.Token(token),
            base_url=access.url,
            timeout=timeout_s,
            user_agent=f"agentcom/{VERSION}",
            retry=None,
            seconds_between_requests=None,
            seconds_between_writes=None,
        )

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def pulls_of(self, task: str, branch: str, *, all_of_them: bool) -> list[Pull]:
        """A task's pull requests, its own first. Those with branch and marker will do, unless all are wanted."""
        pulls = self.of_branch(branch)
        named = of_task(pulls, task, "")
        if named and not all_of_them:
            return named
        for page in range(1, PAGES + 1):
            listed = self._list(sort="created", direction="desc", page=str(page))
            pulls += own(listed, self._access)
            if len(listed) < PER_PAGE:
                return of_task(pulls, task, branch)
        return of_task([*pulls, *self._searched(task)], task, branch)

    def of_branch(self, branch: str) -> list[Pull]:
        """The pull requests from a branch of the repository, in whatever state."""
        owner = self._access.repo.partition("/")[0]
        found = own(self._list(head=f"{owner}:{branch}"), self._access)
        return [pull for pull in found if pull.head.ref == branch]

    def pull(self, number: int) -> Pull:
        """One pull request."""
        return decoded(self._ask("GET", f"/pulls/{number}"), Pull)

    def repo(self) -> Repo:
        """The repository, under the name that it was asked for."""
        repo = decoded(self._ask("GET", ""), Repo)
        if repo.full_name.lower() != self._access.repo.lower():
            raise moved(self._access, repo.full_name)
        return repo

    def head_of(self, branch: str) -> str:
        """Where a branch stands."""
        return decoded(self._ask("GET", f"/git/ref/heads/{quote(branch)}"), GitRef).object.sha

    def commit(self, sha: str) -> Commit:
        """One commit."""
        return decoded(self._ask("GET", f"/git/commits/{sha}"), Commit)

    def create(self, draft: Draft) -> Pull:
        """Make a pull request."""
        said = {"title": draft.title, "body": draft.body, "head": draft.branch, "base": draft.base}
        return decoded(self._ask("POST", "/pulls", said), Pull)

    def edit(self, number: int, title: str, body: str) -> Pull:
        """Say something else."""
        return decoded(self._ask("PATCH", f"/pulls/{number}", {"title": title, "body": body}), Pull)

    def merge(self, number: int, head_sha: str, method: str, message: str) -> str:
        """Merge exactly this head; the commit that came of it."""
        said = {"sha": head_sha, "merge_method": method, "commit_message": message}
        return decoded(self._ask("PUT", f"/pulls/{number}/merge", said), MergeAnswer).sha

    def _list(self, **parameters: str) -> list[Pull]:
        asked = {"state": "all", "per_page": str(PER_PAGE)} | parameters
        return decoded(self._ask("GET", "/pulls", parameters=asked), list[Pull])

    def _searched(self, task: str) -> list[Pull]:
        query = f'"{task}" in:body is:pr repo:{self._access.repo}'
        answer = self._send("GET", "/search/issues", parameters={"q": query, "per_page": str(HITS)})
        hits = decoded(answer, Hits)
        if hits.incomplete_results and not hits.items:
            raise ForgeTrouble("the forge's search gave up before its end")
        return own((self.pull(hit.number) for hit in hits.items[:HITS]), self._access)

    def _ask(
        self, verb: str, path: str, said: Mapping[str, str] | None = None, parameters: Mapping[str, str] | None = None
    ) -> Any:
        return self._send(verb, f"/repos/{self._access.repo}{path}", said, parameters)

    def _send(
        self, verb: str, path: str, said: Mapping[str, str] | None = None, parameters: Mapping[str, str] | None = None
    ) -> Any:
        """What the API answers. Errors are told without what they carry: it may hold what was sent."""
        try:
            _, answer = self._client.requester.requestJsonAndCheck(
                verb, path, parameters=dict(parameters or {}), input=dict(said) if said is not None else None
            )
            return answer
        except GithubException as error:
            headers = error.headers or {}
            trouble: ForgeTrouble = trouble_of(
                error.status, headers, error.data, self._access, self._token, time.time()
            )
        except Exception as error:
            kind = type(error).__name__
            trouble = ForgeTrouble(f"{self._access.url} cannot be reached, or does not answer as GitHub does ({kind})")
        raise trouble
