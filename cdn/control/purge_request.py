"""What somebody wants purged: the JSON of the admin API, which is also what travels between nodes.

Decides which requests can be carried out at all. What they reach is the purge log's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cdn.control.log import one_line
from cdn.proxy.purging import Named, named, request_for

NAMED = 1_000  # URLs, tags, prefixes or hosts of one purge
NAME = 8_192  # characters of one
LISTS = ("urls", "tags", "prefixes", "hosts")
KEYS = (*LISTS, "all", "soft")
ONE = {"urls": "URL", "tags": "tag", "prefixes": "prefix", "hosts": "host"}
VERSION = 1


@dataclass(frozen=True, slots=True)
class PurgeRequest:
    """As it was asked for, names not yet in normal form."""

    urls: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    all: bool = False
    soft: bool = False

    @staticmethod
    def of(wanted: Mapping[str, Any]) -> PurgeRequest:
        """Of what `purge_problem` finds right."""
        lists = {key: tuple(wanted.get(key, ())) for key in LISTS}
        return PurgeRequest(**lists, all=wanted.get("all", False), soft=wanted.get("soft", False))

    def names(self) -> Named:
        """In normal form. ValueError with one sentence for what is none, bad URLs included."""
        for url in self.urls:
            request_for(url)
        return named(self.tags, self.prefixes, self.hosts)

    def encode(self, node: str) -> bytes:
        """For the other nodes; `node` is who asks them."""
        given = {key: value for key, value in asdict(self).items() if value}
        return json.dumps({"v": VERSION, "node": node, "purge": given}, separators=(",", ":")).encode()


def decode(data: bytes) -> PurgeRequest:
    """What `encode` made. ValueError with one sentence for anything else."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(message, dict) or message.get("v") != VERSION:
        raise ValueError("it is of another version of cdn")
    wanted: Any = message.get("purge")
    problem = purge_problem(wanted)
    if problem is not None:
        raise ValueError(problem[1])
    made = PurgeRequest.of(wanted)
    made.names()
    return made


def purge_problem(wanted: Any) -> tuple[int, str] | None:
    """(status, sentence) when a purge request is not one that can be done."""
    if not isinstance(wanted, dict):
        return 400, 'the body has to be an object: {"urls": [...], "all": false, "soft": false}'
    for key in wanted:
        if key not in KEYS:
            return 400, f"unknown key {one_line(str(key), 60)!r}; known are {', '.join(KEYS)}"
    named = False
    for key in LISTS:
        names = wanted.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return 400, f"{key} has to be a list of texts"
        if len(names) > NAMED:
            kind = "URLs" if key == "urls" else key
            return 400, f"{len(names)} {kind} are too many for one purge; send at most {NAMED}"
        for name in names:
            if not name or len(name) > NAME:
                return 400, f"a {ONE[key]} has to be a text of 1 to {NAME} characters"
        named = named or bool(names)
    for key in ("all", "soft"):
        if not isinstance(wanted.get(key, False), bool):
            return 400, f"{key} has to be true or false"
    if wanted.get("all", False) and named:
        return 400, "give all or what to purge, not both"
    if not named and not wanted.get("all", False):
        return 400, 'nothing to purge: give urls, tags, prefixes or hosts, or "all": true'
    for key in ("urls", "prefixes"):
        for url in wanted.get(key, []):
            if not re.match(r"https?://[^/?#\s]", url, re.IGNORECASE):
                return 400, f"not an absolute http or https URL: {one_line(url, 100)!r}"
    return None
