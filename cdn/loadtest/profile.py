"""Which request comes next, as the bytes of its head; the same sequence for the same plan and seed.

Knows no connections and no times. A number of objects needs no memory, a list is held whole, a trace is read
as it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from random import Random

from cdn.loadtest import target as targets
from cdn.loadtest.errors import LoadTestError
from cdn.loadtest.plan import Plan
from cdn.loadtest.zipf import ranks

MOST_URLS = 5_000_000  # of a list


def heads(plan: Plan) -> Iterator[bytes]:
    """Request heads, endless except for a trace; LoadTestError at once for a file that cannot be used."""
    make = head_maker(plan)
    if plan.trace is not None:
        return _trace(plan.trace, make)
    random = Random(plan.seed)
    if plan.urls is not None:
        listed = [make(authority, path) for authority, path in lines(plan.urls)]
        if not listed:
            raise LoadTestError(f"{plan.urls} names no URL: one a line")
        return map(listed.__getitem__, _numbers(len(listed), plan.zipf, random))
    if plan.objects is not None:
        # A mark that no URL can hold: the number goes there and nowhere else.
        before, _, after = make(None, plan.target.path.replace(targets.PLACE, "\0")).partition(b"\0")
        return (before + b"%d" % n + after for n in _numbers(plan.objects, plan.zipf, random))
    return repeat(make(None, plan.target.path))


def _numbers(count: int, alpha: float | None, random: Random) -> Iterator[int]:
    if alpha is None:
        whole = random.random
        while True:
            yield int(whole() * count)
    yield from (k - 1 for k in ranks(count, alpha, random.random))


def head_maker(plan: Plan) -> Callable[[str | None, str], bytes]:
    """(authority or None, path) to the whole head of a GET."""
    names = {name.lower() for name, _ in plan.fields}
    rest = "".join(f"{name}: {value}\r\n" for name, value in plan.fields)
    if "user-agent" not in names:
        rest += "User-Agent: cdn-bench\r\n"

    def make(authority: str | None, path: str) -> bytes:
        host = "" if "host" in names else f"Host: {authority or plan.target.authority}\r\n"
        return f"GET {path} HTTP/1.1\r\n{host}{rest}\r\n".encode("latin-1")

    return make


def _trace(path: Path, make: Callable[[str | None, str], bytes]) -> Iterator[bytes]:
    listed = lines(path)
    first = next(listed, None)
    if first is None:
        raise LoadTestError(f"{path} names no URL: one a line, in the order in which they are asked for")

    def rest() -> Iterator[bytes]:
        yield make(*first)
        for authority, target in listed:
            yield make(authority, target)

    return rest()


def lines(path: Path) -> Iterator[tuple[str | None, str]]:
    """What each line asks for; empty lines and those that begin with # are left out."""
    try:
        with path.open(encoding="ascii") as file:
            found = 0
            for number, line in enumerate(file, 1):
                text = line.strip()
                if not text or text.startswith("#"):
                    continue
                found += 1
                if found > MOST_URLS and path.is_file():
                    raise LoadTestError(f"{path} names more than {MOST_URLS:,} URLs")
                try:
                    yield targets.parse_line(text)
                except ValueError as error:
                    raise LoadTestError(f"{path}:{number}: {error}") from None
    except OSError as error:
        raise LoadTestError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LoadTestError(f"{path} has bytes beyond ASCII: escape them with %") from None
