"""An origin that is dead, hangs, is behind, moves, or asks for a password: found before an agent wakes."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator

import anyio
import pytest

from agentcom.git import GitProblem, Started, publishable, start
from agentcom.git.clone import OURS
from agentcom.processes import identify
from tests.git.lab import BRANCH, Lab, elsewhere

pytestmark = [pytest.mark.process, pytest.mark.pitfall_5]


def ssh(lab: Lab, body: str) -> str:
    """What stands in for ssh: the command that the other machine would run is in $command."""
    script = lab.root / "ssh"
    script.write_text(f'#!/bin/sh\nfor command; do :; done\necho "$command" >> "$0.log"\n{body}\n')
    script.chmod(0o755)
    return str(script)


async def refused(lab: Lab, **names: str) -> GitProblem:
    place = lab.place(**names)  # type: ignore[arg-type]
    answer = await start(place)
    assert isinstance(answer, GitProblem), answer
    assert not place.worktree.exists()
    return answer


async def test_a_dead_origin(lab: Lab):
    lab.origin.rename(lab.root / "gone.git")
    answer = await refused(lab)
    assert answer.reason == "git_fetch_failed"
    assert "cannot be reached" in answer.detail
    assert "\n" not in answer.detail


async def test_an_origin_that_died_after_the_first_attempt_is_not_made_up_for_by_what_is_here(lab: Lab):
    place = lab.place()
    await lab.started(place)
    lab.origin.rename(lab.root / "gone.git")
    for answer in (await start(place), await publishable(place, Started("main", "", "", resumed=False))):
        assert isinstance(answer, GitProblem)
        assert answer.reason == "git_fetch_failed"


async def test_an_origin_that_hangs_is_given_up_and_nothing_is_left_running(lab: Lab):
    pids = lab.root / "pids"
    command = ssh(lab, f"echo $$ >> '{pids}'\nsleep 1000 &\necho $! >> '{pids}'\nwait")
    place = lab.place(url="ssh://host/project", GIT_SSH_COMMAND=command, timeout_s=1.0)
    began = time.monotonic()
    answer = await start(place)
    assert isinstance(answer, GitProblem)
    assert answer.reason == "git_fetch_failed"
    assert "in time" in answer.detail
    assert time.monotonic() - began < 20
    for pid in pids.read_text().split():
        assert await gone(pid)


async def gone(pid: str) -> bool:
    with anyio.move_on_after(10):
        while identify(int(pid)) is not None:
            await anyio.sleep(0.02)
        return True
    return False


async def test_a_start_that_is_canceled_leaves_nothing_running(lab: Lab):
    pids = lab.root / "pids"
    place = lab.place(url="ssh://host/x", GIT_SSH_COMMAND=ssh(lab, f"echo $$ >> '{pids}'\nsleep 1000"))
    async with anyio.create_task_group() as group:
        group.start_soon(start, place)
        with anyio.fail_after(30):
            while not pids.exists() or not pids.read_text().endswith("\n"):
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    assert await gone(pids.read_text().split()[0])


async def test_ssh_is_told_to_ask_nobody(lab: Lab):
    script = lab.root / "ssh"
    script.write_text('#!/bin/sh\necho "$*" >> "$0.log"\nexit 255\n')
    script.chmod(0o755)
    (lab.root / "home" / ".gitconfig").write_text(f'[core]\nsshCommand = "{script}" -i key\n')
    await refused(lab, url="ssh://host/project")
    assert "-i key -o BatchMode=yes" in (lab.root / "ssh.log").read_text()


async def test_a_mirror_that_hands_out_less_than_it_lists_is_refused(lab: Lab):
    behind = lab.root / "behind.git"
    lab.git("clone", "--quiet", "--bare", str(lab.origin), str(behind), cwd=lab.root)
    lab.main_moves()
    # Every other question goes to a replica that has not heard of the new commit.
    odd = 'case "$(wc -l < "$0.log")" in *[13579]) ;;'
    command = ssh(lab, f'{odd} *) command="git-upload-pack \'{behind}\'";; esac\nexec sh -c "$command"')
    answer = await refused(lab, url=f"ssh://host{lab.origin}", GIT_SSH_COMMAND=command)
    assert answer.reason == "git_fetch_failed"
    assert "a mirror that is behind?" in answer.detail


async def test_a_mirror_without_what_origin_had_before_is_refused_and_a_person_can_overrule_that(lab: Lab):
    behind = lab.root / "behind.git"
    lab.git("clone", "--quiet", "--bare", str(lab.origin), str(behind), cwd=lab.root)
    lab.main_moves()
    place = lab.place()
    await lab.started(place)
    answer = await start(elsewhere(place, str(behind)))
    assert isinstance(answer, GitProblem)
    assert answer.reason == "git_fetch_failed"
    _, _, remedy = answer.detail.partition("if it was wound back on purpose: git ")
    assert remedy.endswith(f"update-ref -d {OURS}main")
    lab.git(*remedy.split(), cwd=lab.root)
    assert isinstance(await start(elsewhere(place, str(behind))), Started)


async def test_a_branch_that_moves_between_the_look_and_the_fetch_is_looked_at_again(lab: Lab):
    await lab.started(lab.place())
    person = lab.person()
    news = f'(cd "{person}" && echo x > x && git add x && git commit -qm x && git push -q) > "$0.person" 2>&1'
    body = f'[ "$(wc -l < "$0.log")" -ne 2 ] || {news}\nexec sh -c "$command"'
    lab.main_moves()
    began = await start(lab.place(url=f"ssh://host{lab.origin}", GIT_SSH_COMMAND=ssh(lab, body)))
    assert isinstance(began, Started), began
    assert began.base_sha == lab.sha("main")
    assert lab.git("log", "-1", "--format=%s", "main", cwd=lab.origin) == "x"


async def test_an_origin_without_the_base_or_with_nothing_in_it(lab: Lab):
    assert "has no branch develop" in (await refused(lab, base="develop")).detail
    empty = lab.root / "empty.git"
    lab.git("init", "--quiet", "--bare", "-b", "main", str(empty), cwd=lab.root)
    assert "has no branch main" in (await refused(lab, url=str(empty))).detail
    assert "set `base`" in (await refused(lab, url=str(empty), base="")).detail


async def test_histories_that_have_nothing_in_common_are_a_stale_base(lab: Lab):
    other = lab.root / "other"
    lab.git("init", "--quiet", "-b", BRANCH, str(other), cwd=lab.root)
    lab.git("config", "user.name", "x", cwd=other)
    lab.git("config", "user.email", "x@example.invalid", cwd=other)
    lab.commit(other)
    lab.git("push", "--quiet", str(lab.origin), BRANCH, cwd=other)
    answer = await start(lab.place())
    assert isinstance(answer, GitProblem)
    assert answer.reason == "stale_base"


class AsksForAPassword(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def locked_door() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), AsksForAPassword)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/project.git"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_an_origin_that_wants_a_password_is_not_waited_for(lab: Lab, locked_door: str):
    helper = lab.root / "asked"
    ask = lab.root / "ask"
    ask.write_text(f"#!/bin/sh\ntouch '{helper}'\necho secret\n")
    ask.chmod(0o755)
    answer = await refused(lab, url=locked_door, GIT_ASKPASS=str(ask), SSH_ASKPASS=str(ask), DISPLAY=":0")
    assert answer.reason == "git_fetch_failed"
    assert not helper.exists()


async def test_a_repository_with_sha256_names(lab: Lab):
    origin, work = lab.root / "long.git", lab.root / "long"
    lab.git("init", "--quiet", "--bare", "-b", "main", "--object-format=sha256", str(origin), cwd=lab.root)
    lab.git("init", "--quiet", "-b", "main", "--object-format=sha256", str(work), cwd=lab.root)
    lab.git("config", "user.name", "x", cwd=work)
    lab.git("config", "user.email", "x@example.invalid", cwd=work)
    lab.commit(work)
    lab.git("push", "--quiet", str(origin), "main", cwd=work)
    done = await lab.attempt(lab.place(url=str(origin)), "more.txt")
    assert len(done.evidence.head_sha) == 64
    assert lab.sha(BRANCH, cwd=origin) == done.evidence.head_sha
