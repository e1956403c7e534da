"""In which order things are asked, and whether an answer counts.

For each row every server is started afresh and warmed; then each round asks all of them in turn (the order
moves on by one each round), first with the bare head, then with a browser's. A run counts only when a probe
saw the right answer, the bytes fit it, and the origin saw what it should: nothing behind hits, everything
behind misses and passes.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench import load
from bench.load import Door, WrongAnswerError
from bench.pace import pace
from bench.peers import LIMIT, Peer, Place, Running, start, start_origin
from bench.processes import Guard, Server, StartError, machine_busy_seconds
from bench.rows import Head, Row

ERRORS_ALLOWED = 1e-4  # of the requests
LEAKS_ALLOWED = 1e-3  # of the hits, to the origin
BYTES_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Settings:
    """`seconds` is the length of one run; cores are numbers of the machine."""

    rounds: int
    seconds: int
    peers: tuple[Peer, ...]
    server_core: int = 0
    load_core: int = 1
    workers: int = 1  # of this proxy


@dataclass(frozen=True, slots=True)
class Sample:
    """One run that counted. Shares are of one core's time."""

    row: str
    head: Head
    peer: str
    round: int
    per_second: float
    p50_us: int
    p99_us: int
    server_us: float  # CPU time of the server for one request
    server_share: float
    load_share: float
    foreign_share: float  # what others took of the machine's cores meanwhile
    pace_us: float = 0.0  # of the machine itself around the run (bench.pace); 0: not taken


@dataclass(frozen=True, slots=True)
class Gap:
    """Why there is no figure for a peer in a row."""

    row: str
    head: Head
    peer: str
    why: str


class Progress:
    """One line that says what is being measured and how long the rest takes."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._start = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._last = ""

    def step(self, text: str, count: int = 1) -> None:
        self._done = min(self._done + count, self._steps)
        left = (time.monotonic() - self._start) / self._done * (self._steps - self._done)
        self.show(f"{text}  (about {left / 60:.0f} min left)")

    def show(self, text: str) -> None:
        line = f"[{self._done}/{self._steps}] {text}"
        if self._terminal:
            sys.stderr.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        if self._terminal:
            sys.stderr.write("\n")


class Runner:
    """Measures rows one after the other; `samples` and `gaps` grow with each."""

    def __init__(
        self, settings: Settings, programs: Path, folder: Path, guard: Guard, rows: tuple[Row, ...]
    ) -> None:
        self.samples: list[Sample] = []
        self.gaps: list[Gap] = []
        self._settings = settings
        self._programs = programs
        self._folder = folder
        self._guard = guard
        self._names = 0
        self._steps_of = {
            row.id: len(row.heads) * len(settings.peers) * (settings.rounds + 1) for row in rows
        }
        self._progress = Progress(sum(self._steps_of.values()))

    def close(self) -> None:
        self._progress.close()

    def measure(self, row: Row) -> None:
        origin = start_origin(self._programs, self._folder, self._settings.load_core, self._guard)
        running: list[Running] = []
        try:
            for peer in self._settings.peers:
                for started in self._ready(row, peer, origin):
                    running.append(started)
            for number in range(self._settings.rounds):
                turn = number % len(running) if running else 0
                for one in running[turn:] + running[:turn]:
                    for head in row.heads:
                        self._measure_one(row, head, one, number, origin)
        finally:
            for one in running:
                one.server.stop()
            origin.stop()

    def _ready(self, row: Row, peer: Peer, origin: Server) -> list[Running]:
        """The peer, started and warm; nothing, and gaps, when it cannot do the row."""
        settings = self._settings
        why = row.without.get(peer.id)
        one: Running | None = None
        if why is None:
            self._progress.show(f"{row.title}: starting {peer.title}")
            folder = self._folder / f"{row.id}-{peer.id}"
            place = Place(
                folder, origin.port, row.store_mib, settings.server_core, self._programs, settings.workers
            )
            try:
                one = start(peer, place, self._guard)
                self._warm(row, one, origin)
            except (StartError, WrongAnswerError) as error:
                why = str(error)
                if one is not None:
                    one.server.stop()
        if why is None and one is not None:
            self._progress.step(f"{row.title}: {peer.title} is warm", len(row.heads))
            return [one]
        self.gaps += [Gap(row.id, head, peer.id, why or "") for head in row.heads]
        self._progress.step(f"{row.title}: {peer.title} {why}", self._steps_of[row.id] // len(settings.peers))
        return []

    def _warm(self, row: Row, one: Running, origin: Server) -> None:
        """Stores what the row hits, checks the answer, and loads the server for an uncounted second."""
        door = _door(row, one)
        if one.peer.id == LIMIT:
            pass  # it has every answer ready
        elif row.zipf:
            load.store_all(door, row, "z", origin.port, core=self._settings.load_core, guard=self._guard)
        elif row.hits:
            for _ in range(3):
                load.probe(door, row, "bare", "0", plain=True)
        for head in row.heads:
            name = self._name(row)
            load.probe(door, row, head, _first(row, name))
            load.run(door, row, head, name, seconds=1, core=self._settings.load_core, guard=self._guard)

    def _measure_one(self, row: Row, head: Head, one: Running, number: int, origin: Server) -> None:
        name = self._name(row)
        door = _door(row, one)
        one.between_runs()
        try:
            length = load.probe(door, row, head, _first(row, name))
            asked = load.count_requests(origin.port)
            pace_us = self._pace()
            busy, server, behind = machine_busy_seconds(), one.server.cpu_seconds(), origin.cpu_seconds()
            begin = time.monotonic()
            count = load.run(
                door,
                row,
                head,
                name,
                seconds=self._settings.seconds,
                core=self._settings.load_core,
                guard=self._guard,
            )
            elapsed = time.monotonic() - begin
            busy, server = machine_busy_seconds() - busy, one.server.cpu_seconds() - server
            behind = origin.cpu_seconds() - behind
            pace_us = (pace_us + self._pace()) / 2
            judge(row, count, length, load.count_requests(origin.port) - asked)
        except WrongAnswerError as error:
            self.gaps.append(Gap(row.id, head, one.peer.id, str(error)))
            self._progress.step(f"{row.title}, {head} head: {one.peer.title} {error}")
            return
        ours = server + behind + count.cpu_seconds
        sample = Sample(
            row=row.id,
            head=head,
            peer=one.peer.id,
            round=number,
            per_second=count.per_second,
            p50_us=count.p50_us,
            p99_us=count.p99_us,
            server_us=max(server, 0.01) / count.requests * 1e6,
            server_share=server / elapsed,
            load_share=(behind + count.cpu_seconds) / elapsed,
            foreign_share=max(0.0, busy - ours) / elapsed,
            pace_us=pace_us,
        )
        self.samples.append(sample)
        self._progress.step(
            f"round {number + 1}/{self._settings.rounds}, {row.title}, {head} head: {one.peer.title}"
            f" {sample.per_second:,.0f}/s"
        )

    def _pace(self) -> float:
        """Of both cores: strangers may be on one of them only."""
        return (pace(self._settings.server_core) + pace(self._settings.load_core)) / 2

    def _name(self, row: Row) -> str:
        """Names are new for every run of a row of misses; otherwise always the same."""
        if row.zipf:
            return "z"
        if not row.unique:
            return "0"
        self._names += 1
        return f"u{self._names}"


def _first(row: Row, name: str) -> str:
    """The name that a probe asks for."""
    return f"{name}1" if row.zipf else f"{name}-probe" if row.unique else name


def _door(row: Row, one: Running) -> Door:
    return Door(one.tls_port, True) if row.tls else Door(one.port, False)


def judge(row: Row, count: load.Count, length: int, at_origin: int) -> None:
    """WrongAnswerError when the run was not what the row is about."""
    requests = count.requests
    if requests == 0 or count.errors > requests * ERRORS_ALLOWED:
        raise WrongAnswerError(f"{count.errors} errors beside {requests} answers")
    low = requests * length * (1 - BYTES_TOLERANCE)
    high = (requests + row.connections) * length * (1 + BYTES_TOLERANCE)
    if not low <= count.bytes <= high:
        raise WrongAnswerError(f"{count.bytes / requests:.0f} B an answer, the probe had {length}")
    if row.hits and at_origin > max(2.0, requests * LEAKS_ALLOWED):
        raise WrongAnswerError(f"{at_origin} of {requests} hits reached the origin")
    if not row.hits and at_origin < requests:
        raise WrongAnswerError(f"only {at_origin} of {requests} requests reached the origin")
