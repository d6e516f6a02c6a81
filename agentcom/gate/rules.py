"""The rules by which a pull request is merged without a person: all of them hold, or a person decides. Pure.

They are few, and none needs judgement. What no rule can see, such as whether a text is true, is kept out by what the
rules let through at all: at first only documentation, and tests that are new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from agentcom.forge.base import LOCAL
from agentcom.gate.facts import NO_FILE, PLAIN_FILE, Change, PullFacts, Recommendation, Ruling, Verdict
from agentcom.model.task import PullRequest
from agentcom.settings import GateSettings
from agentcom.wording import count, one_line

SHOWN = 3
PATH_WIDTH = 80
SHA_SHOWN = 12

Answer = tuple[bool, str]


def judge(facts: PullFacts, settings: GateSettings, recommendation: Recommendation | None = None) -> Verdict:
    """Whether it may be merged. A recommendation can keep it from being merged, and can bring about nothing else."""
    rulings = tuple(Ruling(name, *rule(facts, settings)) for name, rule in RULES.items())
    merges = all(ruling.holds for ruling in rulings) and (recommendation is None or recommendation.merge)
    return Verdict("merge" if merges else "escalate", rulings, recommendation)


# ------------------------------------------------- the work, and its checks


def _completed(facts: PullFacts, _: GateSettings) -> Answer:
    return facts.state == "completed", f"the task is {facts.state}"


def _own(facts: PullFacts, _: GateSettings) -> Answer:
    """Only the one pull request and branch that the task's record names: there may be others that claim to be its."""
    pull = facts.pull
    if facts.pull_request is None:
        return False, "the task's record names no pull request"
    if not _same(pull.pull_request, facts.pull_request):
        return False, f"the task's own pull request is {_text(facts.pull_request.url)}"
    if not facts.branch or pull.branch != facts.branch:
        return False, f"it is from {_text(pull.branch)}, and the task's branch is {_text(facts.branch) or 'not known'}"
    if pull.others:
        return False, f"the task has more than one pull request: {_listed(pull.others)}"
    return True, f"it is the task's own, from {_text(pull.branch)}"


def _open(facts: PullFacts, _: GateSettings) -> Answer:
    return facts.pull.pull_request.state == "open", f"it is {facts.pull.pull_request.state}"


def _head(facts: PullFacts, _: GateSettings) -> Answer:
    """What would be merged is what the sidecar saw when the task completed, and not what was pushed since."""
    heads = {facts.verified_sha, facts.pull.head_sha, facts.branch_sha}
    if len(heads) == 1 and facts.verified_sha:
        return True, f"it is at {_sha(facts.verified_sha)}, as when the task completed"
    now = _sha(facts.branch_sha or facts.pull.head_sha)
    return False, f"it is at {now}, and was verified at {_sha(facts.verified_sha)}"


def _checked(facts: PullFacts, _: GateSettings) -> Answer:
    checks, head = facts.checks, facts.pull.head_sha
    if facts.required is None:
        return False, "which checks the repository requires cannot be read at its base"
    failed = [check.command for check in checks if not check.passed]
    if failed:
        return False, f"did not pass: {_listed(failed)}"
    elsewhere = [check.command for check in checks if not head or check.sha != head]
    if elsewhere:
        return False, f"not at this commit: {_listed(elsewhere)}"
    by_others = [check.command for check in checks if not facts.agent or check.by != facts.agent]
    if by_others:
        return False, f"not by the sidecar of {facts.agent or 'its agent'}: {_listed(by_others)}"
    missing = [command for command in facts.required if command not in {check.command for check in checks}]
    if missing:
        return False, f"required, and not checked: {_listed(missing)}"
    return bool(checks), f"{count(len(checks), 'check')} passed at this commit" if checks else "nothing was checked"


def _base(facts: PullFacts, _: GateSettings) -> Answer:
    """With all of the base in it, what comes of merging it is to the last file what was checked."""
    base = _text(facts.pull.base)
    if facts.pull.base != facts.verified_base:
        return False, f"it goes into {base}, and was checked for {_text(facts.verified_base) or 'nothing'}"
    if facts.base_contained:
        return True, f"it stands on {base} as that is now"
    return False, f"{base} has gone on to {_sha(facts.base_sha)}: nobody has checked what comes of merging it"


# ------------------------------------------------------------- what changed


def _files(facts: PullFacts, settings: GateSettings) -> Answer:
    number = len(facts.changes)
    return 0 < number <= settings.max_files, f"{count(number, 'file')} of {settings.max_files:,} at most"


def _lines(facts: PullFacts, settings: GateSettings) -> Answer:
    number = sum(change.inserted + change.deleted for change in facts.changes)
    return number <= settings.max_lines, f"{count(number, 'line')} of {settings.max_lines:,} at most"


def _kept(facts: PullFacts, _: GateSettings) -> Answer:
    return _none_of("deleted or renamed", [change for change in facts.changes if change.is_gone])


def _plain(facts: PullFacts, _: GateSettings) -> Answer:
    return _none_of(
        "no plain text file, or of another mode", [change for change in facts.changes if not _is_plain(change)]
    )


def _readable(facts: PullFacts, _: GateSettings) -> Answer:
    return _none_of("not readable as a name", [change for change in facts.changes if not change.path.isprintable()])


def _denied(facts: PullFacts, settings: GateSettings) -> Answer:
    patterns = [pattern.lower() for pattern in settings.deny]
    found = [change for change in facts.changes if _matches(change.path.lower(), patterns)]
    return _none_of("denied", found)


def _allowed(facts: PullFacts, settings: GateSettings) -> Answer:
    found = [change for change in facts.changes if not _is_allowed(change, settings)]
    return _none_of("not among what may be merged without a person", found)


def _same(one: PullRequest, other: PullRequest) -> bool:
    """Whether they are one. A repository has many paths and URLs, so of its own ones only the task counts."""
    local = one.url.startswith(LOCAL) and other.url.startswith(LOCAL)
    return one.url.rpartition("#")[2] == other.url.rpartition("#")[2] if local else one.url == other.url


def _is_plain(change: Change) -> bool:
    """A file before and after, none that can be run, no link and no submodule, and not binary."""
    return not change.binary and {change.mode_before, change.mode_after} <= {NO_FILE, PLAIN_FILE}


def _is_allowed(change: Change, settings: GateSettings) -> bool:
    return _matches(change.path, settings.allow) or (change.is_new and _matches(change.path, settings.allow_new))


def _matches(path: str, patterns: Iterable[str]) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatchcase(path if "/" in pattern else name, pattern) for pattern in patterns)


RULES: dict[str, Callable[[PullFacts, GateSettings], Answer]] = {
    "completed": _completed,
    "own": _own,
    "open": _open,
    "head": _head,
    "checks": _checked,
    "base": _base,
    "files": _files,
    "lines": _lines,
    "kept": _kept,
    "plain": _plain,
    "readable": _readable,
    "denied": _denied,
    "allowed": _allowed,
}


# ------------------------------------------------------------------- words


def _none_of(what: str, found: list[Change]) -> Answer:
    return not found, f"{what}: {_listed([change.path for change in found]) if found else 'none'}"


def _listed(names: Iterable[str]) -> str:
    shown = [_text(name) for name in names]
    more = f" and {len(shown) - SHOWN:,} more" if len(shown) > SHOWN else ""
    return f"{', '.join(shown[:SHOWN])}{more}"


def _text(name: str) -> str:
    return one_line(name, PATH_WIDTH)


def _sha(sha: str) -> str:
    return _text(sha)[:SHA_SHOWN] or "no commit"
