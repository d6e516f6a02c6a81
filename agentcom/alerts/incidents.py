"""What is to be told, to whom and when: decided from what looks at the pool find, and from what was told before. Pure.

A finding becomes an incident when two looks have found it, so that what comes and goes in a moment tells nobody. It is
over when it has not been found for some looks: longer, the more often it has come back within an hour. So a thing that
flaps becomes one long incident instead of many short ones.

Several processes share these facts. Who wants to tell something first claims it until a time: if nothing is heard of it
by then, anybody may claim it again. So each message arrives once as long as no teller dies, and at least once if one
does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Literal, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from agentcom.diagnosis.finding import SEVERITIES, Finding, Severity

MAX_INCIDENTS = 500
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
        severity: findings of this severity or graver are told.
        per_hour: so many messages at most in an hour.
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
    """One message to one receiver: that an incident is open, or that it is over."""

    incident: str
    stage: Stage
    receiver: str


def observe(book: Book, findings: Iterable[Finding], now: int, rules: Rules) -> None:
    """Take in what a look found, and grant what may be told by now."""
    gravity = SEVERITIES.index(rules.severity)
    found = {finding.incident: finding for finding in findings if SEVERITIES.index(finding.severity) <= gravity}
    for id_, incident in list(book.incidents.items()):
        if incident.finding.rule != HELD_BACK:
            _put(book, id_, _seen_again(incident, found.pop(id_, None), now, rules))
    for id_, finding in sorted(found.items(), key=lambda item: SEVERITIES.index(item[1].severity)):
        if len(book.incidents) < MAX_INCIDENTS:
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
    """What can be told to these receivers now, what has waited longest first."""
    waiting = _waiting(book, receivers)
    return [attempt for due_at, _, attempt in sorted(waiting, key=lambda item: item[:2]) if due_at <= now]


def next_due_at(book: Book, receivers: Collection[str]) -> int | None:
    """When something is to be told to these receivers; None if nothing is."""
    return min((due_at for due_at, _, _ in _waiting(book, receivers)), default=None)


def claim(book: Book, attempt: Attempt, until_at: int) -> None:
    """Nobody else attempts this before `until_at`."""
    _try(book, attempt, lambda count: Try(count + 1, until_at))


def settle(book: Book, attempt: Attempt, now: int, rules: Rules, *, delivered: bool) -> None:
    """What became of an attempt. One that failed is due again after a wait that doubles."""
    incident = book.incidents.get(attempt.incident)
    if incident is None:
        return
    if not delivered:
        first_ms = rules.look_ms / 6
        _try(book, attempt, lambda count: Try(count, now + int(min(first_ms * 2 ** min(count, 20), BACKOFF_MAX_MS))))
        return
    told = [receiver for receiver in incident.told if receiver != attempt.receiver]
    if attempt.stage == "open":
        told.append(attempt.receiver)
    tries = {receiver: tried for receiver, tried in incident.tries.items() if receiver != attempt.receiver}
    book.incidents[attempt.incident] = replace(incident, told=tuple(told), tries=tries)


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
    if is_graver:
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
        tries=_afresh(incident),
    )


def _over(incident: Incident, now: int) -> Incident:
    """Who was not told of it yet need not be any more."""
    return replace(incident, stage="over", over_at=now, granted=False, tries=_afresh(incident))


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
    """Let be told what waits, the oldest first, up to the limit; and once, that there is more."""
    minute = now // MINUTE_MS
    for past in [past for past in book.told_in if not minute - 60 <= past <= minute]:
        del book.told_in[past]
    waiting = sorted((item for item in book.incidents.items() if _wants_grant(item[1])), key=_waits_since)
    room = rules.per_hour - sum(book.told_in.values())
    granted = waiting[: max(room, 0)]
    for id_, incident in granted:
        book.incidents[id_] = replace(incident, granted=True)
    if granted:
        book.told_in[minute] = book.told_in.get(minute, 0) + len(granted)
    _tell_of_held(book, len(waiting) - len(granted), now, rules)


def _wants_grant(incident: Incident) -> bool:
    if incident.granted:
        return False
    return incident.stage == "open" or (incident.stage == "over" and bool(incident.told))


def _waits_since(item: tuple[str, Incident]) -> tuple[int, str]:
    return max(item[1].opened_at, item[1].over_at), item[0]


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
    for id_, incident in book.incidents.items():
        if not incident.granted:
            continue
        for receiver in receivers:
            if (receiver in incident.told) == (incident.stage == "over"):
                tried = incident.tries.get(receiver)
                since_at = max(incident.opened_at, incident.over_at)
                yield (tried.due_at if tried else 0), since_at, Attempt(id_, incident.stage, receiver)


def _try(book: Book, attempt: Attempt, after: Callable[[int], Try]) -> None:
    incident = book.incidents.get(attempt.incident)
    if incident is not None and incident.stage == attempt.stage:
        tried = incident.tries.get(attempt.receiver)
        tries = incident.tries | {attempt.receiver: after(tried.count if tried else 0)}
        book.incidents[attempt.incident] = replace(incident, tries=tries)
