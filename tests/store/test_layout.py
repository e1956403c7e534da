"""What the mapping promises: its size is the truth, its flags have one meaning, its overhead is bounded."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import cdn.store
from cdn._core import key_hash
from cdn.config.values import StoreConfig
from cdn.store import Draft, Memory, RecordFlag, StoreError, open_memory
from cdn.store.opening import available_memory
from tests.store.bodies import FAR, draft


def test_flags_are_those_of_the_layout() -> None:
    text = (Path(cdn.store.__file__).parent / "layout.pxd").read_text()
    assert {name: int(value) for name, value in re.findall(r"RECORD_(\w+) = (\d+)", text)} == {
        flag.name: flag.value for flag in RecordFlag
    }


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 4095, 1_500_000, 3 << 20, 64 << 20])
def test_the_size_is_everything(size: int) -> None:
    memory = Memory(size, bytes(16))
    assert memory.size == size - size % 4096
    assert os.fstat(memory.fileno).st_size == memory.size
    assert os.fstat(memory.fileno).st_blocks * 512 == memory.size, "taken whole at the start"
    s = memory.stats()
    assert s["fixed"] < 0.03 * s["size"] + 2 * (128 << 10)
    for i in range(int(size / 1000)):
        memory.publish(b"%d" % i, draft(b"k", 1), bytes(3000 + i % 900))
    assert memory.stats()["used"] <= memory.size
    assert os.fstat(memory.fileno).st_size == memory.size


def test_overhead_per_object() -> None:
    """At most 200 bytes beside key, head and body of 1 KiB, all of the size counted, the rules' meta too."""
    head = b"HTTP/1.1 200 OK\r\n" + b"X-Pad: " + b"x" * 200 + b"\r\n"
    memory = Memory(40 << 20, bytes(16))
    one = Draft(200, head, 17, 0, FAR, FAR, FAR, 0, meta=bytes(28))
    n = 0
    while memory.stats()["evictions"] == 0:
        key = b"https://www.example.com/" + b"p" * (n % 64) + b"%d" % n
        memory.publish(key, one, bytes(1024))
        n += 1
    s = memory.stats()
    assert (s["size"] - s["object_bytes"]) / s["objects"] + 28 <= 200


def test_the_hash_is_keyed() -> None:
    hashes = set()
    for secret in (bytes(16), bytes(15) + b"\1"):
        entry = Memory(1 << 20, secret).publish(b"k", draft(b"k", 1))
        assert entry is not None
        assert entry.key_hash == f"{key_hash(secret, b'k')[0]:016x}"
        hashes.add(entry.key_hash)
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((1 << 20, b"short"), "16 bytes"),
        ((1000, bytes(16)), "at least 1 MiB"),
        (((1 << 42) + 1, bytes(16)), "at most 4 TiB"),
        ((1 << 20, bytes(16), 1_000_000), "more than half"),
        ((1 << 20, bytes(16), 0), "one object"),
        ((1 << 20, bytes(16), 100, 0), "chooses among"),
    ],
)
def test_bad_arguments(arguments: tuple[int, bytes], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Memory(*arguments)


def test_a_full_index_is_no_full_stop() -> None:
    memory = Memory(1 << 20, bytes(16), objects=50)
    for i in range(2000):
        assert memory.publish(b"%d" % i, draft(b"k", 1, i * 16), bytes(10)) is not None
    s = memory.stats()
    assert s["objects"] > 0.9 * s["slots"]
    assert s["evictions"] == 2000 - s["objects"]
    memory.audit()


def test_open_memory() -> None:
    memory = open_memory(StoreConfig(memory=2 << 20))
    assert memory.size == 2 << 20
    with pytest.raises(
        StoreError, match=r"store.memory is \d+ MiB, but only \d+ MiB of memory are available"
    ):
        open_memory(StoreConfig(memory=1 << 50))
    with pytest.raises(StoreError, match="at least 1 MiB"):
        open_memory(StoreConfig(memory=5))


def test_available_memory(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    assert available_memory(meminfo, tmp_path) is None
    meminfo.write_text("MemTotal: 100 kB\nMemAvailable:     50 kB\n")
    assert available_memory(meminfo, tmp_path) == 50 << 10
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(meminfo, tmp_path) == 50 << 10
    (tmp_path / "memory.max").write_text("30000\n")
    (tmp_path / "memory.current").write_text("10000\n")
    assert available_memory(meminfo, tmp_path) == 20_000
    (tmp_path / "memory.current").write_text("40000\n")
    assert available_memory(meminfo, tmp_path) == 0
