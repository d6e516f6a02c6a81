"""An ecosystem file for pm2: facts in, text out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from agentcom.settings import Policy
from agentcom.supervisor.restarts import EXIT_CONFIGURATION, SOUND_AFTER_S
from agentcom.supervisor.units import START_LIMIT_BURST, Service, stop_limit_s

FIRST_DELAY_MS = 500

_HEAD = """\
// pm2 start ecosystem.config.cjs && pm2 save
// Written by `agentcom service pm2`. Unlike systemd, pm2 does not notice a program that hangs.
"""

_FROM_ENVIRONMENT = """\
// Secrets are not written down here: they are taken from the environment of `pm2 start`.
const secret = (name) => {
  if (!process.env[name]) throw new Error(`set ${name} before pm2 start`);
  return process.env[name];
};
"""


def ecosystem(
    services: Iterable[Service],
    argv: tuple[str, ...],
    working_dir: str,
    environment: Mapping[str, str],
    secrets: Iterable[str],
    policy: Policy,
) -> str:
    """A CommonJS module that pm2 takes.

    Args:
        services: what to run.
        argv: the command that every program of the pool begins with; the first is an absolute path.
        working_dir: absolute.
        environment: variables that anyone may read.
        secrets: names of variables whose values must not be written down.
        policy: the pool's.
    """
    apps = [_app(service, argv, working_dir, policy) for service in services]
    names = sorted(secrets)
    variables = [f"  {json.dumps(name)}: {json.dumps(value)}," for name, value in sorted(environment.items())]
    variables += [f"  {json.dumps(name)}: secret({json.dumps(name)})," for name in names]
    env = "\n".join(["const env = {", *variables, "};"])
    body = f"module.exports = {{apps: {json.dumps(apps, indent=2)}.map((app) => ({{...app, env}}))}};"
    return f"{_HEAD}{_FROM_ENVIRONMENT if names else ''}{env}\n{body}\n"


def _app(service: Service, argv: tuple[str, ...], working_dir: str, policy: Policy) -> dict[str, Any]:
    arguments = ["scheduler"] if service.role == "scheduler" else ["sidecar", "--agent", service.agent]
    return {
        "name": service.unit.removesuffix(".service"),
        "script": argv[0],
        "args": [*argv[1:], *arguments],
        "interpreter": "none",
        "cwd": working_dir,
        "autorestart": True,
        "max_restarts": START_LIMIT_BURST,
        "min_uptime": int(SOUND_AFTER_S * 1000),
        "exp_backoff_restart_delay": FIRST_DELAY_MS,
        "stop_exit_codes": [EXIT_CONFIGURATION],
        "kill_timeout": int(stop_limit_s(policy) * 1000),
        # A restarted sidecar finds its agent's process still at work.
        "treekill": service.role == "scheduler",
    }
