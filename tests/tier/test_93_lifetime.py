"""What DNS says of how long a name is good: right answers, forged and broken ones, and none."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdn.tier import lifetime as module
from cdn.tier.lifetime import _known, lifetime

A, AAAA = 1, 28
Answerer = Callable[[bytes, int], list[bytes]]  # (query, kind asked for) → packets


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no silent name server."""
    monkeypatch.setattr(module, "WAIT", 10)


def record(ttl: int, kind: int = A, name: bytes = b"\xc0\x0c") -> bytes:
    data = {A: bytes(4), AAAA: bytes(16)}.get(kind, b"\x01x\0")
    return name + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def packet(query: bytes, *records: bytes, rcode: int = 0, flags: int = 0x8180) -> bytes:
    head = query[:2] + struct.pack("!HHHHH", flags | rcode, 1, len(records), 0, 0)
    return head + query[12:] + b"".join(records)


@contextlib.contextmanager
def dns(answer: Answerer) -> Iterator[tuple[str, int]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    query, whence = sock.recvfrom(512)
                    if query == b"end":
                        return
                    for said in answer(query, int.from_bytes(query[-4:-2])):
                        sock.sendto(said, whence)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield sock.getsockname()
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"end", sock.getsockname())
            thread.join(10)


def asked(answer: Answerer, host: str = "app.example.test") -> int | None:
    with dns(answer) as server:
        return lifetime(host, [server])


def only_a(*ttls: int) -> Answerer:
    return lambda query, kind: [packet(query, *(record(ttl) for ttl in ttls if kind == A))]


def test_the_smallest_ttl_of_all_answers() -> None:
    assert asked(only_a(300)) == 300
    assert asked(only_a(300, 20, 40)) == 20
    assert asked(lambda query, kind: [packet(query, record({A: 60, AAAA: 7}[kind], kind))]) == 7
    alias = record(5, 5)
    assert asked(lambda query, kind: [packet(query, alias, record(600, kind, b"\x01x\x04test\0"))]) == 5
    assert asked(only_a(0)) == 0
    assert asked(only_a((1 << 31) + 5)) == 0


def test_a_name_that_dns_does_not_know_has_none() -> None:
    assert asked(lambda query, kind: [packet(query, rcode=3)]) is None
    assert asked(lambda query, kind: [packet(query)]) is None
    assert asked(lambda query, kind: [packet(query, record(9), rcode=2)]) is None


BROKEN: list[Callable[[bytes], bytes]] = [
    lambda query: b"",
    lambda query: query[:2],
    lambda query: query,  # no response
    lambda query: bytes([query[0] ^ 1]) + packet(query, record(9))[1:],  # another's number
    lambda query: packet(query[:12] + b"\x05other" + query[12:], record(9)),
    lambda query: packet(query)[:6] + b"\xff\xff" + packet(query)[8:],  # records that are not there
    lambda query: packet(query, b"\xc0"),
    lambda query: packet(query, b"\x3f" * 20),
    lambda query: packet(query, record(9)[:-1]),
    lambda query: packet(query, b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 9, 60_000)),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_no_answer_is_passed_over(
    broken: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(lambda query, kind: [broken(query), packet(query, record(30, kind))]) == 30
    monkeypatch.setattr(module, "WAIT", 0.1)
    assert asked(lambda query, kind: [broken(query)]) is None


def test_a_server_that_is_silent_or_not_there_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with dns(only_a(40)) as good:
        assert lifetime("a.test", [("127.0.0.1", 1), good]) == 40
        monkeypatch.setattr(module, "WAIT", 1)
        with dns(lambda query, kind: []) as silent:
            assert lifetime("a.test", [silent, good]) == 40
    assert lifetime("a.test", []) is None


@pytest.mark.parametrize(
    "host", ["localhost", "", ".", "a..b", "x" * 64 + ".test", "bücher.test", "a." * 130 + "b"]
)
def test_what_dns_is_not_asked_for(host: str) -> None:
    def fail(query: bytes, kind: int) -> list[bytes]:
        raise AssertionError("it was asked")

    assert asked(fail, host) is None


def test_the_name_servers_of_the_system(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# none\nsearch a.test\nnameserver 192.0.2.1\nnameserver\nnameserver fe80::1%eth0\nnameserver x\n"
    )
    assert list(_known(file)) == [("192.0.2.1", 53), ("fe80::1%eth0", 53)]
    assert list(_known(tmp_path / "none")) == []
