"""What is known of origins and their servers, as Prometheus text.

Labels are names and addresses from the configuration, and kinds of failure from our own enum; of each at most
MAX_LABELS are written. Must not know how a server is judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cdn.control.metric_lines import MAX_LABELS, NOT_NAME, escape, head, histogram, number_of

# key of a server in the stats: name of the family, its type, its help
SERVER_FAMILIES = {
    "up": (
        "cdn_origin_server_up",
        "gauge",
        "Whether requests go to the server: not ejected, down or draining.",
    ),
    "busy": ("cdn_origin_server_busy", "gauge", "Exchanges and tunnels under way with the server."),
    "idle": ("cdn_origin_server_idle", "gauge", "Kept connections to the server without an exchange."),
    "opened": ("cdn_origin_server_connections_total", "counter", "Connections made to the server."),
    "reused": ("cdn_origin_server_reused_total", "counter", "Exchanges that took a kept connection."),
    "answered": ("cdn_origin_server_answered_total", "counter", "Responses that came from the server."),
    "ejections": ("cdn_origin_server_ejections_total", "counter", "How often the server was ejected."),
}
FAILURES = ("cdn_origin_server_failures_total", "counter", "Failures of the server, by kind.")
FIRST_BYTE = ("cdn_origin_first_byte_seconds", "From the request to the first byte of the server's response.")


def origins(stats: Any) -> list[str]:
    """Every family about origins; `stats` is the section of that name."""
    if not isinstance(stats, Mapping):
        return []
    known = list(stats.items())[:MAX_LABELS]
    families: dict[str, list[str]] = {}
    for name, counters in known:
        if not isinstance(counters, Mapping):
            continue
        for counter, value in counters.items():
            number = number_of(value)
            if number is not None:
                metric = "cdn_origin_" + NOT_NAME.sub("_", str(counter))[:100]
                line = f'{metric}{{origin="{escape(str(name))}"}} {number}\n'
                families.setdefault(metric, []).append(line)
    out: list[str] = []
    for metric, lines in families.items():
        counter = metric.removeprefix("cdn_origin_").replace("_", " ")
        out += [head(metric, "untyped", f"Per origin: {counter}."), *lines]
    return out + _servers(dict(known))


def _servers(stats: Mapping[str, Any]) -> list[str]:
    found = list(_each(stats))[:MAX_LABELS]
    out: list[str] = []
    for key, family in SERVER_FAMILIES.items():
        lines = [
            f"{family[0]}{{{labels}}} {number}\n"
            for labels, server in found
            if (number := number_of(server.get(key))) is not None
        ]
        out += [head(*family), *lines] if lines else []
    failures: list[str] = []
    for labels, server in found:
        kinds = server.get("failures")
        if isinstance(kinds, Mapping):
            for kind, count in list(kinds.items())[:MAX_LABELS]:
                if (number := number_of(count)) is not None:
                    failures.append(f'{FAILURES[0]}{{{labels},kind="{escape(str(kind))}"}} {number}\n')
    out += [head(*FAILURES), *failures] if failures else []
    return out + histogram(*FIRST_BYTE, [(labels, server.get("latency_ms")) for labels, server in found])


def _each(stats: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, origin in stats.items():
        servers = origin.get("servers") if isinstance(origin, Mapping) else None
        if isinstance(servers, Mapping):
            for address, server in servers.items():
                if isinstance(server, Mapping):
                    yield f'origin="{escape(str(name))}",server="{escape(str(address))}"', server
