"""A stored response decided again: by today's rules and purges, as old as it is.

Decides what becomes of a record of an earlier epoch before it is used. Must not know clients, origins or flights.
"""

from __future__ import annotations

from dataclasses import replace

from cdn.config.values import CachePolicy, Route
from cdn.proxy.drafts import draft, soft_window
from cdn.proxy.lookup import Found
from cdn.proxy.purge_log import Grade
from cdn.proxy.site import Site
from cdn.rules.coding import OURS, outdated
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.stored import Flag, Stored
from cdn.rules.storing import DontStore, decide_store
from cdn.store import Entry, RecordFlag


def decide_again(
    site: Site,
    route: Route,
    policy: CachePolicy,
    request: RequestHead,
    found: Found,
    entry: Entry,
    stored: Stored,
) -> Stored | None:
    """A purge came since, or another configuration: the same response by today's rules (RFC 9111 §3 once more)."""
    stamp = (
        site.memory.stamp
    )  # before the purges are looked at: one that comes meanwhile begins a later epoch
    again = judged(site, route, policy, request, entry.key, entry.stamp, stored)
    if again is None:
        site.memory.remove(entry.key)
        found.entry = None
        return None
    record = draft(
        again,
        route.headers.response,
        stamp,
        old_origin=bool(entry.flags & RecordFlag.OLD_ORIGIN),
    )
    # On disk it stays as it was, and is decided again whenever it comes from there.
    found.entry = site.memory.republish(entry, record, tell=False) or entry
    return soft_window(again.with_body(entry.body_length))


def judged(
    site: Site,
    route: Route,
    policy: CachePolicy,
    request: RequestHead,
    key: bytes,
    stamp: int,
    stored: Stored,
) -> Stored | None:
    """What was decided at `stamp`, by today's rules and purges; None: it may not be used, or stored, any more."""
    purged = site.purges.find(stamp, request, stored.tags, key)
    head = ResponseHead(stored.status, stored.fields, stored.reason)
    credentials = [("Authorization", "-")] if stored.flags & Flag.AUTHORIZED else []
    asked = replace(request, method="GET", fields=Fields(credentials))
    decision = decide_store(
        asked, head, policy, request_time=stored.request_time, response_time=stored.response_time
    )
    obsolete = purged.grade is Grade.GONE or outdated(stored, route.compress, policy.targets)
    if isinstance(decision, DontStore) or obsolete:
        return None
    again = _as_old_as(stored, decision)
    return again if purged.grade is Grade.NONE else purged.applied(again)


def _as_old_as(stored: Stored, decision: Stored) -> Stored:
    """`decision` with the birth of `stored`: its Age field is gone, its age is not. A purge stays in force."""
    shift = stored.born - decision.born
    fresh_until = decision.fresh_until + shift
    if not stored.no_cache and stored.fresh_until < stored.born + stored.lifetime:
        fresh_until = min(fresh_until, stored.fresh_until)
        if max(stored.swr_until, stored.sie_until) <= stored.fresh_until:  # to be validated before any use
            shift = min(shift, fresh_until - max(decision.swr_until, decision.sie_until))
    return replace(
        decision,
        flags=decision.flags | (stored.flags & OURS),
        born=stored.born,
        fresh_until=fresh_until,
        swr_until=max(fresh_until, decision.swr_until + shift),
        sie_until=max(fresh_until, decision.sie_until + shift),
    )
