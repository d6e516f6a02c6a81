"""A Redis in memory, as far as AgentCom uses one: the same replies as redis-py gives, on a clock that is passed in.

`tests/simulation/test_redis_model.py` runs the same operations here and on a real server, and compares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from tests.simulation.redis_streams import FIRST, Group, Id, Pending, Stream, parse_id, show_id

WRONG = "WRONGTYPE Operation against a key holding the wrong kind of value"


class ZSet:
    """A sorted set."""

    __slots__ = ("scores",)

    def __init__(self, scores: dict[bytes, float] | None = None) -> None:
        self.scores = scores if scores is not None else {}


Value = bytes | dict[bytes, bytes] | ZSet | Stream
TYPE_NAMES: dict[type, str] = {bytes: "string", dict: "hash", ZSet: "zset", Stream: "stream"}

Script = Callable[["RedisModel", list[str], list[Any]], Any]


def raw(value: Any) -> bytes:
    """An argument as it travels."""
    if type(value) is bytes:
        return value
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value).encode()


class RedisModel:
    """The keys, and what the commands do. Every method has the signature and the reply of redis-py's."""

    def __init__(self, clock: Callable[[], int], scripts: Mapping[str, Script]) -> None:
        self.clock = clock
        self.scripts = scripts
        self.data: dict[str, Any] = {}
        self.ends: dict[str, int] = {}
        self.cached: set[str] = set()
        """Hashes of the scripts that this server knows; it forgets them when it is restarted."""
        self.added: list[str] = []
        """Streams that got entries, or ended, since whoever serves blocked readers last looked."""

    def copy(self) -> RedisModel:
        """The same content, from now on independent: a replica that is cut off, a snapshot."""
        twin = RedisModel(self.clock, self.scripts)
        for key, value in self.data.items():
            if type(value) is dict:
                twin.data[key] = dict(value)
            elif type(value) is ZSet:
                twin.data[key] = ZSet(dict(value.scores))
            else:
                twin.data[key] = value.copy() if type(value) is Stream else value
        twin.ends = dict(self.ends)
        return twin

    # -------------------------------------------------------------- any type

    def look(self, key: str, kind: type | None = None) -> Any:
        """The value, or None; what has expired is gone."""
        end = self.ends.get(key)
        if end is not None and end <= self.clock():
            self.drop(key)
        value = self.data.get(key)
        if kind is not None and value is not None and type(value) is not kind:
            raise ResponseError(WRONG)
        return value

    def drop(self, key: str) -> bool:
        self.ends.pop(key, None)
        value = self.data.pop(key, None)
        if type(value) is Stream:
            self.added.append(key)
        return value is not None

    def type_of(self, key: str) -> str:
        value = self.look(key)
        return "none" if value is None else TYPE_NAMES[type(value)]

    def names(self) -> list[str]:
        return [key for key in list(self.data) if self.look(key) is not None]

    def exists(self, *keys: str) -> int:
        return sum(self.look(key) is not None for key in keys)

    def delete(self, *keys: str) -> int:
        return sum(self.look(key) is not None and self.drop(key) for key in keys)

    def pexpire(self, key: str, milliseconds: Any) -> int:
        if self.look(key) is None:
            return 0
        self.ends[key] = self.clock() + int(milliseconds)
        return 1

    def expire(self, key: str, seconds: Any) -> int:
        return self.pexpire(key, int(seconds) * 1000)

    def pttl(self, key: str) -> int:
        if self.look(key) is None:
            return -2
        return self.ends[key] - self.clock() if key in self.ends else -1

    # --------------------------------------------------------------- strings

    def get(self, key: str) -> bytes | None:
        found: bytes | None = self.look(key, bytes)
        return found

    def set(self, key: str, value: Any, px: Any = None, ex: Any = None) -> bool:
        if self.look(key) is not None and type(self.data[key]) is Stream:
            self.added.append(key)
        self.data[key] = raw(value)
        self.ends.pop(key, None)
        if px is not None:
            self.ends[key] = self.clock() + int(px)
        elif ex is not None:
            self.ends[key] = self.clock() + int(ex) * 1000
        return True

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        values = [self.look(key) for key in keys]
        return [value if type(value) is bytes else None for value in values]

    # ------------------------------------------------- hashes and sorted sets

    def hset_pairs(self, key: str, pairs: Sequence[Any]) -> int:
        fields = self.look(key, dict)
        if fields is None:
            fields = self.data[key] = {}
        before = len(fields)
        for place in range(0, len(pairs), 2):
            fields[raw(pairs[place])] = raw(pairs[place + 1])
        return len(fields) - before

    def hget(self, key: str, field: Any) -> bytes | None:
        return (self.look(key, dict) or {}).get(raw(field))

    def hmget(self, key: str, fields: Sequence[Any]) -> list[bytes | None]:
        found = self.look(key, dict) or {}
        return [found.get(raw(field)) for field in fields]

    def hgetall(self, key: str) -> dict[bytes, bytes]:
        return dict(self.look(key, dict) or {})

    def hdel(self, key: str, *fields: Any) -> int:
        found = self.look(key, dict) or {}
        removed = sum(found.pop(raw(field), None) is not None for field in fields)
        if removed and not found:
            self.drop(key)
        return removed

    def hincrby(self, key: str, field: Any, by: int) -> int:
        value = int(self.hget(key, field) or 0) + by
        self.hset_pairs(key, [field, value])
        return value

    def zadd_pairs(self, key: str, pairs: Sequence[Any]) -> int:
        found = self.look(key, ZSet)
        if found is None:
            found = self.data[key] = ZSet()
        before = len(found.scores)
        for place in range(0, len(pairs), 2):
            found.scores[raw(pairs[place + 1])] = float(pairs[place])
        return len(found.scores) - before

    def zrem(self, key: str, *members: Any) -> int:
        found = self.look(key, ZSet)
        removed = sum(found.scores.pop(raw(member), None) is not None for member in members) if found else 0
        if found and not found.scores:
            self.drop(key)
        return removed

    def zrange(self, key: str, start: int, end: int) -> list[bytes]:
        found = self.look(key, ZSet)
        ordered = sorted(found.scores, key=lambda member: (found.scores[member], member)) if found else []
        return ordered[start : end + 1 if end >= 0 else len(ordered) + end + 1]

    def zcard(self, key: str) -> int:
        found = self.look(key, ZSet)
        return len(found.scores) if found else 0

    # --------------------------------------------------------------- streams

    def stream(self, key: str) -> Stream:
        found = self.look(key, Stream)
        if found is None:
            found = self.data[key] = Stream()
        return found

    def group(self, key: str, name: Any, command: str = "XREADGROUP with GROUP option") -> tuple[Stream, Group]:
        stream = self.look(key, Stream)
        name = name.decode() if isinstance(name, bytes) else name
        if stream is None or name not in stream.groups:
            raise ResponseError(f"NOGROUP No such key '{key}' or consumer group '{name}' in {command}")
        return stream, stream.groups[name]

    def xadd(
        self,
        name: str,
        fields: Mapping[Any, Any],
        id: Any = "*",
        maxlen: int | None = None,
        approximate: bool = True,
    ) -> bytes:
        stream = self.stream(name)
        id_ = stream.next_id(self.clock()) if id == "*" else parse_id(id)
        if id_ <= stream.last:
            raise ResponseError("The ID specified in XADD is equal or smaller than the target stream top item")
        shown = stream.add(id_, {raw(field): raw(value) for field, value in fields.items()})
        if maxlen is not None and len(stream.ids) > maxlen:
            stream.trim_about(maxlen) if approximate else stream._drop_first(len(stream.ids) - maxlen)
        self.added.append(name)
        return shown

    def xlen(self, key: str) -> int:
        stream = self.look(key, Stream)
        return len(stream.ids) if stream else 0

    def xdel(self, key: str, *ids: Any) -> int:
        stream = self.look(key, Stream)
        return sum(stream.delete(parse_id(id_)) for id_ in ids) if stream else 0

    def xtrim_minid(self, key: str, minid: Any) -> int:
        stream = self.look(key, Stream)
        return stream.trim_before(parse_id(minid)) if stream else 0

    def xrange(self, name: str, min: Any = "-", max: Any = "+", count: int | None = None) -> list[Any]:
        stream = self.look(name, Stream)
        found = stream.between(min, max) if stream else []
        return [stream.entries[id_] for id_ in (found if count is None else found[:count])]

    def xrevrange(self, name: str, max: Any = "+", min: Any = "-", count: int | None = None) -> list[Any]:
        found = self.xrange(name, min, max)[::-1]
        return found if count is None else found[:count]

    def xread(self, streams: Mapping[str, Any], count: int | None = None, block: int | None = None) -> list[Any]:
        """What is there; whoever blocks is served by the caller."""
        replies = []
        for key, since in streams.items():
            stream = self.look(key, Stream)
            ids = stream.after(parse_id(since), count) if stream else []
            if ids:
                replies.append([key.encode(), [stream.entries[id_] for id_ in ids]])
        return replies

    def xreadgroup(
        self, group: str, consumer: str, streams: Mapping[str, Any], count: int | None = None, block: int | None = None
    ) -> list[Any]:
        """New entries (`>`), now pending with this consumer."""
        replies = []
        now = self.clock()
        for key, since in streams.items():
            assert since == ">", "only new entries are read"
            stream, members = self.group(key, group)
            members.consumers.setdefault(consumer)
            ids = stream.after(members.delivered, count)
            for id_ in ids:
                members.pending[id_] = Pending(consumer, now, 1)
                members.delivered = id_
            if ids:
                replies.append([key.encode(), [stream.entries[id_] for id_ in ids]])
        return replies

    def xack(self, key: str, group: Any, *ids: Any) -> int:
        stream = self.look(key, Stream)
        members = stream.groups.get(raw(group).decode()) if stream else None
        if members is None:
            return 0
        return sum(members.pending.pop(parse_id(id_), None) is not None for id_ in ids)

    def xpending(self, key: str, group: str) -> dict[str, Any]:
        _, members = self.group(key, group, "XPENDING")
        ids = sorted(members.pending)
        by_consumer: dict[str, int] = {}
        for row in members.pending.values():
            by_consumer[row.consumer] = by_consumer.get(row.consumer, 0) + 1
        return {
            "pending": len(ids),
            "min": show_id(ids[0]) if ids else None,
            "max": show_id(ids[-1]) if ids else None,
            "consumers": [{"name": name.encode(), "pending": by_consumer[name]} for name in sorted(by_consumer)],
        }

    def xpending_range(
        self,
        name: str,
        groupname: str,
        min: Any,
        max: Any,
        count: int,
        consumername: str | None = None,
        idle: int | None = None,
    ) -> list[dict[str, Any]]:
        _, members = self.group(name, groupname, "XPENDING")
        now = self.clock()
        ids = members.range(min, max, count, consumername or "", now - idle if idle else None)
        rows = [(id_, members.pending[id_]) for id_ in ids]
        return [
            {
                "message_id": show_id(id_),
                "consumer": row.consumer.encode(),
                "time_since_delivered": now - row.at,
                "times_delivered": row.count,
            }
            for id_, row in rows
        ]

    def xclaim(
        self, name: str, groupname: str, consumername: str, min_idle_time: int, message_ids: Any, justid: bool = False
    ) -> list[Any]:
        stream, members = self.group(name, groupname, "XCLAIM")
        now = self.clock()
        claimed: list[Id] = []
        for text in message_ids:
            id_ = parse_id(text)
            row = members.pending.get(id_)
            if row is None:
                continue
            if id_ not in stream.entries:
                del members.pending[id_]
                continue
            members.consumers.setdefault(consumername)
            if min_idle_time and now - row.at < min_idle_time:
                continue
            row.consumer, row.at = consumername, now
            row.count += not justid
            claimed.append(id_)
        return [show_id(id_) if justid else stream.entries[id_] for id_ in claimed]

    def xgroup_create(self, name: str, groupname: str, id: Any = "0", mkstream: bool = False) -> bool:
        if self.look(name, Stream) is None and not mkstream:
            raise ResponseError("The XGROUP subcommand requires the key to exist")
        stream = self.stream(name)
        if groupname in stream.groups:
            raise ResponseError("BUSYGROUP Consumer Group name already exists")
        stream.groups[groupname] = Group(FIRST if id in ("0", 0) else parse_id(id))
        return True

    def xgroup_delconsumer(self, name: str, groupname: str, consumername: str) -> int:
        _, members = self.group(name, groupname, "XGROUP")
        members.consumers.pop(consumername, None)
        lost = [id_ for id_, row in members.pending.items() if row.consumer == consumername]
        for id_ in lost:
            del members.pending[id_]
        return len(lost)

    def xinfo_stream(self, name: str) -> dict[str, Any]:
        stream = self.look(name, Stream)
        if stream is None:
            raise ResponseError("no such key")
        return {
            "length": len(stream.ids),
            "last-generated-id": show_id(stream.last),
            "groups": len(stream.groups),
            "last-entry": stream.entries[stream.ids[-1]] if stream.ids else None,
        }

    def xinfo_consumers(self, name: str, groupname: str) -> list[dict[str, Any]]:
        if self.look(name, Stream) is None:
            raise ResponseError("no such key")
        _, members = self.group(name, groupname, "XINFO")
        rows = [row.consumer for row in members.pending.values()]
        return [{"name": name_.encode(), "pending": rows.count(name_)} for name_ in sorted(members.consumers)]

    # --------------------------------------------------------------- scripts

    def evalsha(self, sha: str, number: int, *parts: Any) -> Any:
        if sha not in self.cached:
            raise NoScriptError("No matching script. Please use EVAL.")
        return self.scripts[sha](self, list(parts[:number]), list(parts[number:]))

    def eval(self, source: str, number: int, *parts: Any) -> Any:
        sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        self.cached.add(sha)
        return self.evalsha(sha, number, *parts)
