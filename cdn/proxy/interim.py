"""Interim responses (1xx, RFC 9110 §15.2) on their way from an origin to clients: passed on, never stored.

Decides who gets what of them. The client whose request went to the origin gets them all. Those who wait for the same
flight get what cannot concern one person: nothing that sets a cookie, and of a request with credentials only that
something is under way (102), since a final response that is private comes too late to take a hint (103, RFC 8297) back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cdn._core import reason_phrase
from cdn.proxy._front import ClientStream
from cdn.rules.fields import end_to_end
from cdn.rules.message import Fields
from cdn.rules.stored import status_line

PROCESSING = 102
_CREDENTIALS = ("cookie", "authorization")


def send(stream: ClientStream, status: int, fields: Fields) -> None:
    """Pass one on. Called by the tier, so it never raises."""
    try:
        stream.interim(interim_head(status, fields))
    except ConnectionResetError:
        pass  # the client has left: its own exchange ends it


def interim_head(status: int, fields: Fields) -> bytes:
    """A whole head, without the fields of the origin's connection."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in end_to_end(fields))
    return status_line(status, reason_phrase(status) or "") + lines.encode("latin-1") + b"\r\n"


class Interims:
    """Those of one flight; `asked` are the fields that went to the origin.

    Whoever comes while the flight waits also gets what was heard before; how many there may be is the tier's bound.
    """

    def __init__(self, asked: Fields) -> None:
        self._personal = any(name in asked for name in _CREDENTIALS)
        self._heard: list[tuple[int, Fields]] = []  # what others than the leader may have of it
        self._leader: ClientStream | None = None
        self._waiting: list[ClientStream] = []

    def hear(self, status: int, fields: Fields) -> None:
        """The tier's `on_interim`."""
        if self._leader is not None:
            send(self._leader, status, fields)
        shared = self._for_all(status, fields)
        if shared is None:
            return
        self._heard.append(shared)
        for stream in self._waiting:
            send(stream, *shared)

    def _for_all(self, status: int, fields: Fields) -> tuple[int, Fields] | None:
        if self._personal:
            return (status, Fields()) if status == PROCESSING else None
        return status, fields.without(("set-cookie",))

    @contextmanager
    def passed_to(self, stream: ClientStream, leader: bool) -> Iterator[None]:
        """While in the block, the client gets them."""
        if leader:
            self._leader = stream
        else:
            for status, fields in self._heard:
                send(stream, status, fields)
            self._waiting.append(stream)
        try:
            yield
        finally:
            if leader:
                self._leader = None
            else:
                self._waiting.remove(stream)
