"""Stored parts and slices that are on disk: brought back before they are looked for.

Decides which of them a request can have use for: the index of parts with all it names, the list of slices; a slice
comes when it is read (`SlicedSource`), or with the others where the whole is asked for. Must not know how they are
used.
"""

from __future__ import annotations

from cdn.proxy import stored_parts, stored_slices
from cdn.proxy.disk import LARGEST, DiskTier
from cdn.proxy.lookup import Found, variant_key
from cdn.rules.message import RequestHead
from cdn.rules.vary import key_extras
from cdn.store import Memory


async def bring(tier: DiskTier, memory: Memory, found: Found, request: RequestHead) -> None:
    """Have in memory what of the parts and slices for this request is on disk."""
    bases = [variant_key(found.primary, spec, key_extras(spec, request.fields)) for spec in found.specs]
    for base in bases or [found.primary]:
        await tier.bring_keys([stored_parts.index_key(base), stored_slices.list_key(base)])
        index = memory.lookup(stored_parts.index_key(base))
        if index is not None:
            await tier.bring_keys(stored_parts.keys_listed(found.primary, index))
        listed = memory.lookup(stored_slices.list_key(base))
        if listed is not None and "range" not in request.fields:
            await tier.bring_keys(stored_slices.keys_listed(base, listed, LARGEST))
