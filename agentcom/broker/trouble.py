"""What Redis may answer instead of doing what was asked: what passes, what retrying cannot mend, and what to say."""

from __future__ import annotations

import re
from typing import NamedTuple

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from agentcom.errors import ConfigurationError, CredentialsRefused, ServerUnavailable
from agentcom.settings.rendering import mask_url

TROUBLE = (RedisError, OSError)
"""Everything that Redis, or the way to it, may answer instead of doing what was asked."""

AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    ClusterDownError,
    TryAgainError,
    OSError,
)
"""What means that Redis is away for the moment, and will be back. Refused credentials are among them: see `is_away`."""

AWAY_CODES = frozenset({"MISCONF", "BUSY", "NOREPLICAS", "UNKILLABLE", "UNBLOCKED"})
"""Answers of the same meaning for which redis-py has no exception: a full disk, a long script, a change of roles."""

REFUSED_IN_SCRIPT = ("ACL failure in script", "The user executing the script can't")
"""How an ACL rule shows that forbids what a script does."""

CREDENTIALS_REMEDY = "Check user and password in the URL, and the user's ACL rules"
SENTINEL_REMEDY = "Check sentinel_username and sentinel_password in the URL"

_IN_PIPELINE = re.compile(r"Command # \d+ \(.*?\) of pipeline caused error: (?:\(([\"'])(.*)\1,\)$)?", re.DOTALL)
_CODE = re.compile(r"[A-Z]{3,}")


class NoPrimary(RedisConnectionError):
    """None of the servers that the address names could be used as the primary, or more than one says that it is."""


class SentinelRefused(AuthenticationError):
    """A sentinel refuses its user or password."""


class Meaning(NamedTuple):
    """What an answer means, and what to do; `quoted` if the server's own words say more."""

    what: str
    remedy: str
    quoted: bool = False


MEANINGS: dict[str, Meaning] = {
    "READONLY": Meaning(
        "this server is a replica and takes no writes",
        "During a fail-over this passes; else name the primary, or all servers, or sentinel:// with --redis",
    ),
    "MASTERDOWN": Meaning(
        "this server is a replica that has lost its primary",
        "During a fail-over this passes; else name the primary, or all servers, or sentinel:// with --redis",
    ),
    "UNBLOCKED": Meaning("the server changed from primary to replica", "It passes when the new primary is found"),
    "LOADING": Meaning("the server was started and still loads its data", "It passes; a large data set takes minutes"),
    "BUSY": Meaning(
        "a script of somebody keeps the server from everything else",
        "If it does not end, SCRIPT KILL ends one that has written nothing",
    ),
    "UNKILLABLE": Meaning("a script that has written already keeps the server busy", "Wait until it ends"),
    "OOM": Meaning(
        "the server's memory is full",
        "Raise maxmemory; meanwhile new work is refused, and what is open is finished",
    ),
    "MISCONF": Meaning("the server cannot save its data, so it takes no writes", "Free its disk", quoted=True),
    "NOREPLICAS": Meaning(
        "fewer replicas are connected than min-replicas-to-write asks for",
        "Bring the replicas back, or lower min-replicas-to-write",
    ),
    "CLUSTERDOWN": Meaning("the server is a node of a Redis Cluster that is down", "Mend the cluster", quoted=True),
    "MOVED": Meaning("the server is a node of a Redis Cluster, which AgentCom cannot use", "Name another server"),
    "CROSSSLOT": Meaning("the server is a node of a Redis Cluster, which AgentCom cannot use", "Name another server"),
    "DENIED": Meaning(
        "the server is in protected mode: it serves its own machine alone",
        "Give it a password, and put it into the URL",
    ),
    "NOAUTH": Meaning("the server asks for a password, and none was given", CREDENTIALS_REMEDY),
    "WRONGPASS": Meaning("the user or the password is wrong", CREDENTIALS_REMEDY, quoted=True),
    "NOPERM": Meaning("the user may not do this", CREDENTIALS_REMEDY, quoted=True),
    "max number of clients reached": Meaning(
        "the server serves as many clients as it may", "Raise maxclients, or end programs that keep connections open"
    ),
    "no answer in time": Meaning(
        "the server is frozen or overloaded, or the network has dropped the connection",
        "Look at the server and at the network between; a new connection is tried",
        quoted=True,
    ),
    "untrusted certificate": Meaning(
        "the server's TLS certificate cannot be trusted",
        "Name the CA with ?ssl_ca_certs=FILE, and the host as the certificate does",
        quoted=True,
    ),
}
"""By the first word of the server's answer, or by a name that was given here."""

_BY_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (ReadOnlyError, "READONLY"),
    (MasterDownError, "MASTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
    (BusyLoadingError, "LOADING"),
    (OutOfMemoryError, "OOM"),
    (NoPermissionError, "NOPERM"),
    (RedisTimeoutError, "no answer in time"),
    (TimeoutError, "no answer in time"),
)

_BY_WORDS = (
    ("max number of clients reached", "max number of clients reached"),
    ("protected mode", "DENIED"),
    ("CERTIFICATE_VERIFY_FAILED", "untrusted certificate"),
    ("Authentication required", "NOAUTH"),
    ("HELLO must be called with the client already authenticated", "NOAUTH"),
    ("NOAUTH", "NOAUTH"),
    ("WRONGPASS", "WRONGPASS"),
    ("invalid username-password pair", "WRONGPASS"),
    *((words, "NOPERM") for words in REFUSED_IN_SCRIPT),
)


def is_away(error: Exception) -> bool:
    """Whether Redis cannot serve for the moment, and will again without anything being changed here."""
    if is_refusal(error):
        return False
    return isinstance(error, AWAY) or (isinstance(error, ResponseError) and _code(error) in AWAY_CODES)


def is_refusal(error: BaseException | None) -> bool:
    """Whether Redis refuses this user: the password, or by an ACL rule a command or key that is needed.

    What is refused while connecting, redis-py wraps in an ordinary ConnectionError.
    """
    if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
        return True
    if isinstance(error, ResponseError):
        return _text(error).startswith(REFUSED_IN_SCRIPT)
    return isinstance(error, RedisConnectionError) and is_refusal(error.__cause__)


def shows_demotion(error: Exception) -> bool:
    """Whether this answer can only come from a server that is not the primary, or ceases to be it."""
    return _code(error) in {"READONLY", "MASTERDOWN", "UNBLOCKED"}


def label_of(error: Exception) -> str:
    """What an error is called, in a few words."""
    return _meaning(error)[0]


def explained(error: Exception) -> str:
    """An error as one line for people: its name, what it means, and what to do."""
    label, meaning = _meaning(error)
    if meaning is None:
        return label
    return f"{label}, {meaning.what}{_quote(error) if meaning.quoted else ''}. {meaning.remedy}"


NO_DATABASE = "DB index is out of range"


def named(error: Exception, url: str) -> Exception:
    """The same error, as one that says what to do; errors that are not Redis's are returned as they are."""
    where = mask_url(url)
    if is_refusal(error):
        return _credentials_refused(error, f"Redis at {where}")
    if not isinstance(error, TROUBLE):
        return error
    if NO_DATABASE in str(error):
        problem = f"Redis at {where} has no database of that number"
        return ConfigurationError(problem, "Name a smaller one, or raise `databases` in the server's configuration")
    label, meaning = _meaning(error)
    if meaning is not None:
        quote = _quote(error) if meaning.quoted else ""
        return ServerUnavailable(f"cannot use Redis at {where}: {label}, {meaning.what}{quote}", meaning.remedy)
    if isinstance(error, RedisConnectionError | OSError):
        remedy = "Start it, or name another with --redis or AGENTCOM_REDIS"
        return ServerUnavailable(f"cannot reach Redis at {where}: {label}", remedy)
    return ServerUnavailable(f"Redis at {where} answered: {label}", "See the server's log")


def stop_if_refused(error: Exception) -> None:
    """End what retrying cannot mend.

    Raises:
        CredentialsRefused: the error says that Redis refuses this user.
    """
    if is_refusal(error):
        raise _credentials_refused(error, "Redis") from error


def _credentials_refused(error: Exception, who: str) -> CredentialsRefused:
    label, meaning = _meaning(error)
    what = label if meaning is None else f"{label}, {meaning.what}{_quote(error) if meaning.quoted else ''}"
    remedy = SENTINEL_REMEDY if isinstance(_root(error), SentinelRefused) else CREDENTIALS_REMEDY
    return CredentialsRefused(f"{who} refused: {what}", remedy)


def _meaning(error: Exception) -> tuple[str, Meaning | None]:
    """What an error is called, and what it means if that is known."""
    root = _root(error)
    text = _text(root)
    label = _code(root)
    if label not in MEANINGS:
        label = next((name for words, name in _BY_WORDS if words in text), "")
    if not label or isinstance(root, NoPrimary | SentinelRefused):
        return text.rstrip(".") or type(root).__name__, None
    return label, MEANINGS[label]


def _code(error: Exception) -> str:
    """The first word of the server's answer, by which it says what kind of answer that is; redis-py takes some off."""
    for kind, code in _BY_CLASS:
        if isinstance(error, kind):
            return code
    if not isinstance(error, ResponseError):
        return ""
    word = _text(error).partition(" ")[0]
    return word if _CODE.fullmatch(word) else ""


def _quote(error: Exception) -> str:
    text = _text(_root(error)).rstrip(".")
    return f" ({text})" if text else ""


def _text(error: Exception) -> str:
    """What was said, in one line, without the command of a pipeline that redis-py puts in front of it."""
    return " ".join(_IN_PIPELINE.sub(r"\2", str(error)).split())


def _root(error: Exception) -> Exception:
    """What a server answered while a connection was made, redis-py wraps in an ordinary ConnectionError."""
    cause = error.__cause__
    return _root(cause) if type(error) is RedisConnectionError and isinstance(cause, RedisError) else error
