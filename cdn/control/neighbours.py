"""The other nodes of the bus: who is there, how far each has come, and whose routes and origins are not ours.

Decides what a node says of itself every other second, and when it counts as gone. What is heard comes from whoever may
write to the broker, so it is bounded and looked at before it is believed. Must not know a broker.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cdn.config import render
from cdn.config.names import parse_node_name
from cdn.config.problems import BadValueError
from cdn.config.values import Config

GONE = 10.0  # seconds without a word
MOST = 256  # nodes that are listed
LONGEST = 2_048  # bytes of a word
_VERSION = re.compile(r"[0-9a-f]{12}").fullmatch


def version_of(config: Config) -> str:
    """The same on two nodes whose routes and origins are the same: 12 hexadecimal digits."""
    sections = re.split(r"^(?=\S)", render(config), flags=re.MULTILINE)
    shared = [section for section in sections if section.startswith(("origins:", "routes:", "- "))]
    return sha256("".join(shared).encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(slots=True)
class _Node:
    configuration: str
    sequence: int
    tier: str
    heard: float
    told: bool = False  # that it differs


class Neighbours:
    """`now` in seconds."""

    def __init__(self, config: Config, now: Callable[[], float] = time.monotonic) -> None:
        self.name = config.node.name
        self._now = now
        self._known: dict[str, _Node] = {}
        self.configure(config)

    def configure(self, config: Config) -> None:
        """What this node runs from now on."""
        self._tier = config.node.tier.value
        self._version = version_of(config)
        for node in self._known.values():
            node.told = False

    def word(self, sequence: int) -> bytes:
        said = {"node": self.name, "tier": self._tier, "configuration": self._version, "sequence": sequence}
        return json.dumps(said).encode()

    def hear(self, data: bytes) -> None:
        """What is no node's word is nothing."""
        try:
            said = json.loads(data) if len(data) <= LONGEST else {}
            name = parse_node_name(said["node"])
            version, sequence, tier = said["configuration"], said["sequence"], said["tier"]
        except (ValueError, TypeError, KeyError, RecursionError, BadValueError):
            return
        if not (isinstance(version, str) and _VERSION(version) and isinstance(sequence, int)):
            return
        known = self._known.get(name)
        if name == self.name or (known is None and len(self._known) >= MOST):
            return
        told = known is not None and known.told and known.configuration == version
        tier = "shield" if tier == "shield" else "edge"
        self._known[name] = _Node(version, min(abs(sequence), 1 << 44), tier, self._now(), told)

    def news(self) -> list[str]:
        """A sentence for each node that runs another configuration, once."""
        self._forget()
        out = []
        for name, node in self._known.items():
            if node.configuration != self._version and not node.told:
                node.told = True
                out.append(
                    f"{name} runs other routes or origins ({node.configuration}) than this node ({self._version})"
                )
        return out

    def stats(self) -> dict[str, Any]:
        self._forget()
        return {
            "configuration": self._version,
            "differing": sum(node.configuration != self._version for node in self._known.values()),
            "nodes": [
                {
                    "node": name,
                    "tier": node.tier,
                    "configuration": node.configuration,
                    "sequence": node.sequence,
                    "heard_ms": int((self._now() - node.heard) * 1000),
                }
                for name, node in sorted(self._known.items())
            ],
        }

    def _forget(self) -> None:
        end = self._now() - GONE
        self._known = {name: node for name, node in self._known.items() if node.heard >= end}
