"""Why a load test cannot be run, and the words for what goes wrong in one."""

from __future__ import annotations

import ssl


class LoadTestError(Exception):
    """One sentence with the way out; `failed` where the target is at fault and not the command."""

    def __init__(self, sentence: str, *, failed: bool = False) -> None:
        super().__init__(sentence)
        self.failed = failed


# Kinds of errors, as they are counted and shown.
CONNECT = "connect: "  # and why
RESET = "reset by the server"
CLOSED = "closed before the whole answer"
TIMEOUT = "no whole answer in time"
MALFORMED = "malformed answer"
UNANSWERED = "unanswered at the end"
UNSENT = "due, but never sent"


def connect_kind(error: BaseException) -> str:
    """The kind of a failed connect; few different strings, so that they can be counted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CONNECT + f"certificate not accepted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return CONNECT + "TLS handshake failed"
    if isinstance(error, ConnectionRefusedError):
        return CONNECT + "refused"
    if isinstance(error, TimeoutError):
        return CONNECT + "timed out"
    if isinstance(error, ConnectionError):
        return CONNECT + "reset"
    if isinstance(error, OSError) and error.strerror:
        return CONNECT + error.strerror.lower()
    return CONNECT + type(error).__name__
