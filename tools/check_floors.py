"""Proves that imports and cimports between the floors go down only, in .py, .pyi, .pyx and .pxd alike.

import-linter sees Python alone; half of the hot code is Cython. The floors are read from .importlinter, so
that there is one list. Exit code 1 with a line for each import that goes up.
"""

from __future__ import annotations

import configparser
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (".py", ".pyi", ".pyx", ".pxd")
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+c?import[ \t]+\(?([\w, \t]*)|c?import[ \t]+([\w.]+))", re.M
)


def floors() -> dict[str, int]:
    """Module to its floor, 0 the highest."""
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / ".importlinter")
    lines = parsed["importlinter:contract:floors"]["layers"].strip().splitlines()
    return {
        name.strip().strip("()"): height
        for height, line in enumerate(lines)
        for name in re.split(r"[|:]", line)
    }


def module_of(path: Path) -> str:
    """The dotted name of a source; fragments of cdn/core belong to cdn._core, which includes them."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[:2] == ("cdn", "core"):
        return "cdn._core"
    return ".".join(parts).removesuffix(".__init__")


def imported(text: str, module: str) -> Iterator[str]:
    """Every module of the project that `text` names in an import; relative ones made absolute."""
    for match in IMPORT.finditer(text):
        base, names, plain = match.groups()
        if base is None:
            yield plain
            continue
        if base.startswith("."):
            dots = len(base) - len(base.lstrip("."))
            base = ".".join([*module.split(".")[:-dots], base.lstrip(".")]).rstrip(".")
        yield base
        if base == "cdn":
            yield from (f"cdn.{name.split()[0]}" for name in names.split(",") if name.strip())


def floor_of(module: str, known: dict[str, int]) -> tuple[str, int] | None:
    for name, height in known.items():
        if module == name or module.startswith(name + "."):
            return name, height
    return None


def main() -> int:
    known = floors()
    wrong = 0
    for path in sorted((ROOT / "cdn").rglob("*")):
        if path.suffix not in SOURCES:
            continue
        module = module_of(path)
        here = floor_of(module, known)
        if here is None:
            continue
        for target in imported(path.read_text(), module):
            there = floor_of(target, known)
            if there is None or there[0] == here[0]:
                continue
            if there[1] <= here[1]:
                print(f"{path.relative_to(ROOT)}: {here[0]} must not import {target}: imports go down only")
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
