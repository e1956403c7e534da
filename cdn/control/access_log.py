"""The access log: one line a request, as JSON or in the combined form, and the writer both go through.

The hit and fill lanes write their lines themselves, in C, with the same names in the same order; the entries here
come from the other lanes. Whatever bytes a client put into a field, a line stays one line of at most LINE bytes, and
JSON stays JSON.

A JSON line:
    {"time":"2026-01-31T12:00:00.123Z","id":"…","client":"192.0.2.1","method":"GET","host":"www.example.com",
     "target":"/a?b=c","protocol":"HTTP/1.1","status":200,"bytes":1234,"outcome":"miss","no_store":null,
     "key":"0f3a…","duration_us":5120,"origin":"http://10.0.0.1:80","origin_first_byte_us":4800,
     "referer":"…","user_agent":"…"}
What is not known is null. The combined form is Apache's, with outcome, key and duration behind it:
    192.0.2.1 - - [31/Jan/2026:12:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 1234 "-" "curl/8" miss 0f3a… 5120
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from cdn.control.sink import BUFFER, LineSink
from cdn.proxy.log_entry import LogEntry

LINE = 4096  # bytes of one line, its end included

# Bytes that each text may take in its line, escapes included; together with the names they stay under LINE.
_CLIENT, _METHOD, _HOST, _TARGET, _PROTOCOL = 64, 32, 256, 1536, 16
_ID, _KEY, _ORIGIN, _REFERER, _AGENT, _WORD = 64, 64, 272, 640, 512, 32

_PLAIN = re.compile(r"[ !#-\[\]-~]*\Z").match  # printable ASCII without the quote and the backslash
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _escape(text: str, limit: int, form: str) -> str:
    """`text` in at most `limit` characters, no escape cut in two; what was cut ends in three dots."""
    if len(text) <= limit and _PLAIN(text):
        return text
    pieces: list[str] = []
    room = limit - 3
    for char in text[:limit]:
        piece = char if _PLAIN(char) else form % min(ord(char), 0xFF)
        room -= len(piece)
        if room < 0:
            return "".join(pieces) + "..."
        pieces.append(piece)
    return "".join(pieces) + ("..." if len(text) > limit else "")


def _json(text: str | None, limit: int) -> str:
    if text is None:
        return "null"
    return '"' + _escape(text, limit, "\\u%04x") + '"'


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


_second = -1
_iso = _apache = ""


def _times(ms: int) -> tuple[str, str]:
    """The second of `ms` in both notations; formatted once a second."""
    global _second, _iso, _apache
    second = ms // 1000
    if second != _second:
        at = time.gmtime(second)
        _iso = time.strftime("%Y-%m-%dT%H:%M:%S", at)
        _apache = time.strftime("%d/{}/%Y:%H:%M:%S +0000", at).format(_MONTHS[at.tm_mon - 1])
        _second = second
    return _iso, _apache


def format_json(entry: LogEntry) -> bytes:
    """One JSON object and a line feed, at most LINE bytes."""
    iso, _ = _times(entry.time)
    line = (
        f'{{"time":"{iso}.{entry.time % 1000:03d}Z"'
        f',"id":{_json(entry.request_id, _ID)}'
        f',"client":{_json(entry.client, _CLIENT)}'
        f',"method":{_json(entry.method, _METHOD)}'
        f',"host":{_json(entry.host, _HOST)}'
        f',"target":{_json(entry.target, _TARGET)}'
        f',"protocol":{_json(entry.protocol, _PROTOCOL)}'
        f',"status":{entry.status},"bytes":{entry.bytes_sent}'
        f',"outcome":{_json(entry.outcome, _WORD)}'
        f',"no_store":{_json(entry.no_store, _WORD)}'
        f',"key":{_json(entry.key_hash, _KEY)}'
        f',"duration_us":{entry.duration_us}'
        f',"origin":{_json(entry.origin, _ORIGIN)}'
        f',"origin_first_byte_us":{_number(entry.origin_first_byte_us)}'
        f',"referer":{_json(entry.referer, _REFERER)}'
        f',"user_agent":{_json(entry.user_agent, _AGENT)}}}\n'
    )
    return line.encode("ascii")


def _quoted(text: str | None, limit: int) -> str:
    return "-" if text is None else _escape(text, limit, "\\x%02X")


def _word(text: str | None, limit: int) -> str:
    """A value that stands without quotes: no space may part it."""
    return _quoted(text, limit).replace(" ", "\\x20") if text else "-"


def format_combined(entry: LogEntry) -> bytes:
    """One line of the combined form and a line feed, at most LINE bytes."""
    _, apache = _times(entry.time)
    target, protocol = _quoted(entry.target, _TARGET), _quoted(entry.protocol, _PROTOCOL)
    request = f"{_quoted(entry.method, _METHOD)} {target} {protocol}"
    line = (
        f'{_word(entry.client, _CLIENT)} - - [{apache}] "{request}" {entry.status} {entry.bytes_sent}'
        f' "{_quoted(entry.referer, _REFERER)}" "{_quoted(entry.user_agent, _AGENT)}"'
        f" {_word(entry.outcome, _WORD)} {_word(entry.key_hash, _KEY)} {entry.duration_us}\n"
    )
    return line.encode("ascii")


FORMATS: dict[str, Callable[[LogEntry], bytes]] = {"json": format_json, "combined": format_combined}


class AccessLogWriter:
    """Takes ready lines (`write`) and entries (`entry`); never holds up the caller, drops and counts when it
    must.

    `to` is "stdout", "stderr" or a path; OSError when it cannot be opened. `format` is "json" or "combined",
    and may be read by whoever makes lines of its own.
    """

    def __init__(
        self,
        to: str,
        format: str = "json",
        *,
        buffer: int = BUFFER,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self.format = format
        self._line = FORMATS[format]
        self._sink = LineSink(to, buffer=buffer, on_trouble=on_trouble)

    def write(self, chunk: bytes) -> bool:
        """Whole lines, each with its line feed. False when they were dropped."""
        return self._sink.write(chunk)

    def entry(self, entry: LogEntry) -> bool:
        return self._sink.write(self._line(entry))

    def reopen(self, to: str | None = None) -> None:
        """After SIGHUP: the file anew, or another one."""
        self._sink.reopen(to)

    def close(self, timeout: float = 2.0) -> bool:
        return self._sink.close(timeout)

    def counters(self) -> dict[str, int]:
        """See LineSink.counters."""
        return self._sink.counters()
