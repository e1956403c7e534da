"""Scripted origins, raw clients and a proxy with a fake clock: what the scenarios are written with.

    from tests.harness import Origin, Proxy, RawClient, fresh, reply, site

`Proxy` lives in `tests.harness.proxy` and needs the built extension modules; everything else is plain Python.
"""

from .client import HOST, RawClient, chunked, request_bytes
from .origin import (
    Conn,
    Origin,
    PeerGone,
    Reply,
    close,
    expect,
    fresh,
    hold,
    refusing_port,
    reply,
    reset,
    respond,
    send,
    stall,
)
from .site import Tree, site, yaml_text
from .sync import PATIENCE, Barrier, Crew, Signal, eventually
from .wire import BodyReader, Closed, FieldsLike, Request, Response, Wire, WireError

__all__ = [
    "HOST",
    "PATIENCE",
    "Barrier",
    "BodyReader",
    "Closed",
    "Conn",
    "Crew",
    "FieldsLike",
    "Origin",
    "PeerGone",
    "RawClient",
    "Reply",
    "Request",
    "Response",
    "Signal",
    "Tree",
    "Wire",
    "WireError",
    "chunked",
    "close",
    "eventually",
    "expect",
    "fresh",
    "hold",
    "refusing_port",
    "reply",
    "request_bytes",
    "reset",
    "respond",
    "send",
    "site",
    "stall",
    "yaml_text",
]
