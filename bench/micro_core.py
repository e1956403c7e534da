"""The leaves of `cdn._core` and the lane's head, and how a Python program does the same. Measures only.

The Python column is what one would write in Python for speed, with C underneath where Python has it: aiohttp's parser
(llhttp), hashlib, re, email.utils.
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import importlib.util
import json
import posixpath
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser, HttpResponseParser

from bench.micro_page import Operation

ROOT = Path(__file__).resolve().parent.parent
CALLS = 100_000
WRK = b"GET /1k HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"
BROWSER = (
    b"GET /static/js/app.4f3c2b1a.js?v=20240501 HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"Connection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"\r\n'
    b"sec-ch-ua-mobile: ?0\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 "
    b"Safari/537.36\r\n"
    b'sec-ch-ua-platform: "Linux"\r\n'
    b"Accept: */*\r\n"
    b"Sec-Fetch-Site: same-origin\r\n"
    b"Sec-Fetch-Mode: no-cors\r\n"
    b"Sec-Fetch-Dest: script\r\n"
    b"Referer: https://www.example.com/products/overview.html\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7\r\n"
    b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=1\r\n"
    b'If-None-Match: "5f3c2b1a-1d2e3"\r\n'
    b"\r\n"
)
AGENT = BROWSER.split(b"User-Agent: ")[1].split(b"\r\n")[0].decode()
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n"
    b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: keep-alive\r\n"
    b'ETag: "5f3c2b1a-400"\r\nCache-Control: max-age=3600\r\nAccept-Ranges: bytes\r\n\r\n'
)
HEAD = RESPONSE[:-2].replace(b"Content-Length: 1024\r\n", b"").replace(b"Connection: keep-alive\r\n", b"")
ANSWER = RESPONSE.replace(b"1024", b"0")  # for a parser that wants the body too
LINES_304 = 0b0110110  # Date, Last-Modified, ETag, Cache-Control, of HEAD's field lines
CHUNKED = b"1000\r\n" + b"x" * 4096 + b"\r\n" + b"400\r\n" + b"y" * 1024 + b"\r\n0\r\n\r\n"
QUERY = b"page=2&utm_source=mail&q=shoes&utm_campaign=x&fbclid=abcdef&sort=price"
TARGET = "http://www.example.com/static/js/app.4f3c2b1a.js?v=20240501"
TAGS = b'"a", W/"b", "5f3c2b1a-1d2e3"'
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
TAIL = b"Via: 1.1 cdn\r\nCache-Status: cdn; hit; ttl="

_RANGE = re.compile(rb"bytes=(\d+)-(\d+)")
_TAG = re.compile(rb'(?:W/)?("[^"]*")')
_HOST = re.compile(r"[a-z0-9.-]+(?::\d+)?")


def _parser(kind: type[Any]) -> Callable[[bytes], object]:
    """aiohttp's, in C, with its headers as a multidict, as its server and client use it."""
    loop = asyncio.new_event_loop()
    loop.close()
    one = kind(BaseProtocol(loop), loop, 2**16, max_line_size=8190, max_field_size=8190)
    return one.feed_data  # type: ignore[no-any-return]


def _filtered(query: bytes, sort: bool) -> str:
    pairs = parse_qsl(query.decode(), keep_blank_values=True)
    kept = [pair for pair in pairs if not (fnmatchcase(pair[0], "utm_*") or pair[0] == "fbclid")]
    return urlencode(sorted(kept) if sort else kept)


def _host(authority: str) -> str:
    text = authority.lower()
    if _HOST.fullmatch(text) is None:
        raise ValueError(text)
    return text


def parse_range(value: bytes, length: int) -> tuple[int, int]:
    found = _RANGE.fullmatch(value)
    assert found is not None
    return int(found[1]), min(int(found[2]), length - 1)


def _dechunk(data: bytes) -> int:
    at = whole = 0
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end], 16)
        if not size:
            return whole
        whole += len(data[end + 2 : end + 2 + size])
        at = end + 4 + size


def _head(first: int, last: int) -> bytes:
    span = b"Content-Range: bytes %d-%d/%d\r\n" % (first, last, 1 << 20) if first else b""
    line = b"HTTP/1.1 206 Partial Content" if first else b"HTTP/1.1 200 OK"
    return b"%b\r\n%b%bContent-Length: %d\r\nAge: %d\r\n%b%d\r\n\r\n" % (
        line, HEAD[17:], span, last - first + 1, 77, TAIL, 3523,
    )  # fmt: skip


_KEPT = [line for i, line in enumerate(HEAD[17:].split(b"\r\n")[:-1]) if LINES_304 >> i & 1]


def _head_304() -> bytes:
    lines = [b"HTTP/1.1 304 Not Modified", *_KEPT, b"Age: %d" % 77, TAIL + b"%d" % 3523, b"", b""]
    return b"\r\n".join(lines)


def _key() -> bytes:
    return b"%b|%b" % (b"www.example.com", b"/static/js/app.js")


# (what, of what, leaf of _micro.pyx, its inputs, the Python way, its name)
_Case = tuple[str, str, str, bytes, bytes, Callable[[], object], str]


def _cases() -> list[_Case]:
    request, response = _parser(HttpRequestParser), _parser(HttpResponseParser)
    return [
        (
            "scan a request head",
            f"wrk's, {len(WRK)} B",
            "scan_request",
            WRK,
            b"",
            lambda: request(WRK),
            "aiohttp's parser (llhttp)",
        ),
        (
            "",
            f"a browser's, {len(BROWSER)} B",
            "scan_request",
            BROWSER,
            b"",
            lambda: request(BROWSER),
            "the same",
        ),
        (
            "scan a response head",
            f"nginx', {len(RESPONSE)} B",
            "scan_response",
            RESPONSE,
            b"",
            lambda: response(ANSWER),
            "the same",
        ),
        (
            "normalise a target",
            "the browser's",
            "split_request_target",
            BROWSER,
            b"",
            lambda: unquote(urlsplit(TARGET).path),
            "urlsplit, unquote",
        ),
        (
            "normalise a path",
            "plain, 27 B",
            "normal_path",
            b"/static/js/app.4f3c2b1a.js1",
            b"",
            lambda: posixpath.normpath(unquote("/static/js/app.4f3c2b1a.js1")),
            "posixpath.normpath, unquote",
        ),
        (
            "",
            "dots, escapes",
            "normal_path",
            b"/a/./b/../c%7ed/%2e%2e/e",
            b"",
            lambda: posixpath.normpath(unquote("/a/./b/../c%7ed/%2e%2e/e")),
            "the same",
        ),
        (
            "normalise an authority",
            "www.example.com",
            "normal_authority",
            b"www.example.com",
            b"",
            lambda: _host("www.example.com"),
            "lower, a regular expression",
        ),
        (
            "filter a query",
            f"{len(QUERY)} B",
            "query_filter",
            QUERY,
            b"",
            lambda: _filtered(QUERY, False),
            "parse_qsl, fnmatch, urlencode",
        ),
        (
            "filter and sort it",
            f"{len(QUERY)} B",
            "query_sort",
            QUERY,
            b"",
            lambda: _filtered(QUERY, True),
            "and sorted",
        ),
        (
            "write a key",
            "host and path",
            "write_key",
            b"www.example.com",
            b"/static/js/app.js",
            _key,
            "% of bytes",
        ),
        (
            "hash a key",
            "45 B, keyed, 128 bits",
            "siphash128",
            b"k" * 45,
            bytes(16),
            lambda: hashlib.blake2b(b"k" * 45, digest_size=16, key=b"0123456789abcdef").digest(),
            "hashlib.blake2b",
        ),
        (
            "compare entity-tags",
            "3 tags",
            "etag_list_matches",
            TAGS,
            b'"5f3c2b1a-1d2e3"',
            lambda: b'"5f3c2b1a-1d2e3"' in _TAG.findall(TAGS),
            "a regular expression",
        ),
        (
            "parse a Range",
            "bytes=0-65535",
            "parse_range",
            b"bytes=0-65535",
            b"",
            lambda: parse_range(b"bytes=0-65535", 1 << 20),
            "a regular expression, int",
        ),
        (
            "parse a date",
            "IMF-fixdate",
            "parse_http_date",
            DATE.encode(),
            b"",
            lambda: email.utils.parsedate_to_datetime(DATE),
            "email.utils",
        ),
        (
            "write a date",
            "",
            "put_http_date",
            b"",
            b"",
            lambda: email.utils.formatdate(1_700_000_000, usegmt=True),
            "email.utils",
        ),
        (
            "assemble a head",
            f"200, {len(_head(0, 1023))} B",
            "compose_200",
            HEAD,
            TAIL,
            lambda: _head(0, 1023),
            "% of bytes",
        ),
        (
            "",
            f"206, {len(_head(65536, 131071))} B",
            "compose_206",
            HEAD,
            TAIL,
            lambda: _head(65536, 131071),
            "the same",
        ),
        ("", f"304, {len(_head_304())} B", "compose_304", HEAD, TAIL, _head_304, "join of ready lines"),
        (
            "write a status line",
            "200",
            "put_status_line",
            b"",
            b"",
            lambda: b"HTTP/1.1 %d %b\r\n" % (200, b"OK"),
            "% of bytes",
        ),
        ("write a number", "9 digits", "put_uint", b"", b"", lambda: b"%d" % 123456789, "the same"),
        (
            "remove chunked framing",
            "2 chunks, 5 KiB",
            "chunked_next",
            CHUNKED,
            b"",
            lambda: _dechunk(CHUNKED),
            "index, int, slices",
        ),
    ]


def _log_line() -> bytes:
    line = {
        "time": "2026-01-31T12:00:00.123Z", "id": None, "client": "192.0.2.17", "method": "GET",
        "host": "www.example.com", "target": "/static/js/app.4f3c2b1a.js?v=20240501", "protocol": "HTTP/1.1",
        "status": 200, "bytes": 1024, "outcome": "hit", "no_store": None,
        "key": hashlib.blake2b(TARGET.encode(), digest_size=8).hexdigest(), "duration_us": 17, "origin": None,
        "origin_first_byte_us": None, "referer": "https://www.example.com/products/overview.html",
        "user_agent": AGENT,
    }  # fmt: skip
    return (json.dumps(line) + "\n").encode()


def build(folder: str) -> Any:
    """Compile _micro.pyx into `folder` and import it."""
    script = (
        "from setuptools import setup, Extension; from Cython.Build import cythonize; "
        f"setup(script_args=['-q', 'build_ext', '--build-lib', {folder!r}, '--build-temp', {folder!r}], "
        "ext_modules=cythonize([Extension('_micro', ['bench/_micro.pyx'], extra_compile_args=['-O3'])], "
        f"build_dir={folder!r}, quiet=True))"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, check=True, capture_output=True)
    path = next(Path(folder).glob("_micro*.so"))
    spec = importlib.util.spec_from_file_location("_micro", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python_ns(call: Callable[[], object], rounds: int) -> float:
    """ns of CPU time for one call, less the empty loop."""
    began = time.thread_time_ns()
    call()
    count = max(1, int(2e7 // max(1, time.thread_time_ns() - began)))
    samples = []
    for _ in range(rounds):
        began = time.thread_time_ns()
        for _ in range(count):
            pass
        empty = time.thread_time_ns()
        for _ in range(count):
            call()
        samples.append((time.thread_time_ns() - empty - (empty - began)) / count)
    return statistics.median(samples)


def operations(leaves: Any, rounds: int) -> list[Operation]:
    """All leaves in order."""
    found = []
    for what, of, leaf, data, other, call, way in _cases():
        ns = statistics.median(leaves.run(leaf, data, other, CALLS) / CALLS for _ in range(rounds))
        found.append(Operation(what, of, ns, python_ns(call, rounds), way))
    key = TARGET.encode()
    runs = [leaves.log(BROWSER, key, CALLS) for _ in range(rounds)]
    of = f"the browser's hit, JSON, {runs[0][1] // CALLS} B"
    ns = statistics.median(took for took, _ in runs) / CALLS
    found.append(Operation("write a log line", of, ns, python_ns(_log_line, rounds), "json.dumps of a dict"))
    return found
