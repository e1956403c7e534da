"""The node's log is bounded per kind of event, one line each, whatever is in it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from cdn.control.log import BURST, KINDS, LINE, NodeLog, loop_exception_handler, one_line, take_over_logging


class Clocked:
    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[bytes] = []
        self.log = NodeLog(self.lines.append, lambda: self.now, lambda: 0.0)


def test_a_line_has_its_time_and_level() -> None:
    it = Clocked()
    it.log.event("kind", "something is odd", "warning")
    it.log.say("hello")
    assert it.lines == [b"1970-01-01T00:00:00Z warning: something is odd\n", b"1970-01-01T00:00:00Z hello\n"]


def test_a_flood_of_one_kind_is_a_handful_of_lines_and_a_count() -> None:
    it = Clocked()
    for n in range(100_000):
        it.now = n / 10_000  # ten seconds
        it.log.event("bad-request", f"bad request {n}")
    assert len(it.lines) == BURST
    it.log.event("other", "not held back")
    assert len(it.lines) == BURST + 1
    it.now = 11.0
    it.log.event("bad-request", "again")
    assert it.lines[-2:] == [
        b"1970-01-01T00:00:00Z bad-request: 99995 more such lines were not written\n",
        b"1970-01-01T00:00:00Z again\n",
    ]
    assert it.log.counts() == {"bad-request": 100_001, "other": 1}


def test_what_was_held_back_is_said_at_the_end() -> None:
    it = Clocked()
    for _ in range(7):
        it.log.event("k", "m")
    it.log.flush()
    it.log.flush()
    assert it.lines[BURST:] == [b"1970-01-01T00:00:00Z k: 2 more such lines were not written\n"]


def test_kinds_are_bounded() -> None:
    it = Clocked()
    for n in range(10 * KINDS):
        it.log.event(f"kind {n}", "m")
    assert len(it.log.counts()) == KINDS + 1
    assert len(it.lines) == KINDS + BURST


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("two\nlines\r\x1b[31m", "two\\nlines\\r\\x1b[31m"),
        ("\xff€", "\\xff\\u20ac"),
        ("x" * 5000, "x" * LINE),
        ("\n" * 5000, ("\\n" * LINE)[: LINE - 3] + "..."),
    ],
)
def test_a_message_is_one_bounded_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_libraries_log_one_line_without_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    it = Clocked()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        take_over_logging(it.log)
        try:
            raise ValueError("hostile\nbytes")
        except ValueError:
            logging.getLogger("aiohttp.server").exception("Error handling request from %s", "192.0.2.1")
        logging.getLogger("aiohttp.server").info("not worth a line")
    finally:
        root.handlers[:], _ = before
        root.setLevel(before[1])
    assert it.lines == [
        b"1970-01-01T00:00:00Z error: aiohttp.server: Error handling request from 192.0.2.1: "
        b"ValueError: hostile\\nbytes\n"
    ]
    assert capfd.readouterr().err == ""


def test_an_exception_that_nobody_awaited_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    it = Clocked()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(loop_exception_handler(it.log))
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert len(it.lines) == 1
    assert b"ZeroDivisionError: division by zero" in it.lines[0]
    assert b"Traceback" not in it.lines[0]
    assert capfd.readouterr().err == ""
