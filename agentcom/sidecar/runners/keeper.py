"""The parent of an agent's process, which outlives the sidecar and writes down how the agent ended.

Only a parent learns how a process ended, and a sidecar that was started anew is the parent of nothing. So every command
is started by a keeper: a script in a bare interpreter, that imports nothing of AgentCom and knows nothing of the task.

    keeper.py EXIT_FILE PROGRAM [ARGUMENT...]

`EXIT_FILE.new` is there from before the program is started until it ended; then it becomes `EXIT_FILE`, which says
`ended CODE`, with minus the signal's number where a signal ended it, or `unstarted WHY`.
"""

import os
import signal
import sys

ROOM = 512
"""Bytes that the file has from the beginning, so that its end can be written when the disk has become full."""

ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def keep(exit_file: str, argv: list[str]) -> int:
    """Run a program to its end and write that down; its exit code, or 127 if it could not be started.

    Raises:
        OSError: nothing can be written here, so the program was not started.
    """
    note = os.open(f"{exit_file}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    _write(note, f"running {os.getpid()}")
    # Whoever asks the process group to end means the program, from its first moment on; this one has to see its end.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
    try:
        # What this interpreter ignores, the program shall not.
        ignored = [signal.SIGPIPE, signal.SIGXFSZ]
        pid = os.posix_spawnp(argv[0], argv, os.environ, setsigmask=mask, setsigdef=ignored)
    except OSError as error:
        ended, code = f"unstarted {error}", 127
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    else:
        for number in ASKING:
            signal.signal(number, _go_on)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        ended = f"ended {code}"
    _write_end(note, exit_file, ended)
    return code


def _write_end(note: int, exit_file: str, ended: str) -> None:
    try:
        _write(note, ended)
        os.replace(f"{exit_file}.new", exit_file)  # noqa: PTH105 - pathlib takes longer to import than all else
    except OSError:
        # The program may have removed what it did not know.
        try:
            with open(exit_file, "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as above
                file.write(ended)
        except OSError as error:
            sys.stderr.write(f"how this ended cannot be written down: {error}\n")
    os.close(note)


def _write(note: int, text: str) -> None:
    os.pwrite(note, text.encode("utf-8", "replace")[:ROOM].ljust(ROOM), 0)


def _go_on(*_: object) -> None:
    pass


if __name__ == "__main__":
    CODE = keep(sys.argv[1], sys.argv[2:])
    sys.exit(CODE if CODE >= 0 else 128 - CODE)
