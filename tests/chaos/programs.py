"""The programs of a pool as processes: started, killed, frozen, stopped, and watched for ends that nobody asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
AGENT = Path(__file__).with_name("agent.py")

SCHEDULERS = ("scheduler-1", "scheduler-2")
AGENTS = ("ash", "birch", "cedar", "elm", "oak")
PROGRAMS = (*SCHEDULERS, *AGENTS)
SLOTS = 2

STOP_PATIENCE_S = 45.0
"""A sidecar that is told to stop may let its work end, and retries what it cannot tell a Redis that is away."""

COMMAND_PATIENCE_S = 90.0
"""A command may wait for a Redis that is away, but not for ever."""

ASKED_ENDS = (0, -signal.SIGTERM)
"""How a program may end that was asked to; by the signal itself only before it could listen to it."""

POLICY: dict[str, object] = {
    "accept_s": 2.5,
    "agent_down_s": 10,
    "beat_s": 1,
    "beat_offset_s": 0.2,
    "breaker_s": 2,
    "drain_s": 3,
    "grace_s": 1,
    "journal_entries": 5_000_000,
    "lease_s": 2,
    "livelock_s": 10,
    "max_attempts": 4,
    "max_handbacks": 5,
    "retry_delays_s": "0,1,2",
    "self_test_s": 2,
    "stale_beats": 4,
    "sweep_s": 1,
    "timeout_s": 6,
}
"""An impatient pool, so that much happens in a minute."""

COVERAGE = ("COVERAGE_", "COV_")
"""Programs that are killed at any moment cannot be measured, and measuring slows them down."""


@dataclass
class Program:
    """One program of the pool. `expected` if an end of it is no surprise, or has been taken note of."""

    name: str
    arguments: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    expected: bool = True
    stop_by: float = 0.0
    starts: int = 0

    @property
    def runs(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None


@dataclass
class Pool:
    """A pool's folder, settings and programs; `urls` by program."""

    folder: Path
    urls: dict[str, str]
    exits: list[str] = field(default_factory=list)
    programs: dict[str, Program] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger = self.folder / "ledger.jsonl"
        self.ledger.touch()
        (self.folder / "logs").mkdir()
        self._settings = self.folder / "agentcom.toml"
        self._settings.write_text("".join(map(self._agent_table, AGENTS)), encoding="utf-8")
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith(("AGENTCOM_", *COVERAGE))}
        self._environ["PYTHONPATH"] = str(ROOT)
        known = self._known_settings()
        self._environ |= {
            f"AGENTCOM_POLICY_{name.upper()}": str(value) for name, value in POLICY.items() if f"policy.{name}" in known
        }
        for name in PROGRAMS:
            arguments = ["scheduler"] if name in SCHEDULERS else ["sidecar", "--agent", name]
            self.programs[name] = Program(name, arguments, self.folder / "logs" / f"{name}.log")

    def _agent_table(self, name: str) -> str:
        command = json.dumps([sys.executable, "-I", "-S", str(AGENT)])
        environ = f"{{ CHAOS_LEDGER = {json.dumps(str(self.ledger))} }}"
        return f"[agents.{name}]\ncommand = {command}\nslots = {SLOTS}\nenv = {environ}\n\n"

    def _known_settings(self) -> set[str]:
        """The settings that this AgentCom has: one that it does not know is refused."""
        told = self.command("config", "--json", url="unix:///none")
        assert told.returncode == 0, told.stderr
        return {setting["key"] for setting in json.loads(told.stdout)["settings"]}

    def argv(self, url: str, *arguments: str) -> list[str]:
        """A call of the command line in this pool."""
        options = ["--config", str(self._settings), "--redis", url, "--data-dir", str(self.folder / "data")]
        return [sys.executable, "-m", "agentcom", *options, *arguments]

    def command(self, *arguments: str, url: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line to its end, as a person would. Raises subprocess.TimeoutExpired."""
        return subprocess.run(
            self.argv(url, *arguments),
            env=self._environ, cwd=self.folder, capture_output=True, text=True, check=False, timeout=COMMAND_PATIENCE_S,
        )  # fmt: skip

    # ------------------------------------------------------------- programs

    def start(self, name: str) -> None:
        """Start a program, unless it runs."""
        program = self.programs[name]
        if program.runs:
            return
        self._fell(program)
        program.expected = False
        program.starts += 1
        with program.log.open("ab") as log:
            program.process = subprocess.Popen(
                self.argv(self.urls[name], *program.arguments),
                env=self._environ, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """SIGKILL."""
        program = self.programs[name]
        if program.process is not None and program.runs:
            program.expected, program.stop_by = True, 0.0
            program.process.kill()
            program.process.wait()

    def ask_to_stop(self, name: str) -> None:
        """SIGTERM."""
        program = self.programs[name]
        if program.process is not None and program.runs:
            program.expected = True
            program.stop_by = time.monotonic() + STOP_PATIENCE_S
            program.process.terminate()

    def signal(self, name: str, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT, if it runs."""
        program = self.programs[name]
        if program.process is not None and program.runs:
            program.process.send_signal(number)

    def watch(self) -> list[str]:
        """Who has just ended although nobody asked for it."""
        return [name for name, program in self.programs.items() if self._fell(program)]

    def _fell(self, program: Program) -> bool:
        """Take note of an end, or of an end that does not come. Each is noted once."""
        code = program.process.poll() if program.process is not None else 0
        if code is None:
            if program.stop_by and time.monotonic() > program.stop_by:
                self.exits.append(f"{program.name} did not stop within {STOP_PATIENCE_S:g} s of SIGTERM")
                self.kill(program.name)
            return False
        fell = not program.expected
        if fell:
            self.exits.append(f"{program.name} ended by itself with {code}: {last_words(program.log)}")
        elif program.stop_by and code not in ASKED_ENDS:
            self.exits.append(f"{program.name} ended with {code} on SIGTERM: {last_words(program.log)}")
        program.expected, program.stop_by = True, 0.0
        return fell

    def stop(self) -> None:
        """Ask all to stop, and wait; what hangs is noted and killed."""
        for name in PROGRAMS:
            self.signal(name, signal.SIGCONT)
            self.ask_to_stop(name)
        while any(program.runs for program in self.programs.values()):
            self.watch()
            time.sleep(0.05)
        self.watch()
        self.exits += [found for program in self.programs.values() for found in _tracebacks(program)]

    def end(self) -> None:
        """Whatever happened: nothing stays."""
        for name in PROGRAMS:
            self.kill(name)


def last_words(log: Path) -> str:
    """The last line of a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return lines[-1][:300] if lines else "it said nothing"


def _tracebacks(program: Program) -> list[str]:
    """A program that says a traceback met what nobody had foreseen, even if it goes on."""
    text = program.log.read_text(encoding="utf-8", errors="replace") if program.log.exists() else ""
    parts = [part.splitlines()[1:] for part in text.split("Traceback (most recent call last)")[1:]]
    ends = {next((line for line in part if line and not line.startswith((" ", "+"))), "") for part in parts}
    return [f"{program.name} said a traceback: {end[:300]}" for end in sorted(ends)]
