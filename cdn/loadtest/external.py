"""Runs an installed load generator to its end; knows nothing of what it prints."""

from __future__ import annotations

import subprocess

from cdn.loadtest.errors import LoadTestError


def call(command: list[str], seconds: float) -> str:
    """What it wrote to stdout and stderr; LoadTestError when it does not end in time. Ends with this process's
    group on Ctrl-C."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LoadTestError(f"{command[0]} did not end within {seconds:.0f} s", failed=True) from None
    except OSError as error:
        raise LoadTestError(f"{command[0]} cannot be started: {error.strerror}") from None
    return done.stdout.decode("utf-8", "replace")
