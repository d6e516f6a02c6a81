"""What GitHub's REST API answers, and what that means. Pure.

https://docs.github.com/en/rest/pulls/pulls
https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from agentcom.forge.base import MARKER, ForgeTrouble, PullDetails
from agentcom.model.task import PullRequest, PullState
from agentcom.wording import one_line

T = TypeVar("T")

REASON_WIDTH = 200
SECONDARY_LIMIT_S = 60.0
"""How long to leave the API alone whose secondary limit was met, where it does not say."""
LONGEST_WAIT_S = 3_600.0
"""Its primary limits are per hour."""
ERRORS_SHOWN = 3

PASSING = ("already exists", "head invalid")
"""Refusals of a pull request that pass: another sidecar was first, or the push has not reached all of the forge."""


class GithubRefusal(ForgeTrouble):
    """The API answered, with this status, that it did not do what was asked."""

    def __init__(self, status: int, why: str, retry_after_s: float = 0.0, *, hopeless: bool = False) -> None:
        super().__init__(why, retry_after_s, hopeless=hopeless)
        self.status = status


class Repo(Struct, frozen=True):
    """A repository; whether merge commits are allowed is told only to those who may merge."""

    full_name: str
    allow_merge_commit: bool = True


class Branch(Struct, frozen=True):
    """One side of a pull request; without a repository where that was a fork, and is gone."""

    ref: str
    sha: str
    repo: Repo | None = None


class Pull(Struct, frozen=True):
    """A pull request."""

    number: int
    html_url: Annotated[str, Meta(pattern=r"^https?://[!-~]+\Z", max_length=1_000)]
    state: Literal["open", "closed"]
    title: str
    head: Branch
    base: Branch
    body: str | None = None
    merged_at: str | None = None
    merge_commit_sha: str | None = None

    @property
    def at_hand(self) -> PullRequest:
        """As a task's record has it."""
        state: PullState = "merged" if self.merged_at else self.state
        return PullRequest(self.html_url, self.number, state)

    def says(self, title: str, body: str) -> bool:
        """Whether title and body are these; GitHub's editor writes other line ends."""
        return self.title == title and _unix(self.body or "") == _unix(body)


class Found(Struct, frozen=True):
    """One hit of a search among pull requests."""

    number: int


class Hits(Struct, frozen=True):
    """What a search found; it may have given up early."""

    items: list[Found]
    incomplete_results: bool = False


class Parent(Struct, frozen=True):
    """A commit that something else names."""

    sha: str


class Commit(Struct, frozen=True):
    """A commit; the first parent of a merge is what the base was."""

    sha: str
    parents: list[Parent]


class MergeAnswer(Struct, frozen=True):
    """The commit that a merge made."""

    sha: str


class GitRef(Struct, frozen=True):
    """Where a branch stands."""

    object: Parent


class Access(Struct, frozen=True):
    """Where requests go and with what, to be named to people; never the token itself."""

    url: str
    repo: str
    token_env: str


def decoded(data: Any, kind: type[T]) -> T:
    """An answer as what it should be.

    Raises:
        ForgeTrouble: it is something else, such as a proxy's page.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError:
        raise ForgeTrouble(
            "the forge's answer is not what its API promises; something else may answer for it"
        ) from None


def own(pulls: Iterable[Pull], access: Access) -> list[Pull]:
    """Those from a branch of the repository itself: a stranger's fork may carry any branch name and any marker.

    Raises:
        ForgeTrouble: they are of another repository, for this one was renamed.
    """
    kept = []
    for pull in pulls:
        name = pull.base.repo.full_name if pull.base.repo else ""
        if name.lower() != access.repo.lower():
            raise moved(access, name)
        if pull.head.repo is not None and pull.head.repo.full_name.lower() == name.lower():
            kept.append(pull)
    return kept


def moved(access: Access, name: str) -> ForgeTrouble:
    """The repository has another name now. The client drops what was asked for when it follows such a redirect."""
    return ForgeTrouble(
        f"{access.repo} is now {one_line(name, 100) or 'elsewhere'}: set forge_repo to its new name", hopeless=True
    )


def of_task(pulls: Iterable[Pull], task: str, branch: str) -> list[Pull]:
    """A task's pull requests: first those with its marker, of these the merged before the open before the closed, and
    the oldest first."""
    marker = MARKER.format(task=task)
    places: dict[PullState, int] = {"merged": 0, "open": 1, "closed": 2}

    def place(pull: Pull) -> tuple[bool, int, int]:
        return marker not in (pull.body or ""), places[pull.at_hand.state], pull.number

    unique = {pull.number: pull for pull in pulls}
    return sorted((p for p in unique.values() if marker in (p.body or "") or p.head.ref == branch), key=place)


def details_of(pulls: Sequence[Pull]) -> PullDetails:
    """The first, and which others there are."""
    pull, *others = pulls
    urls = tuple(other.html_url for other in others)
    return PullDetails(pull.at_hand, pull.head.ref, pull.base.ref, pull.head.sha, urls)


def trouble_of(
    status: int, headers: Mapping[str, str], data: object, access: Access, token: str, now_s: float
) -> GithubRefusal:
    """What a refusal means.

    Args:
        headers: of the answer, by lower-case names.
        data: the answer.
        token: that it may not repeat.
        now_s: Unix time, where the answer does not tell the forge's own.
    """
    message = _message(data).replace(token, "***")
    said = f" ({one_line(message, REASON_WIDTH)})" if message else ""
    if status == 429 or (status == 403 and _is_limit(headers, message)):
        return GithubRefusal(status, f"the forge limits requests{said}", _wait_s(headers, now_s))
    if status == 401:
        why = f"the forge refuses the token in {access.token_env}{said}: put a valid one there"
    elif status == 403:
        why = f"the token in {access.token_env} may not do this{said}: let it write pull requests of {access.repo}"
    elif status in (404, 410, 451):
        why = (
            f"{access.url} shows no repository {access.repo} to the token in {access.token_env}{said}: "
            "mend forge_repo, forge_url or the token"
        )
    elif status == 422 and not any(word in message.lower() for word in PASSING):
        why = f"the forge refuses it{said}"
    else:
        return GithubRefusal(status, f"the forge answers {status}{said}", _retry_after_s(headers))
    return GithubRefusal(status, why, hopeless=True)


def _message(data: object) -> str:
    """What an error says: in one message, and of single fields in further ones."""
    if not isinstance(data, Mapping):
        return ""
    parts = [str(data.get("message") or "")]
    errors = data.get("errors")
    for error in errors[:ERRORS_SHOWN] if isinstance(errors, list) else ():
        if isinstance(error, Mapping):
            parts.append(str(error.get("message") or f"{error.get('field', '')} {error.get('code', '')}"))
        else:
            parts.append(str(error))
    return "; ".join(part.strip() for part in parts if part.strip())


def _is_limit(headers: Mapping[str, str], message: str) -> bool:
    low = message.lower()
    spent = headers.get("x-ratelimit-remaining") == "0"
    return spent or "retry-after" in headers or "rate limit" in low or "abuse detection" in low


def _wait_s(headers: Mapping[str, str], now_s: float) -> float:
    """Seconds until it takes requests again. The reset is a time of the forge's clock, so it is compared with that."""
    after_s = _retry_after_s(headers)
    if after_s:
        return after_s
    reset_s = _number(headers.get("x-ratelimit-reset", ""))
    if headers.get("x-ratelimit-remaining") == "0" and reset_s:
        return _bounded_s(reset_s - _date_s(headers, now_s))
    return SECONDARY_LIMIT_S


def _retry_after_s(headers: Mapping[str, str]) -> float:
    after_s = _number(headers.get("retry-after", ""))
    return _bounded_s(after_s) if after_s else 0.0


def _bounded_s(wait_s: float) -> float:
    return min(max(wait_s, 1.0), LONGEST_WAIT_S)


def _number(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0.0


def _date_s(headers: Mapping[str, str], now_s: float) -> float:
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return now_s


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").rstrip()
