"""Where Redis is: every form of address that the setting `redis` takes, read and checked.

    redis://USER:PASSWORD@HOST:6379/DB              one server; rediss:// for TLS
    redis://USER:PASSWORD@HOST:6379,HOST:6379/DB    several, of which one is the primary
    sentinel://USER:PASSWORD@HOST:26379,HOST:26379/SERVICE/DB?sentinel_password=…
    unix://USER:PASSWORD@/run/redis.sock?db=0

User and password are the servers'; what the sentinels ask for is given by options. Everything but SERVICE and HOST may
be left out.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

Place = tuple[str, int]
"""A host and a port."""

ONE_URL = "one URL that starts with redis://, rediss://, unix:// or sentinel://"
EXAMPLES = {
    "redis": "redis://HOST:6379/0",
    "rediss": "rediss://HOST:6379/0",
    "sentinel": "sentinel://HOST:26379/SERVICE/0",
    "unix": "unix:///run/redis.sock",
}

_URL = re.compile(r"([A-Za-z]+)://(?:([^/?#]*)@)?([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?", re.DOTALL)
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]@%]*))(?::([0-9]{1,5}))?")
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")
_DB = re.compile(r"[0-9]{1,5}")

_SERVER_OPTIONS = ("db", "username", "password", "client_name")
_SENTINEL_OPTIONS = ("tls", "sentinel_username", "sentinel_password")
_CHOICES = {
    "tls": ("true", "false"),
    "ssl_check_hostname": ("true", "false"),
    "ssl_cert_reqs": ("required", "optional", "none"),
}
TLS_OPTIONS = (
    "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_cert_reqs",
    "ssl_check_hostname", "ssl_ciphers",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where Redis is, and how to come in.

    Attributes:
        places: of the servers, or of the sentinels if there is a `service`; none for a unix socket.
        path: of the unix socket.
        service: what the sentinels call the group of servers.
        db: number of the database.
        tls: whether to speak TLS, with servers and sentinels alike.
        tls_options: as redis-py calls them, by name.
    """

    places: tuple[Place, ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    tls: bool = False
    tls_options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    client_name: str = ""


def read_address(url: str) -> Address | str:
    """The address that a URL means; else what was expected of it, in words that follow "expected"."""
    if not url.isprintable() or " " in url:
        return "a URL without spaces or control characters"
    match = _URL.fullmatch(url)
    scheme = match[1].lower() if match else ""
    if match is None or scheme not in EXAMPLES:
        return ONE_URL
    user, hosts, path, query, fragment = match.groups(default="")[1:]
    options = {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}
    tls = scheme == "rediss" or (scheme == "sentinel" and options.get("tls") == "true")
    if "@" in user and "," in user.partition("@")[2]:
        return "user and password once, before the first host, with @ in a password as %40"
    expected = _options_problem(scheme, tls, options)
    if expected:
        return expected
    username, _, password = user.partition(":")
    where = _unix(hosts, path, fragment) if scheme == "unix" else _servers(scheme, hosts, path, fragment)
    if isinstance(where, str):
        return where
    return Address(
        places=where.places,
        path=where.path,
        service=where.service,
        db=int(options.get("db") or where.db),
        tls=tls,
        tls_options=tuple((name, value) for name, value in options.items() if name in TLS_OPTIONS),
        username=unquote(username) or options.get("username", ""),
        password=unquote(password) or options.get("password", ""),
        sentinel_username=options.get("sentinel_username", ""),
        sentinel_password=options.get("sentinel_password", ""),
        client_name=options.get("client_name", ""),
    )


def place_name(place: Place) -> str:
    """A place as people write it."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unix(hosts: str, path: str, fragment: str) -> Address | str:
    if hosts or fragment or len(path) < 2:
        return f"the full path of a socket, as in {EXAMPLES['unix']}"
    return Address(path=unquote(path))


def _servers(scheme: str, hosts: str, path: str, fragment: str) -> Address | str:
    example = EXAMPLES[scheme]
    places: list[Place] = []
    for host in hosts.split(","):
        match = _HOST.fullmatch(host)
        port = int(match[3] or (26379 if scheme == "sentinel" else 6379)) if match else 0
        if match is None or port > 65535:
            return f"a URL such as {example}, with reserved characters of a password as %XX"
        name = match[1] or match[2]
        if not name or not port:
            return f"a host and a port, as in {example}, several with commas between them"
        places.append((name, port))
    service, _, db = path[1:].partition("/") if scheme == "sentinel" else ("", "", path[1:])
    if scheme == "sentinel" and not _SERVICE.fullmatch(service):
        return f"the name of a service after the sentinels, as in {example}"
    if fragment or (db and not _DB.fullmatch(db)):
        behind = "service" if scheme == "sentinel" else "host"
        return f"a database number after the {behind}, as in {example}"
    return Address(places=tuple(dict.fromkeys(places)), service=service, db=int(db or 0))


def _options_problem(scheme: str, tls: bool, options: dict[str, str]) -> str | None:
    known = (*_SERVER_OPTIONS, *(_SENTINEL_OPTIONS if scheme == "sentinel" else ()), *(TLS_OPTIONS if tls else ()))
    if any(name in TLS_OPTIONS for name in options) and not tls:
        return "ssl_ options only with rediss://, or with sentinel:// and tls=true"
    if any(name not in known for name in options):
        return f"no other options after the ? than {', '.join(known)}"
    if not _DB.fullmatch(options.get("db", "0")):
        return "a number for the option db"
    for name, choices in _CHOICES.items():
        if options.get(name, choices[0]) not in choices:
            return f"{' or '.join(choices)} for the option {name}"
    return None
