"""/metrics is Prometheus text: read back by Prometheus' own parser, bounded whatever the counters hold."""

from __future__ import annotations

import pytest

from cdn.control.metric_lines import MAX_LABELS
from cdn.control.metrics import MAX_FAMILIES, render
from cdn.rules.outcome import Outcome

from .fakes import STATS, running_admin

parser = pytest.importorskip("prometheus_client.parser")


def families(text: str) -> dict[str, object]:
    found = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.name not in found, f"{family.name} twice"
        found[family.name] = family
    return found


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_counter_is_there_with_help_and_type() -> None:
    text = render(STATS, "edge-1", "0.1.0")
    got = samples(text)
    assert got["cdn_info", (("node", "edge-1"), ("version", "0.1.0"))] == 1
    for n, outcome in enumerate(Outcome):
        assert got["cdn_requests_total", (("outcome", outcome.value),)] == 10 * n
    assert got["cdn_store_used_bytes", ()] == 5 << 20
    assert got["cdn_connections", ()] == 7
    assert got["cdn_origin_requests", (("origin", "app"),)] == 40
    assert got["cdn_origin_requests", (("origin", 'od"d\\\n'),)] == 1
    assert got["cdn_request_duration_seconds_bucket", (("le", "0.005"),)] == 8
    assert got["cdn_request_duration_seconds_bucket", (("le", "+Inf"),)] == 11
    assert got["cdn_request_duration_seconds_count", ()] == 11
    assert got["cdn_store_lookups_found", ()] == 4  # what no table names is there all the same
    assert got["cdn_ready", ()] == 1
    for family in families(text).values():
        assert family.documentation  # type: ignore[attr-defined]


def test_names_of_the_table_are_used_once() -> None:
    text = render(STATS, "n", "v")
    helps = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert len(helps) == len(set(helps))


def test_servers_of_origins() -> None:
    server = {
        "state": "up",
        "up": 1,
        "busy": 2,
        "answered": 7,
        "failures": {"reset": 3},
        "average_ms": 1.5,
        "latency_ms": {"bounds": [1, 5], "counts": [4, 2, 1], "sum_seconds": 0.25},
    }
    text = render(
        {"origins": {"app": {"requests": 9, "retries": 1, "servers": {"http://a:1": server}}}}, "n", "v"
    )
    got = samples(text)
    where = (("origin", "app"), ("server", "http://a:1"))
    assert got["cdn_origin_retries", (("origin", "app"),)] == 1
    assert got["cdn_origin_server_up", where] == 1
    assert got["cdn_origin_server_busy", where] == 2
    assert got["cdn_origin_server_answered_total", where] == 7
    assert got["cdn_origin_server_failures_total", (("kind", "reset"), *where)] == 3
    assert got["cdn_origin_first_byte_seconds_bucket", (("le", "0.005"), *where)] == 6
    assert got["cdn_origin_first_byte_seconds_count", where] == 7
    assert families(text)


def test_servers_are_bounded() -> None:
    origins = {
        f"o{n}": {"requests": n, "servers": {f"http://h{m}:1": {"up": 1} for m in range(100)}}
        for n in range(200)
    }
    got = samples(render({"origins": origins}, "n", "v"))
    assert sum(name == "cdn_origin_requests" for name, _ in got) == MAX_LABELS
    assert sum(name == "cdn_origin_server_up" for name, _ in got) == MAX_LABELS


def test_labels_and_families_are_bounded() -> None:
    many = {f"reason-{n}": n for n in range(10_000)}
    sections = {f"section {n}": {f"x{m}": m for m in range(50)} for n in range(100)}
    text = render({"no_store": many, **sections}, "n", "v")
    got = samples(text)
    reasons = [key for key in got if key[0] == "cdn_not_stored_total"]
    assert len(reasons) == MAX_LABELS
    assert sum(got[key] for key in reasons) == sum(many.values())
    assert len(families(text)) <= MAX_FAMILIES + 2


def test_hostile_names_stay_in_their_line() -> None:
    text = render({"log_events": {'a"b\\c\nd': 3}, "we ird\n": {"x\ny": 1}}, 'no"de\n', "v")
    got = samples(text)
    assert got["cdn_log_events_total", (("kind", 'a"b\\c\nd'),)] == 3
    assert got["cdn_info", (("node", 'no"de\n'), ("version", "v"))] == 1


def test_the_page_is_served_with_its_type() -> None:
    with running_admin() as admin:
        answer = admin.ask("GET", "/metrics")
        assert answer.fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert samples(answer.body.decode())["cdn_requests_total", (("outcome", "miss"),)] == 40
