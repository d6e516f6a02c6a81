"""Runs the invariants of a checkout on one random cart after the other: soak.py CHECKOUT SECONDS."""

import importlib
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

FIRST_SEED = 1_000
"""Past the seeds that the project's own suite runs."""
SEEDS_BETWEEN_LOOKS = 200
"""How many carts between two looks at the clock."""


def main() -> int:
    """Returns 0 if every cart kept the invariants, 1 at the first that did not."""
    # Without its reader, the agent, the soak has no purpose: it ends silently at its next line.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    root, duration_s = Path(sys.argv[1]), float(sys.argv[2])
    sys.path[:0] = [str(root / "src"), str(root / "tests")]
    check = cast(Callable[[int], None], importlib.import_module("test_invariants").check)
    checked, started_s, said_s = 0, time.monotonic(), 0
    while (elapsed_s := time.monotonic() - started_s) < duration_s:
        if int(elapsed_s) > said_s:
            said_s = int(elapsed_s)
            print(f"soak: {said_s} of {duration_s:g} s, {checked:,} carts, all sound", flush=True)
        for seed in range(FIRST_SEED + checked, FIRST_SEED + checked + SEEDS_BETWEEN_LOOKS):
            try:
                check(seed)
            except Exception as error:
                print(f"soak: cart {seed} is not sound: {error!r}", flush=True)
                return 1
        checked += SEEDS_BETWEEN_LOOKS
    print(f"soak: done, {checked:,} carts, all sound", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
