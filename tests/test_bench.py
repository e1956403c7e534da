"""The harness of `make bench`: figures and pages from samples, the C programs; nothing outlives it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench import latency, machine, micro_page, plot, report, scale, scale_page, written
from bench.figures import Figures
from bench.latency import Steady
from bench.load import Count, Door, WrongAnswerError, count_requests, probe
from bench.pace import alike, pace
from bench.peers import PEERS, Place, start
from bench.processes import Guard, Server, StartError, free_port
from bench.rows import ROWS, Head, chosen
from bench.runner import Gap, Sample, Settings, judge
from tests.peers import need, need_cores

ROOT = Path(__file__).resolve().parent.parent
CORE = min(os.sched_getaffinity(0))
HIT, PASS = chosen(["hit-1k"])[0], chosen(["pass-1k"])[0]
needs_cc = pytest.mark.skipif(
    not shutil.which("cc") or not shutil.which("taskset"), reason="needs cc, taskset"
)


def sample(peer: str, number: int, rate: float, *, head: Head = "bare", us: float = 10.0) -> Sample:
    return Sample(HIT.id, head, peer, number, rate, 100, 200, us, 0.95, 0.9, 0.01)


def rounds(peer: str, *rates: float, head: Head = "bare", us: float = 10.0) -> list[Sample]:
    return [sample(peer, n, rate, head=head, us=us) for n, rate in enumerate(rates)]


def test_ratios_are_taken_within_a_round() -> None:
    # The machine slows down to a tenth; the medians alone would say 1.0.
    figures = Figures(rounds("cdn", 200, 100, 20) + rounds("nginx", 100, 50, 10))
    ratio = figures.ratio(HIT, "bare", "nginx")
    assert ratio is not None
    assert (ratio.middle, ratio.low, ratio.high, ratio.rounds) == (2.0, 2.0, 2.0, 3)


def test_a_round_that_only_one_of_them_has_does_not_count() -> None:
    figures = Figures([sample("cdn", 0, 100), sample("cdn", 1, 100), sample("nginx", 1, 50)])
    ratio = figures.ratio(HIT, "bare", "nginx")
    assert ratio is not None
    assert ratio.rounds == 1
    assert figures.ratio(HIT, "bare", "varnish") is None


def test_a_round_in_which_the_machine_was_slower_for_one_of_them_does_not_count() -> None:
    ours, theirs = rounds("cdn", 100, 100, 60), rounds("nginx", 100, 50, 100)
    ours = [replace(s, pace_us=p) for s, p in zip(ours, (10.0, 10.5, 13.0), strict=True)]
    theirs = [replace(s, pace_us=p) for s, p in zip(theirs, (10.2, 13.1, 10.0), strict=True)]
    ratio = Figures(ours + theirs).ratio(HIT, "bare", "nginx")
    assert ratio is not None
    assert (ratio.middle, ratio.rounds) == (1.0, 1)
    never = Figures(ours[1:] + theirs[1:]).ratio(HIT, "bare", "nginx")
    assert never is not None
    assert never.rounds == 2  # rather than no figure: all of them
    assert "between 10.0 and 13.1 µs" in report.noise(Figures(ours + theirs))


def test_the_pace_of_the_machine_is_that_of_a_copy_and_leaves_us_where_we_were() -> None:
    mine = os.sched_getaffinity(0)
    assert 0.5 < pace(CORE) < 10_000
    assert os.sched_getaffinity(0) == mine
    assert alike(10.0, 10.7)
    assert not alike(10.0, 11.0)
    assert alike(0.0, 11.0)


def test_the_limit_and_ourselves_are_not_peers() -> None:
    figures = Figures(rounds("limit", 900) + rounds("cdn", 800) + rounds("nginx", 5) + rounds("haproxy", 7))
    assert figures.best(HIT, "bare", [peer.id for peer in PEERS]) == "haproxy"
    assert figures.best(HIT, "browser", [peer.id for peer in PEERS]) is None


def test_cheaper_means_more_than_one_in_cpu_time_too() -> None:
    figures = Figures(rounds("cdn", 10, us=4.0) + rounds("nginx", 10, us=8.0))
    ratio = figures.cpu_ratio(HIT, "bare", "nginx")
    assert ratio is not None
    assert ratio.middle == pytest.approx(2.0)


def test_a_page_marks_what_is_below_its_bar_and_says_why_figures_are_missing() -> None:
    samples = rounds("cdn", 50, 50, 50) + rounds("nginx", 100, 100, 100) + rounds("limit", 52, 52, 52)
    samples += rounds("cdn", 40, 40, 40, head="browser")
    gaps = [Gap(PASS.id, "bare", "varnish", "speaks Latin")]
    settings = Settings(rounds=3, seconds=2, peers=PEERS)
    others = dict.fromkeys(written.sections(Path("nowhere")), "")
    text = report.page(
        [HIT, PASS], Figures(samples), gaps, settings, {"processor": "abacus"}, 12.0, [], others
    )
    assert "0.50 (0.50–0.50) ✗" in text
    assert "0.96 (0.96–0.96) |" in text
    assert "40 · 0.80 (0.80–0.80) ✗" in text
    assert "pass 1 KiB, Varnish: speaks Latin." in text
    assert "- processor: abacus" in text
    assert "The machine was quiet" in text
    runs = json.loads(report.as_json([HIT], samples, gaps, settings, {}, 12.0))["runs"]
    assert [run["per_second"] for run in runs[:3]] == [50, 50, 50]


def test_other_work_on_the_machine_is_told() -> None:
    busy = [Sample(HIT.id, "bare", "cdn", n, 10.0, 1, 2, 3.0, 0.3, 0.3, 1.2) for n in range(3)]
    assert "busy with other work: other processes took 1.20 cores" in report.noise(Figures(busy))


def test_the_plot_is_well_formed_and_has_a_bar_for_each_figure() -> None:
    drawing = ET.fromstring(plot.svg(ROWS, Figures(rounds("cdn", 50) + rounds("nginx", 100, 90)), PEERS))
    titles = [e.text for e in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["nginx: 95/s", "cdn: 50/s"]


def test_a_page_is_made_again_of_what_is_beside_it(tmp_path: Path) -> None:
    settings = Settings(rounds=2, seconds=2, peers=PEERS)
    runs = [Steady("cdn", 0, 0.5, 5000, 100, 100, 0, 5, 10, 20, 30, 40)]
    text = report.as_json([HIT], rounds("cdn", 50, 60), [], settings, {"date": "1970"}, 7.2, runs)
    (tmp_path / "benchmarks.json").write_text(text)
    written.again(tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "Medians of 2 rounds of 2 s" in page
    assert "A full run takes 7 minutes" in page
    assert "Not measured yet: `make bench-micro`." in page

    operation = micro_page.Operation("look up a key", "one of 3", 50.0, 200.0, "a dict")
    told = {"machine": {"date": "1971-01-02 03:04", "revision": "abc"}, "operations": [asdict(operation)]}
    (tmp_path / micro_page.FILE).write_text(json.dumps(told))
    written.again(tmp_path)
    again = (tmp_path / "benchmarks.md").read_text()
    assert "| look up a key | one of 3 | 50.0 | 200       | 4.0   | a dict         |" in again
    assert "1971-01-02, revision abc" in again
    assert again.partition("## Scale")[0] == page.partition("## Scale")[0]


def scaled(kind: str, number: int, workers: int, *us: float, why: str = "") -> scale_page.Point:
    samples = tuple(
        {"server_us": x, "per_second": 1e5, "server_share": 0.9, "p50_us": 100, "p99_us": 200} for x in us
    )
    return scale_page.Point(kind, number, workers, f"{number} {kind}", 64, 128, samples, why)


def test_points_of_a_scale_are_joined_with_those_that_are_there(tmp_path: Path) -> None:
    scale.keep(tmp_path, scaled("connections", 64, 1, 9.0))
    scale.keep(tmp_path, scaled("objects", 1000, 1, why="needs 11.0 GiB"))
    scale.keep(tmp_path, scaled("connections", 64, 2, 11.0))
    scale.keep(tmp_path, scaled("connections", 64, 1, 7.0, 5.0, 6.0))
    kept = [scale_page.Point.of(p) for p in json.loads((tmp_path / scale_page.FILE).read_text())["points"]]
    assert [(p.kind, p.number, p.workers) for p in kept] == [
        ("connections", 64, 1),
        ("objects", 1000, 1),
        ("connections", 64, 2),
    ]
    text = scale_page.table(kept)
    assert "6.00 (5.00–7.00)" in text
    assert "needs 11.0 GiB" in text
    drawing = ET.fromstring((tmp_path / "benchmarks-scale.svg").read_text())
    titles = [e.text for e in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["64 connections, 1: 6.00 µs", "64 connections, 2: 11.00 µs"]


@pytest.fixture
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


def started(program: str, folder: Path, guard: Guard) -> Server:
    binary, port = folder / program, free_port()
    subprocess.run(
        ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", binary, ROOT / "bench" / f"{program}.c"],
        check=True,
    )
    return Server(guard, [str(binary), str(port)], core=CORE, port=port, log=folder / "log", cwd=folder)


@needs_cc
def test_the_limit_answers_every_row_that_it_has(tmp_path: Path, guard: Guard) -> None:
    server = started("limit", tmp_path, guard)
    heads: tuple[Head, ...] = ("bare", "browser")
    for row in ROWS:
        if "limit" not in row.without:
            for head in heads:
                assert probe(Door(server.port, False), row, head, "0") > row.body
    server.stop()


@needs_cc
def test_the_origin_counts_what_it_was_asked(tmp_path: Path, guard: Guard) -> None:
    server = started("origin", tmp_path, guard)
    door = Door(server.port, False)
    probe(door, PASS, "bare", "a")
    probe(door, HIT, "browser", "b")
    assert [count_requests(server.port) for _ in range(2)] == [2, 2]
    with pytest.raises(WrongAnswerError, match="answers 200 with 1024 B, not 304 with 0 B"):
        probe(door, chosen(["not-modified"])[0], "bare", "c")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    controls = {}
    for kind in ("store", "pass"):  # one connection for both
        connection.request("GET", f"/{kind}/10/x")
        response = connection.getresponse()
        assert response.read() == b"abcdefghij"
        controls[kind] = response.headers["Cache-Control"]
    connection.close()
    assert controls == {"store": "public, max-age=86400", "pass": "no-store"}
    server.stop()
    assert not server.alive


def test_what_is_not_installed_is_said_and_does_not_end_a_measurement(
    tmp_path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    facts = machine.describe()
    assert {facts[peer.title] for peer in PEERS if peer.program} | {facts["wrk"]} == {"not installed"}
    assert facts["revision"] == "unknown, without git"
    assert facts["cdn"].startswith("cdn ")
    for peer in PEERS:
        if peer.program:
            with pytest.raises(StartError, match="is not installed"):
                start(peer, Place(tmp_path / peer.id, 1, 64, CORE, tmp_path), guard)


@pytest.mark.parametrize("part", ["", "scale", "memory", "micro"])
def test_a_measurement_without_its_tools_is_refused_in_one_sentence(part: str, tmp_path: Path) -> None:
    (tmp_path / "id").symlink_to("/bin/false")  # not root: nothing is installed
    (tmp_path / "sh").symlink_to("/bin/sh")
    command = [sys.executable, "-m", f"bench.{part}" if part else "bench", "--out", str(tmp_path / "out")]
    environ = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "not installed: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("part", "option"),
    [
        ("bench", "--rounds"),
        ("bench.scale", "--seconds"),
        ("bench.memory", "--objects"),
        ("bench.micro", "--rounds"),
    ],
)
def test_nothing_is_measured_zero_times(part: str, option: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", part, option, "0"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert f"argument {option}: '0' is not a whole number from 1" in done.stderr


def counted(requests: int, each: int, errors: int = 0) -> Count:
    return Count(requests, 1.0, requests * each, errors, 100, 200, 0.5)


def test_a_run_counts_only_when_it_was_what_its_row_is_about() -> None:
    judge(HIT, counted(10_000, 1300), 1300, 10)
    judge(PASS, counted(10_000, 1300), 1300, 10_064)
    for row, count, at_origin, why in (
        (HIT, counted(10_000, 1300), 11, "11 of 10000 hits reached the origin"),
        (PASS, counted(10_000, 1300), 9_999, "only 9999 of 10000 requests"),
        (chosen(["miss-1k"])[0], counted(10_000, 1300), 9_999, "only 9999 of 10000 requests"),
        (HIT, counted(10_000, 1300, errors=2), 0, "2 errors beside 10000 answers"),
        (HIT, counted(0, 0), 0, "0 errors beside 0 answers"),
        (HIT, counted(10_000, 300), 0, "300 B an answer, the probe had 1300"),
        (HIT, counted(10_000, 2300), 0, "2300 B an answer, the probe had 1300"),
    ):
        with pytest.raises(WrongAnswerError, match=why):
            judge(row, count, 1300, at_origin)


@pytest.mark.real
def test_a_run_without_a_peer_that_is_not_there(tmp_path: Path) -> None:
    """From the command line to the page; with Traffic Server, which is not found, and whose place is left out."""
    cores = need_cores(2)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("wrk", "cc", "openssl", "taskset", "sh", "as", "ld"):
        (programs / name).symlink_to(need(name))
    (programs / "id").symlink_to("/bin/false")
    command = [sys.executable, "-m", "bench", "--row", PASS.id, "--peer", "trafficserver", "--rounds", "1"]
    command += ["--seconds", "1", "--out", str(tmp_path / "out")]
    command += ["--server-core", str(cores[0]), "--load-core", str(cores[-1])]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "not installable here: trafficserver" in done.stderr
    seen = json.loads((tmp_path / "out" / "benchmarks.json").read_text())
    assert [(run["peer"], run["row"]) for run in seen["runs"]] == [("cdn", PASS.id)]
    assert {gap["peer"]: gap["why"] for gap in seen["gaps"]} == {
        "limit": "stores and fetches nothing",
        "trafficserver": "is not installed",
    }
    assert "Traffic Server: is not installed." in (tmp_path / "out" / "benchmarks.md").read_text()
    ET.fromstring((tmp_path / "out" / "benchmarks.svg").read_text())


ORPHAN = """
import os, sys, time
from pathlib import Path
from bench.processes import Guard, Server, free_port, scratch_folder
guard = Guard()
folder = scratch_folder(guard)
port = free_port()
command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
server = Server(guard, command, core=min(os.sched_getaffinity(0)), port=port, log=folder / "log", cwd=folder)
print(server._process.pid, folder, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not shutil.which("taskset"), reason="needs taskset")
def test_nothing_outlives_a_harness_that_is_killed() -> None:
    harness = subprocess.Popen([sys.executable, "-c", ORPHAN], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    pid, folder = harness.stdout.readline().split()
    assert Path(folder).exists()
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    harness.stdout.close()
    end = time.monotonic() + 20
    while time.monotonic() < end and (running(pid) or Path(folder).exists()):
        time.sleep(0.05)
    assert not running(pid)
    assert not Path(folder).exists()


def running(pid: str) -> bool:
    """Whether it is there and not merely waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_fixed_rate_is_compared_with_the_best_peer_round_by_round_and_barred_at_half() -> None:
    def run(peer: str, number: int, p99: int, share: float = 0.5) -> Steady:
        return Steady(
            peer, number, share, 5000, 100, 100, 0, 5, p99 // 2, p99, 2 * p99, 3 * p99, best="haproxy"
        )

    runs = [run("cdn", 0, 300), run("nginx", 0, 100), run("haproxy", 0, 200), run("cdn", 1, 900)]
    runs += [run("haproxy", 1, 600), run("cdn", 2, 50)]  # a round without the best peer has no ratio
    runs += [run("cdn", 0, 300, 0.8), run("haproxy", 0, 200, 0.8)]
    half, high = latency.lines(runs)
    assert half == [
        "50%: 5,000/s",
        "–",
        "50 · 100 · 200",
        "200 · 400 · 800",
        "150 · 300 · 600",
        "1.50 (1.50–1.50) ✗",
        "5.0",
    ]
    assert high[5] == "1.50 (1.50–1.50)"
    assert "1.50 (1.50–1.50) ✗" in report.latency_table(runs)


def test_the_best_peer_is_neither_the_limit_nor_ourselves() -> None:
    peaks = {"limit": 9.0, "cdn": 8.0, "nginx": 2.0, "haproxy": 5.0}
    assert latency.best_of(peaks) == ("haproxy", 5.0)
    assert latency.best_of({"cdn": 8.0}) == ("cdn", 8.0)


@needs_cc
def test_a_fixed_rate_tells_times_to_a_hundredth(tmp_path: Path) -> None:
    """Any time counted comes back as itself, less than a hundredth longer."""
    steady = tmp_path / "buckets"
    source = tmp_path / "buckets.c"
    text = (ROOT / "bench" / "steady.c").read_text().replace("int main(", "int unused_main(")
    source.write_text(
        text + "int main(void) { for (int64_t ns = 1; ns < 300000000000; ns += 1 + ns / 50) {"
        "memset(times, 0, sizeof times); count(times, ns, 0); double us = percentile(times, 0.5);"
        'if (us * 1e3 < ns || us * 1e3 > ns * 1.0079 + 1) { printf("%ld %f", ns, us); return 1; } }'
        "return 0; }"
    )
    subprocess.run(["cc", "-O2", "-Wno-unused-function", "-o", steady, source], check=True)
    done = subprocess.run([steady], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@needs_cc
def test_a_fixed_rate_counts_what_a_stopped_server_made_wait(tmp_path: Path, guard: Guard) -> None:
    server = started("limit", tmp_path, guard)
    steady = tmp_path / "steady"
    source = ROOT / "bench" / "steady.c"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", steady, source], check=True)
    command = [str(steady), str(server.port), "500", "2", "8", "1024"]
    asking = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert asking.stdin is not None
    asking.stdin.write("GET /store/1024/0 HTTP/1.1\r\nHost: a\r\n\r\n")
    asking.stdin.close()
    asking.stdin = None
    time.sleep(0.6)
    os.kill(server.pid, signal.SIGSTOP)
    time.sleep(0.6)
    os.kill(server.pid, signal.SIGCONT)
    out, _ = asking.communicate(timeout=10)
    seen = json.loads(out)
    assert (seen["due"], seen["answered"] + seen["errors"]) == (1000, 1000)
    assert seen["p99_us"] > 450_000
    assert 500_000 < seen["max_us"] < 1_500_000
    server.stop()
