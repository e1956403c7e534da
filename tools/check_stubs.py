"""Compares every extension module with its .pyi (mypy's stubtest), so that a signature cannot drift from
what is built.

Which modules exist is read from setup.py's table; one whose source is missing is not checked. Exit code 1 on
a difference.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What Cython adds to every module and class, which no stub names; and __init__, which it turns into
# __cinit__ without a signature to compare.
GENERATED = (
    r".*\.__pyx_.*",
    r".*\.__(reduce|setstate)_cython__",
    r".*\.__(test|reduce|init)__",
)


def modules() -> list[str]:
    table = re.findall(r'"([\w.]+)": "([\w/]+\.pyx)"', (ROOT / "setup.py").read_text())
    return [name for name, source in table if (ROOT / source).exists()]


def main() -> int:
    names = modules()
    unstubbed = [name for name in names if not (ROOT / (name.replace(".", "/") + ".pyi")).exists()]
    if unstubbed:
        print("no .pyi beside: " + ", ".join(unstubbed), file=sys.stderr)
        return 1
    if not names:
        return 0
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as allowed:
        allowed.write("\n".join(GENERATED) + "\n")
        allowed.flush()
        command = [sys.executable, "-m", "mypy.stubtest", "--concise", "--allowlist", allowed.name]
        # A stub may leave out what only C uses. Whatever it does name has to exist with that signature.
        command += ["--ignore-missing-stub", "--ignore-disjoint-bases", "--ignore-positional-only"]
        command += ["--ignore-unused-allowlist", "--mypy-config-file", str(ROOT / "pyproject.toml"), *names]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, end="")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
