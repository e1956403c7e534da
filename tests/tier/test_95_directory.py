"""A folder as an origin: which file, which answer, and no way out of it."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from cdn.config.values import Directory
from cdn.rules.message import Fields
from cdn.tier.directory import DirectoryOrigin
from cdn.tier.directory.headers import parse
from cdn.tier.seam import Kind, OriginError, OriginRequest, OriginResponse


@pytest.fixture
def site(tmp_path: Path) -> Path:
    root = tmp_path / "public"
    for name, text in {
        "index.html": "<h1>home</h1>",
        "a b.txt": "blank",
        "blog/index.html": "blog",
        "blog/ü.txt": "umlaut",
        "empty": "",
        "data.bin": "0123456789",
        ".env": "SECRET=1",
        ".git/config": "secret",
        ".well-known/security.txt": "Contact: mailto:a@example.com",
        "sub/.htpasswd": "secret",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "outside.txt").write_text("secret")
    (tmp_path / "public-2").mkdir()
    (tmp_path / "public-2" / "x.txt").write_text("secret")
    return root


async def everything(response: OriginResponse) -> None:
    while await response.read():
        pass


class Got:
    def __init__(self, status: int, fields: Fields, body: bytes, complete: bool) -> None:
        self.status, self.fields, self.body, self.complete = status, fields, body, complete
        self.reason = ""


def ask(root: Path, target: str, method: str = "GET", **fields: str) -> Got:
    async def run() -> Got:
        origin = DirectoryOrigin("site", Directory(str(root)))
        lines = Fields([(name.replace("_", "-"), value) for name, value in fields.items()])
        response = await origin.fetch(OriginRequest(method, target, "site.test", lines))
        body = b""
        while piece := await response.read():
            body += piece
        assert response.length == len(body)
        got = Got(response.head.status, response.head.fields, body, response.complete)
        got.reason = response.head.reason
        return got

    before = len(os.listdir("/proc/self/fd"))
    got = asyncio.run(run())
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor was left open"
    return got


@pytest.mark.parametrize(
    ("target", "status", "body", "kind"),
    [
        ("/", 200, b"<h1>home</h1>", "text/html; charset=utf-8"),
        ("/index.html", 200, b"<h1>home</h1>", "text/html; charset=utf-8"),
        ("/a%20b.txt", 200, b"blank", "text/plain; charset=utf-8"),
        ("/a%20b.txt?v=1", 200, b"blank", "text/plain; charset=utf-8"),
        ("/blog/", 200, b"blog", "text/html; charset=utf-8"),
        ("/blog/%C3%BC.txt", 200, b"umlaut", "text/plain; charset=utf-8"),
        ("/data.bin", 200, b"0123456789", "application/octet-stream"),
        ("/empty", 200, b"", "application/octet-stream"),
        ("/.well-known/security.txt", 200, b"Contact: mailto:a@example.com", "text/plain; charset=utf-8"),
    ],
)
def test_a_file(site: Path, target: str, status: int, body: bytes, kind: str) -> None:
    got = ask(site, target)
    assert (got.status, got.body, got.complete) == (status, body, True)
    assert got.reason == "OK"
    assert got.fields.get("content-type") == kind
    assert got.fields.get("content-length") == str(len(body))
    head = ask(site, target, "HEAD")
    assert (head.status, head.body, list(head.fields)) == (status, b"", list(got.fields))


@pytest.mark.parametrize(
    "target",
    [
        "/nothing",
        "/nothing/",
        "/index.html/",
        "/index.html/x",
        "/empty/..",
        "/..",
        "/../outside.txt",
        "/../public-2/x.txt",
        "/blog/../../outside.txt",
        "/%2e%2e/outside.txt",
        "/%2E%2E%2Foutside.txt",
        "/..%2foutside.txt",
        "/blog%2findex.html",
        "/blog%2Findex.html",
        "//etc/passwd",
        "//index.html",
        "/blog//index.html",
        "/index.html%00.png",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.git/",
        "/sub/.htpasswd",
        "/sub/",
        "/_headers",
        "/" + "x" * 256,
        "/" + "x/" * 3000,
        "/\\..\\outside.txt",
        "/proc/self/environ",
    ],
)
def test_what_is_not_there(site: Path, target: str) -> None:
    (site / "_headers").write_text("/*\n  X-A: b\n")
    got = ask(site, target)
    assert got.status == 404
    assert b"secret" not in got.body.lower()


def test_a_folder_without_its_slash_is_sent_there(site: Path) -> None:
    got = ask(site, "/blog?x=1")
    assert (got.status, got.fields.get("location")) == (301, "/blog/?x=1")


def test_a_redirect_never_names_another_host(site: Path) -> None:
    (site / "evil.test").mkdir()
    assert ask(site, "//evil.test").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "QUERY"])
def test_other_methods(site: Path, method: str) -> None:
    got = ask(site, "/", method)
    assert (got.status, got.fields.get("allow")) == (405, "GET, HEAD")


def test_links_inside_are_followed_and_others_are_not(site: Path) -> None:
    (site / "latest").symlink_to("blog")
    (site / "out.txt").symlink_to("../outside.txt")
    (site / "sibling").symlink_to("../public-2")
    (site / "env.txt").symlink_to(".env")
    (site / "headers.txt").symlink_to("_headers")
    (site / "_headers").write_text("/*\n  X-Secret: 1\n")
    (site / "loop").symlink_to("loop")
    (site / "passwd").symlink_to("/etc/passwd")
    assert ask(site, "/latest/").body == b"blog"
    for target in ("/out.txt", "/sibling/x.txt", "/env.txt", "/headers.txt", "/loop", "/passwd"):
        assert ask(site, target).status == 404, target


def test_a_root_that_is_a_link_is_fine(site: Path) -> None:
    link = site.parent / "current"
    link.symlink_to("public")
    assert ask(link, "/data.bin").body == b"0123456789"


def test_what_is_no_file_is_not_there(site: Path) -> None:
    os.mkfifo(site / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(site / "socket"))
        assert ask(site, "/pipe").status == 404
        assert ask(site, "/socket").status == 404


def test_validators_and_ranges(site: Path) -> None:
    os.utime(site / "data.bin", (1_700_000_000, 1_700_000_000))
    whole = ask(site, "/data.bin")
    etag = whole.fields.get("etag") or ""
    assert etag.startswith('"')
    assert whole.fields.get("last-modified") == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert ask(site, "/data.bin", If_None_Match=etag).status == 304
    assert ask(site, "/data.bin", If_None_Match='"x", W/' + etag).status == 304
    assert ask(site, "/data.bin", If_None_Match='"x"').status == 200
    assert ask(site, "/data.bin", If_Modified_Since="Tue, 14 Nov 2023 22:13:20 GMT").status == 304
    assert ask(site, "/data.bin", If_Modified_Since="Tue, 14 Nov 2023 22:13:19 GMT").status == 200
    assert ask(site, "/data.bin", If_Match='"x"').status == 412
    got = ask(site, "/data.bin", Range="bytes=2-4")
    assert (got.status, got.body, got.fields.get("content-range")) == (206, b"234", "bytes 2-4/10")
    assert ask(site, "/data.bin", Range="bytes=-3").body == b"789"
    assert ask(site, "/data.bin", Range="bytes=8-").body == b"89"
    assert ask(site, "/data.bin", Range="bytes=0-0,5-5").status == 200
    assert ask(site, "/data.bin", Range="lines=1-2").status == 200
    got = ask(site, "/data.bin", Range="bytes=10-")
    assert (got.status, got.fields.get("content-range")) == (416, "bytes */10")
    assert ask(site, "/data.bin", Range="bytes=2-4", If_Range=etag).status == 206
    assert ask(site, "/data.bin", Range="bytes=2-4", If_Range='"x"').status == 200
    assert ask(site, "/data.bin", Range="bytes=2-4", If_Range="W/" + etag).status == 200
    assert ask(site, "/data.bin", Range="bytes=2-4", If_Range="Tue, 14 Nov 2023 22:13:20 GMT").status == 206
    assert ask(site, "/data.bin", Range="bytes=2-4", If_Range="Tue, 14 Nov 2023 22:13:21 GMT").status == 200
    assert ask(site, "/data.bin", "HEAD", Range="bytes=2-4").fields.get("content-length") == "10"


def test_a_large_file_in_pieces(site: Path) -> None:
    body = bytes(range(256)) * 8192
    (site / "large").write_bytes(body)
    assert ask(site, "/large").body == body
    assert ask(site, "/large", Range="bytes=100000-1999999").body == body[100_000:2_000_000]


@pytest.mark.parametrize("change", ["shorter", "written", "abandoned", "abandoned in mid-read"])
def test_a_file_that_changes_while_it_is_read_is_never_complete(site: Path, change: str) -> None:
    path = site / "large"
    path.write_bytes(b"a" * (1 << 20))

    async def run() -> None:
        origin = DirectoryOrigin("site", Directory(str(site)))
        response = await origin.fetch(OriginRequest("GET", "/large", None))
        await response.read()
        if change == "abandoned":
            response.abort()
            assert await response.read() == b""
            assert not response.complete
            return
        if change == "abandoned in mid-read":
            reading = asyncio.ensure_future(response.read())
            await asyncio.sleep(0)
            reading.cancel()
            response.abort()
            await asyncio.sleep(0.2)
            assert not response.complete
            return
        if change == "shorter":
            os.truncate(path, 300_000)
        else:
            os.utime(path, (1, 1))
        with pytest.raises(OriginError) as caught:
            await everything(response)
        assert caught.value.kind is Kind.TRUNCATED
        assert not response.complete

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(run())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_is_gone_is_an_error_of_the_origin(site: Path) -> None:
    with pytest.raises(OriginError) as caught:
        ask(site / "gone", "/")
    assert caught.value.status == 502
    assert "cannot be read" in str(caught.value)


def test_a_page_for_what_is_not_there(site: Path) -> None:
    (site / "404.html").write_text("<h1>gone</h1>")
    (site / "_headers").write_text("/assets/*\n  Cache-Control: max-age=31536000, immutable\n  X-A: b\n")
    got = ask(site, "/assets/old.js")
    assert (got.status, got.body) == (404, b"<h1>gone</h1>")
    assert got.fields.get("content-type") == "text/html; charset=utf-8"
    assert got.fields.get("cache-control") is None
    assert got.fields.get("etag") is None
    assert ask(site, "/assets/old.js", Range="bytes=0-1", If_None_Match="*").status == 404


def test_the_headers_file(site: Path) -> None:
    (site / "_headers").write_text(
        "# all\n/*\n  X-Frame-Options: DENY\n  Cache-Control: no-cache\n"
        "/blog/*\n  Cache-Control: max-age=60\n  Link: </a.css>; rel=preload\n  Link: </b.css>; rel=preload\n"
    )
    got = ask(site, "/blog/")
    assert got.fields.all("cache-control") == ["max-age=60"]
    assert got.fields.all("link") == ["</a.css>; rel=preload", "</b.css>; rel=preload"]
    assert got.fields.get("x-frame-options") == "DENY"
    etag = got.fields.get("etag") or ""
    assert ask(site, "/blog/", If_None_Match=etag).fields.all("cache-control") == ["max-age=60"]
    assert ask(site, "/").fields.all("cache-control") == ["no-cache"]


def test_the_headers_file_is_read_again_when_it_changes(site: Path) -> None:
    async def field() -> str | None:
        response = await origin.fetch(OriginRequest("GET", "/", None))
        response.abort()
        return response.head.fields.get("x-a")

    async def run() -> list[str | None]:
        found = [await field()]
        for text in ("/*\n  X-A: one\n", "/*\n  X-A: three\n"):
            (site / "_headers").write_text(text)
            found.append(await field())
        (site / "_headers").unlink()
        return [*found, await field()]

    origin = DirectoryOrigin("site", Directory(str(site)))
    assert asyncio.run(run()) == [None, "one", "three", None]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("X-A: b", "line 1: a section begins with a path such as /assets/*"),
        ("/*\n  nonsense", "line 2: a field is written as `Name: value`"),
        ("/*\n  X Y: b", "line 2: a field is written as `Name: value`"),
        ("/*\n  Content-Length: 3", "line 2: Content-Length is not for a file to set"),
        ("/*\n  Transfer-Encoding: chunked", "line 2: Transfer-Encoding is not for a file to set"),
        ("/*\n  X-A: b\x00c", "line 2: the value of X-A holds characters that no field may hold"),
        ("/*\n  X-A: \u20ac", "line 2: the value of X-A holds characters that no field may hold"),
        ("bad\n  X-A: b", "line 2: X-A stands in no section"),
    ],
)
def test_a_wrong_line_is_named_and_left_out(text: str, problem: str) -> None:
    parsed = parse(text)
    assert problem in parsed.problems
    assert parsed.fields("/") == []


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/*", "/", True),
        ("/a/*", "/a/", True),
        ("/a/*", "/a", False),
        ("/a/*", "/a/b/c", True),
        ("/*.css", "/x/y.css", True),
        ("/*.css", "/x/y.css2", False),
        ("/:lang/index", "/en/index", True),
        ("/:lang/index", "/en/us/index", False),
        ("/a.b", "/axb", False),
        ("/time:", "/time:", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert bool(parse(f"{pattern}\n  X-A: b\n").fields(path)) is matches
