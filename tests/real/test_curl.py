"""The requests of a person with curl, against the demo and against a node with a TLS listener."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..control.test_demo import Demo, demo
from ..harness import HOST, Origin, Reply, Request, reply, site
from ..harness.process import free_port
from ..harness.tls import certificate
from ..peers import need
from .node import Node

pytestmark = pytest.mark.real

TEXT = b"the quick brown fox\n" * 2_000


def curl(*arguments: str) -> str:
    """What `curl -s ARGUMENTS` prints; it has to succeed."""
    done = subprocess.run(
        [need("curl"), "-sS", "--max-time", "20", *arguments], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout.decode("latin-1").replace("\r\n", "\n")


def field(answer: str, name: str) -> str | None:
    found = re.search(rf"^{name}: *(.*)$", answer.partition("\n\n")[0], re.M | re.I)
    return found[1] if found else None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    need("curl")
    with demo(tmp_path_factory.mktemp("demo")) as it:
        yield it


def test_a_miss_then_a_hit_with_age(running: Demo) -> None:
    url = running.url("page") + "/pages/12"
    first, second = curl("-i", url), curl("-i", url)
    assert first.startswith("HTTP/1.1 200 OK\n")
    assert re.fullmatch(r"demo; fwd=uri-miss; ttl=(60|59|58); stored", field(first, "Cache-Status") or "")
    assert field(first, "Age") in (None, "0")
    assert re.fullmatch(r"demo; hit; ttl=\d+", field(second, "Cache-Status") or "")
    assert (field(second, "Age") or "").isdigit()
    assert first.partition("\n\n")[2] == second.partition("\n\n")[2]


def test_a_304_with_the_tag_of_the_answer(running: Demo) -> None:
    url = running.url("page") + "/images/7.png"
    etag = field(curl("-i", url), "ETag")
    assert etag is not None
    answer = curl("-i", "-H", f"If-None-Match: {etag}", url)
    assert answer.startswith("HTTP/1.1 304 Not Modified\n")
    assert answer.endswith("\n\n"), "a 304 has no body"
    assert field(answer, "ETag") == etag
    assert "; hit" in (field(answer, "Cache-Status") or "")
    assert curl("-i", "-H", 'If-None-Match: "another"', url).startswith("HTTP/1.1 200 ")


def test_ranges_of_a_stored_object(running: Demo, tmp_path: Path) -> None:
    url = running.url("page") + "/large"
    whole, part, resumed = tmp_path / "whole", tmp_path / "part", tmp_path / "resumed"
    curl("-o", str(whole), url)
    data = whole.read_bytes()
    assert len(data) == 20_000_000
    head = curl("-D", "-", "-o", str(part), "-r", "1000-65999", url)
    assert head.startswith("HTTP/1.1 206 ")
    assert field(head, "Content-Range") == "bytes 1000-65999/20000000"
    assert part.read_bytes() == data[1000:66_000]
    curl("-o", str(part), "-r", "-10", url)
    assert part.read_bytes() == data[-10:]
    resumed.write_bytes(data[:15_000_000])
    curl("-C", "-", "-o", str(resumed), url)
    assert resumed.read_bytes() == data
    beyond = curl("-i", "-r", "20000000-", url)
    assert beyond.startswith("HTTP/1.1 416 ")
    assert field(beyond, "Content-Range") == "bytes */20000000"


def test_head(running: Demo) -> None:
    url = running.url("page") + "/pages/13"
    body = curl(url)
    answer = curl("-I", url)
    assert answer.startswith("HTTP/1.1 200 ")
    assert answer.endswith("\n\n")
    assert field(answer, "Content-Length") == str(len(body))
    assert "; hit" in (field(answer, "Cache-Status") or "")


def test_several_urls_on_one_connection(running: Demo) -> None:
    urls = [f"{running.url('page')}/pages/{n}" for n in range(20, 30)]
    outs = [part for url in urls for part in ("-o", "/dev/null", url)]
    assert curl("-w", "%{http_code} %{num_connects}\\n", *outs).splitlines() == ["200 1", *["200 0"] * 9]


def answer(request: Request) -> Reply:
    """Uploads are answered with what came; /stream has no length that is known before its end."""
    if request.method in ("POST", "PUT"):
        said = f"{request.method} {len(request.body)} {request['transfer-encoding'] or 'length'}\n"
        assert request.body == TEXT[: len(request.body)]
        return reply(200, {"Cache-Control": "no-store"}, said.encode())
    if request.target == "/stream":
        return reply(200, {"Cache-Control": "no-store"}, TEXT, framing="chunked")
    return reply(200, {"Cache-Control": "max-age=60", "ETag": '"1"'}, TEXT)


@pytest.fixture(scope="module")
def two_listeners() -> Iterator[tuple[str, str]]:
    """A node's http and https URLs."""
    need("curl")
    need("openssl")
    plain, secure = free_port(), free_port()
    chain, key = certificate(HOST)
    listen = [
        f"http://127.0.0.1:{plain}",
        {"url": f"https://127.0.0.1:{secure}", "certificate": str(chain), "key": str(key)},
    ]
    with Origin(answer) as origin, Node(site(origin, listen=listen), port=plain):
        yield f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}"


@pytest.fixture(params=["http", "https"])
def url(request: pytest.FixtureRequest, two_listeners: tuple[str, str]) -> str:
    """A node's URL; curl is to be told `-k`, the certificate is signed by nobody."""
    return two_listeners[0 if request.param == "http" else 1]


def ask(*arguments: str) -> str:
    return curl("--http1.1", "-k", "-H", f"Host: {HOST}", *arguments)


def test_both_listeners_share_the_cache(two_listeners: tuple[str, str]) -> None:
    plain, secure = two_listeners
    ask("-o", "/dev/null", f"{plain}/shared")
    for listener in (plain, secure):
        answer = ask("-i", f"{listener}/shared")
        assert answer.startswith("HTTP/1.1 200 ")
        assert answer.partition("\n\n")[2].encode() == TEXT


def test_a_miss_a_hit_and_a_304(url: str) -> None:
    path = f"{url}/page-{url.partition(':')[0]}"
    assert "fwd=uri-miss" in (field(ask("-i", path), "Cache-Status") or "")
    second = ask("-i", path)
    assert "; hit" in (field(second, "Cache-Status") or "")
    assert second.partition("\n\n")[2].encode() == TEXT
    assert ask("-i", "-H", 'If-None-Match: "1"', path).startswith("HTTP/1.1 304 ")
    assert ask("-r", "4-8", path) == "quick"


def test_http_1_0_gets_no_chunks(url: str) -> None:
    for path in ("/stream", "/old", "/old"):
        answer = ask("-0", "-i", url + path)
        head, _, body = answer.partition("\n\n")
        assert head.startswith("HTTP/1.1 200 ")
        assert field(answer, "Transfer-Encoding") is None
        assert body.encode() == TEXT


def test_a_stream_of_unknown_length(url: str) -> None:
    answer = ask("-i", f"{url}/stream")
    assert field(answer, "Transfer-Encoding") == "chunked"
    assert answer.partition("\n\n")[2].encode() == TEXT


def test_uploads(url: str, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(TEXT)
    size = len(TEXT)
    assert ask("--data-binary", f"@{file}", f"{url}/form") == f"POST {size} length\n"
    assert ask("-T", str(file), f"{url}/file") == f"PUT {size} length\n"
    piped = ["-H", "Transfer-Encoding: chunked", "--data-binary", f"@{file}"]
    assert ask(*piped, f"{url}/chunked") == f"POST {size} chunked\n"
    waiting = ["-H", "Expect: 100-continue", "--expect100-timeout", "10", "-T", str(file)]
    assert ask(*waiting, f"{url}/waits") == f"PUT {size} length\n"
    assert ask("-0", "-T", str(file), f"{url}/older") == f"PUT {size} length\n"


def test_alpn_offers_what_is_spoken(two_listeners: tuple[str, str]) -> None:
    """curl offers h2 first; an answer in HTTP/1.1 is what a node without HTTP/2 has to give."""
    told = curl("-k", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--resolve",
                f"{HOST}:{two_listeners[1].rpartition(':')[2]}:127.0.0.1",
                f"https://{HOST}:{two_listeners[1].rpartition(':')[2]}/alpn")  # fmt: skip
    assert told == "1.1 200"
