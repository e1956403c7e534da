"""Mutation testing of cdn/rules: how many small faults do tests/rules notice?

    tools/mutate.py [--sample N] [--skip N] [--seed S] [--jobs J] [--time SECONDS] [MODULE ...]

A mutant is one module with one operator, constant, condition or return value changed. Each runs the tests in a process
of its own, forked from one that has everything but the rules imported, until one fails: the module's own test file
first, then the others. What outlasts them all is printed with its line. Prints the share that was killed; exit 1 below
90 %. Annotations, docstrings, decorators and the texts of exceptions are left alone: no rule is in them.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "cdn" / "rules"
TESTS = ROOT / "tests" / "rules"
LIMIT = 60  # seconds for one mutant: one that loops is noticed
SHARE = 0.9
SLOW = ("test_oracle", "test_structured")  # run last

Change = tuple[str, Callable[[], None]]

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


def changes(node: ast.AST) -> Iterator[Change]:
    """What can be changed in this node itself, each with its name."""
    if isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            for other in _COMPARISONS.get(type(op), ()):
                yield f"{type(op).__name__} -> {other.__name__}", _set_item(node.ops, index, other())
    elif isinstance(node, ast.BoolOp):
        swapped: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"-> {type(swapped).__name__}", _set(node, "op", swapped)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not not", _set(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        operator = _ARITHMETIC[type(node.op)]()
        yield f"-> {type(operator).__name__}", _set(node, "op", operator)
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        yield "condition negated", _set(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.comprehension):
        for index, test in enumerate(node.ifs):
            yield "condition negated", _set_item(node.ifs, index, ast.UnaryOp(ast.Not(), test))
    elif isinstance(node, ast.Return) and node.value is not None:
        if not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield "return None", _set(node, "value", ast.Constant(None))
    elif isinstance(node, ast.Constant):
        yield from _constants(node)


def _constants(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield f"{value} -> {not value}", _set(node, "value", not value)
    elif isinstance(value, int):
        yield f"{value} -> {value + 1}", _set(node, "value", value + 1)
    elif isinstance(value, str):
        yield f"{value!r:.30} + 'X'", _set(node, "value", value + "X")


def _set(node: ast.AST, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(node, name, value)


def _set_item(items: list[Any], index: int, value: object) -> Callable[[], None]:
    return lambda: items.__setitem__(index, value)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that may be changed, in one order."""
    yield node
    skipped: list[object] = []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        skipped = [node.returns, *node.decorator_list]
    elif isinstance(node, ast.ClassDef):
        skipped = [*node.decorator_list]
    elif isinstance(node, ast.AnnAssign | ast.arg):
        skipped = [node.annotation]
    elif _left_alone(node):
        return
    for child in ast.iter_child_nodes(node):
        if not any(child is other for other in skipped):
            yield from walk(child)


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "__slots__" for target in node.targets)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Raise | ast.Assert | ast.ImportFrom | ast.Import)


def mutants(source: str) -> list[tuple[int, str]]:
    """(line, what) of each; its place in the list is its number."""
    out: list[tuple[int, str]] = []
    for node in walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        out += [(line, what) for what, _ in changes(node)]
    return out


def mutated(source: str, number: int) -> ast.Module:
    tree = ast.parse(source)
    count = 0
    for node in walk(tree):
        for _, change in changes(node):
            if count == number:
                change()
                return ast.fix_missing_locations(tree)
            count += 1
    raise IndexError(number)


class _Loader(importlib.abc.Loader):
    def __init__(self, path: Path, number: int) -> None:
        self._path, self._number = path, number

    def exec_module(self, module: types.ModuleType) -> None:
        tree = mutated(self._path.read_text(), self._number)
        exec(compile(tree, str(self._path), "exec"), module.__dict__)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, path: Path, number: int) -> None:
        self._name, self._path, self._number = f"cdn.rules.{path.stem}", path, number

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        loader = _Loader(self._path, self._number)
        return importlib.util.spec_from_file_location(name, self._path, loader=loader)


def child(path: Path, number: int) -> int:
    """In the forked process: 0 when every test passes."""
    sys.meta_path.insert(0, _Finder(path, number))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    own = TESTS / f"test_{path.stem}.py"
    others = sorted(TESTS.glob("test_*.py"), key=lambda file: (file.stem in SLOW, file.stat().st_size))
    others = [file for file in others if file != own]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=1"]
    try:
        if own.exists() and int(pytest.main([*options, str(own)])):
            return 1  # most end here, and reading the other files takes longer than running this one
        return int(pytest.main([*options, *map(str, others)]))
    except BaseException:
        return 1  # a module that cannot even be imported


def run(jobs: list[tuple[Path, int]], parallel: int, seconds: float) -> dict[tuple[Path, int], bool]:
    """Which were killed; those that `seconds` did not suffice for are left out."""
    out: dict[tuple[Path, int], bool] = {}
    waiting = list(reversed(jobs))
    running: dict[int, tuple[tuple[Path, int], float]] = {}
    end = time.monotonic() + seconds
    while running or (waiting and time.monotonic() < end):
        while waiting and len(running) < parallel and time.monotonic() < end:
            job = waiting.pop()
            pid = os.fork()
            if pid == 0:
                os._exit(min(child(*job), 99))
            running[pid] = (job, time.monotonic())
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            job, _ = running.pop(pid)
            out[job] = status != 0
            continue
        for pid, (_, began) in running.items():
            if time.monotonic() - began > LIMIT:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=400, help="how many mutants, drawn from all")
    parser.add_argument("--skip", type=int, default=0, help="as many of them were run before")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--time", type=float, default=900.0, help="seconds after which no more are begun")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of cdn/rules, without .py; all if none")
    args = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for name in ("hypothesis", "cdn._core", "cdn.config"):
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    loaded = sorted(name for name in sys.modules if name.startswith("cdn.rules"))
    if loaded:
        print(f"mutate: {loaded[0]} is imported already: its mutants would not be seen", file=sys.stderr)
        return 2
    files = [RULES / f"{name}.py" for name in args.modules] or sorted(RULES.glob("*.py"))
    sources = {path: path.read_text() for path in files}
    found = {path: mutants(source) for path, source in sources.items()}
    every = [(path, number) for path in files for number in range(len(found[path]))]
    chosen = random.Random(args.seed).sample(every, min(args.sample, len(every)))[args.skip :]
    killed = run(chosen, args.jobs, args.time)
    for path in files:
        mine = [job for job in killed if job[0] == path]
        if mine:
            print(f"{path.stem:<16} {sum(killed[job] for job in mine):>4} of {len(mine):<4} killed")
    for path, number in sorted(job for job in killed if not killed[job]):
        line, what = found[path][number]
        text = sources[path].splitlines()[line - 1].strip() if line else ""
        print(f"alive: {path.stem}.py:{line} #{number} {what}: {text}")
    share = sum(killed.values()) / max(1, len(killed))
    print(f"{share:.1%} of {len(killed)} mutants killed (of {len(every)}; seed {args.seed})")
    return 0 if share >= SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
