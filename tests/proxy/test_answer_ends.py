"""How an answer ends for who is slow."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from cdn.proxy import answer


class Slow:
    """A client that takes everything once, and then nothing more."""

    def __init__(self) -> None:
        self.written = b""
        self.drains = 0

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        self.drains += 1


class Body:
    async def read(self, offset: int, n: int) -> bytes:
        return b"x" * min(n, 1000)


@pytest.mark.parametrize(("end", "drains"), [(3000, 2), (2500, 2), (1000, 0), (0, 0)])
def test_the_last_piece_is_not_waited_for(end: int, drains: int) -> None:
    """An answer that was written whole still held its record: its client was cut when room was wanted, though it had
    everything and was about to ask again."""
    client = Slow()
    asyncio.run(answer._body(cast(Any, client), cast(Any, Body()), 0, end))
    assert (len(client.written), client.drains) == (end, drains)
