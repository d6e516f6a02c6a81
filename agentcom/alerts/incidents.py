"""What is to be told, to whom and when: decided from what looks at the pool find, and from what was told before. Pure.

A finding becomes an incident when two looks have found it, so that what comes and goes in a moment tells nobody. It is
over when it has not been found for some looks: longer, the more often it has come back within an hour. So a thing that
flaps becomes one long incident instead of many short ones.

What is about one agent or task can come in hundreds: it is limited, and what comes at once is told in one message. What
is about the whole pool or Redis goes first, and past every limit.

Several processes share these facts. Who wants to tell something first claims it until a time: if nothing is heard of it
by then, anybody may claim it again. So each message arrives once as long as no teller dies, and at least once if one
does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Literal, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from agentcom.diagnosis.finding import SEVERITIES, Finding, Severity

MAX_INCIDENTS = 500
"""Further ones are kept only if they are about more than one agent or task."""

FOLDED_OVER = 10
"""If more than so many of one rule may be told at once, one message tells them all."""

MEMORY_MS = 3_600_000
"""For so long an incident that is over is remembered, in case it comes back."""

UNDELIVERED_MS = 24 * 3_600_000
"""For so long it is tried to tell that an incident is over."""

CALM_LOOKS = 2
CALM_MAX_MS = 1_800_000
BACKOFF_MAX_MS = 600_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
TEXT_MAX = 300
LINES_MAX = 5

HELD_BACK = "alerts_held_back"
"""The rule of the message that there are more than may be told."""

Stage = Literal["seen", "open", "over"]
"""Found by one look only; an incident; over for good, unless it comes back soon."""


class Rules(Struct, frozen=True, kw_only=True):
    """What is told, how often at most, and how patient to be.

    Attributes:
        severity: findings of this severity or graver are told, and those that ask a person.
        per_hour: so many messages about single agents and tasks at most in an hour.
        look_ms: from one look to the next while something is unsettled.
    """

    severity: Severity
    per_hour: int
    look_ms: int


class Try(Struct, frozen=True, array_like=True):
    """An attempt to tell one receiver: how many there were, and when the next one is due."""

    count: int
    due_at: int


class Incident(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is or was wrong.

    Attributes:
        finding: as it was when it was opened.
        first_at: when a look first found it.
        stage: see `Stage`.
        opened_at, over_at: when it got into these stages.
        gone_at: since when looks do not find it; 0: the last one did.
        granted: whether its stage may be told, and has been counted.
        fold: the same for all that are told in one message; empty: it is told by itself.
        times: how often it has come back shortly after it was over.
        told: the receivers that know it as open.
        tries: by receiver, attempts to tell its stage that have not succeeded yet.
    """

    finding: Finding
    first_at: int
    stage: Stage = "seen"
    opened_at: int = 0
    over_at: int = 0
    gone_at: int = 0
    granted: bool = False
    fold: str = ""
    times: int = 0
    told: tuple[str, ...] = ()
    tries: dict[str, Try] = field(default_factory=dict)

    @property
    def since_at(self) -> int:
        """Since when it is wrong, as far as is known."""
        return min(self.finding.since_at or self.first_at, self.first_at)


class Book(Struct):
    """All that is known of a pool's incidents.

    Attributes:
        incidents: by the id of their finding.
        told_in: how many messages were granted in each minute of the last hour.
        kept_at: when this was last written for no other reason than to be kept.
    """

    incidents: dict[str, Incident] = field(default_factory=dict)
    told_in: dict[int, int] = field(default_factory=dict)
    kept_at: int = 0


class Attempt(NamedTuple):
    """One message to one receiver: that an incident is open, or that it is over; and so of `others`, told with it."""

    incident: str
    stage: Stage
    receiver: str
    others: tuple[str, ...] = ()

    @property
    def incidents(self) -> tuple[str, ...]:
        """All that the message is about."""
        return self.incident, *self.others


def never(_: Finding) -> bool:
    """All was looked for."""
    return False


def observe(
    book: Book,
    findings: Iterable[Finding],
    now: int,
    rules: Rules,
    out_of_sight: Callable[[Finding], bool] = never,
) -> None:
    """Take in what a look found, and grant what may be told by now.

    What is not found any more and is `out_of_sight` is forgotten: nobody knows that it is over.
    """
    gravity = SEVERITIES.index(rules.severity)
    found = {one.incident: one for one in findings if one.asks or SEVERITIES.index(one.severity) <= gravity}
    for id_, incident in list(book.incidents.items()):
        if incident.finding.rule != HELD_BACK:
            finding = found.pop(id_, None)
            is_lost = finding is None and incident.stage != "over" and out_of_sight(incident.finding)
            _put(book, id_, None if is_lost else _seen_again(incident, finding, now, rules))
    for id_, finding in sorted(found.items(), key=lambda item: SEVERITIES.index(item[1].severity)):
        if len(book.incidents) < MAX_INCIDENTS or not _is_one_of_many(finding):
            book.incidents[id_] = Incident(finding=_bounded(finding), first_at=now)
    _grant(book, now, rules)
    if book.incidents and now - book.kept_at >= HOUR_MS:
        book.kept_at = now


def is_unsettled(book: Book) -> bool:
    """Whether another look soon will tell more: something has just come, or gone."""
    return any(
        incident.stage == "seen" or (incident.stage == "open" and incident.gone_at)
        for incident in book.incidents.values()
    )


def due(book: Book, receivers: Collection[str], now: int) -> list[Attempt]:
    """What can be told to these receivers now: what is about the whole pool first, then what has waited longest."""
    waiting = [item for item in _waiting(book, receivers) if item[0] <= now]

    def rank(item: tuple[int, int, Attempt]) -> tuple[bool, int, int]:
        return _is_one_of_many(book.incidents[item[2].incident].finding), item[0], item[1]

    return [attempt for _, _, attempt in sorted(waiting, key=rank)]


def next_due_at(book: Book, receivers: Collection[str]) -> int | None:
    """When something is to be told to these receivers; None if nothing is."""
    return min((due_at for due_at, _, _ in _waiting(book, receivers)), default=None)


def claim(book: Book, attempt: Attempt, until_at: int) -> None:
    """Nobody else attempts this before `until_at`."""
    for id_ in attempt.incidents:
        _try(book, id_, attempt, lambda count: Try(count + 1, until_at))


def settle(book: Book, attempt: Attempt, now: int, rules: Rules, *, delivered: bool) -> None:
    """What became of an attempt. One that failed is due again after a wait that doubles."""
    first_ms = rules.look_ms / 6
    for id_ in attempt.incidents:
        if delivered:
            _told(book, id_, attempt)
        else:
            _try(book, id_, attempt, lambda n: Try(n, now + int(min(first_ms * 2 ** min(n, 20), BACKOFF_MAX_MS))))


def _told(book: Book, id_: str, attempt: Attempt) -> None:
    incident = book.incidents.get(id_)
    if incident is None:
        return
    told = [receiver for receiver in incident.told if receiver != attempt.receiver]
    if attempt.stage == "open":
        told.append(attempt.receiver)
    tries = {receiver: tried for receiver, tried in incident.tries.items() if receiver != attempt.receiver}
    book.incidents[id_] = replace(incident, told=tuple(told), tries=tries)


# ---------------------------------------------------------------------------------------------- stages


def _seen_again(incident: Incident, finding: Finding | None, now: int, rules: Rules) -> Incident | None:
    """The incident after another look; None to forget it."""
    match incident.stage:
        case "seen":
            if finding is None:
                return None
            is_confirmed = now - incident.first_at >= rules.look_ms / 2
            return _opened(incident, finding, now) if is_confirmed else incident
        case "open":
            return _still_open(incident, finding, now, rules)
        case "over":
            if finding is not None:
                return replace(_opened(incident, finding, now), first_at=now, times=incident.times + 1)
            kept_ms = UNDELIVERED_MS if incident.told else MEMORY_MS
            return incident if now - incident.over_at < kept_ms else None


def _still_open(incident: Incident, finding: Finding | None, now: int, rules: Rules) -> Incident:
    if finding is None:
        if not incident.gone_at:
            return replace(incident, gone_at=now)
        calm_ms = min(rules.look_ms * CALM_LOOKS * 2 ** min(incident.times, 20), CALM_MAX_MS)
        return _over(incident, now) if now - incident.gone_at >= calm_ms else incident
    is_graver = SEVERITIES.index(finding.severity) < SEVERITIES.index(incident.finding.severity)
    asks_again = finding.asks and finding.since_at > incident.finding.since_at
    if is_graver or asks_again:
        return replace(_opened(incident, finding, now), told=())
    return replace(incident, gone_at=0) if incident.gone_at else incident


def _opened(incident: Incident, finding: Finding, now: int) -> Incident:
    """Who was not told that it was over still knows it as open, and is not told again."""
    return replace(
        incident,
        finding=_bounded(finding),
        stage="open",
        opened_at=now,
        gone_at=0,
        granted=False,
        fold="",
        tries=_afresh(incident),
    )


def _over(incident: Incident, now: int) -> Incident:
    """Who was not told of it yet need not be any more."""
    return replace(incident, stage="over", over_at=now, granted=False, fold="", tries=_afresh(incident))


def _afresh(incident: Incident) -> dict[str, Try]:
    """Another message, other attempts; but nobody gets one while an earlier one may be on its way."""
    return {receiver: Try(0, tried.due_at) for receiver, tried in incident.tries.items()}


def _bounded(finding: Finding) -> Finding:
    return replace(
        finding,
        text=finding.text[:TEXT_MAX],
        evidence=tuple(line[:TEXT_MAX] for line in finding.evidence[:LINES_MAX]),
        next_step=finding.next_step[:TEXT_MAX],
    )


def _put(book: Book, id_: str, incident: Incident | None) -> None:
    if incident is None:
        del book.incidents[id_]
    else:
        book.incidents[id_] = incident


# ------------------------------------------------------------------------------------------- the limit


def _grant(book: Book, now: int, rules: Rules) -> None:
    """Let be told what waits, up to the limit, which the whole pool's has not; and once, that there is more."""
    minute = now // MINUTE_MS
    for past in [past for past in book.told_in if not minute - 60 <= past <= minute]:
        del book.told_in[past]
    room = rules.per_hour - sum(book.told_in.values())
    counted = held = 0
    for ids in _messages(book):
        is_limited = _is_one_of_many(book.incidents[ids[0]].finding)
        if is_limited and counted >= room:
            held += len(ids)
            continue
        counted += is_limited
        fold = f"{now}:{ids[0]}" if len(ids) > 1 else ""
        for id_ in ids:
            book.incidents[id_] = replace(book.incidents[id_], granted=True, fold=fold)
    if counted:
        book.told_in[minute] = book.told_in.get(minute, 0) + counted
    _tell_of_held(book, held, now, rules)


def _messages(book: Book) -> list[list[str]]:
    """What is to be told and may not be yet, by message: the whole pool's first, then what has waited longest."""
    waiting = sorted((item for item in book.incidents.items() if _wants_grant(item[1])), key=_rank)
    kinds = Counter(_kind(incident) for _, incident in waiting if _is_one_of_many(incident.finding))
    messages: dict[tuple[str, ...], list[str]] = {}
    for id_, incident in waiting:
        kind = _kind(incident)
        messages.setdefault(kind if kinds[kind] > FOLDED_OVER else (id_,), []).append(id_)
    return list(messages.values())


def _is_one_of_many(finding: Finding) -> bool:
    """Whether it is about one agent or task, as there may be any number of."""
    return finding.subject.startswith(("agent:", "task:"))


def _kind(incident: Incident) -> tuple[str, ...]:
    """The same for all that one message can tell."""
    return incident.finding.rule, incident.finding.severity, incident.stage


def _wants_grant(incident: Incident) -> bool:
    if incident.granted:
        return False
    return incident.stage == "open" or (incident.stage == "over" and bool(incident.told))


def _rank(item: tuple[str, Incident]) -> tuple[bool, int, str]:
    return _is_one_of_many(item[1].finding), _waits_since(item[1]), item[0]


def _waits_since(incident: Incident) -> int:
    return max(incident.opened_at, incident.over_at)


def _tell_of_held(book: Book, held: int, now: int, rules: Rules) -> None:
    said = next((item for item in book.incidents.items() if item[1].finding.rule == HELD_BACK), None)
    if said is not None:
        if not held and now - said[1].opened_at >= HOUR_MS:
            del book.incidents[said[0]]
    elif held:
        finding = Finding(
            rule=HELD_BACK,
            severity=rules.severity,
            subject="pool",
            text=f"{held:,} more alerts are held back, for there were {rules.per_hour:,} within an hour",
            next_step="See all that is wrong with `agentcom check`; alerts.per_hour sets the limit",
        )
        book.incidents[finding.incident] = Incident(
            finding=finding, first_at=now, stage="open", opened_at=now, granted=True
        )


# --------------------------------------------------------------------------------------------- telling


def _waiting(book: Book, receivers: Collection[str]) -> Iterator[tuple[int, int, Attempt]]:
    """What is still to be told: when an attempt is due, since when it waits, and the attempt."""
    messages: dict[tuple[str, str], list[str]] = {}
    for id_, incident in book.incidents.items():
        if not incident.granted:
            continue
        for receiver in receivers:
            if (receiver in incident.told) == (incident.stage == "over"):
                messages.setdefault((incident.fold or id_, receiver), []).append(id_)
    for (_, receiver), ids in messages.items():
        ids.sort(key=lambda id_: _rank((id_, book.incidents[id_])))
        incidents = [book.incidents[id_] for id_ in ids]
        due_at = max(incident.tries[receiver].due_at if receiver in incident.tries else 0 for incident in incidents)
        attempt = Attempt(ids[0], incidents[0].stage, receiver, tuple(ids[1:]))
        yield due_at, min(map(_waits_since, incidents)), attempt


def _try(book: Book, id_: str, attempt: Attempt, after: Callable[[int], Try]) -> None:
    incident = book.incidents.get(id_)
    if incident is not None and incident.stage == attempt.stage:
        tried = incident.tries.get(attempt.receiver)
        tries = incident.tries | {attempt.receiver: after(tried.count if tried else 0)}
        book.incidents[id_] = replace(incident, tries=tries)
