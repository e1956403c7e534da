"""Whole load tests, by our own generator, against a scripted origin and the real proxy."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cdn.cli import main
from cdn.loadtest import LoadTestError, Plan, errors, run, target
from cdn.loadtest.h2load import run as h2load_runs
from cdn.loadtest.progress import Progress
from cdn.loadtest.wrk import run as wrk_runs
from tests.harness.origin import Conn, Origin, Reply, fresh, reply
from tests.harness.process import free_port
from tests.harness.proxy import Proxy
from tests.harness.site import site
from tests.harness.sync import eventually
from tests.harness.tls import certificate, server_context
from tests.harness.wire import Request
from tests.peers import has_ipv6, need, open_files
from tests.real.nginx import Nginx


@pytest.fixture
def wrk() -> None:
    need("wrk")


@pytest.fixture
def h2load() -> None:
    need("h2load")


@pytest.fixture(params=["own", "wrk"])
def generator(request: pytest.FixtureRequest) -> str:
    """Each that asks for one URL over HTTP/1.1, where it is there."""
    if request.param == "wrk":
        need("wrk")
    return str(request.param)


needs_wrk, needs_h2load = (pytest.mark.usefixtures(name) for name in ("wrk", "h2load"))


BENCH = (sys.executable, "-m", "cdn", "bench")


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BENCH, *words], capture_output=True, text=True, timeout=30)


def measured(url: str, **words: Any) -> Any:
    """One short test in a process of its own, as its loop takes the signals."""
    arguments = [url, "--json", "--generator", "own"]
    for name, value in {"duration": 0.6, "connections": 4, **words}.items():
        option = f"--{name.replace('_', '-')}"
        arguments += [option] if value is True else [option, str(value)]
    done = bench(*arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def adds_up(seen: Any) -> None:
    lost = sum(seen["errors"].values())
    assert seen["due"] == seen["answered"] + lost
    assert sum(seen["statuses"].values()) == sum(seen["outcomes"].values()) == seen["answered"]
    assert sum(part["count"] for part in seen["by_outcome"].values()) == seen["answered"]


def test_every_request_is_counted_once() -> None:
    with Origin(fresh(60, b"x" * 100)) as origin:
        seen = measured(f"{origin.url}/a?b", rate=400)
        adds_up(seen)
        assert seen["answered"] == len(origin.requests) == seen["due"] == 240
        assert {(r.method, r.target) for r in origin.requests} == {("GET", "/a?b")}
        assert seen["statuses"] == {"200": 240}
        assert origin.connections == 5  # one looked whether anybody listens


def test_the_proxy_tells_its_hits() -> None:
    with Origin(fresh(600, b"hello")) as origin, Proxy(site(origin)) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/o/{{}}"
        seen = measured(url, rate=500, objects=20, field="Host: site.test")
        adds_up(seen)
        misses = len(origin.requests)
        assert misses == 20
        joined = seen["outcomes"].get("collapsed", 0)
        assert seen["outcomes"]["hit"] == seen["answered"] - 20 - joined
        assert seen["hit_ratio"] == pytest.approx(1 - (20 + joined) / seen["answered"])


def test_percentiles_of_a_known_delay() -> None:
    """Each connection is made to wait 100 ms on every tenth answer."""

    def slow(request: Request) -> Reply:
        if int(request.target.rpartition("/")[2]) % 10 == 0:
            time.sleep(0.1)
        return reply(200, body=b"x")

    with Origin(slow) as origin:
        seen = measured(f"{origin.url}/{{}}", objects=1000, rate=100, duration=2, connections=30)
        delayed = sum(int(r.target[1:]) % 10 == 0 for r in origin.requests)
        points = seen["latency"]["percentiles"]
        share = delayed / seen["answered"]
        assert 0.05 < share < 0.2
        assert points["50"] < points["99"]
        assert points["99"] >= 100_000
        assert seen["latency"]["mean"] >= 100_000 * share


@contextmanager
def stalling(after: float, seconds: float) -> Iterator[Origin]:
    """An origin that answers nobody for a while, as if it were stopped."""
    begin: list[float] = []
    lock = threading.Lock()

    def answer(_request: Request) -> Reply:
        with lock:
            if not begin:
                begin.append(time.monotonic())
        now = time.monotonic() - begin[0]
        if after <= now < after + seconds:
            time.sleep(after + seconds - now)
        return reply(200, body=b"x")

    with Origin(answer) as origin:
        yield origin


def test_an_open_loop_shows_a_stall_to_all_who_came_meanwhile() -> None:
    with stalling(0.6, 0.6) as origin:
        seen = measured(origin.url, rate=200, duration=2, connections=2)
    adds_up(seen)
    assert seen["latency"]["percentiles"]["99"] > 450_000
    assert seen["latency"]["percentiles"]["75"] > 40_000  # a third of all came while it stalled
    with stalling(0.6, 0.6) as origin:
        closed = measured(origin.url, duration=2, connections=2)
    # The closed loop stopped asking: two requests of hundreds were slow.
    assert closed["latency"]["percentiles"]["99"] < 100_000
    assert closed["latency"]["highest"] > 450_000


def test_a_second_in_which_nobody_is_answered_is_in_the_percentiles_of_a_fixed_rate() -> None:
    """Three seconds, of which the server stood still for one: a third waited, evenly from 1 s down to nothing."""
    with stalling(1.0, 1.0) as origin:
        seen = measured(origin.url, rate=200, duration=3, connections=4)
    adds_up(seen)
    points = seen["latency"]["percentiles"]
    assert seen["due"] == seen["answered"] == 600
    assert points["50"] < 200_000
    assert points["75"] > 150_000  # 0.25 s
    assert points["90"] > 550_000  # 0.7 s
    assert points["99"] > 850_000  # 0.97 s
    assert seen["latency"]["mean"] > 120_000  # a sixth of a second


def test_a_refused_connection_that_comes_up_again_is_counted_by_its_kind() -> None:
    def once(conn: Conn) -> None:
        conn.read_request()
        origin.stop_listening()
        conn.close()

    with Origin.scripted(lambda conn: conn.close(), once) as origin:
        words = ["--rate", "20", "--duration", "0.6", "--timeout", "0.4", "--connections", "1"]
        seen = json.loads(bench(origin.url, "--json", "--generator", "own", *words).stdout)
    adds_up(seen)
    assert seen["failed_connects"].keys() == {"connect: refused"}
    assert seen["errors"] == {errors.CLOSED: 1, errors.UNSENT: 11}


def test_errors_by_kind() -> None:
    def wrong(conn: Conn) -> None:
        while request := conn.read_request():
            if request.target == "/reset":
                return conn.reset()
            if request.target == "/cut":
                conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal")
                return conn.close()
            if request.target == "/odd":
                conn.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
                return conn.expect_closed()
            if request.target == "/never":
                return conn.stall()
            conn.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        return None

    kinds = {
        "/reset": errors.RESET,
        "/cut": errors.CLOSED,
        "/odd": errors.MALFORMED,
        "/never": errors.TIMEOUT,
    }
    for path, kind in kinds.items():
        with Origin.scripted(*[wrong] * 200) as origin:
            words = ["--rate", "20", "--duration", "0.4", "--timeout", "0.4", "--connections", "10"]
            done = bench(f"{origin.url}{path}", "--json", "--generator", "own", *words)
        assert done.returncode == 1
        seen = json.loads(done.stdout)
        adds_up(seen)
        assert (seen["errors"], seen["answered"]) == ({kind: 8}, 0)
        assert done.stderr == "cdn bench: nothing was answered\n"
    with Origin.scripted(*[wrong] * 200) as origin:
        words = ["--rate", "20", "--duration", "0.4", "--max-errors", "0.5", "--generator", "own"]
        done = bench(f"{origin.url}/busy", *words)
    assert done.returncode == 1
    assert "503: 8" in done.stdout
    assert done.stderr == "cdn bench: 100.00% errors, more than 50.00%\n"


def test_a_server_that_closes_after_each_answer_is_connected_to_again() -> None:
    with Origin(reply(200, body=b"x", close=True)) as origin:
        seen = measured(origin.url, rate=50, duration=0.5)
    adds_up(seen)
    assert (seen["answered"], seen["errors"]) == (25, {})
    assert seen["reconnects"] >= 20


def test_tls_and_whom_it_believes(tmp_path: Path) -> None:
    chain, _ = certificate("localhost")
    with Origin(reply(200, body=b"x"), tls=server_context("localhost")) as origin:
        url = f"https://localhost:{origin.port}/"
        refused = bench(url, "--duration", "0.2")
        assert refused.returncode == 1
        assert "certificate not accepted" in refused.stderr
        assert "--insecure" in refused.stderr
        seen = measured(url, rate=50, duration=0.4, ca=chain)
        assert (seen["answered"], seen["protocol"]) == (20, "HTTP/1.1 over TLS")
        assert measured(url, rate=50, duration=0.4, insecure=True)["answered"] == 20


def test_a_trace_is_asked_for_once_and_in_order(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_text("".join(f"/{i}\n" for i in range(50)))
    with Origin(reply(200, body=b"x")) as origin:
        seen = measured(origin.url, trace=trace, duration=20, connections=1)
        assert [r.target for r in origin.requests] == [f"/{i}" for i in range(50)]
    adds_up(seen)
    assert seen["seconds"] < 10


def test_the_report_stands_alone(tmp_path: Path) -> None:
    with Origin(reply(200, body=b"x")) as origin:
        page = tmp_path / "report.html"
        done = bench(f"{origin.url}/<&", "--html", str(page), "--rate", "100", "--duration", "2.2")
    assert done.returncode == 0, done.stderr
    assert "answered     220 in 2.2 s: 100/s" in done.stdout
    text = page.read_text()
    drawings = [part.partition("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert len([ET.fromstring("<svg" + drawing) for drawing in drawings]) == 4
    assert "/&lt;&amp;" in text
    assert not any(word in text for word in ("<script", "src=", "href=", "@import"))


def test_a_redirect_is_an_answer_and_leads_nowhere(generator: str) -> None:
    with Origin(reply(200, body=b"x")) as elsewhere:
        with Origin(reply(302, {"Location": f"{elsewhere.url}/there"})) as origin:
            done = bench(origin.url, "--duration", "1", "--json", "--generator", generator)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["statuses"].keys() == {"302"}
        assert (elsewhere.connections, elsewhere.requests) == (0, [])


def test_a_thousand_connections(generator: str) -> None:
    with open_files(4096), Origin(fresh(600, b"hello")) as origin:
        with Proxy(site(origin, limits={"connections_per_address": 2000})) as proxy:
            url = f"http://127.0.0.1:{proxy.port}/"
            words = ["-H", "Host: site.test", "--connections", "1000", "--duration", "2", "--json"]
            done = bench(url, *words, "--generator", generator)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        assert (seen["generator"], seen["connections"], seen["errors"]) == (generator, 1000, {})
        assert seen["statuses"].keys() == {"200"}
        assert seen["answered"] >= 1000
        assert len(origin.requests) <= 2


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on the loopback interface")
def test_ipv6(generator: str) -> None:
    class Six(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("X-Host", self.headers["Host"])
            self.send_header("Content-Length", "0")
            self.end_headers()
            hosts.add(self.headers["Host"])

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6

    hosts: set[str] = set()
    with Server(("::1", 0), Six) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        try:
            done = bench(f"http://[::1]:{port}/", "--duration", "1", "--generator", generator, "--json")
        finally:
            server.shutdown()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answered"] > 0
    assert hosts == {f"[::1]:{port}"}


FOREIGN = "is not of this machine or a private network"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["http://192.0.2.1/"], 2, FOREIGN),
        (["http://192.0.2.1/", "--allow-host", "other"], 2, FOREIGN),
        (["http://[2001:db8::1]/"], 2, FOREIGN),
        (["http://[::ffff:192.0.2.1]/"], 2, FOREIGN),
        (["http://3221225985/"], 2, FOREIGN),  # 192.0.2.1 as one number
        (["https://192.0.2.1/", "--http2"], 2, FOREIGN),
        (["127.0.0.1:80"], 2, "not an absolute URL"),
        ([""], 2, "nothing: not an absolute URL"),
        (["http://a b/"], 2, "white space"),
        (["http://127.0.0.1:99999/"], 2, "the port has to be a number"),
        (["http://u:p@127.0.0.1/"], 2, "-H 'Authorization"),
        (["http://127.0.0.1/{}"], 2, "say with --objects"),
        (["http://127.0.0.1/", "--objects", "3"], 2, "--objects needs a {}"),
        (["http://127.0.0.1/", "--zipf", "1"], 2, "--zipf draws from"),
        (["http://127.0.0.1/", "--urls", "/nonexistent"], 2, "cannot be read"),
        (["http://127.0.0.1/", "-H", "a"], 2, "'Name: value'"),
        (["http://127.0.0.1/", "-H", "Content-Length: 4"], 2, "cannot be set"),
        (["http://127.0.0.1/", "--rate", "0"], 2, "has to be above 0"),
        (["http://127.0.0.1/", "--profile", "gauss"], 2, "there is no --profile gauss"),
        (["http://127.0.0.1/", "--http2", "--rate", "1"], 2, "closed loop"),
        (["http://127.0.0.1/", "--ca", "missing.pem"], 2, "--ca is about certificates"),
        (["http://127.0.0.1/", "--insecure"], 2, "--insecure is about certificates"),
        (["http://127.0.0.1/", "--html", "/nonexistent/x"], 2, "no such folder"),
        (["http://127.0.0.1/", "--html", "/"], 2, "this is a folder"),
        ([], 2, "required: URL"),
        (["http://127.0.0.1/", "--connections", "0"], 2, "not a whole number from 1"),
        (["http://127.0.0.1/", "--connections", "50001"], 2, "at most 50000"),
        (["http://127.0.0.1/", "--urls", "/"], 2, "Is a directory"),
        (["http://127.0.0.1/", "--trace", "/dev/null"], 2, "names no URL"),
        (["http://127.0.0.1/", "--generator", "wrk", "--rate", "5"], 2, "closed loop of one URL only"),
        (["https://127.0.0.1/", "--ca", "/dev/null"], 2, "--ca /dev/null"),
        (["http://[::1]:1/"], 1, "no connection to [::1]:1: "),
        (["http://0.0.0.0:1/"], 1, "no connection to 0.0.0.0:1: refused"),
        (["http://127.0.0.1:1/"], 1, "no connection to 127.0.0.1:1: refused"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    words: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        got = main(["bench", *words])
    except SystemExit as end:  # of argparse
        got = int(str(end.code))
    error = capsys.readouterr().err.strip().splitlines()
    assert got == code
    assert len(error) == 1
    assert sentence in error[0]
    assert error[0].startswith("cdn bench: ")


def test_an_allowed_host_is_only_a_matter_of_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(where: tuple[str, int], _timeout: float) -> socket.socket:
        raise ConnectionRefusedError(where)

    monkeypatch.setattr("cdn.loadtest.running.socket.create_connection", nobody)
    plan = Plan(target.parse("http://192.0.2.1/"))
    with pytest.raises(LoadTestError, match=r"no connection to 192\.0\.2\.1:80: refused"):
        run(plan, "own", allowed_host="192.0.2.1")


@pytest.mark.parametrize("others", [["127.0.0.1", "192.0.2.7"], ["192.0.2.7"], ["::1", "2001:db8::7"]])
def test_a_name_with_any_address_that_is_not_local_is_refused_before_anybody_is_asked(
    others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_up(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "shop.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in others]

    def connected(*_: object) -> socket.socket:
        raise AssertionError("a connection was made")

    monkeypatch.setattr("cdn.loadtest.target.socket.getaddrinfo", looked_up)
    monkeypatch.setattr("cdn.loadtest.running.socket.create_connection", connected)
    for allowed in (None, "", "example", "127.0.0.1", others[-1]):
        with pytest.raises(LoadTestError, match=r"--allow-host shop\.example"):
            run(Plan(target.parse("http://Shop.example/")), "own", allowed_host=allowed)


def interrupted(url: str, ready: Callable[[], bool], number: int, *words: str) -> tuple[int, str, int]:
    """Exit code, stdout and what was the load generator's process, after a signal to ours alone."""
    command = [*BENCH, url, "--duration", "60", "--connections", "4", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as asking:
        eventually(ready, "requests")
        time.sleep(1.2)
        children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children").read_text().split()
        asking.send_signal(number)
        out = asking.communicate(timeout=30)[0]
    return asking.returncode, out, int(children[0]) if children else 0


def at_work(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_measured_until_a_signal_is_told(generator: str, number: int) -> None:
    with Origin(reply(200, body=b"x")) as origin:
        code, out, child = interrupted(
            origin.url, lambda: len(origin.requests) > 4, number, "--json", "--generator", generator
        )
    seen = json.loads(out)
    assert (code, seen["interrupted"], seen["errors"]) == (130, True, {})
    assert 1 < seen["seconds"] < 30
    assert seen["answered"] == seen["statuses"]["200"] > 10
    assert not (child and at_work(child))


@needs_h2load
def test_what_h2load_had_logged_until_ctrl_c_is_told(tmp_path: Path) -> None:
    with nginx_with_http2(tmp_path, allowed=1_000_000) as url:
        begun = time.monotonic()
        words = ("--http2", "--insecure", "--json")
        code, out, child = interrupted(url, lambda: time.monotonic() > begun + 1, signal.SIGINT, *words)
    seen = json.loads(out)
    assert (code, seen["interrupted"]) == (130, True)
    assert seen["answered"] == seen["statuses"]["200"] > 100
    assert 0.5 < seen["seconds"] < 30
    assert not (child and at_work(child))


@needs_wrk
def test_the_load_ends_with_a_bench_that_is_killed() -> None:
    with Origin(reply(200, body=b"x")) as origin:
        code, _, child = interrupted(
            origin.url, lambda: len(origin.requests) > 4, signal.SIGKILL, "--generator", "wrk"
        )
        assert child
        eventually(lambda: not at_work(child), "the end of wrk")
    assert code == -signal.SIGKILL


@needs_wrk
def test_answers_after_the_timeout_are_errors_with_wrk_too() -> None:
    def late(_request: Request) -> Reply:
        time.sleep(1.3)
        return reply(200, body=b"x")

    with Origin(late) as origin:
        words = ["--timeout", "1", "--duration", "2", "--connections", "4", "--generator", "wrk", "--json"]
        done = bench(origin.url, *words)
    assert (done.returncode, done.stderr) == (1, "cdn bench: nothing was answered\n")
    seen = json.loads(done.stdout)
    assert (seen["errors"], seen["answered"], seen["due"]) == ({errors.TIMEOUT: 4}, 0, 4)
    assert seen["latency"]["percentiles"] == {"50": 1_000_000, "75": 1_000_000}
    assert seen["latency"]["mean"] == 1_000_000
    assert any("came after the timeout" in note for note in seen["notes"])


def wrk_on_closing(answer: bytes) -> subprocess.CompletedProcess[str]:
    """A second of wrk on an origin that closes each connection behind this answer."""

    def closing(conn: Conn) -> None:
        if conn.read_request():
            time.sleep(0.02)
            conn.send(answer)
            conn.close()

    with Origin.scripted(*[closing] * 2000) as origin:
        return bench(origin.url, "--duration", "1", "--connections", "4", "--generator", "wrk", "--json")


@needs_wrk
def test_answers_that_end_with_their_connection_are_no_errors_with_wrk() -> None:
    done = wrk_on_closing(b"HTTP/1.1 200 OK\r\nServer: old\r\n\r\nhello")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["errors"] == {}
    assert seen["answered"] == seen["statuses"]["200"] > 10


@needs_wrk
def test_what_wrk_cannot_tell_apart_or_does_not_count_is_said() -> None:
    done = wrk_on_closing(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal")
    seen = json.loads(done.stdout)
    assert (done.returncode, seen["answered"], seen["errors"].keys()) == (1, 0, {"reading failed"})
    assert any("--generator own tells them apart" in note for note in seen["notes"])

    def hangs(_request: Request) -> Reply:
        if len(origin.requests) > 8:
            origin.closing.wait(20)
        return reply(200, body=b"x")

    with Origin(hangs) as origin:
        done = bench(origin.url, "--duration", "4", "--connections", "4", "--generator", "wrk", "--json")
        origin.closing.set()
    seen = json.loads(done.stdout)
    assert 0 < seen["answered"] <= 8
    assert any("as many as 4 requests were waiting" in note for note in seen["notes"])


@needs_wrk
def test_wrk_goes_to_the_address_that_was_looked_up() -> None:
    """Else a name could lead to another one when it is looked up again; there is no such name here at all."""
    with Origin(reply(200, body=b"x"), tls=server_context("nowhere.invalid")) as origin:
        plan = Plan(target.parse(f"https://nowhere.invalid:{origin.port}/a"), duration=1, connections=2)
        seen = wrk_runs(plan, "127.0.0.1", "a test")
        assert seen.answered > 0
        assert {r["Host"] for r in origin.requests} == {f"nowhere.invalid:{origin.port}"}


@needs_h2load
def test_h2load_goes_to_the_address_that_was_looked_up_with_the_authority_that_was_asked_for(
    tmp_path: Path,
) -> None:
    with nginx_with_http2(tmp_path, allowed=1_000_000) as url:
        named = target.parse(url.replace("127.0.0.1", "nowhere.invalid"))
        for fields in ((), (("Host", "other.invalid"),)):
            plan = Plan(named, duration=1, connections=2, http2=True, insecure=True, fields=fields)
            seen = h2load_runs(plan, "127.0.0.1", "a test")
            assert seen.statuses.keys() == {"200"}


@needs_h2load
@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on the loopback interface")
def test_h2load_over_ipv6(tmp_path: Path) -> None:
    with nginx_with_http2(tmp_path, allowed=1_000_000) as url:
        seen = by_h2load(url.replace("127.0.0.1", "[::1]"))
    assert seen["statuses"].keys() == {"200"}


@needs_wrk
def test_wrk_does_a_closed_loop_of_one_url() -> None:
    with Origin(fresh(600, b"hello")) as origin, Proxy(site(origin)) as proxy:
        done = bench(f"http://127.0.0.1:{proxy.port}/", "-H", "Host: site.test", "--duration", "1", "--json")
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        assert (seen["generator"], seen["errors"]) == ("wrk", {})
        assert seen["answered"] == seen["latency"]["count"] > 100
        assert seen["hit_ratio"] > 0.9
        assert seen["statuses"].keys() == {"200"}
        assert abs(sum(seen["outcomes"].values()) - seen["answered"]) <= 64


@needs_h2load
def test_h2load_says_where_no_http2_is() -> None:
    with Origin(reply(200, body=b"x"), tls=server_context("localhost")) as origin:
        done = bench(
            f"https://localhost:{origin.port}/",
            "--http2",
            "--insecure",
            "--duration",
            "1",
            "--connections",
            "2",
        )
    assert done.returncode == 1
    assert "no HTTP/2 there" in done.stderr


@needs_h2load
def test_http2_without_tls_is_refused_at_once_where_only_http1_is_spoken() -> None:
    with Origin(reply(200, body=b"x")) as origin, Proxy(site(origin)) as proxy:
        done = bench(f"http://127.0.0.1:{proxy.port}/", "--http2", "--duration", "1000")
    assert done.returncode == 1
    assert "no HTTP/2 there: without TLS" in done.stderr


@contextmanager
def nginx_with_http2(home: Path, allowed: int, also: str = "") -> Iterator[str]:
    """The URL of a file; `allowed`: requests on one connection; `also`: directives."""
    (home / "a.txt").write_bytes(b"x" * 1024)
    port, (chain, key) = free_port(), certificate("127.0.0.1")
    six = f"listen [::1]:{port} ssl http2;" if has_ipv6() else ""
    rules = (
        f"listen 127.0.0.1:{port} ssl http2; {six} ssl_certificate {chain}; ssl_certificate_key {key};"
        f" keepalive_requests {allowed}; {also}"
    )
    with Nginx(home, home, rules):
        yield f"https://127.0.0.1:{port}/a.txt"


def by_h2load(url: str) -> Any:
    done = bench(url, "--http2", "--insecure", "--duration", "2", "--connections", "4", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_h2load
def test_h2load_measures_a_server_of_http2(tmp_path: Path) -> None:
    with nginx_with_http2(tmp_path, allowed=1_000_000) as url:
        seen = by_h2load(url)
    assert (seen["generator"], seen["protocol"], seen["seconds"]) == ("h2load", "HTTP/2 over TLS", 2.0)
    assert seen["answered"] == seen["latency"]["count"] == seen["statuses"]["200"] > 100
    assert sum(moment["answered"] for moment in seen["series"]) > seen["answered"] / 2
    assert "99" in seen["latency"]["percentiles"]


@needs_h2load
def test_h2load_does_not_count_what_is_never_answered_and_that_is_said(tmp_path: Path) -> None:
    with nginx_with_http2(tmp_path, allowed=1_000_000, also="limit_rate 10;") as url:
        words = ["--http2", "--insecure", "--duration", "2", "--connections", "2", "--json"]
        done = bench(url, *words)
    assert (done.returncode, done.stderr) == (1, "cdn bench: nothing was answered\n")
    assert any("20 requests were waiting" in note for note in json.loads(done.stdout)["notes"])


@needs_h2load
def test_a_rate_is_not_told_for_the_time_after_a_server_has_ended_all_h2_connections(tmp_path: Path) -> None:
    with nginx_with_http2(tmp_path, allowed=20) as url:
        seen = by_h2load(url)
    assert 0 < seen["answered"] <= 80
    assert seen["seconds"] < 1.8
    assert any("opens no new ones" in note for note in seen["notes"])


def test_the_line_of_progress_is_for_terminals_only() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for out, expected in ((io.StringIO(), False), (Terminal(), True)):
        with Progress(10, out) as progress:
            progress.begins("own: as asked")
        assert ("own: as asked, 10 s" in out.getvalue()) == expected


def test_the_line_is_one_line_on_a_narrow_terminal_and_goes_while_a_test_runs() -> None:
    """On a real terminal of 50 columns; what is written to it is what its screen gets."""
    with Origin(fresh(60, b"x")) as origin:
        shown, slave = pty.openpty()
        words = ["--rate", "50", "--duration", "2.5", "-H", "X: y"]
        command = [*BENCH, f"{origin.url}/a", *words, "--html", os.devnull]
        environ = {**os.environ, "COLUMNS": "50"}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=slave, env=environ) as asking:
            os.close(slave)
            seen = b""
            with contextlib.suppress(OSError):  # the end of a terminal
                while piece := os.read(shown, 4096):
                    seen += piece
        os.close(shown)
    assert asking.returncode == 0
    lines = [line.decode() for line in seen.split(b"\r\x1b[K")]
    assert max(map(len, lines)) == 49
    assert any(line.startswith("own: a fixed rate") for line in lines)
    moments = [line for line in lines if re.match(r"[12] of 2.5 s \| \d+/s \| p50 ", line)]
    assert len(moments) == 3  # the last step is half a second
    assert lines[-1] == ""


def test_the_line_goes_on_while_a_generator_tells_nothing_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("cdn.loadtest.progress.TICK", 0.01)
    out = Terminal()
    with Progress(10, out) as progress:
        progress.begins("wrk: one URL")
        eventually(lambda: "wrk: one URL | 0 of 10 s" in out.getvalue(), "a line of how long it has been")
    assert out.getvalue().endswith("\r\x1b[K")
