"""`python -m tests.simulation --seed 7`, or `--seeds 1..500`, or `--lifecycles 1000000`."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.campaign import Campaign
from tests.simulation.play import play_seed
from tests.simulation.scenario import FAULTS, PROFILES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default=None, help="what a seed stands for (default: wild)")
    parser.add_argument("--seed", type=int, help="replay this one, and tell its story")
    parser.add_argument("--seeds", default="1..100", help="FIRST..LAST, or how many from 1 on")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long")
    parser.add_argument("--lifecycles", type=int, default=0, help="run seeds until so many tasks have ended")
    parser.add_argument("--processes", type=int, default=0, help="how many at once (default: one for each core)")
    parser.add_argument("--only", default="", help="only these faults, with commas; for the profile wild")
    parser.add_argument("--all", action="store_true", help="go on after a failure")
    options = parser.parse_args()
    only = tuple(name for name in options.only.split(",") if name)
    unknown = set(only) - set(FAULTS)
    if unknown:
        parser.error(f"there is no fault {sorted(unknown)[0]!r}; there are {', '.join(FAULTS)}")
    if options.seed is not None:
        return replay(options.seed, options.profile or "wild", only)
    first, _, last = options.seeds.partition("..")
    seeds = range(int(first), int(last) + 1) if last else range(1, int(first) + 1)
    campaign = Campaign(options.profile or ("mild" if options.lifecycles else "wild"), options.processes, only)
    return campaign.run(seeds, minutes=options.minutes, lifecycles=options.lifecycles, go_on=options.all)


def replay(seed: int, profile: str, only: tuple[str, ...]) -> int:
    result = play_seed(seed, profile, only, tracing=True)
    print("\n".join(result.story))
    print(f"\nseed {seed} ({profile}): {result.lifecycles} lifecycles in {result.virtual_s:.0f} simulated seconds")
    print(f"digest {result.digest}")
    print(f"VIOLATION {result.subject}: {result.problem}" if result.problem else "nothing was violated")
    return 1 if result.problem else 0


if __name__ == "__main__":
    sys.exit(main())
