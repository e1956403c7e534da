"""A bucket as an origin, against a real S3 API server (moto): objects, ranges, conditions, what never leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..harness import site
from ..harness.process import free_port
from ..harness.proxy import Proxy, ours
from ..harness.site import Tree
from ..harness.sync import eventually
from ..peers import need_module

pytestmark = pytest.mark.real

LARGE = bytes(range(256)) * 8192
KEYS = {"CDN_TEST_KEY_ID": "AKIDEXAMPLE", "CDN_TEST_SECRET": "wJalrSecretExample"}


class Store:
    """A moto server with one bucket, and boto3 to fill it."""

    def __init__(self, home: Path) -> None:
        need_module("moto.server", "moto[server]")
        boto3 = need_module("boto3", "moto[server]")
        self.port = free_port()
        self.log = (home / "moto.log").open("wb")
        self.child = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "PYTHONPATH": ""},
        )
        self.url = f"http://127.0.0.1:{self.port}"
        self.s3: Any = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="eu-west-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="wJalrSecretExample",
        )
        eventually(self._answers, "the object store's start", 60)
        self.s3.create_bucket(Bucket="site", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def _answers(self) -> bool:
        try:
            self.s3.list_buckets()
        except Exception:
            assert self.child.poll() is None, "moto ended"
            return False
        return True

    def put(self, key: str, body: bytes, **more: Any) -> None:
        self.s3.put_object(Bucket="site", Key=key, Body=body, **more)

    def requests(self) -> list[str]:
        self.log.flush()
        text = Path(self.log.name).read_text(errors="replace")
        return [line for line in text.splitlines() if '"GET /site/' in line or '"HEAD /site/' in line]

    def stop(self) -> None:
        self.child.terminate()
        self.child.wait(20)
        self.log.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("moto"))
    try:
        made.put("www/index.html", b"<h1>home</h1>", ContentType="text/html", Metadata={"author": "me"})
        made.put("www/a b/ü+&=.txt", b"odd", ContentType="text/plain", CacheControl="max-age=60")
        made.put("www/large.bin", LARGE)
        made.put("secret.txt", b"not below the prefix")
        yield made
    finally:
        made.stop()


@pytest.fixture
def tree(store: Store, monkeypatch: pytest.MonkeyPatch) -> Tree:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    bucket = {
        "endpoint": store.url,
        "bucket": "site",
        "region": "eu-west-1",
        "prefix": "www/",
        "key_id_env": "CDN_TEST_KEY_ID",
        "secret_env": "CDN_TEST_SECRET",
    }
    return {**site(1, {"ttl": "1h"}), "origins": {"app": {"s3": bucket}}}


def test_objects_and_their_hits(tree: Tree, store: Store) -> None:
    with Proxy(tree) as proxy, proxy.client() as client:
        home = client.get("/")
        assert (home.status, home.body, home["Content-Type"]) == (200, b"<h1>home</h1>", "text/html")
        assert home["x-amz-meta-author"] == "me"
        shown = {name.lower() for name, _ in home.fields}
        assert not {"server", "x-amz-request-id", "x-amz-id-2", "x-amz-version-id"} & shown
        assert ours(client.get("/")).get("hit") is True
        odd = client.get("/a%20b/%C3%BC+&=.txt")
        assert (odd.status, odd.body, odd["Cache-Control"]) == (200, b"odd", "max-age=60")
        assert client.ask("HEAD", "/large.bin")["Content-Length"] == str(len(LARGE))
        assert client.get("/large.bin").body == LARGE


def test_ranges_and_conditions(tree: Tree) -> None:
    tree["routes"][0]["cache"] = False  # each one asks the store
    with Proxy(tree) as proxy, proxy.client() as client:
        whole = client.get("/large.bin")
        etag = whole["ETag"] or ""
        part = client.get("/large.bin", {"Range": "bytes=1000-1009"})
        assert (part.status, part.body) == (206, LARGE[1000:1010])
        assert part["Content-Range"] == f"bytes 1000-1009/{len(LARGE)}"
        assert client.get("/large.bin", {"If-None-Match": etag}).status == 304
        assert client.get("/large.bin", {"If-Match": '"other"'}).status == 412
        good = client.get("/large.bin", {"Range": "bytes=0-3", "If-Range": etag})
        assert (good.status, good.body) == (206, LARGE[:4])
        changed = client.get("/large.bin", {"Range": "bytes=0-3", "If-Range": '"other"'})
        assert (changed.status, changed.body) == (200, LARGE)
        beyond = client.get("/large.bin", {"Range": f"bytes={len(LARGE)}-"})
        assert beyond.status == 416


def test_revalidation_costs_a_304(tree: Tree, store: Store) -> None:
    with Proxy(tree) as proxy, proxy.client() as client:
        assert client.get("/large.bin").body == LARGE
        proxy.clock.advance(3_601_000)
        again = client.get("/large.bin")
        assert again.body == LARGE
        assert ours(again).get("fwd-status") == "304"


@pytest.mark.parametrize(
    "target", ["/nothing", "/nothing/", "/../secret.txt", "/x%2findex.html", "/" + "k" * 1100]
)
def test_what_is_not_there(tree: Tree, target: str) -> None:
    with Proxy(tree) as proxy, proxy.client() as client:
        got = client.get(target)
        assert got.status == 404
        assert b"site" not in got.body
        assert b"<" not in got.body


def test_no_query_and_no_method_of_a_clients_is_signed(tree: Tree, store: Store) -> None:
    with Proxy(tree) as proxy, proxy.client() as client:
        for query in ("acl", "list-type=2", "versions", "response-content-type=text/evil", "uploads"):
            got = client.get(f"/?{query}")
            assert (got.status, got.body, got["Content-Type"]) == (200, b"<h1>home</h1>", "text/html")
        for method in ("PUT", "DELETE", "POST", "OPTIONS"):
            assert (
                client.ask(method, "/new.txt", body=b"x" if method in ("PUT", "POST") else b"").status == 405
            )
        assert client.get("/index.html", {"Authorization": "AWS x:y", "x-amz-acl": "public"}).status == 200
    assert store.requests()
    assert all("?" not in line for line in store.requests())
    assert [
        item["Key"] for item in store.s3.list_objects_v2(Bucket="site")["Contents"] if "new" in item["Key"]
    ] == []


def test_a_bucket_that_is_not_there(tree: Tree) -> None:
    tree["origins"]["app"]["s3"]["bucket"] = "other"
    with Proxy(tree) as proxy, proxy.client() as client:
        got = client.get("/")
        assert got.status == 404
        assert b"other" not in got.body


def test_keys_never_show(tree: Tree) -> None:
    tree["origins"]["app"]["s3"]["endpoint"] = "http://127.0.0.1:1"
    with Proxy(tree) as proxy, proxy.client() as client:
        got = client.get("/")
        assert got.status == 502
        said = f"{got.fields} {got.body!r} {proxy.reports} {proxy.stats()} {proxy.log_path.read_text()}"
        assert KEYS["CDN_TEST_SECRET"] not in said
        assert KEYS["CDN_TEST_KEY_ID"] not in said


def test_missing_keys_are_one_sentence(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDN_TEST_SECRET")
    with pytest.raises(ValueError, match="environment variable CDN_TEST_SECRET is not set"), Proxy(tree):
        pass
