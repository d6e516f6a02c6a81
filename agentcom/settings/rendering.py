"""Settings as text for people: always one line, never a password."""

import json
import re
from collections.abc import Iterator, Mapping

import msgspec

from agentcom.settings.schema import Loaded, Settings

_USER_INFO = re.compile(r"://([^/?#\s]*)@")
_PASSWORD_OPTION = re.compile(r"([?&](?:sentinel_|ssl_)?password=)[^&#\s]*", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def describe(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Key, value and source of every setting.

    Values are in TOML's notation. Passwords in URLs and the values of agents' variables read `***`, and of the
    receivers of alerts only the schemes are shown.
    """
    return [
        (key, toml_value(_without_secrets(key, value)), escaped(loaded.sources[key]))
        for key, value in entries(loaded.settings)
    ]


def entries(settings: Settings) -> Iterator[tuple[str, object]]:
    """Every setting with its dotted key, in the order of the structs."""
    for name in ("redis", "pool", "data_dir"):
        yield name, getattr(settings, name)
    for name, value in msgspec.structs.asdict(settings.policy).items():
        yield f"policy.{name}", value
    for agent, agent_settings in settings.agents.items():
        for name, value in msgspec.structs.asdict(agent_settings).items():
            yield f"agents.{agent}.{name}", value
    for table in ("alerts", "checks", "gate"):
        for name, value in msgspec.structs.asdict(getattr(settings, table)).items():
            yield f"{table}.{name}", value
    for model, price in settings.prices.items():
        for name, value in msgspec.structs.asdict(price).items():
            yield f"prices.{toml_key(model)}.{name}", value


def _without_secrets(key: str, value: object) -> object:
    if key.startswith("agents.") and key.endswith(".env") and isinstance(value, Mapping):
        return dict.fromkeys(value, "***")
    if key == "alerts.urls" and isinstance(value, tuple):
        return tuple(scheme_only(url) for url in value)
    return value


def scheme_only(url: str) -> str:
    """What may be shown of the URL of a receiver of alerts, nearly all of which is secret: `ntfys://…`."""
    scheme = _SCHEME.match(url)
    return f"{scheme[0]}…" if scheme else "…"


def mask_url(text: str) -> str:
    """`text` with the password of every URL in it replaced by `***`.

    A user name without a password is masked too: a token is often given in its place.
    """

    def mask(match: re.Match[str]) -> str:
        user, colon, _ = match[1].partition(":")
        return f"://{user}:***@" if colon else "://***@"

    return _PASSWORD_OPTION.sub(r"\1***", _USER_INFO.sub(mask, text))


def toml_value(value: object) -> str:
    """`value` as TOML would write it, in one line, with the passwords of URLs masked."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number(value)
        case str():
            return escaped(json.dumps(mask_url(value), ensure_ascii=False))
        case Mapping():
            pairs = (f"{toml_key(str(name))} = {toml_value(item)}" for name, item in value.items())
            return f"{{ {', '.join(pairs)} }}" if value else "{}"
        case list() | tuple():
            return f"[{', '.join(toml_value(item) for item in value)}]"
        case _:
            return f"a value of type {type(value).__name__}"


def toml_key(name: str) -> str:
    """`name` as a TOML key, quoted where it has to be."""
    return name if _BARE_KEY.fullmatch(name) else escaped(json.dumps(name, ensure_ascii=False))


def number(value: float) -> str:
    """The shortest notation: whole numbers without a fraction. Python refuses to write very long ones."""
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a huge number"
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else str(value)


def escaped(text: str) -> str:
    """`text` with every character that would break the line or the terminal written as an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def shortened(text: str, limit: int = 60) -> str:
    """`text`, cut at `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
