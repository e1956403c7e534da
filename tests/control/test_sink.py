"""The sink never holds up its caller: stuck, gone and full readers cost lines, counted, and nothing else."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from cdn.control.sink import LineSink

from ..harness.sync import eventually


def test_lines_arrive_in_order_and_are_flushed_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "access.log"
    sink = LineSink(str(target))
    for n in range(1000):
        assert sink.write(b"line %d\n" % n)
    assert sink.close()
    assert target.read_bytes() == b"".join(b"line %d\n" % n for n in range(1000))
    assert oct(target.stat().st_mode & 0o777) == "0o640"


def test_lines_arrive_without_an_end(tmp_path: Path) -> None:
    target = tmp_path / "access.log"
    sink = LineSink(str(target))
    sink.write(b"now\n")
    eventually(lambda: target.read_bytes() == b"now\n", "the line to be written")
    sink.close()


def test_many_writers_tear_no_line(tmp_path: Path) -> None:
    target = tmp_path / "access.log"
    sink = LineSink(str(target))

    def write(name: int) -> None:
        for n in range(500):
            sink.write(b"%d-%d " % (name, n) + b"x" * 100 + b"\n")

    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    sink.close()
    lines = target.read_bytes().splitlines()
    assert len(lines) == 2000
    assert all(line.endswith(b" " + b"x" * 100) for line in lines)
    for name in range(4):
        mine = [line.split(b" ")[0] for line in lines if line.startswith(b"%d-" % name)]
        assert mine == [b"%d-%d" % (name, n) for n in range(500)]


def test_a_stuck_reader_costs_lines_and_never_the_writer(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = LineSink(str(fifo), buffer=64 << 10)
    line = b"x" * 99 + b"\n"
    slowest = 0.0
    for _ in range(5000):  # 500 kB into a pipe of 64 KiB and a buffer of 64 KiB
        began = time.perf_counter()
        sink.write(line)
        slowest = max(slowest, time.perf_counter() - began)
    counters = sink.counters()
    assert slowest < 0.25
    assert counters["waiting"] <= 64 << 10
    assert counters["dropped"] >= 3000
    # The reader wakes up: everything that was taken arrives, whole.
    os.set_blocking(reader, True)
    got = bytearray()
    closer = threading.Thread(target=sink.close)
    closer.start()
    while chunk := os.read(reader, 1 << 16):
        got += chunk
    closer.join()
    os.close(reader)
    assert len(got) == (5000 - counters["dropped"]) * 100
    assert set(bytes(got).split(b"\n")) == {b"x" * 99, b""}


def test_close_gives_up_on_a_stuck_reader(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = LineSink(str(fifo))
    for _ in range(300):
        sink.write(b"y" * 1023 + b"\n")
    began = time.monotonic()
    assert not sink.close(timeout=0.3)
    assert time.monotonic() - began < 2
    os.close(reader)


def test_a_reader_that_left_is_said_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    said: list[str] = []
    sink = LineSink(str(fifo), gather=0, on_trouble=said.append)
    os.close(reader)
    for n in range(1, 6):
        sink.write(b"into the void\n")
        eventually(lambda n=n: sink.counters()["lost"] == n, "the loss to be counted")  # type: ignore[misc]
    sink.close()
    assert len(said) == 1
    assert "Broken pipe" in said[0]


def test_a_full_disk_loses_lines_and_says_so() -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("/dev/full is not there")
    said: list[str] = []
    sink = LineSink("/dev/full", on_trouble=said.append)
    sink.write(b"one\ntwo\n")
    eventually(lambda: sink.counters()["lost"] == 2, "the loss to be counted")
    sink.close()
    assert said == ["cannot write to /dev/full: No space left on device; lines are lost until it can"]
    assert sink.counters()["waiting"] == 0


def test_reopen_follows_logrotate(tmp_path: Path) -> None:
    target, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    sink = LineSink(str(target), gather=0)
    sink.write(b"old\n")
    eventually(lambda: target.read_bytes() == b"old\n", "the first line")
    target.rename(rotated)
    sink.reopen()
    eventually(target.exists, "the new file")
    sink.write(b"new\n")
    sink.close()
    assert rotated.read_bytes() == b"old\n"
    assert target.read_bytes() == b"new\n"


def test_a_reopen_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "access.log"
    said: list[str] = []
    sink = LineSink(str(target), gather=0, on_trouble=said.append)
    sink.reopen(str(tmp_path / "missing" / "access.log"))
    eventually(lambda: bool(said), "the sentence")
    sink.write(b"still here\n")
    sink.close()
    assert "No such file or directory; still writing to the old file" in said[0]
    assert target.read_bytes() == b"still here\n"


def test_a_fifo_that_nobody_reads_is_an_error_not_a_wait(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OSError) as caught:
        LineSink(str(fifo))
    assert caught.value.errno == errno.ENXIO


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = LineSink(str(fifo))
    os.set_blocking(sink._fd, False)
    for _ in range(200):
        sink.write(b"z" * 1023 + b"\n")
    closer = threading.Thread(target=sink.close, args=(10,))
    closer.start()
    os.set_blocking(reader, True)
    got = 0
    while chunk := os.read(reader, 1 << 16):
        got += len(chunk)
    closer.join()
    os.close(reader)
    assert got == 200 * 1024


def test_an_idle_sink_makes_no_wake_ups(tmp_path: Path) -> None:
    sink = LineSink(str(tmp_path / "access.log"))
    sink.write(b"one\n")
    eventually(lambda: sink.counters()["waiting"] == 0, "the line to be written")
    time.sleep(0.1)

    def switches() -> int:
        path = Path(f"/proc/self/task/{sink._thread.native_id}/status")
        return sum(int(line.split()[1]) for line in path.read_text().splitlines() if "ctxt_switches" in line)

    before = switches()
    time.sleep(0.4)
    assert switches() == before
    sink.close()
