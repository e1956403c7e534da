"""How lines are cut into writes, against the plain way of saying it."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path

from cdn.control._spool import Spool, whole_lines


def plain(lines: bytes, most: int) -> int:
    """Whole lines, as many as fit; a longer one alone."""
    if len(lines) <= most:
        return len(lines)
    end = lines.rfind(b"\n", 0, most) + 1
    return end or lines.find(b"\n") + 1 or len(lines)


def test_pieces_are_those_of_the_plain_way() -> None:
    draw = random.Random(7)
    for _ in range(3000):
        text = b"".join(b"x" * draw.choice((0, 1, 5, 40)) + b"\n" for _ in range(draw.randrange(6)))
        text += b"y" * draw.choice((0, 0, 3))
        for most in range(1, 60, draw.randrange(1, 9)):
            assert whole_lines(text, most) == plain(text, most), (text, most)


def test_a_piece_is_one_write_of_whole_lines() -> None:
    """A datagram socket keeps apart what each write had."""
    import socket

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    spool = Spool(1 << 20)
    lines = [b"%d " % n + b"x" * (n % 50) + b"\n" for n in range(400)]
    writer = threading.Thread(target=lambda: spool.flush(ours.fileno(), 256))
    spool.add(b"".join(lines))
    writer.start()
    got: list[bytes] = []
    while sum(map(len, got)) < sum(map(len, lines)):
        got.append(theirs.recv(4096))
    writer.join()
    ours.close()
    theirs.close()
    assert b"".join(got) == b"".join(lines)
    assert all(piece.endswith(b"\n") and len(piece) <= 256 for piece in got)
    assert len(got) < 70  # as many lines as fit


def test_it_holds_no_more_than_it_may_and_counts_what_it_drops(tmp_path: Path) -> None:
    spool = Spool(1000)
    assert spool.add(b"a" * 599 + b"\n")
    assert not spool.add(b"b" * 200 + b"\n" + b"b" * 200 + b"\n")
    assert spool.add(b"c" * 399 + b"\n")
    assert spool.counters() == {"dropped": 2, "lost": 0, "waiting": 1000}
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_RDWR)
    assert spool.flush(fd, 4096) == 0
    assert spool.counters()["waiting"] == 0
    assert spool.add(b"d\n")
    spool.end()
    assert not spool.add(b"e\n")
    assert spool.serve(fd, 4096, 0.0, 0) == 0  # told: what waits is for whoever flushes
    assert spool.flush(fd, 4096) == 0
    os.close(fd)
    assert (tmp_path / "log").read_bytes() == b"a" * 599 + b"\n" + b"c" * 399 + b"\nd\n"


def test_a_line_that_a_failure_has_cut_is_ended_before_the_next(tmp_path: Path) -> None:
    spool = Spool(1 << 20)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    line = b"x" * 9999 + b"\n"
    for _ in range(10):
        spool.add(line)
    assert spool.flush(writer, 4096) == errno.EAGAIN  # 65,536 bytes fit: six lines and a part of the seventh
    got = os.read(reader, 1 << 20)
    assert got != line * (len(got) // len(line))
    assert spool.give_up() == 10 - len(got) // len(line)
    assert spool.counters() == {"dropped": 0, "lost": 10 - len(got) // len(line), "waiting": 0}
    spool.add(b"next\n")
    assert spool.flush(writer, 4096) == 0
    assert os.read(reader, 1 << 20) == b"\nnext\n"
    os.close(reader)
    os.close(writer)


def test_what_has_grown_is_written_whole(tmp_path: Path) -> None:
    spool = Spool(8 << 20)
    lines = b"".join(b"%07d\n" % n for n in range(500_000))
    for at in range(0, len(lines), 80_000):
        assert spool.add(lines[at : at + 80_000])
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_RDWR)
    assert spool.flush(fd, 16 << 10) == 0
    os.close(fd)
    assert (tmp_path / "log").read_bytes() == lines
    assert spool.batches == 1


def test_what_a_burst_has_taken_is_given_back_when_nothing_more_comes(tmp_path: Path) -> None:
    def mapped() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")

    spool = Spool(8 << 20)
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_RDWR)
    before = mapped()
    for _ in range(4 << 10):
        spool.add(b"x" * 1023 + b"\n")
    assert mapped() > before + (3 << 20)
    assert spool.flush(fd, 16 << 10) == 0
    assert mapped() < before + (1 << 20)
    os.close(fd)
