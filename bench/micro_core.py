"""ns per call of each `cdn._core` leaf beside a plain Python way to do the same. Measures only, decides
nothing.

    .venv/bin/python bench/micro_core.py

Builds `_micro.pyx` into a temporary folder first. Medians of 7 rounds of CPU time; the Python column is the
oracle of tests/core.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.core import oracle_fields, oracle_head, oracle_target  # noqa: E402

ROUNDS = 7
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
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n"
    b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: keep-alive\r\n"
    b'ETag: "5f3c2b1a-400"\r\nCache-Control: max-age=3600\r\nAccept-Ranges: bytes\r\n\r\n'
)
CHUNKED = b"1000\r\n" + b"x" * 4096 + b"\r\n" + b"400\r\n" + b"y" * 1024 + b"\r\n0\r\n\r\n"
QUERY = b"page=2&utm_source=mail&q=shoes&utm_campaign=x&fbclid=abcdef&sort=price"

CASES: list[tuple[str, str, bytes, bytes, Callable[[], Any]]] = [
    ("scan_request", f"wrk head, {len(WRK)} B", WRK, b"", lambda: oracle_head.scan_request(WRK)),
    ("scan_request", f"browser, {len(BROWSER)} B", BROWSER, b"", lambda: oracle_head.scan_request(BROWSER)),
    (
        "scan_response",
        f"nginx, {len(RESPONSE)} B",
        RESPONSE,
        b"",
        lambda: oracle_head.scan_response(RESPONSE),
    ),
    (
        "split_request_target",
        "browser",
        BROWSER,
        b"",
        lambda: oracle_target.split_target(
            b"/static/js/app.4f3c2b1a.js?v=20240501", False, b"www.example.com"
        ),
    ),
    (
        "normal_path",
        "plain, 27 B",
        b"/static/js/app.4f3c2b1a.js1",
        b"",
        lambda: oracle_target.path(b"/static/js/app.4f3c2b1a.js1"),
    ),
    (
        "normal_path",
        "dots, escapes",
        b"/a/./b/../c%7ed/%2e%2e/e",
        b"",
        lambda: oracle_target.path(b"/a/./b/../c%7ed/%2e%2e/e"),
    ),
    (
        "normal_authority",
        "www.example.com",
        b"www.example.com",
        b"",
        lambda: oracle_target.authority(b"www.example.com"),
    ),
    ("query_filter", f"{len(QUERY)} B", QUERY, b"", lambda: oracle_target.query(QUERY, ("utm_*", "fbclid"))),
    (
        "query_sort",
        f"{len(QUERY)} B",
        QUERY,
        b"",
        lambda: oracle_target.query(QUERY, ("utm_*", "fbclid"), None, True),
    ),
    (
        "write_key",
        "host + path",
        b"www.example.com",
        b"/static/js/app.js",
        lambda: oracle_target.key(False, b"www.example.com", b"/static/js/app.js", None),
    ),
    ("siphash128", "45 B", b"k" * 45, bytes(16), lambda: oracle_target.siphash128(bytes(16), b"k" * 45)),
    (
        "etag_list_matches",
        "3 tags",
        b'"a", W/"b", "5f3c2b1a-1d2e3"',
        b'"5f3c2b1a-1d2e3"',
        lambda: oracle_fields.etag_matches(b'"a", W/"b", "5f3c2b1a-1d2e3"', b'"5f3c2b1a-1d2e3"', True),
    ),
    (
        "parse_range",
        "bytes=0-65535",
        b"bytes=0-65535",
        b"",
        lambda: oracle_fields.parse_range(b"bytes=0-65535", 1 << 20),
    ),
    (
        "parse_http_date",
        "IMF-fixdate",
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"",
        lambda: oracle_fields.http_date(b"Sun, 06 Nov 1994 08:49:37 GMT", 1_700_000_000),
    ),
    (
        "put_http_date",
        "",
        b"",
        b"",
        lambda: time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(1_700_000_000)),
    ),
    ("put_status_line", "200", b"", b"", lambda: f"HTTP/1.1 {200} OK\r\n".encode()),
    ("put_uint", "9 digits", b"", b"", lambda: str(123456789).encode()),
    ("chunked_next", "2 chunks, 5 KiB", CHUNKED, b"", lambda: oracle_fields.dechunk(CHUNKED)),
]


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


def python_ns(call: Callable[[], Any]) -> float:
    began = time.thread_time_ns()
    call()
    count = max(1, int(2e6 // max(1, time.thread_time_ns() - began)))
    samples = []
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        for _ in range(count):
            call()
        samples.append((time.thread_time_ns() - began) / count)
    return statistics.median(samples)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        micro = build(folder)
        print(f"{'leaf':22} {'input':18} {'C ns':>9} {'Python ns':>10} {'ratio':>7}")
        for leaf, label, data, other, call in CASES:
            count = 100_000
            leaf_ns = statistics.median(micro.run(leaf, data, other, count) / count for _ in range(ROUNDS))
            slow = python_ns(call)
            print(f"{leaf:22} {label:18} {leaf_ns:9.1f} {slow:10.0f} {slow / leaf_ns:7.0f}")


if __name__ == "__main__":
    main()
