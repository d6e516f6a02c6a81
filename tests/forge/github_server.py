"""A part of GitHub's REST API on loopback: with state, strict with what it is sent, and failing as it is told."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

TOKEN = "ghp_loopback-secret-0123456789"
REPO = "acme/shop"
PREFIX = "/api/v3"
"""Where GitHub Enterprise has its API."""

MADE = "2026-01-01T00:00:00Z"


@dataclass
class Asked:
    """One request."""

    verb: str
    path: str
    parameters: dict[str, str]
    said: Any


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of a kind. With `done`, the request is carried out all the same.

    Without a `status`, the connection is cut, or hangs.
    """

    verb: str
    path: str
    status: int = 0
    text: str = '{"message": "Server Error"}'
    headers: dict[str, str] = field(default_factory=dict)
    done: bool = False
    hangs: bool = False
    times: int = 1


class Refused(Exception):
    def __init__(
        self, status: int, message: str, errors: list[dict[str, str]] | None = None, location: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"Location": location} if location else {}
        self.document = {"message": message, "errors": errors or [], "documentation_url": "https://docs.github.com"}


class GithubServer:
    """The repository `REPO`. Branches are what tests set; `pulls` is what the API made of requests."""

    def __init__(self) -> None:
        self.name = REPO
        self.old_name = ""
        self.token = TOKEN
        self.branches = {"main": "a" * 40}
        self.commits: dict[str, list[str]] = {}
        self.pulls: list[dict[str, Any]] = []
        self.asked: list[Asked] = []
        self.wrong: list[str] = []
        self.faults: list[Fault] = []
        self.allow_merge_commit = True
        self.indexed = True
        self.before_create: Callable[[], None] = lambda: None
        self.released = threading.Event()
        self._lock = threading.Lock()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    def fails(self, verb: str, path: str, status: int = 0, **how: Any) -> None:
        """The next request of this kind goes wrong. `path` is a pattern for what follows the repository."""
        self.faults.append(Fault(verb, path, status, **how))

    def writes(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.verb != "GET"]

    def add_pull(self, branch: str, *, body: str = "", owner: str = "acme", state: str = "open") -> dict[str, Any]:
        """A pull request that somebody else made."""
        number = len(self.pulls) + 1
        name = f"{owner}/shop"
        pull = {
            "number": number,
            "url": f"{self.url}/repos/{self.name}/pulls/{number}",
            "html_url": f"http://127.0.0.1:{self.port}/{self.name}/pull/{number}",
            "state": "closed" if state == "merged" else state,
            "merged_at": MADE if state == "merged" else None,
            "merge_commit_sha": None,
            "title": "a title",
            "body": body,
            "user": {"login": owner},
            "head": {"ref": branch, "sha": self.branches.get(branch, "f" * 40), "repo": {"full_name": name}},
            "base": {"ref": "main", "sha": self.branches["main"], "repo": {"full_name": self.name}},
        }
        self.pulls.append(pull)
        return pull

    # ------------------------------------------------------------- requests

    def answer(self, asked: Asked, authorization: str) -> Any:
        with self._lock:
            self.asked.append(asked)
            if authorization != f"token {self.token}":
                raise Refused(401, "Bad credentials")
            if asked.path == "/search/issues":
                return self._search(asked)
            match = re.fullmatch(r"/repos/([^/]+/[^/]+)(/.*)?", asked.path)
            if match is not None and match[1] == self.old_name:
                status = 301 if asked.verb == "GET" else 307
                query = urlencode(asked.parameters)
                location = f"{self.url}/repos/{self.name}{match[2] or ''}?{query}"
                raise Refused(status, "Moved Permanently", location=location)
            if match is None or match[1].lower() != self.name.lower():
                raise Refused(404, "Not Found")
            return self._of_repo(asked, match[2] or "")

    def _of_repo(self, asked: Asked, path: str) -> Any:
        number = re.fullmatch(r"/pulls/(\d+)(/merge)?", path)
        if (asked.verb, path) == ("GET", ""):
            return {"full_name": self.name, "allow_merge_commit": self.allow_merge_commit, "private": True}
        if (asked.verb, path) == ("GET", "/pulls"):
            return self._list(asked)
        if (asked.verb, path) == ("POST", "/pulls"):
            return self._create(asked)
        if asked.verb == "GET" and path.startswith("/git/ref/heads/"):
            return {"object": {"sha": self.branches[path.removeprefix("/git/ref/heads/")], "type": "commit"}}
        if asked.verb == "GET" and path.startswith("/git/commits/"):
            sha = path.removeprefix("/git/commits/")
            return {"sha": sha, "parents": [{"sha": parent} for parent in self.commits[sha]]}
        if number and int(number[1]) <= len(self.pulls):
            pull = self.pulls[int(number[1]) - 1]
            if (asked.verb, number[2]) == ("GET", None):
                return pull
            if (asked.verb, number[2]) == ("PATCH", None):
                assert set(asked.said) == {"title", "body"}, asked
                return pull | pull.__ior__(asked.said)
            if (asked.verb, number[2]) == ("PUT", "/merge"):
                return self._merge(asked, pull)
        raise Refused(404, "Not Found")

    def _list(self, asked: Asked) -> Any:
        known = {"state", "head", "sort", "direction", "per_page", "page"}
        assert set(asked.parameters) <= known, asked
        wanted = asked.parameters.get("state", "open")
        found = [pull for pull in self.pulls if wanted in ("all", pull["state"])]
        if "head" in asked.parameters:
            owner, _, branch = asked.parameters["head"].partition(":")
            found = [pull for pull in found if (pull["user"]["login"], pull["head"]["ref"]) == (owner, branch)]
        if asked.parameters.get("direction") == "desc":
            found.reverse()
        size, page = int(asked.parameters.get("per_page", "30")), int(asked.parameters.get("page", "1"))
        assert size <= 100
        return found[size * (page - 1) : size * page]

    def _search(self, asked: Asked) -> Any:
        match = re.fullmatch(r'"([^"]+)" in:body is:pr repo:(\S+)', asked.parameters["q"])
        assert match is not None, asked
        hits = [pull for pull in self.pulls if self.indexed and match[1] in (pull["body"] or "")]
        return {"total_count": len(hits), "incomplete_results": not self.indexed, "items": hits}

    def _create(self, asked: Asked) -> Any:
        self.before_create()
        said = asked.said
        assert set(said) == {"title", "body", "head", "base"}, asked
        if said["base"] not in self.branches:
            raise Refused(422, "Validation Failed", [{"resource": "PullRequest", "field": "base", "code": "invalid"}])
        if said["head"] not in self.branches:
            raise Refused(422, "Validation Failed", [{"resource": "PullRequest", "field": "head", "code": "invalid"}])
        if self.branches[said["head"]] == self.branches[said["base"]]:
            why = f"No commits between {said['base']} and {said['head']}"
            raise Refused(422, "Validation Failed", [{"resource": "PullRequest", "code": "custom", "message": why}])
        own = [pull for pull in self.pulls if pull["user"]["login"] == "acme" and pull["state"] == "open"]
        if any(pull["head"]["ref"] == said["head"] for pull in own):
            why = f"A pull request already exists for acme:{said['head']}."
            raise Refused(422, "Validation Failed", [{"resource": "PullRequest", "code": "custom", "message": why}])
        pull = self.add_pull(said["head"], body=said["body"])
        pull["title"] = said["title"]
        return pull

    def _merge(self, asked: Asked, pull: dict[str, Any]) -> Any:
        assert set(asked.said) == {"sha", "merge_method", "commit_message"}, asked
        head = self.branches[pull["head"]["ref"]]
        if asked.said["sha"] != head:
            raise Refused(409, "Head branch was modified. Review and try the merge again.")
        if pull["state"] != "open":
            raise Refused(405, "Pull Request is not mergeable")
        if asked.said["merge_method"] == "merge" and not self.allow_merge_commit:
            raise Refused(405, "Merge commits are not allowed on this repository.")
        sha = f"{len(self.commits) + 1:040x}"
        self.commits[sha] = [self.branches["main"], head]
        self.branches["main"] = sha
        pull.update(state="closed", merged_at=MADE, merge_commit_sha=sha)
        return {"sha": sha, "merged": True, "message": "Pull Request successfully merged"}

    def take_fault(self, asked: Asked) -> Fault | None:
        path = asked.path.removeprefix(f"/repos/{self.name}")
        with self._lock:
            for fault in self.faults:
                if fault.verb == asked.verb and re.fullmatch(fault.path, path) and fault.times:
                    fault.times -= 1
                    return fault
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    forge: GithubServer

    def _handle(self) -> None:
        asked = self._asked()
        fault = self.forge.take_fault(asked)
        status, text = 0, ""
        headers: dict[str, str] = {}
        if fault is None or fault.done:
            status, text, headers = self._performed(asked)
        if fault is not None:
            if fault.hangs:
                self.forge.released.wait(60)
            if not fault.status:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, text, headers = fault.status, fault.text, fault.headers
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_PUT = _handle

    def _asked(self) -> Asked:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if not url.path.startswith(PREFIX) or not self.headers.get("User-Agent", "").startswith("agentcom/"):
            self.forge.wrong.append(f"{self.command} {self.path} {self.headers}")
        parameters = {name: values[0] for name, values in parse_qs(url.query).items()}
        return Asked(self.command, url.path.removeprefix(PREFIX), parameters, json.loads(body) if body else None)

    def _performed(self, asked: Asked) -> tuple[int, str, dict[str, str]]:
        try:
            answer = self.forge.answer(asked, self.headers.get("Authorization", ""))
        except Refused as refused:
            return refused.status, json.dumps(refused.document), refused.headers
        except Exception as error:
            self.forge.wrong.append(f"{type(error).__name__}: {error}: {asked}")
            return 500, "{}", {}
        return (201 if asked.verb == "POST" else 200), json.dumps(answer), {}

    def log_message(self, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is what some tests are about."""


@contextmanager
def github_server() -> Iterator[GithubServer]:
    """A server that is up; whoever asked it for what it does not have, or wrongly, is told at the end."""
    forge = GithubServer()
    handler = type("BoundHandler", (Handler,), {"forge": forge})
    with _Server(("127.0.0.1", 0), handler) as server:
        forge.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield forge
        finally:
            forge.released.set()
            server.shutdown()
            thread.join()
    assert not forge.wrong, forge.wrong
