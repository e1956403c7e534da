"""Several processes on one store: what one of them does, the seed for it, and what it saw, in a file.

Every body names its key and version and ends in a checksum, so that a right body for another key, a purged version or a
mixture is seen. Faults are written to the worker's file and end it; the parent reads the files.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import time
import traceback
import zlib
from dataclasses import dataclass
from pathlib import Path

from cdn.store import ABORTED, STREAMING, WAITING, Draft, Entry, Fill, Memory, StoreBusyError
from tests.store.bodies import draft

KEYS = 60
SIZES = (0, 60, 900, 5000, 16_000, 17_000, 70_000, 200_000)
PIECES = (900, 2000, 5000, 16_000, 30_000)  # where what is free lies in pieces, so that records are moved


def key_of(number: int) -> bytes:
    return b"key-%d" % number


def made(key: bytes, version: int, length: int) -> bytes:
    unit = b"<%s#%d>" % (key, version)
    text = (unit * (length // len(unit) + 1))[:length]
    return text + b"%08x" % zlib.crc32(text)


def check(key: bytes, version: int, content: bytes) -> None:
    text, mark = content[:-8], content[-8:]
    assert b"%08x" % zlib.crc32(text) == mark, (
        f"{key!r} {version}: a body that is damaged, {len(content)} bytes"
    )
    unit = b"<%s#%d>" % (key, version)
    assert text == (unit * (len(text) // len(unit) + 1))[: len(text)], (
        f"{key!r} {version}: a body of something else"
    )


def version_of(etag: bytes | None) -> int:
    assert etag is not None
    return int(etag.strip(b'"'))


@dataclass
class Slow:
    """A reader with an unsent tail: it holds an entry, and reads a piece now and then."""

    entry: Entry
    key: bytes
    version: int
    content: bytearray


class Player:
    """`floor`: for each key the version that the last purge of it (by this worker) has seen; none older may come."""

    def __init__(self, memory: Memory, worker: int, seed: int, pieces: bool = False) -> None:
        self.memory = memory
        self.sizes = PIECES if pieces else SIZES
        self.keys, self.spread = (600, 0.005) if pieces else (KEYS, 0.08)
        self.rng = random.Random(seed)
        self.version = (worker << 40) + (seed << 20)
        self.slow: list[Slow] = []
        self.fills: list[tuple[Fill, bytes, int, bytes, int]] = []
        self.followed: list[tuple[Fill, bytes, bytearray]] = []
        self.purged: dict[bytes, set[int]] = {}
        self.counts = {"hits": 0, "followed": 0, "commits": 0, "whole": 0, "busy": 0}

    def step(self) -> None:
        rng = self.rng
        key = key_of(min(int(rng.expovariate(self.spread)), self.keys - 1))
        dice = rng.random()
        if dice < 0.45:
            self.look(key)
        elif dice < 0.6:
            self.store(key)
        elif dice < 0.72:
            self.begin(key)
        elif dice < 0.86:
            self.go_on()
        elif dice < 0.95:
            self.read_on()
        elif dice < 0.97:
            self.purge(key)
        elif dice < 0.98:
            self.memory.remove(key)
        else:
            self.renew(key)

    def new_version(self) -> int:
        self.version += 1
        self.memory.now = self.version & 0xFFFFF
        return self.version

    def look(self, key: bytes) -> None:
        entry = self.memory.lookup(key)
        if entry is None:
            return
        self.counts["hits"] += 1
        assert entry.key == key
        version = version_of(entry.etag)
        assert version not in self.purged.get(key, ()), f"{key!r} {version} was purged"
        entry.touch(self.memory.now)
        if len(self.slow) < 12 and self.rng.random() < 0.2:
            self.slow.append(Slow(entry, key, version, bytearray()))
        else:
            check(key, version, entry.read())

    def store(self, key: bytes) -> None:
        version = self.new_version()
        content = made(key, version, self.rng.choice(self.sizes) + self.rng.randrange(50))
        entry = self.memory.publish(key, draft(key, version), content)
        if entry is not None:
            assert entry.read() == content

    def begin(self, key: bytes) -> None:
        fill, won = self.memory.begin_fill(key)
        if not won:
            if fill.remote and len(self.followed) < 12:
                self.followed.append((fill, key, bytearray()))
            return
        version = self.new_version()
        content = made(key, version, self.rng.choice(self.sizes) + self.rng.randrange(50))
        if fill.start(draft(key, version), len(content) if self.rng.random() < 0.6 else None):
            self.fills.append((fill, key, version, content, 0))
        else:
            fill.abort("no-space")

    def go_on(self) -> None:
        if not self.fills:
            return
        at = self.rng.randrange(len(self.fills))
        fill, key, version, content, sent = self.fills.pop(at)
        for _ in range(self.rng.randint(1, 6)):
            piece = content[sent : sent + self.rng.choice((100, 4000, 30_000, 100_000))]
            if not fill.write(piece):
                fill.abort("no-space")
                return
            sent += len(piece)
        if sent < len(content):
            if self.rng.random() < 0.05:
                fill.abort("truncated")
            else:
                self.fills.append((fill, key, version, content, sent))
            return
        purged = fill.purged
        entry = fill.commit()
        if entry is not None:
            assert not purged
            self.counts["commits"] += 1
            assert entry.read() == content

    def read_on(self) -> None:
        if self.slow and self.rng.random() < 0.5:
            slow = self.slow.pop(self.rng.randrange(len(self.slow)))
            piece = slow.entry.read(len(slow.content), self.rng.choice((50, 3000, 50_000)))
            slow.content += piece
            if len(slow.content) < slow.entry.body_length:
                self.slow.append(slow)
            else:
                check(slow.key, slow.version, bytes(slow.content))
                slow.entry.release()
        elif self.followed:
            fill, key, content = self.followed.pop(self.rng.randrange(len(self.followed)))
            state, ended = fill.state, fill.ended
            if state is ABORTED:
                return
            if state is WAITING:
                if self.rng.random() < 0.9:
                    self.followed.append((fill, key, content))
                return
            draft = fill.draft
            if draft is None:
                assert fill.state is ABORTED  # since it was looked at
                return
            version = version_of(_etag(draft))
            content += fill.read(len(content), 60_000)
            self.counts["followed"] += 1
            if ended and len(content) == fill.arrived:
                check(key, version, bytes(content))
                self.counts["whole"] += 1
            elif state is STREAMING and self.rng.random() < 0.03:
                return
            else:
                self.followed.append((fill, key, content))

    def purge(self, key: bytes) -> None:
        # What is found now is purged now; nobody may bring it back. A newer one may come at once.
        entry = self.memory.lookup(key)
        try:
            self.memory.purge(key)
        except StoreBusyError:
            self.counts["busy"] += 1
            return
        if entry is not None:
            assert not entry.current
            self.purged.setdefault(key, set()).add(version_of(entry.etag))

    def renew(self, key: bytes) -> None:
        entry = self.memory.lookup(key)
        if entry is None:
            return
        again = self.memory.republish(entry, entry.draft())
        if again is not None:
            check(key, version_of(again.etag), again.read())


def _etag(d: Draft) -> bytes:
    return d.head[d.etag_offset : d.etag_offset + d.etag_len]


def play(memory: Memory, worker: int, seed: int, seconds: float, report: Path, pieces: bool) -> None:
    """What a forked worker does; never returns."""
    status = 1
    signal.alarm(int(seconds) + 120)  # whoever hangs does not outlive the test for long
    try:
        memory.attach(worker)
        player = Player(memory, worker, seed, pieces)
        end = time.monotonic() + seconds
        n = 0
        while time.monotonic() < end:
            for _ in range(50):
                player.step()
                n += 1
            memory.woken()
        player.slow.clear()
        player.fills.clear()
        player.followed.clear()
        del player.fills, player.followed, player.slow
        gc.collect()
        memory.stats()
        memory.remove(b"nothing")  # whatever is owed is paid with the next lock
        report.write_text(f"ok {n} {player.counts}")
        status = 0
    except BaseException:
        report.write_text(traceback.format_exc())
    finally:
        sys.stdout.flush()
        os._exit(status)


@dataclass
class Child:
    pid: int
    worker: int
    report: Path
    killed: bool = False


class Hammer:
    """The parent: starts workers, reaps them, and says what is wrong."""

    def __init__(self, memory: Memory, folder: Path, pieces: bool = False) -> None:
        self.memory = memory
        self.pieces = pieces
        self.folder = folder
        self.children: dict[int, Child] = {}
        self.seed = 0
        self.deaths = 0
        self.stops = 0
        self.finished: list[str] = []

    def start(self, worker: int, seconds: float, arm: tuple[int, int, int] | None = None) -> Child:
        self.seed += 1
        report = self.folder / f"{self.seed}"
        pid = os.fork()
        if pid == 0:
            if arm is not None:
                self.memory.arm(*arm)
            play(self.memory, worker, self.seed, seconds, report, self.pieces)
        child = self.children[worker] = Child(pid, worker, report)
        return child

    def kill(self, worker: int) -> None:
        child = self.children[worker]
        child.killed = True
        os.kill(child.pid, signal.SIGKILL)

    def pause(self, worker: int, seconds: float) -> None:
        """It stands still, wherever it is, while the others go on."""
        os.kill(self.children[worker].pid, signal.SIGSTOP)
        time.sleep(seconds)
        self.stops += 1

    def go_on(self, worker: int) -> None:
        os.kill(self.children[worker].pid, signal.SIGCONT)

    def wait(self, worker: int, seconds: float = 30.0) -> int:
        """The exit status; asserts that it comes in time. What died by a signal is reaped."""
        child = self.children[worker]
        end = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                break
            assert time.monotonic() < end, f"worker {worker} hangs"
            time.sleep(0.005)
        del self.children[worker]
        while not self.memory.reap(worker):
            assert time.monotonic() < end, "the lock is not to be had"
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            self.deaths += 1
            return -1
        text = child.report.read_text()
        assert os.WEXITSTATUS(status) == 0, text
        self.finished.append(text)
        return 0

    def settle(self) -> None:
        """Everything adds up, and nothing is left but what is stored."""
        counts = self.memory.audit()
        assert (
            counts["retired"] == counts["pinned"] == counts["filling_runs"] == counts["filling_blocks"] == 0
        ), counts
        s = self.memory.stats()
        assert s["fills"] == 0
        assert counts["published"] == s["objects"]
        keys = self.memory.keys()
        for key in keys:
            entry = self.memory.lookup(key)
            assert entry is not None
            check(key, version_of(entry.etag), entry.read())
            del entry
        self.memory.purge_all()
        assert self.memory.stats()["used"] == self.memory.stats()["fixed"]
        assert set(self.memory.audit().values()) == {0}
