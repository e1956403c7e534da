"""The report of a load test in a real browser: light and dark, wide and narrow, and nothing to complain of."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest

from cdn.loadtest import Result, errors
from cdn.loadtest.histogram import Histogram
from cdn.loadtest.report import html
from cdn.loadtest.result import Moment
from cdn.loadtest.tally import latency
from tests.harness.origin import Origin, Reply, reply
from tests.harness.wire import Request

from .chromium import dom

pytestmark = pytest.mark.real

KINDS = {
    errors.CONNECT + "certificate not accepted (unable to get local issuer certificate)": 3,
    errors.CLOSED: 1234,
    errors.TIMEOUT: 1,
}

# What it looks like from outside, in a frame of a given width: what is wider than the frame, and texts of drawings that
# are cut off.
LOOK = """<!doctype html><title>look</title><iframe src="/report" style="width:%dpx;height:900px;border:0"></iframe>
<pre id="seen"></pre><script>
document.querySelector("iframe").onload = event => {
  const page = event.target.contentDocument, root = page.documentElement;
  const texts = [...page.querySelectorAll("svg text")];
  const inside = e => { const a = e.getBoundingClientRect(), b = e.closest("svg").getBoundingClientRect();
    return a.left >= b.left - 0.5 && a.right <= b.right + 0.5 && a.top >= b.top - 0.5 && a.bottom <= b.bottom + 0.5; };
  document.getElementById("seen").textContent = JSON.stringify({
    wide: root.scrollWidth, frame: root.clientWidth, paper: getComputedStyle(page.body).backgroundColor,
    ink: getComputedStyle(page.body).color,
    drawings: page.querySelectorAll("svg").length, cut: texts.filter(e => !inside(e)).map(e => e.textContent),
    smallest: Math.min(...texts.map(e => e.getBoundingClientRect().height)),
  });
};
</script>"""


def report() -> bytes:
    times = Histogram()
    for us in range(100, 30_000):
        times.add(us * us // 100)
    points = latency(times)
    result = Result(
        url="http://127.0.0.1:8080/" + "a/long/path/" * 12 + "?<&>",
        generator="own", why="a fixed rate", mode="open loop, 5000 a second", profile="uniform over 9 objects, seed 1",
        protocol="HTTP/1.1", connections=64, seconds=12.0, due=times.count + 1238, answered=times.count, bytes=10**9,
        errors=KINDS, statuses={"200": times.count}, latency=points,
        outcomes={"hit": times.count - 3, "forwarded: request-no-cache-or-so": 2, "no Cache-Status": 1},
        series=[Moment(float(t), 1.0, 2500 + 100 * t, t, 500, 90_000) for t in range(12)],
        notes=["the-generator-itself-was-" * 8],
    )  # fmt: skip
    assert "99.99" in points.percentiles
    return html(result, "2026-01-02 03:04:05 +0000").encode()


def looked_at(width: int, *options: str) -> Any:
    page = report()

    def answer(request: Request) -> Reply:
        if request.target == "/favicon.ico":
            return reply(204)
        body = page if request.target == "/report" else (LOOK % width).encode()
        return reply(200, {"Content-Type": "text/html"}, body=body)

    with Origin(answer) as origin:
        shown = dom(f"{origin.url}/", *options)
        asked = {request.target for request in origin.requests}
    assert asked <= {"/", "/report", "/favicon.ico"}, "the report fetches something"
    found = re.search(r'<pre id="seen">(.*?)</pre>', shown)
    assert found is not None
    return json.loads(unescape(found[1]))


def brightness(colour: str) -> float:
    return sum(int(n) for n in re.findall(r"\d+", colour)[:3]) / 3


@pytest.mark.parametrize("width", [340, 390, 1000])
def test_a_report_fits_its_screen(width: int) -> None:
    seen = looked_at(width)
    assert seen["wide"] <= seen["frame"]
    assert (seen["drawings"], seen["cut"]) == (5, [])
    assert seen["smallest"] >= 9  # pixels


@pytest.mark.parametrize(("scheme", "dark"), [(0, True), (1, False)])
def test_a_report_is_dark_where_the_reader_wants_it_dark(scheme: int, dark: bool) -> None:
    seen = looked_at(800, f"--blink-settings=preferredColorScheme={scheme}")
    assert (brightness(seen["paper"]) < 60) is dark
    assert (brightness(seen["ink"]) > 190) is dark
