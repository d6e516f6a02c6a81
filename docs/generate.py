"""Writes the generated parts of docs/ again: `make docs`. A test fails when they are not what this would write."""

from __future__ import annotations

import re
from pathlib import Path

from agentcom.model.lifecycle import diagram

ARCHITECTURE = Path(__file__).parent / "architecture.md"
BLOCK = re.compile(r"(<!-- lifecycle: .*? -->\n```mermaid\n).*?(```\n<!-- end of lifecycle -->)", re.DOTALL)


def with_diagram(text: str) -> str:
    """The page with the diagram of the lifecycle as it is now."""
    found, count = BLOCK.subn(lambda block: f"{block[1]}{diagram()}\n{block[2]}", text)
    assert count == 1, "architecture.md has lost the marks around its lifecycle diagram"
    return found


if __name__ == "__main__":
    ARCHITECTURE.write_text(with_diagram(ARCHITECTURE.read_text(encoding="utf-8")), encoding="utf-8")
