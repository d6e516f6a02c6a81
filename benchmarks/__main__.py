"""All benchmarks, one after the other: `make bench`. They take about ten minutes; nothing else should run meanwhile."""

from __future__ import annotations

import os
import platform
import subprocess
import sys


def main() -> None:
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {platform.system()}")
    for module in ("benchmarks.pool", "benchmarks.core", "benchmarks.finished", "benchmarks.monitor"):
        subprocess.run([sys.executable, "-m", module], check=True)


if __name__ == "__main__":
    main()
