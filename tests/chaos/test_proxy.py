"""The proxy of the chaos runs does to a connection what its conditions say."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.proxy import Proxy

SOON_S = 5.0
SILENCE_S = 0.3


class Echo:
    """A server on a unix socket that says back what it is told, and remembers it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while chunk := connection.recv(100):
                self.heard += chunk
                connection.sendall(chunk)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Echo]:
    server = Echo(tmp_path / "echo.sock")
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.path, ["a", "b"]) as running:
        yield running


def connect(proxy: Proxy, name: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.doors[name].port), timeout=SOON_S)
    client.settimeout(SOON_S)
    return client


def is_silent(client: socket.socket) -> bool:
    client.settimeout(SILENCE_S)
    try:
        client.recv(100)
    except TimeoutError:
        return True
    finally:
        client.settimeout(SOON_S)
    return False


def is_ended(client: socket.socket) -> bool:
    try:
        return client.recv(100) == b""
    except ConnectionResetError:
        return True


def said_back(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return client.recv(100)


def test_a_clear_door_lets_everything_through(proxy: Proxy) -> None:
    with connect(proxy, "a") as client:
        assert said_back(client, b"hello") == b"hello"


def test_a_cut_ends_the_connections_of_one_door_alone(proxy: Proxy) -> None:
    with connect(proxy, "a") as cut, connect(proxy, "b") as other:
        assert said_back(cut, b"1") == said_back(other, b"1")
        assert proxy.cut("a") == 1
        assert is_ended(cut)
        assert said_back(other, b"2") == b"2"
    with connect(proxy, "a") as again:
        assert said_back(again, b"3") == b"3"


def test_a_muted_connection_stays_open_and_dead_for_ever(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy, "a") as client:
        assert said_back(client, b"1") == b"1"
        proxy.set("a", "mute")
        client.sendall(b"swallowed")
        assert is_silent(client)
        proxy.set("a", "clear")
        client.sendall(b"too late")
        assert is_silent(client)
        assert echo.heard == b"1"
        with connect(proxy, "a") as fresh:
            assert said_back(fresh, b"2") == b"2"


def test_behind_a_deaf_door_requests_arrive_and_replies_do_not(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy, "a") as client:
        proxy.set("a", "deaf")
        client.sendall(b"done once")
        assert is_silent(client)
        assert echo.heard == b"done once"


def test_a_delayed_connection_loses_nothing(proxy: Proxy) -> None:
    with connect(proxy, "a") as client:
        assert said_back(client, b"1") == b"1"
        proxy.set("a", "delay", 0.2)
        began = time.monotonic()
        assert said_back(client, b"late") == b"late"
        assert time.monotonic() - began >= 0.4
        proxy.set("a", "clear")
        assert said_back(client, b"2") == b"2"


def test_a_refusing_door_lets_nobody_in(proxy: Proxy, echo: Echo) -> None:
    proxy.set("a", "refuse")
    with connect(proxy, "a") as client:
        assert is_ended(client)
    assert echo.heard == b""


def test_a_server_that_is_away_ends_the_connection(proxy: Proxy, echo: Echo) -> None:
    echo.path.unlink()
    with connect(proxy, "a") as client:
        assert is_ended(client)
