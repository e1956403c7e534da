"""A short answer made in the tier itself, in the shape of an origin's: what an object store's own words become.

Decides nothing. Must not know why it is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from cdn.rules.message import Fields, ResponseHead
from cdn.tier.seam import OriginResponse


class MadeResponse(OriginResponse):
    delimited_by_close = False
    connect_ms = 0.0

    def __init__(
        self,
        status: int,
        sentence: str,
        *,
        method: str = "GET",
        lines: Iterable[tuple[str, str]] = (),
        server: str,
        first_byte_ms: float = 0.0,
    ) -> None:
        body = f"{sentence}\n".encode()
        about = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))))
        self.head = ResponseHead(status, Fields((*lines, *about)), HTTPStatus(status).phrase)
        self._body = b"" if method == "HEAD" else body
        self.length = len(self._body)
        self.server = server
        self.first_byte_ms = first_byte_ms
        self._whole = True

    @property
    def complete(self) -> bool:
        return self._whole

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def abort(self) -> None:
        if self._body:
            self._body, self._whole = b"", False
