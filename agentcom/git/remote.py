"""What `origin` has, and fetching exactly that: what came is compared with what `origin` says that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
from msgspec import Struct

from agentcom.git.clone import OURS, locked, origin_of, ready
from agentcom.git.parsing import HEADS, heads, is_branch, named_by_head
from agentcom.git.running import FETCH_FAILED, MISCONFIGURED, Git, Trouble

TRIES_AFTER_S = (0.0, 0.2, 1.0)
"""A branch may move between being looked at and being fetched, and one replica of a host may be behind another."""


class Seen(Struct, frozen=True):
    """What `origin` had when it was last looked at.

    Attributes:
        base, base_sha: the base branch, and where it stood.
        origin_sha: where the task's branch stood; empty if it was not there.
        others: branches with the task's id as their last part, but for the task's own.
    """

    base: str
    base_sha: str
    origin_sha: str
    others: dict[str, str]

    def of(self, git: Git) -> dict[str, str]:
        """All of them: branch to sha."""
        own = {git.place.branch: self.origin_sha} if self.origin_sha else {}
        return {self.base: self.base_sha, **own, **self.others}


def check_names(git: Git) -> None:
    """Refuse what git would take for something else.

    Raises:
        Trouble: a name is none.
    """
    place = git.place
    url, base = place.repository.url, place.repository.base
    if not url or url.startswith("-"):
        raise Trouble(MISCONFIGURED, f"the repository {url!r} is no URL or path that git can take")
    if base and not is_branch(base):
        raise Trouble(MISCONFIGURED, f"the base {base!r} is no name of a branch")
    if not is_branch(place.branch) or not is_branch(f"rescue/{place.task}"):
        raise Trouble(MISCONFIGURED, f"{place.branch!r}, of task {place.task!r}, is no name of a branch")


async def look(git: Git) -> Seen:
    """Ask `origin` what it has.

    Raises:
        Trouble: it does not answer, has no base branch, or the task's branch would be its base.
    """
    check_names(git)
    place = git.place
    base = place.repository.base or await _default_base(git)
    patterns = [HEADS + base, HEADS + place.branch, f"{HEADS}*/{place.task}"]
    listed = heads(await _ls_remote(git, "--heads", "--", origin_of(git), *patterns))
    if base not in listed:
        raise Trouble(FETCH_FAILED, f"{place.repository.url} has no branch {base}")
    if place.branch == base:
        raise Trouble(MISCONFIGURED, f"the task's branch {base} is the base itself")
    ending = f"/{place.task}"
    known = (base, place.branch)
    others = {
        name: sha for name, sha in listed.items() if name.endswith(ending) and name not in known and is_branch(name)
    }
    return Seen(base, listed[base], listed.get(place.branch, ""), others)


async def _default_base(git: Git) -> str:
    name = named_by_head(await _ls_remote(git, "--symref", "--", origin_of(git), "HEAD"))
    if not is_branch(name):
        raise Trouble(FETCH_FAILED, f"{git.place.repository.url} does not say which branch is its HEAD: set `base`")
    return name


async def _ls_remote(git: Git, *arguments: str) -> str:
    ran = await git("ls-remote", "--quiet", *arguments)
    if not ran.ok:
        raise Trouble(FETCH_FAILED, f"{git.place.repository.url} cannot be reached: git ls-remote: {ran.why}")
    return ran.text


async def fetched(git: Git) -> Seen:
    """Look, and fetch what was seen, until both agree. The clone is made where it is missing.

    Raises:
        Trouble: `origin` cannot be reached, or does not hand out what it says that it has.
    """
    trouble = Trouble(FETCH_FAILED, "nothing was fetched")
    for delay_s in TRIES_AFTER_S:
        await anyio.sleep(delay_s)
        seen = await look(git)
        try:
            async with locked(git.clone, git.place.repository.timeout_s):
                await ready(git, "sha256" if len(seen.base_sha) == 64 else "sha1")
                have = await ours(git, list(seen.of(git)))
                await _refuse_rewound(git, seen, have.get(seen.base, ""))
                await _fetch(git, seen, have)
            return seen
        except Trouble as error:
            if error.final or error.problem.reason != FETCH_FAILED:
                raise
            trouble = error
    raise trouble


async def _fetch(git: Git, seen: Seen, have: Mapping[str, str]) -> None:
    wanted = seen.of(git)
    shallow = (git.clone / "shallow").is_file()
    whole = {name for name, sha in wanted.items() if have.get(name) == sha and await git.commit_of(sha)}
    missing = [name for name in wanted if shallow or name not in whole]
    if missing:
        refspecs = [f"+{HEADS}{name}:{OURS}{name}" for name in missing]
        options = ["--quiet", "--no-tags", "--no-write-fetch-head"]
        options += ["--unshallow"] if shallow else []  # an agent may have cut the history short
        ran = await git("fetch", *options, "--", origin_of(git), *refspecs)
        if not ran.ok:
            told = f"git fetch from {git.place.repository.url}: {ran.why}"
            raise Trouble(FETCH_FAILED, told, local=True, final=ran.late)
        have = await ours(git, missing)
        for name in missing:
            if have.get(name) != wanted[name]:
                told = f"{git.place.repository.url} says that {name} is at {wanted[name]}, and hands out"
                raise Trouble(FETCH_FAILED, f"{told} {have.get(name) or 'nothing'}: a mirror that is behind?")
    await show_agents(git, wanted)


async def ours(git: Git, names: Sequence[str]) -> Mapping[str, str]:
    """Where these branches stood on `origin` when they were last fetched and verified, or pushed."""
    listed = await git.must("for-each-ref", "--format=%(objectname)\t%(refname)", *(OURS + name for name in names))
    pairs = (line.partition("\t") for line in listed.splitlines())
    return {ref.removeprefix(OURS): sha for sha, _, ref in pairs}


async def show_agents(git: Git, stands: Mapping[str, str]) -> None:
    """Let agents see, as origin/NAME, where branches stand there. Nothing of ours depends on it."""
    updates = "".join(f"update refs/remotes/origin/{name} {sha}\n" for name, sha in stands.items())
    await git("update-ref", "--stdin", stdin=updates.encode())


async def _refuse_rewound(git: Git, seen: Seen, known: str) -> None:
    """A base that lost commits that it had is that of a mirror that is behind, or was wound back by a person. To take
    it would be to build on what is out of date, and who wound it back can say so."""
    if known and known != seen.base_sha and await git.contains(known, seen.base_sha):
        told = f"{git.place.repository.url} has {seen.base} at {seen.base_sha}, before {known}, where it was already"
        remedy = f"if it was wound back on purpose: git --git-dir={git.clone} update-ref -d {OURS}{seen.base}"
        raise Trouble(FETCH_FAILED, f"{told}: a mirror that is behind? {remedy}")
