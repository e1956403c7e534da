"""Responses the proxy makes itself: errors, refusals. Decides their words; who asks for one decides the status.

Bodies are short and name the request id, so that a person can find the log line; nothing a client or an origin sent is
repeated in them.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdn._core import reason_phrase

WORDS = {
    400: "The request is malformed.",
    403: "This is not allowed.",
    404: "Nothing is served at this address.",
    405: "This method is not allowed here.",
    408: "The request did not arrive in time.",
    411: "The request needs a Content-Length.",
    412: "The stored response does not meet the request's conditions.",
    413: "The request's body is larger than this server takes.",
    414: "The request's target is longer than this server takes.",
    416: "The requested range lies outside of the content.",
    417: "This expectation cannot be met.",
    421: "This host is not served here.",
    431: "The request's head is larger than this server takes.",
    500: "Something went wrong here.",
    501: "This is not implemented.",
    502: "The origin server could not be reached, or its answer was broken.",
    503: "The service is not available.",
    504: "The origin server did not answer in time.",
    505: "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
    508: "The request came through here before.",
}


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A response of our own: `head` without framing fields and the empty line."""

    status: int
    head: bytes
    body: bytes


def response(
    status: int, request_id: str, extra: tuple[tuple[str, str], ...] = (), detail: str = ""
) -> Synthetic:
    """`extra` fields are written as given; `detail` is one sentence of ours behind the usual one."""
    phrase = reason_phrase(status) or "Error"
    words = WORDS.get(status, phrase + ".")
    body = f"{status} {phrase}\n{words}{' ' + detail if detail else ''}\nrequest {request_id}\n".encode(
        "ascii"
    )
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        "Content-Type: text/plain; charset=utf-8",
        "Cache-Control: no-store",
    ]
    lines += [f"{name}: {value}" for name, value in extra]
    return Synthetic(status, ("\r\n".join(lines) + "\r\n").encode("latin-1"), body)
