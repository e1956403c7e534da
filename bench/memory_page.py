"""What bench.memory has measured of connections, to a table; measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.tables import table as lines

FILE = "benchmarks-memory.json"


def table(connections: Sequence[dict[str, Any]]) -> str:
    """Markdown, in the order given."""
    return lines(["a connection", "bytes"], [[it["what"], f"{it['bytes']:,}"] for it in connections])
