"""Child processes of the supervisor: how one is made, that it ends with its parent, and how its end reads in a log.

Decides nothing about when. A child takes no orders by signal: a terminal or a service manager signals every process of
the node at once, and only the supervisor is to hear it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
FAULT = 70  # exit code of a child that ended by an exception
_DEAF_TO = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)
_ALL = signal.valid_signals()


def start(run: Callable[[], int]) -> int:
    """Fork; the child's exit code is what `run` returns. The process id, in the parent. OSError."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    # What comes meanwhile is the parent's: a child that still had its handlers would tell the parent twice.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    try:
        pid = os.fork()
        if pid == 0:
            _live(run, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ALL)
    return pid


def _live(run: Callable[[], int], parent: int) -> None:
    """The child, from its first instruction to its last."""
    code = FAULT
    try:
        signal.set_wakeup_fd(-1)
        for number in _DEAF_TO:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ALL)
        end_with_parent(parent)
        code = run()
    except BaseException as error:
        _last_words(error)
    finally:
        os._exit(code)


def end_with_parent(parent: int) -> None:
    """From here on the kernel kills this process when `parent`, which has one thread, dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before
        os._exit(FAULT)


def _last_words(error: BaseException) -> None:
    from cdn.control.log import NodeLog, debugging, describe

    NodeLog().event("process", f"process {os.getpid()}: {describe(error)}", "error")
    if debugging():
        import traceback

        traceback.print_exception(error)
        sys.stderr.flush()


def how_it_ended(status: int) -> str:
    """A wait status as the rest of a sentence that begins with what ended."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"was killed by {name}"
    return f"ended with exit code {code}"
