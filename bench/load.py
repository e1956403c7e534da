"""Asks: one probe that looks at an answer, one wrk run that counts answers.

Knows rows and ports, not who answers.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Guard
from bench.rows import SITE, Head, Row

WRK = Path(__file__).parent / "wrk"
WALK_SECONDS = 240  # or more, where there is more to store
WALKED_A_SECOND = 5000
ORDER, RECEIPT = "stock", "stocked"  # files beside the configuration of a stocked node
STOCK_LOSS = 5e-4  # of the copies that may have gone for their places in the index


class WrongAnswerError(RuntimeError):
    """A server does not give the answer that the row is about; the message says what it gave."""


@dataclass(frozen=True, slots=True)
class Count:
    """What one wrk run saw. Times are seconds, latencies microseconds of the closed loop."""

    requests: int
    seconds: float
    bytes: int
    errors: int
    p50_us: int
    p99_us: int
    cpu_seconds: float  # of wrk itself

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Door:
    """Where to knock: a port on loopback, with or without TLS."""

    port: int
    tls: bool


def probe(door: Door, row: Row, head: Head, name: str, *, plain: bool = False) -> int:
    """One request as the row sends it; bytes of the answer's head and body.

    `plain` asks for the whole body instead (to have it stored). WrongAnswerError when status or
    length differ.
    """
    status, length = (200, row.size) if plain else (row.status, row.body)
    connection: http.client.HTTPConnection
    if door.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        connection = http.client.HTTPSConnection("127.0.0.1", door.port, timeout=20, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
    try:
        connection.putrequest("GET", row.prefix(name), skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", SITE)
        for field, value in () if plain else row.all_fields(head):
            connection.putheader(field, value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise WrongAnswerError(f"no answer: {type(error).__name__} {error}") from None
    finally:
        connection.close()
    if response.status != status or len(body) != length:
        raise WrongAnswerError(f"answers {response.status} with {len(body)} B, not {status} with {length} B")
    fields = sum(len(n) + len(v) + 4 for n, v in response.getheaders())
    return len("HTTP/1.1 200 \r\n") + len(response.reason) + fields + 2 + len(body)


def count_requests(origin_port: int) -> int:
    """How many requests the origin has answered."""
    connection = http.client.HTTPConnection("127.0.0.1", origin_port, timeout=20)
    try:
        connection.request("GET", "/count")
        return int(connection.getresponse().read())
    finally:
        connection.close()


def run(door: Door, row: Row, head: Head, name: str, *, seconds: int, core: int, guard: Guard) -> Count:
    """A closed loop of `row.connections` connections for so many seconds."""
    script, words = "report.lua", []
    if row.unique:
        script, words = "unique.lua", [row.prefix(name) + "-"]
    elif row.zipf:
        script, words = "zipf.lua", [row.prefix(name), str(row.zipf.count), str(row.zipf.exponent)]
    before = os.times()
    process = _wrk(door, row, head, name, script, words, seconds, core, guard)
    try:
        out, err = process.communicate(timeout=seconds + 30)
    except subprocess.TimeoutExpired:
        out, err = "", "wrk did not end"
    finally:
        _end(process, guard)
    line = next((line for line in out.splitlines() if line.startswith("BENCH ")), None)
    if line is None:
        raise WrongAnswerError(f"wrk gave no result: {err.strip()[:200]}")
    seen = json.loads(line.removeprefix("BENCH "))
    after = os.times()
    return Count(
        requests=seen["requests"],
        seconds=seen["microseconds"] / 1e6,
        bytes=seen["bytes"],
        errors=seen["errors"],
        p50_us=seen["p50_us"],
        p99_us=seen["p99_us"],
        cpu_seconds=(after.children_user + after.children_system)
        - (before.children_user + before.children_system),
    )


def store_all(door: Door, row: Row, name: str, origin_port: int, *, core: int, guard: Guard) -> None:
    """Asks for every name of a Zipf row until the origin has seen them all.

    WrongAnswerError when that takes longer than the slowest walk that is allowed.
    """
    patience = max(WALK_SECONDS, row.zipf.count // WALKED_A_SECOND) if row.zipf else WALK_SECONDS
    assert row.zipf is not None
    wanted = count_requests(origin_port) + row.zipf.count
    words = [row.prefix(name), str(row.zipf.count)]
    process = _wrk(door, row, "bare", name, "walk.lua", words, patience, core, guard)
    end = time.monotonic() + patience
    try:
        while count_requests(origin_port) < wanted:
            if time.monotonic() > end or process.poll() is not None:
                raise WrongAnswerError(f"did not fetch {row.zipf.count} objects within {patience} s")
            time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            pass
        _end(process, guard)


def copy_all(folder: Path, row: Row, name: str) -> None:
    """Has a stocked node copy what it has under the first name of a Zipf row to all others.

    WrongAnswerError when it does not, or when some of them did not stay.
    """
    assert row.zipf is not None
    order = folder / f"{ORDER}.new"
    order.write_text(json.dumps({"url": f"http://{SITE}{row.prefix(name)}", "count": row.zipf.count}))
    order.rename(folder / ORDER)
    end = time.monotonic() + max(WALK_SECONDS, row.zipf.count // WALKED_A_SECOND)
    while not (folder / RECEIPT).exists():
        if time.monotonic() > end:
            raise WrongAnswerError(f"did not store {row.zipf.count} copies in time")
        time.sleep(0.1)
    told = json.loads((folder / RECEIPT).read_text())
    if told.get("objects", 0) < row.zipf.count * (1 - STOCK_LOSS):
        raise WrongAnswerError(f"of {row.zipf.count} copies there are {told.get('objects', told)}")


def _wrk(
    door: Door,
    row: Row,
    head: Head,
    name: str,
    script: str,
    words: list[str],
    seconds: int,
    core: int,
    guard: Guard,
) -> subprocess.Popen[str]:
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{row.connections}", f"-d{seconds}s"]
    command += ["--timeout", "10s", "-s", str(WRK / script), "-H", f"Host: {SITE}"]
    for field, value in row.all_fields(head):
        command += ["-H", f"{field}: {value}"]
    command += [f"{'https' if door.tls else 'http'}://127.0.0.1:{door.port}{row.prefix(name)}"]
    process = subprocess.Popen(
        [*command, "--", *words] if words else command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "BENCH_WRK": str(WRK)},
    )
    guard.tell(f"group {process.pid}")
    return process


def _end(process: subprocess.Popen[str], guard: Guard) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    guard.tell(f"gone {process.pid}")
