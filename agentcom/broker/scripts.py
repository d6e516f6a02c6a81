"""The Lua scripts, run by their hash. The server's script cache is volatile: what is missing is sent again."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError


class Script:
    """One Lua script of `agentcom/broker/lua`."""

    def __init__(self, name: str) -> None:
        self._source = (files("agentcom.broker") / "lua" / f"{name}.lua").read_text(encoding="utf-8")
        self._sha = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Redis, keys: list[str], arguments: list[Any]) -> Any:
        """Run it atomically."""
        try:
            return await redis.evalsha(self._sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await redis.eval(self._source, len(keys), *keys, *arguments)


COMMIT = Script("commit")
LEAD = Script("lead")
RENEW_LEAD = Script("renew_lead")
FINISH = Script("finish")
REPORT = Script("report")
SEND = Script("send")
RENEW = Script("renew")
BEAT = Script("beat")
TAKE_OVER = Script("take_over")
ENSURE_GROUP = Script("ensure_group")
ALERT = Script("alert")
