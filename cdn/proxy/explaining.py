"""`cdn explain`: the decisions for a URL and its fields, without making a request. Decides nothing of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdn.proxy.coding import asked
from cdn.proxy.drafts import soft_window, stored_of
from cdn.proxy.lookup import keyed_target, log_hash, look_up, primary_key
from cdn.proxy.purge_log import Grade
from cdn.proxy.purging import request_for
from cdn.proxy.stored_parts import find
from cdn.proxy.stored_slices import find as find_slices
from cdn.rules.storing import bypass
from cdn.rules.use import decide_use
from cdn.store import RecordFlag

if TYPE_CHECKING:
    from cdn.proxy.site import Site

LOOKED_AT = 1024  # slices that are looked up at most


def explain(site: Site, url: str, fields: list[tuple[str, str]]) -> dict[str, Any]:
    """Which route, which key, stored or not, fresh until when, and why. ValueError for what is no absolute URL."""
    request = request_for(url, fields)
    now = site.clock.now()
    out: dict[str, Any] = {"url": request.url, "now": now}
    index = site.table.find(request.authority, request.path, request.method)
    if index < 0:
        out["route"] = None
        out["decision"] = "synthetic"
        out["reason"] = "no route knows this host: 421" if index == -1 else "no route matches: 404"
        return out
    route = site.routes[index]
    out["route"] = {
        "index": index,
        "hosts": list(route.match.hosts),
        "path": route.match.path,
        "origin": route.origin,
    }
    policy = route.cache
    if policy is None:
        return out | {"decision": "pass", "reason": "cache is off on this route"}
    if bypass(request, policy):
        return out | {"decision": "pass", "reason": "the route's bypass, or If-Match or If-Unmodified-Since"}
    query = keyed_target(request, site.table.query_filter(index))
    key = primary_key(request, query, policy)
    target = request.path if query is None else f"{request.path}?{query}"
    shields = site.shields if route.shield else None
    home = None if shields is None else shields.home(request.scheme, request.authority, target)
    out["asks"] = {"shield": home, "origin": route.origin if home is None else None}
    request = asked(route, request)
    found = look_up(site.memory, key, request)
    out["key"] = {
        "scheme": request.scheme,
        "authority": request.authority,
        "path": request.path,
        "query": query,
        "hash": log_hash(found.key),
        "varies_by": [list(spec) for spec in found.specs],
    }
    if route.compress:
        out["accept_encoding"] = request.fields.get("accept-encoding")
    entry = found.entry
    stored = None
    if entry is None:
        out["stored"] = None
        out["on_disk"] = site.disk is not None and site.disk.has(found.key)
        held = find(site.memory, found, request)
        if held is not None:
            out["parts"] = {
                "length": held.length,
                "spans": [list(span) for span in held.part.spans],
                "etag": held.stored.etag,
                "fresh_for_ms": held.stored.fresh_until - now,
            }
        sliced = find_slices(site.memory, found, request, site.slice) if policy.slices else None
        if sliced is not None:
            first = sliced.numbers((0, sliced.length - 1))[:LOOKED_AT]
            out["slices"] = {
                "length": sliced.length,
                "of": sliced.size,
                "there": [number for number in first if sliced.slice(site.memory, number) is not None],
                "looked_at": len(first),
                "validator": sliced.validator,
                "fresh_for_ms": sliced.stored.fresh_until - now,
            }
        out["sliceable"] = policy.slices and site.hindsight.sliceable(key)
        out["predicted_uncacheable"] = site.hindsight.predicted_uncacheable(key)
        reason = site.hindsight.why_not_stored(key)
        out["last_not_stored"] = None if reason is None else reason.value
        out["in_flight"] = found.key in site.flights
        known = site.equivalents.find(request, query, key)
        out["equivalent_query"] = None if known is None else known.query
    else:
        stored = stored_of(entry)
        purged = site.purges.find(entry.stamp, request, stored.tags, entry.key)
        out["stored"] = {
            "status": stored.status,
            "age": stored.age(now),
            "body_length": entry.body_length,
            "fresh_for_ms": stored.fresh_until - now,
            "stale_while_revalidate_for_ms": stored.swr_until - now,
            "stale_if_error_for_ms": stored.sie_until - now,
            "lifetime_ms": stored.lifetime,
            "lifetime_source": stored.lifetime_source,
            "etag": stored.etag,
            "must_revalidate": stored.must_revalidate,
            "no_cache": stored.no_cache,
            "vary": list(stored.vary),
            "current_epoch": site.purges.current(entry.stamp, entry.key),
            "purged": None if purged.grade is Grade.NONE else purged.grade.name.lower(),
            "marker": bool(entry.flags & RecordFlag.VARY_MARKER),
            "fields": [list(line) for line in stored.fields],
        }
        if purged.grade is Grade.GONE:
            stored = None
        elif purged.grade is not Grade.NONE:
            stored = soft_window(purged.applied(stored))
    use = decide_use(request, stored, policy, now)
    out["decision"] = use.decision.value
    out["reason"] = use.reason
    return out
