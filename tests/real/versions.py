"""An origin in a process of its own: every body says which resource and version it is, and proves that it is whole.

    python -m tests.real.versions PORT

The version follows the clock, so that several such servers agree. The first word of a path says what the answer is:
`hot` is fresh for a second, `cold` for a minute, `off` is not to be stored. `check` is for those who get the answers.
"""

from __future__ import annotations

import hashlib
import sys
import time

from ..harness import Origin, Reply, Request, reply

EACH = 0.5  # seconds that a version lasts
LIFETIMES = {"hot": "max-age=1, stale-if-error=600", "cold": "max-age=60", "off": "no-store"}


def body(path: str, version: int) -> bytes:
    filler = hashlib.shake_128(f"{path} {version}".encode())
    return f"{path} {version}\n".encode() + filler.digest(500 + filler.digest(2)[0] * 150)


def check(path: str, data: bytes) -> int | None:
    """The version of a right body, else None."""
    said, _, _ = data[:200].partition(b"\n")
    name, _, version = said.decode("latin-1").partition(" ")
    if name != path or not version.isdigit() or data != body(path, int(version)):
        return None
    return int(version)


def current() -> int:
    return int(time.time() / EACH)


def answer(request: Request) -> Reply:
    version = current()
    fields = {
        "ETag": f'"{version}"',
        "Cache-Control": LIFETIMES.get(request.target.split("/")[1], "no-store"),
        "Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
    }
    if f'"{version}"' in (request["if-none-match"] or ""):
        return reply(304, fields)
    return reply(200, fields, body(request.target, version))


if __name__ == "__main__":
    with Origin(answer, patience=600, port=int(sys.argv[1])):
        while True:
            time.sleep(3600)
