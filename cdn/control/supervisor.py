"""The supervisor: one process without a loop and without threads that makes the others and replaces those that die.

It binds every socket and opens the store before it forks, and holds both for as long as the node lives, so that a
connection in a queue, and what is stored, outlive every worker. Decides when a process is started, told to end and
killed. How a byte is served, and what the admin listener says, it does not know.

    start --all ready--> running --first signal--> draining --all ended, bound, second signal--> ended
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cdn import __version__
from cdn.config.values import Config
from cdn.control import broker, children, roles
from cdn.control.figures import raise_file_limit
from cdn.control.lines import Line, LineEnd
from cdn.control.log import NodeLog
from cdn.control.preflight import admin_problems, admin_token, explain_bind_error
from cdn.control.roles import CONTROL, Inherited
from cdn.control.seams import WorkerFactory
from cdn.control.sink import open_target
from cdn.proxy.listening import BindError, bind
from cdn.proxy.shared import share, workers_of
from cdn.proxy.spreading import Doors
from cdn.store import StoreError

SPARE_FILES = 256  # descriptors beside one per client connection
STARTING = 30.0  # seconds until every process has to be ready
QUICK = 2.0  # a process that lives shorter than this has died at once
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # before one that keeps dying at once is started again
GRACE = 3.0  # seconds beyond the drain until what has not ended is killed
FAREWELL = 2.0  # and for the control process, and after a second signal


class CannotStartError(Exception):
    """The node cannot start; each of `sentences` is one reason with the way out."""

    def __init__(self, *sentences: str) -> None:
        super().__init__(*sentences)
        self.sentences = sentences


@dataclass(eq=False)
class Place:
    """One process of the node, whoever fills it. `number` of the worker, or CONTROL."""

    number: int
    pid: int = 0  # 0: nobody
    line: Line | None = None
    begun: float = 0.0
    ready: bool = False
    generation: int = 0  # of the configuration it was started with
    restarts: int = -1
    quick: int = 0  # deaths at once in a row
    due: float = 0.0  # when to start the next
    owing: bool = False  # what a dead worker held of the store is not given back yet
    why: str = ""  # what it said when it could not start
    code: int = 0
    ended: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "the control process" if self.number == CONTROL else f"worker {self.number}"


class Supervisor:
    """Runs `config` with workers that `factory` makes; `read_config` gives the configuration anew for a reload.

    `read_config` raises ValueError with one line when the file cannot be used. `drain` in seconds; None: as the
    configuration says.
    """

    def __init__(
        self,
        config: Config,
        factory: WorkerFactory,
        log: NodeLog,
        *,
        read_config: Callable[[], Config] | None = None,
        drain: float | None = None,
    ) -> None:
        self.config = config
        self._log = log
        self._factory = factory
        self._read_config = read_config
        self._drain_given = drain
        self._drain = config.timeouts.drain / 1000 if drain is None else drain
        self._places: list[Place] = []
        self._signals: list[int] = []
        self._ends = 0  # signals to end
        self._selector = selectors.PollSelector()  # without a descriptor that children would share
        self._generation = 0
        self._fresh: int | None = None  # a memfd with the configuration of the latest reload

    def run(self, started: Callable[[], None] | None = None) -> int:
        """Until a signal. 0 after a drain that finished, 1 when connections were cut; CannotStartError."""
        self._listen_to_signals()
        try:
            self._open()
            if self._fork_all() and self._wait_until_ready(self._places):
                self._announce()
                if started is not None:
                    started()
            while not self._ends:
                self._turn(self._next_due())
                self._replace()
            clean = self._end_workers()
            self._log.say("ended" if clean else "ended; connections that were not finished are cut")
            return 0 if clean else 1
        finally:
            self._close()

    # Start

    def _open(self) -> None:
        """Everything that the others inherit; CannotStartError."""
        config = self.config
        if config.access_log is not None:
            try:  # each worker opens its own: this is for the sentence
                os.close(open_target(config.access_log.to))
            except OSError as error:
                raise CannotStartError(
                    f"log: cannot open {config.access_log.to}: {error.strerror}"
                ) from error
        sockets, admin = self._bind_all()
        try:
            shared = share(config, sockets)
        except StoreError as error:
            raise CannotStartError(str(error)) from error
        if shared.trouble is not None:
            self._log.event("disk", str(shared.trouble), "error")
        if (workers := workers_of(config)) > 1:
            shared = replace(shared, doors=Doors(workers))
        raise_file_limit(config.limits.connections + SPARE_FILES, self._log)
        self._inherited = Inherited(config, shared, admin, self._factory, self._read_config, time.monotonic())

    def _bind_all(self) -> tuple[list[list[socket.socket]], list[socket.socket]]:
        """The sockets of each listener, and those of the admin listener."""
        config = self.config
        addresses = [listener.address for listener in config.listen]
        if config.admin is not None:
            addresses.append(config.admin.address)
        sockets: list[list[socket.socket]] = []
        problems: list[str] = []
        for address in addresses:
            try:
                sockets.append(bind(address))
            except BindError as error:
                problems.append(explain_bind_error(address, error))
        if config.admin is not None:
            problems += admin_problems(config.admin)
        if config.bus is not None:
            problems += broker.problems(config.bus)
        if problems:
            raise CannotStartError(*problems)
        return (sockets, []) if config.admin is None else (sockets[:-1], sockets[-1])

    def _listen_to_signals(self) -> None:
        self._heard, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = wake
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda _number, _frame: None)
        self._selector.register(self._heard, selectors.EVENT_READ)

    def _fork_all(self) -> bool:
        """False when a signal came first; CannotStartError."""
        self._places = [Place(CONTROL), *(Place(number) for number in range(workers_of(self.config)))]
        control, *others = self._places
        self._start(control)
        if self.config.bus is not None and not self._wait_until_ready([control]):
            return False  # nobody serves what was purged while this node was away
        for place in others:
            self._start(place)
        return True

    def _start(self, place: Place) -> None:
        ours, theirs = Line.pair()
        others = [ours, *(other.line for other in self._places if other.line is not None)]

        def child() -> int:
            for line in others:
                line.close()
            os.close(self._heard)
            os.close(self._wake)
            return roles.play(place.number, self._inherited, theirs, self._fresh, self._generation)

        try:
            place.pid = children.start(child)
        except OSError as error:
            ours.close()
            place.why = f"cannot be started: {error.strerror}"
            place.due = time.monotonic() + LONGEST_PAUSE
            self._log.event("fork", f"{place.name} {place.why}; tried again in {LONGEST_PAUSE:g} s", "error")
            return
        finally:
            theirs.close()
        place.line, place.ready, place.why = ours, False, ""
        place.generation, place.begun = self._generation, time.monotonic()
        place.restarts += 1
        self._selector.register(ours, selectors.EVENT_READ, place)
        if place.number == CONTROL:
            for other in self._places[1:]:
                self._introduce(other)
        else:
            self._introduce(place)

    def _introduce(self, worker: Place) -> None:
        """Give a worker and the control process a line to each other."""
        control = self._places[0]
        if not (worker.pid and control.pid):
            return
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with one, other:
            self._order(
                control,
                {
                    "do": "meet",
                    "worker": worker.number,
                    "pid": worker.pid,
                    "restarts": worker.restarts,
                    "generation": worker.generation,
                },
                one.fileno(),
            )
            self._order(worker, {"do": "answer"}, other.fileno())

    def _wait_until_ready(self, places: list[Place]) -> bool:
        """False when a signal came first; CannotStartError when a process could not start."""
        end = time.monotonic() + STARTING
        while not all(place.ready for place in places):
            if self._ends:
                return False
            for place in places:
                if not place.pid or place.why:
                    raise CannotStartError(place.why or f"{place.name} {' '.join(place.ended)} at its start")
            if time.monotonic() >= end:
                raise CannotStartError(f"the node's processes were not ready within {STARTING:g} s")
            self._turn(end)
        return True

    def _announce(self) -> None:
        config = self.config
        workers = len(self._places) - 1
        count = "1 worker" if workers == 1 else f"{workers} workers"
        self._log.say(f"cdn {__version__}: node {config.node.name}, process {os.getpid()}, {count}")
        for listener, sockets in zip(config.listen, self._inherited.shared.sockets, strict=True):
            self._log.say(f"listening on {replace(listener.address, port=sockets[0].getsockname()[1])}")
        if config.admin is not None:
            guard = "no token, so it answers this machine only"
            if admin_token(config.admin) is not None:
                guard = f"with the token in {config.admin.token_env}"
            port = self._inherited.admin[0].getsockname()[1]
            self._log.say(f"admin and dashboard on {replace(config.admin.address, port=port)} ({guard})")

    # One turn: what has happened since the last

    def _turn(self, until: float | None) -> None:
        """Wait for signals and messages, at most until then, and take note of them."""
        timeout = None if until is None else max(0.0, until - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if key.data is not None:
                self._read(key.data)
        self._hear_signals()
        for place in self._places:
            self._reap(place)

    def _hear_signals(self) -> None:
        try:
            numbers = os.read(self._heard, 4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._ends += 1
        if signal.SIGHUP in numbers:
            self._order(self._places[0], {"do": "reload"})

    def _read(self, place: Place) -> None:
        if place.line is None:
            return
        try:
            messages = place.line.receive()
        except LineEnd:
            self._selector.unregister(place.line)
            place.line.close()
            place.line = None
            return
        for message, fd in messages:
            match message["say"]:
                case "ready":
                    place.ready = True
                case "failed":
                    place.why = message["why"]
                case "config" if fd is not None:
                    if self._fresh is not None:
                        os.close(self._fresh)
                    self._fresh, self._generation = fd, message["generation"]
                    if self._drain_given is None:
                        self._drain = message["drain"] / 1000
                    self._order(place, {"do": "taken", "generation": self._generation})
                case "kill":
                    self._kill(self._places[1 + message["worker"]])

    def _order(self, place: Place, message: dict[str, object], fd: int | None = None) -> None:
        """A process that does not read its orders is of no use any more."""
        if place.line is None:
            return
        try:
            place.line.send(message, fd)
        except LineEnd:
            self._kill(place)

    @staticmethod
    def _kill(place: Place) -> None:
        if place.pid:
            os.kill(place.pid, signal.SIGKILL)

    def _reap(self, place: Place) -> None:
        if not place.pid:
            return
        pid, status = os.waitpid(place.pid, os.WNOHANG)
        if pid == 0:
            return
        self._read(place)  # its last words
        if place.line is not None:
            self._selector.unregister(place.line)
            place.line.close()
            place.line = None
        place.pid, place.code = 0, os.waitstatus_to_exitcode(status)
        place.ended = [children.how_it_ended(status)]
        if place.number != CONTROL:
            place.owing = True
            self._give_back(place)
            self._order(self._places[0], {"do": "part", "worker": place.number})
        now = time.monotonic()
        place.quick = place.quick + 1 if now - place.begun < QUICK else 0
        pause = FIRST_PAUSE * 2 ** (place.quick - 2) if place.quick > 1 else 0.0
        place.due = now + min(pause, LONGEST_PAUSE)

    def _give_back(self, worker: Place) -> None:
        """The store gets back what a dead worker held, now or when whoever holds the store's lock goes on."""
        worker.owing = not self._inherited.shared.memory.reap(worker.number)

    # Running

    def _replace(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.pid:
                if place.quick > 1 and now - place.begun >= QUICK:
                    place.quick = 0
                    self._log.say(f"{place.name} stays up again, as process {place.pid}")
                continue
            ended = " ".join(place.ended)
            reason = f" ({place.why})" if place.why else ""
            if place.quick == 2:
                self._log.say(
                    f"{place.name} keeps dying: the latest {ended}{reason}; it is started again after pauses "
                    f"that grow to {LONGEST_PAUSE:g} s"
                )
                place.quick += 1
            if now < place.due:
                continue
            if place.owing:
                self._give_back(place)
            if place.owing:
                place.due = now + FIRST_PAUSE
                continue
            self._start(place)
            if place.quick < 2 and place.pid:
                self._log.say(f"{place.name} {ended}{reason}; process {place.pid} takes its place")

    def _next_due(self) -> float | None:
        """When something is to be done without being told."""
        dues = [place.due for place in self._places if not place.pid]
        dues += [place.begun + QUICK for place in self._places if place.pid and place.quick > 1]
        return min(dues, default=None)

    # The end

    def _end_workers(self) -> bool:
        """True when every exchange ended by itself."""
        workers = [place for place in self._places[1:] if place.pid]
        self._log.say(f"draining for at most {self._drain:g} s; signal again to leave at once")
        self._order(self._places[0], {"do": "drain"})
        for place in workers:
            self._order(place, {"do": "drain", "seconds": self._drain})
        self._inherited.shared.close()
        self._wait_for(workers, time.monotonic() + self._drain + GRACE, 1)
        if any(place.pid for place in workers):
            for place in workers:
                self._order(place, {"do": "leave"})
            self._wait_for(workers, time.monotonic() + FAREWELL, 2)
        for place in workers:
            self._kill(place)
        self._wait_for(workers, time.monotonic() + FAREWELL, None)
        return all(place.code == 0 for place in workers)

    def _wait_for(self, places: list[Place], end: float, signals: int | None) -> None:
        """Until they have ended, or the time has come, or there were more signals to end than this."""
        while any(place.pid for place in places) and time.monotonic() < end:
            if signals is not None and self._ends > signals:
                return
            self._turn(end)

    def _close(self) -> None:
        """Whatever runs still is ended, the control process last; sockets and store go."""
        for place in self._places[1:]:
            self._kill(place)
        for place in self._places[:1]:
            self._order(place, {"do": "leave"})
            self._wait_for([place], time.monotonic() + FAREWELL, None)
            self._kill(place)
        self._wait_for(self._places, time.monotonic() + FAREWELL, None)
        if hasattr(self, "_inherited"):
            self._inherited.close()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        os.close(self._heard)
        os.close(self._wake)
        self._log.flush()
