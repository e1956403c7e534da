"""Meeting points between the threads of a test: signals, barriers, crews. Every wait is bounded.

Nothing here knows HTTP. A wait that runs out raises AssertionError that says what was waited for, so that a
hang in the proxy reads as a failed expectation and not as a stuck test.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

PATIENCE = 5.0  # seconds: how long anything may take before the test calls it a failure


class Signal:
    """A one-way switch between threads."""

    def __init__(self, name: str = "signal") -> None:
        self.name = name
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout: float = PATIENCE) -> None:
        """Return when set; AssertionError after `timeout` seconds."""
        if not self._event.wait(timeout):
            raise AssertionError(f"waited {timeout:g} s for {self.name!r}, which was never set")


class Barrier:
    """`parties` threads meet here; each `wait` returns when all have come."""

    def __init__(self, parties: int, name: str = "barrier") -> None:
        self.name = name
        self._barrier = threading.Barrier(parties)

    def wait(self, timeout: float = PATIENCE) -> None:
        try:
            self._barrier.wait(timeout)
        except threading.BrokenBarrierError:
            raise AssertionError(
                f"only {self._barrier.n_waiting} of {self._barrier.parties} reached {self.name!r}"
            ) from None


class Task:
    """One thread of a crew: its result or its exception."""

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._work, self._args = work, args
        self._value: Any = None
        self.error: BaseException | None = None
        self.claimed = False
        self.thread = threading.Thread(target=self._run, name=getattr(work, "__name__", "task"), daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._value = self._work(*self._args)
        except BaseException as error:
            self.error = error

    def result(self, timeout: float = PATIENCE) -> Any:
        self.thread.join(timeout)
        if self.thread.is_alive():
            raise AssertionError(f"{self.thread.name} still runs after {timeout:g} s")
        self.claimed = True
        if self.error is not None:
            raise self.error
        return self._value


class Crew:
    """Threads of one test. Leaving the block joins them all and raises the first exception nobody has
    claimed."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.tasks: list[Task] = []

    def start(self, work: Callable[..., Any], *args: Any) -> Task:
        task = Task(work, args)
        self.tasks.append(task)
        return task

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + self.patience
        for task in self.tasks:
            task.thread.join(max(0.0, deadline - time.monotonic()))
        if error is not None:
            return  # the test has failed already: its own reason comes first
        for task in self.tasks:
            if not task.claimed:
                task.result(0.01)


def eventually(
    check: Callable[[], Any], what: str = "", timeout: float = PATIENCE, every: float = 0.005
) -> Any:
    """Ask `check` until it is true and return its value; AssertionError with `what` after `timeout` seconds.

    For what follows an answer without being part of it: counters, log lines, background refreshes.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            value = check()
        except ConnectionRefusedError:
            value = None  # not listening yet
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(
                f"not within {timeout:g} s: {what or getattr(check, '__name__', 'condition')}"
            )
        time.sleep(every)
