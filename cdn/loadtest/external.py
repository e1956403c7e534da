"""Runs an installed load generator to its end; knows nothing of what it prints.

It ends with us, however we end: after a kill of `cdn bench` nobody would be left to say that the load goes on.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType

from cdn.loadtest.errors import LoadTestError

LAST_WORDS = 5.0  # seconds in which one that was interrupted may say what it has seen
_PR_SET_PDEATHSIG = 1
_PRCTL = ctypes.CDLL(None).prctl  # found before a fork, after which nothing may be looked up


@dataclass(frozen=True, slots=True)
class Told:
    """What it wrote to stdout and stderr, and whether Ctrl-C or SIGTERM ended it before its time."""

    text: str
    interrupted: bool


def call(command: list[str], seconds: float, environment: Mapping[str, str] | None = None) -> Told:
    """LoadTestError when it cannot be started, or does not end in time. `environment` is added to ours."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            preexec_fn=_end_with_parent,
        )
    except OSError as error:
        raise LoadTestError(f"{command[0]} cannot be started: {error.strerror}") from None
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        out, interrupted = process.communicate(timeout=seconds)[0], False
    except KeyboardInterrupt:
        out, interrupted = _last_words(process), True
    except subprocess.TimeoutExpired:
        raise LoadTestError(f"{command[0]} did not end within {seconds:.0f} s", failed=True) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if process.poll() is None:
            process.kill()
            process.communicate()
    return Told(out.decode("utf-8", "replace"), interrupted)


def _last_words(process: subprocess.Popen[bytes]) -> bytes:
    process.send_signal(signal.SIGINT)  # on a terminal it has had one, and does not mind
    try:
        return process.communicate(timeout=LAST_WORDS)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)
