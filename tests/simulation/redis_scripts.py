"""The Lua scripts of `agentcom/broker/lua`, said again in Python, command by command."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from agentcom.broker import scripts
from tests.simulation.redis_model import RedisModel, Script, raw

TYPES = {
    "HSET": "hash",
    "HDEL": "hash",
    "ZADD": "zset",
    "ZREM": "zset",
    "HAS": "stream",
    "XADD": "stream",
    "XACK": "stream",
    "XDEL": "stream",
    "XTRIM": "stream",
}

INCARNATION = re.compile(rb'"incarnation":"([^"\\]+)"')

# ------------------------------------------------- commands, as scripts call them


def _set(model: RedisModel, key: str, value: Any, unit: str = "", length: Any = None) -> None:
    model.set(key, value, ex=length if unit == "EX" else None, px=length if unit == "PX" else None)


def _xadd(model: RedisModel, key: str, *rest: Any) -> None:
    about = int(rest[2]) if rest[0] == "MAXLEN" else None
    fields = rest[4:] if about is not None else rest[1:]
    model.xadd(key, dict(zip(fields[::2], fields[1::2], strict=True)), maxlen=about)


def _xtrim(model: RedisModel, key: str, how: str, bound: Any) -> None:
    assert how == "MINID"
    model.xtrim_minid(key, bound)


COMMANDS: dict[str, Callable[..., Any]] = {
    "SET": _set,
    "EXPIRE": RedisModel.expire,
    "DEL": RedisModel.delete,
    "XADD": _xadd,
    "XACK": RedisModel.xack,
    "XDEL": RedisModel.xdel,
    "XTRIM": _xtrim,
    "HSET": lambda model, key, *pairs: model.hset_pairs(key, pairs),
    "HDEL": RedisModel.hdel,
    "ZADD": lambda model, key, *pairs: model.zadd_pairs(key, pairs),
    "ZREM": RedisModel.zrem,
    "HAS": lambda model, key, id_: None,
}


def _would_trim_unread(model: RedisModel, key: str, position: Any) -> bool:
    return not model.xrange(key, position, position) and bool(model.xrange(key, "-", position, count=1))


def commands_of(keys: list[str], arguments: list[Any]) -> list[tuple[str, str, list[Any]]]:
    """The commands of a commit's call: name, key, arguments."""
    found = []
    at = 6
    while at < len(arguments):
        size = int(arguments[at])
        found.append((arguments[at + 1], keys[int(arguments[at + 2]) - 1], arguments[at + 3 : at + 3 + size]))
        at += 3 + size
    return found


# -------------------------------------------------------------------- the scripts


def commit(model: RedisModel, keys: list[str], arguments: list[Any]) -> Any:
    epoch, seq, id_, owner = model.hmget(keys[0], ["epoch", "seq", "id", "owner"])
    if id_ == raw(arguments[2]):
        return b"repeated"
    refusal = fence(epoch, seq, owner, arguments)
    if refusal:
        return refusal
    leads = model.get(keys[1]) == raw(arguments[3])
    fresh = int(arguments[5])
    if fresh and model.exists(*keys[2 : 2 + fresh]):
        return b"exists"
    listed = commands_of(keys, arguments)
    for name, key in dict.fromkeys((name, key) for name, key, _ in listed):
        found = model.type_of(key)
        if name in TYPES and found not in (TYPES[name], "none"):
            raise ResponseError(f"WRONGTYPE {key} is a {found}, not a {TYPES[name]}")
    if any(name == "HAS" and _would_trim_unread(model, key, rest[0]) for name, key, rest in listed):
        return b"moved"
    failure: ResponseError | None = None
    for name, key, rest in listed:
        try:
            COMMANDS[name](model, key, *rest)
        except ResponseError as error:
            failure = failure or error
    model.hset_pairs(keys[0], ["seq", int(arguments[1]) + 1, "id", arguments[2]])
    if leads:
        model.pexpire(keys[1], arguments[4])
    if failure is not None:
        raise failure
    return b"done"


def fence(epoch: bytes | None, seq: bytes | None, owner: bytes | None, arguments: list[Any]) -> bytes:
    """The compare of the compare-and-swap: why a commit is refused, if it is."""
    if epoch != raw(arguments[0]) or owner != raw(arguments[3]):
        return b"deposed"
    return b"moved" if (seq or b"0") != raw(arguments[1]) else b""


def lead(model: RedisModel, keys: list[str], arguments: list[Any]) -> Any:
    leader = model.get(keys[1])
    if leader is not None and leader != raw(arguments[0]):
        if model.pttl(keys[1]) == -1:
            model.pexpire(keys[1], arguments[1])
        return None
    for field in ("epoch", "seq"):
        found = model.hmget(keys[0], [field])[0]
        if found is not None and not (len(found) <= 15 and found.isdigit()):
            model.hset_pairs(keys[0], [field, "0"])
    owner, _, entries, size = arguments
    model.hset_pairs(keys[0], ["owner", owner, "max_inbox", entries, "max_inbox_bytes", size])
    model.set(keys[1], arguments[0], px=arguments[1])
    return model.hincrby(keys[0], "epoch", 1)


def renew_lead(model: RedisModel, keys: list[str], arguments: list[Any]) -> Any:
    if model.get(keys[0]) != raw(arguments[0]):
        return 0
    if raw(arguments[1]) == b"0":
        return model.delete(keys[0])
    return model.pexpire(keys[0], arguments[1])


def finish(model: RedisModel, keys: list[str], arguments: list[Any]) -> Any:
    settled = int(arguments[1])
    for body in arguments[2 + settled :]:
        model.xadd(keys[0], {b"m": body})
    if settled:
        model.xack(keys[1], arguments[0], *arguments[2 : 2 + settled])
        model.xdel(keys[1], *arguments[2 : 2 + settled])
    return len(arguments) - 2 - settled


def report(model: RedisModel, keys: list[str], arguments: list[Any]) -> Any:
    waiting = model.xlen(keys[0])
    if waiting >= int(arguments[0]):
        raise ResponseError(f"FULL {waiting} reports wait unread, and no more may: no scheduler reads them")
    for body in arguments[1:]:
        model.xadd(keys[0], {b"m": body})
    return len(arguments) - 1


def send(model: RedisModel, keys: list[str], arguments: list[Any]) -> Any:
    most = int(model.hget(keys[1], "max_inbox") or arguments[0])
    if arguments[1] == "reserve":
        most += max(100, most // 10)
    waiting = model.xlen(keys[0])
    if waiting + len(arguments) - 4 + int(arguments[2]) > most:
        return [waiting, most]  # of memory there is no model
    return [model.xadd(keys[0], {b"m": body}) for body in arguments[4:]]


def owns(model: RedisModel, key: str, group: str, entry: Any, consumer: str) -> bool:
    """Whether this consumer has this entry pending."""
    rows = model.xpending_range(key, group, entry, entry, 1)
    return bool(rows) and rows[0]["consumer"] == raw(consumer)


def renew(model: RedisModel, keys: list[str], arguments: list[Any]) -> Any:
    group, consumer, *entries = arguments
    lost = []
    for entry in entries:
        if owns(model, keys[0], group, entry, consumer):
            model.xclaim(keys[0], group, consumer, 0, [entry], justid=True)
        else:
            lost.append(raw(entry))
    return lost


def beat(model: RedisModel, keys: list[str], arguments: list[Any]) -> Any:
    last = model.look(keys[0])
    if type(last) is bytes and model.pttl(keys[0]) > int(arguments[3]):
        found = INCARNATION.search(last)
        if found and is_newer(found[1], raw(arguments[2])):
            return found[1]
    model.set(keys[0], arguments[0], px=arguments[1])
    return b"OK"


def is_newer(one: bytes, other: bytes) -> bool:
    """Whether a start of a sidecar is a later one."""
    return one > other


def take_over(model: RedisModel, keys: list[str], arguments: list[Any]) -> Any:
    group, consumer, *older = arguments
    for name in older:
        for row in model.xpending_range(keys[0], group, "-", "+", 1 << 30, consumername=name):
            model.xclaim(keys[0], group, consumer, 0, [row["message_id"]], justid=True)
        model.xgroup_delconsumer(keys[0], group, name)


def ensure_group(model: RedisModel, keys: list[str], arguments: list[Any]) -> Any:
    try:
        model.xgroup_create(keys[0], arguments[0], "0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
    return b"OK"


PYTHON: dict[str, Script] = {
    "commit": commit,
    "lead": lead,
    "renew_lead": renew_lead,
    "finish": finish,
    "report": report,
    "send": send,
    "renew": renew,
    "beat": beat,
    "take_over": take_over,
    "ensure_group": ensure_group,
}

NAMES: dict[str, str] = {
    script._sha: name.lower() for name, script in vars(scripts).items() if isinstance(script, scripts.Script)
}
"""Which script a hash means."""

BY_SHA: dict[str, Script] = {
    sha: lambda model, keys, arguments, name=name: PYTHON[name](model, keys, arguments)  # type: ignore[misc]
    for sha, name in NAMES.items()
}


def script_of(command: str, text: str) -> str:
    """Which script an EVALSHA, which has its hash, or an EVAL, which has its text, is about."""
    return NAMES[text if command == "evalsha" else hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()]
