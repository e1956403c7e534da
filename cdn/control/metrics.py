"""The counters of a node as Prometheus text (exposition format 0.0.4).

One table names the families; what the worker counts beyond it appears as `cdn_<section>_<name>`, so that
nothing is hidden. Label values come from our own enums and the configuration, never from a client, and their
number is bounded all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cdn.control.metric_lines import MAX_LABELS, NOT_NAME, escape, histogram, number_of
from cdn.control.origin_metrics import origins

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_FAMILIES = 400

_DURATION = "From the head of a request to the end of its answer, outside the hit lane."


@dataclass(frozen=True, slots=True)
class Family:
    """`path` leads into the stats; with `label`, every key below it is a value of that label."""

    path: tuple[str, ...]
    name: str
    type: str  # "counter" | "gauge"
    help: str
    label: str | None = None
    scale: int = 1  # the counter is divided by it


FAMILIES: tuple[Family, ...] = (
    Family(("outcomes",), "cdn_requests_total", "counter", "Requests answered, by outcome.", "outcome"),
    Family(
        ("lanes",), "cdn_lane_requests_total", "counter", "Requests, by the lane that served them.", "lane"
    ),
    Family(("no_store",), "cdn_not_stored_total", "counter", "Responses not stored, by reason.", "reason"),
    Family(
        ("statuses",),
        "cdn_responses_total",
        "counter",
        "Responses outside the hit lane, by status class.",
        "class",
    ),
    Family(("bytes",), "cdn_bytes_total", "counter", "Bytes moved, by direction.", "direction"),
    Family(
        ("refused",), "cdn_refused_total", "counter", "Requests and connections refused, by reason.", "reason"
    ),
    Family(("body_bytes",), "cdn_body_bytes_total", "counter", "Bytes of bodies sent outside the hit lane."),
    Family(("exchanges",), "cdn_exchanges", "gauge", "Exchanges in progress outside the hit lane."),
    Family(("failures",), "cdn_failures_total", "counter", "Faults of our own; the node's log names them."),
    Family(("connections", "open"), "cdn_connections", "gauge", "Client connections open now."),
    Family(
        ("connections", "accepted"), "cdn_connections_accepted_total", "counter", "Client connections taken."
    ),
    Family(
        ("connections", "refused"), "cdn_connections_refused_total", "counter", "Connections over a limit."
    ),
    Family(
        ("store", "used"), "cdn_store_used_bytes", "gauge", "Bytes of the store in use, overhead included."
    ),
    Family(("store", "size"), "cdn_store_size_bytes", "gauge", "Bytes the store may use."),
    Family(("store", "objects"), "cdn_store_objects", "gauge", "Responses stored now."),
    Family(
        ("store", "pinned"), "cdn_store_pinned_bytes", "gauge", "Bytes of it held by answers on their way."
    ),
    Family(
        ("store", "pinned_most"),
        "cdn_store_pinned_most_bytes",
        "gauge",
        "What they may hold if room is wanted.",
    ),
    Family(
        ("connections", "cut_for_memory"),
        "cdn_connections_cut_for_memory_total",
        "counter",
        "Slow clients cut because what they read was evicted.",
    ),
    Family(("store", "evictions"), "cdn_store_evictions_total", "counter", "Responses evicted for space."),
    Family(("disk", "size"), "cdn_disk_size_bytes", "gauge", "Bytes the cache may use on disk."),
    Family(("disk", "bytes"), "cdn_disk_used_bytes", "gauge", "Bytes of the entries on disk."),
    Family(("disk", "objects"), "cdn_disk_objects", "gauge", "Responses stored on disk."),
    Family(("disk", "hits"), "cdn_disk_hits_total", "counter", "Responses found on disk only."),
    Family(("disk", "written"), "cdn_disk_written_total", "counter", "Responses written to disk."),
    Family(("disk", "written_bytes"), "cdn_disk_written_bytes_total", "counter", "Bytes of them."),
    Family(("disk", "queue_bytes"), "cdn_disk_queue_bytes", "gauge", "Bytes waiting to be written."),
    Family(
        ("disk", "dropped"), "cdn_disk_dropped_total", "counter", "Responses not written: slow or failing."
    ),
    Family(("disk", "evictions"), "cdn_disk_evictions_total", "counter", "Responses evicted from disk."),
    Family(
        ("disk", "read_errors"), "cdn_disk_read_errors_total", "counter", "Reads of the disk that failed."
    ),
    Family(("disk", "write_errors"), "cdn_disk_write_errors_total", "counter", "Writes to it that failed."),
    Family(("disk", "bad_blocks"), "cdn_disk_bad_blocks_total", "counter", "Entries found damaged."),
    Family(
        ("disk", "lost_segments"),
        "cdn_disk_lost_segments_total",
        "counter",
        "Segments removed by others while the node ran.",
    ),
    Family(("disk", "failing"), "cdn_disk_failing", "gauge", "Workers whose writes fail now."),
    Family(("bus", "connected"), "cdn_bus_connected", "gauge", "Whether purges of other nodes arrive."),
    Family(
        ("bus", "sequence"), "cdn_bus_sequence", "gauge", "Number of the latest purge of all nodes in force."
    ),
    Family(("bus", "lag"), "cdn_bus_lag", "gauge", "Purges known to be in the stream and not in force here."),
    Family(("bus", "applied"), "cdn_bus_applied_total", "counter", "Purges taken from the stream."),
    Family(("bus", "published"), "cdn_bus_published_total", "counter", "Purges put into the stream."),
    Family(
        ("bus", "gaps"), "cdn_bus_gaps_total", "counter", "How often everything stored was to be validated."
    ),
    Family(("bus", "differing"), "cdn_bus_differing_nodes", "gauge", "Nodes with other routes or origins."),
    Family(("access_log", "dropped"), "cdn_access_log_dropped_total", "counter", "Log lines without room."),
    Family(("access_log", "lost"), "cdn_access_log_lost_total", "counter", "Log lines whose write failed."),
    Family(("access_log", "waiting"), "cdn_access_log_waiting_bytes", "gauge", "Log bytes not written yet."),
    Family(("coding", "made"), "cdn_coded_responses_total", "counter", "Bodies compressed here.", "coding"),
    Family(("coding", "taken"), "cdn_coding_memory_bytes", "gauge", "Memory of the compressors at work."),
    Family(("purges", "requests"), "cdn_purges_total", "counter", "Purges asked for on the admin listener."),
    Family(("uptime_ms",), "cdn_uptime_seconds", "gauge", "Since the node started.", scale=1000),
    Family(("process", "rss"), "cdn_resident_memory_bytes", "gauge", "Resident memory of the process."),
    Family(("process", "cpu_ms"), "cdn_cpu_seconds_total", "counter", "Processor time used.", scale=1000),
    Family(("log_events",), "cdn_log_events_total", "counter", "Events of the node's log, by kind.", "kind"),
)


def _at(stats: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = stats
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


def _samples(values: Mapping[str, Any], label: str) -> Iterator[tuple[str, int | float]]:
    """(label text, value), biggest first where there are too many."""
    numbers = [(str(name), value) for name, value in values.items() if number_of(value) is not None]
    if len(numbers) > MAX_LABELS:
        numbers.sort(key=lambda pair: -pair[1])
        rest = sum(value for _, value in numbers[MAX_LABELS - 1 :])
        numbers = [*numbers[: MAX_LABELS - 1], ("other", rest)]
    for name, value in numbers:
        yield f'{{{label}="{escape(name)}"}}', value


def _unnamed(stats: Mapping[str, Any], path: tuple[str, ...], known: set[tuple[str, ...]]) -> Iterator[str]:
    """Every numeric leaf that no family covers."""
    for key, value in stats.items():
        here = (*path, str(key))
        if here in known:
            continue
        if isinstance(value, Mapping):
            if len(here) < 6:
                yield from _unnamed(value, here, known)
            continue
        number = number_of(value)
        if number is not None:
            name = "cdn_" + "_".join(NOT_NAME.sub("_", part) for part in here)[:180]
            text = escape(".".join(here))
            yield f"# HELP {name} The worker's {text}.\n# TYPE {name} untyped\n{name} {number}\n"


_OF_A_WORKER = (
    ("connections", "cdn_worker_connections", "gauge", "Client connections open now, by worker."),
    ("requests", "cdn_worker_requests_total", "counter", "Requests answered by this process, by worker."),
    ("bytes_out", "cdn_worker_bytes_out_total", "counter", "Bytes sent by this process, by worker."),
    ("restarts", "cdn_worker_restarts_total", "counter", "How often its process was replaced, by worker."),
    ("answers", "cdn_worker_up", "gauge", "Whether it has told its counters just now, by worker."),
)


def _workers(workers: Any) -> list[str]:
    """One family for each figure that a worker has; there are at most as many workers as the store can have."""
    if not isinstance(workers, (list, tuple)):
        return []
    out: list[str] = []
    for name, family, kind, text in _OF_A_WORKER:
        out.append(f"# HELP {family} {text}\n# TYPE {family} {kind}\n")
        out += [f'{family}{{worker="{one["worker"]}"}} {int(one[name])}\n' for one in workers]
    return out


def render(stats: Mapping[str, Any], node: str, version: str) -> str:
    """The whole /metrics page."""
    out = [
        "# HELP cdn_info The node and its version.\n# TYPE cdn_info gauge\n"
        f'cdn_info{{node="{escape(node)}",version="{escape(version)}"}} 1\n'
    ]
    for family in FAMILIES:
        value = _at(stats, family.path)
        lines: list[str] = []
        if family.label is None:
            number = number_of(value if family.scale == 1 or not value else value / family.scale)
            lines = [f"{family.name} {number}\n"] if number is not None else []
        elif isinstance(value, Mapping):
            lines = [f"{family.name}{text} {number_of(n)}\n" for text, n in _samples(value, family.label)]
        if lines:
            out.append(f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.type}\n")
            out += lines
    out += histogram("cdn_request_duration_seconds", _DURATION, [("", stats.get("latency_ms"))])
    pools = stats.get("origins")
    if "shields" in stats and isinstance(pools, Mapping):
        pools = {**pools, "(shields)": stats["shields"]}  # a pool like the others, of no origin's name
    out += origins(pools)
    out += _workers(stats.get("workers"))
    known = {family.path for family in FAMILIES} | {("origins",), ("shields",), ("latency_ms",)}
    seen: set[str] = set()
    for text in _unnamed(stats, (), known):
        name = text.split(" ", 3)[2]
        if name not in seen and len(seen) < MAX_FAMILIES:
            seen.add(name)
            out.append(text)
    return "".join(out)
