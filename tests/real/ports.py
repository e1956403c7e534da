"""Ports for servers that run beside thousands of clients: none that the kernel gives to a connection meanwhile."""

from __future__ import annotations

import random
import socket

LOWEST, HIGHEST = 20_000, 32_000  # below what Linux gives to outgoing connections


def server_port() -> int:
    """A port that was free a moment ago."""
    for port in random.sample(range(LOWEST, HIGHEST), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port from {LOWEST} to {HIGHEST}")
