"""TLS to servers and sentinels, with a certificate that was made a moment ago."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agentcom.broker.connection import connected
from agentcom.broker.embedded import ServerBinary, candidates
from agentcom.errors import ConfigurationError, ServerUnavailable
from tests.broker.groups import SentinelServer, TcpServer, free_port

pytestmark = pytest.mark.process


class Secured(NamedTuple):
    """A server that speaks TLS on a port of its own."""

    server: TcpServer
    binary: ServerBinary
    place: str
    settings: dict[str, object]
    certificate: Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that signs itself; its key is beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl program to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    command = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=loopback"),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"),
    ]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return folder / "cert.pem"


@pytest.fixture
def secured(certificate: Path, tmp_path: Path) -> Iterator[Secured]:
    """On the first server program of this machine that was built with TLS."""
    port = free_port()
    settings = {
        "tls-port": port,
        "tls-cert-file": certificate,
        "tls-key-file": certificate.with_name("key.pem"),
        "tls-ca-cert-file": certificate,
        "tls-auth-clients": "no",
    }
    for number, binary in enumerate(candidates(os.environ)):
        server = TcpServer(tmp_path / f"server{number}", binary, settings)
        try:
            server.start()
        except AssertionError as ended:
            if "Failed finding TLS support" not in str(ended) and "Bad directive" not in str(ended):
                raise
            continue
        yield Secured(server, binary, f"127.0.0.1:{port}", settings, certificate)
        server.kill()
        return
    pytest.skip("no server program here was built with TLS")


async def test_a_server_is_reached_over_tls_alone_and_as_one_of_several(secured: Secured) -> None:
    trusting = f"ssl_ca_certs={secured.certificate}"
    for places in (secured.place, f"127.0.0.1:{free_port()},{secured.place}"):
        async with connected(f"rediss://{places}/2?{trusting}") as connections:
            await connections.commands.set("k", "v")
            assert await connections.blocking.get("k") == b"v"


async def test_a_certificate_that_nobody_vouches_for_is_refused_and_named(secured: Secured) -> None:
    with pytest.raises(ServerUnavailable, match=r"untrusted certificate, .*Name the CA with \?ssl_ca_certs=FILE"):
        async with connected(f"rediss://{secured.place}"):
            raise AssertionError
    async with connected(f"rediss://{secured.place}?ssl_cert_reqs=none&ssl_check_hostname=false") as connections:
        assert await connections.commands.ping()


async def test_a_file_that_is_not_there_is_said_before_anything_is_tried() -> None:
    with pytest.raises(ConfigurationError, match=r"/nowhere/ca\.pem does not exist. It is named by ssl_ca_certs"):
        async with connected("rediss://127.0.0.1:1?ssl_ca_certs=/nowhere/ca.pem", wait=True):
            raise AssertionError


async def test_sentinels_and_the_server_that_they_name_are_reached_over_tls(secured: Secured, tmp_path: Path) -> None:
    port = free_port()
    lines = [f"{name} {value}" for name, value in (secured.settings | {"tls-port": port}).items()]
    watch = f"sentinel monitor secure {secured.place.replace(':', ' ')} 1"
    with SentinelServer(tmp_path / "sentinel", secured.binary, secured.server, *lines, "tls-replication yes", watch):
        url = f"sentinel://127.0.0.1:{port}/secure?tls=true&ssl_ca_certs={secured.certificate}"
        async with connected(url) as connections:
            assert await connections.commands.set("k", "v")
