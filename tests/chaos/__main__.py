"""`python -m tests.chaos --minutes 30 --seed 7`: chaos, and an account of it. Exit code 1 if a promise was broken."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos.faults import SCENARIOS
from tests.chaos.programs import AGENTS, SCHEDULERS, SLOTS
from tests.chaos.run import Account, Run

SHOWN = 12


def main() -> int:
    """Run the scenarios, share the time evenly between them, and print what happened."""
    options = _options()
    signal.signal(signal.SIGTERM, _end)
    names = options.scenario or list(SCENARIOS)
    seconds = options.minutes * 60 / len(names)
    print(f"{len(names)} scenarios of {seconds:.0f} s, seed {options.seed}: {len(SCHEDULERS)} schedulers, "
          f"{len(AGENTS)} sidecars with {SLOTS} slots each")  # fmt: skip
    broken = 0
    for name in names:
        folder = Path(tempfile.mkdtemp(prefix="agentcom-chaos-"))
        print(f"\n{name}: {SCENARIOS[name].about}", flush=True)
        began = time.monotonic()
        account = Run(name, options.seed, seconds, folder).perform()
        tell(account, time.monotonic() - began)
        broken += len(account.violations)
        if account.violations or options.keep:
            print(f"  logs, ledger and data: {folder}")
        else:
            shutil.rmtree(folder)
    print(f"\n{broken} violations" if broken else "\nEvery promise was kept.")
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="of faults, over all scenarios (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="of the plan of faults (default: 1)")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="may be repeated; default: all")
    parser.add_argument("--keep", action="store_true", help="keep the folder even if all went well")
    return parser.parse_args()


def _end(number: int, _: object) -> None:
    """SIGTERM, as from `timeout`, ends what runs as Ctrl-C does: nothing may be left running."""
    sys.exit(128 + number)


def tell(account: Account, took_s: float) -> None:
    """Print what a run did and found."""
    settled = "never" if account.settled_ms is None else f"{account.settled_ms / 1000:.1f} s after the last fault"
    faults = sum(count for name, count in account.faults.items() if name != "skipped")
    print(f"  faults      {faults}: {_listed(account.faults)}")
    print(f"  deeds       {_listed(account.deeds)}")
    if account.network:
        print(f"  network     {_listed(account.network)}")
    print(f"  tasks       {account.acknowledged} acknowledged, {account.gone} of them gone: {_listed(account.states)}")
    print(f"  attempts    {account.runs} processes of agents, {account.overlaps} begun beside a fenced older one")
    print(f"  reasons     {_listed(account.reasons)}")
    print(f"  programs    started {account.starts} times; {account.leaderships} leaderships")
    if account.losses:
        print(f"  lost        {account.losses} times some writes; {account.vanished} journal entries that were seen")
    print(f"  settled     {settled}; {took_s:.0f} s in all")
    print(f"  violations  {len(account.violations)}")
    for rule, count in Counter(violation.rule for violation in account.violations).items():
        print(f"    {rule}: {count}")
        told = [violation.what for violation in account.violations if violation.rule == rule]
        print("\n".join(f"      {what}" for what in told[:SHOWN]))
    sys.stdout.flush()


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"


if __name__ == "__main__":
    sys.exit(main())
