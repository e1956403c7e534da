"""The Cache-Status member that this node adds (RFC 9211 §2). Formats what others decided."""

from __future__ import annotations

from cdn.rules.outcome import Outcome
from cdn.rules.structured import is_sf_token, serialise_string

FORWARD_REASONS = ("bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial")

_HITS = frozenset({Outcome.HIT, Outcome.STALE_SWR})
_DEFAULT_FWD = {
    Outcome.MISS: "uri-miss",
    Outcome.COLLAPSED: "uri-miss",
    Outcome.PASS: "bypass",
    Outcome.REVALIDATED: "stale",
    Outcome.STALE_SIE: "stale",
}


def member(
    node: str,
    outcome: Outcome,
    *,
    ttl: int | None = None,
    fwd: str | None = None,
    fwd_status: int | None = None,
    stored: bool = False,
    key: str | None = None,
    detail: str | None = None,
) -> str:
    """`ttl` is the freshness left in milliseconds, negative when stale; `fwd` one of `FORWARD_REASONS`.

    A synthetic answer or an error that never went forward has neither `hit` nor `fwd`.
    """
    parts = [node if is_sf_token(node) else serialise_string(node)]
    if outcome in _HITS:
        parts.append("hit")
    else:
        fwd = fwd or _DEFAULT_FWD.get(outcome)
        if fwd is not None:
            parts.append(f"fwd={fwd}")
            if fwd_status is not None:
                parts.append(f"fwd-status={fwd_status}")
    if ttl is not None:
        parts.append(f"ttl={ttl // 1000}")
    if stored and outcome not in _HITS:
        parts.append("stored")
    if outcome is Outcome.COLLAPSED:
        parts.append("collapsed")
    if key is not None:
        parts.append(f"key={serialise_string(key)}")
    if detail is None and outcome in (Outcome.STALE_SWR, Outcome.STALE_SIE, Outcome.SYNTHETIC):
        detail = outcome.value
    if detail is not None:
        parts.append(f"detail={detail if is_sf_token(detail) else serialise_string(detail)}")
    return "; ".join(parts)
