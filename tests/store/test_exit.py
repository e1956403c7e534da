"""What is alive when the interpreter ends: its modules may be gone by then."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORTS = "import sys; from cdn.store import Journal, Memory; from cdn.store.disk._table import Table; "


@pytest.mark.parametrize(
    "made",
    [
        "Memory(1 << 20, bytes(16), workers=1)",
        "Journal(Memory(1 << 20, bytes(16)))",
        "Table(100, bytes(16), 4)",
    ],
)
def test_closing_its_descriptors_needs_no_module(made: str) -> None:
    code = f"{IMPORTS} sys.kept = {made}"  # what `sys` holds goes last
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
