"""What a shield leaves as it came, though the route edits it: an edge decides by it.

Decides which response edits a shield makes. An edge judges the response that a shield sends as if it came from the
origin: what the shield took out or set anew would be lost to the edge's own decision. The edge makes the same edits
itself, for clients. Must not know who asks.
"""

from __future__ import annotations

from collections.abc import Collection

from cdn.config.values import FieldEdits
from cdn.rules.storing import DECIDING

# Beside the values that decide: fields of which the presence does, or the form that the body has.
_JUDGED = DECIDING | {
    "content-encoding",
    "content-range",
    "content-type",
    "no-vary-search",
    "set-cookie",
    "transfer-encoding",
}


def shield_edits(edits: FieldEdits, targets: Collection[str]) -> FieldEdits:
    """Those of the edits that no edge misses; `targets` is the route's list of RFC 9213."""
    kept = _JUDGED.union(targets)
    return FieldEdits(
        tuple((name, value) for name, value in edits.set if name.lower() not in kept),
        tuple(name for name in edits.remove if name.lower() not in kept),
    )
