"""Signature Version 4, against the example in Amazon's documentation and against botocore's signer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.tier.s3.signing import Credentials, canonical_path, sign

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def test_the_documented_example() -> None:
    fields = [("Host", "examplebucket.s3.amazonaws.com"), ("Range", "bytes=0-9")]
    added = dict(sign(EXAMPLE, "GET", "/test.txt", fields, region="us-east-1", now=1369353600))
    assert added["x-amz-date"] == "20130524T000000Z"
    assert added["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_a_secret_is_never_shown() -> None:
    assert "wJalr" not in repr(EXAMPLE)
    assert "token" not in repr(Credentials("a", "b", "token"))


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=40), st.booleans(), st.sampled_from(["GET", "HEAD"]))
def test_any_key_as_botocore_signs_it(key: bytes, session: bool, method: str) -> None:
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Theirs

    token = "token" if session else None
    path = canonical_path(key)
    now = 1_700_000_000
    added = dict(
        sign(
            Credentials("id", "secret", token),
            method,
            path,
            [("Host", "store.test:9000")],
            region="eu-west-1",
            now=now,
        )
    )
    request = AWSRequest(method, f"http://store.test:9000{path}")
    request.headers["X-Amz-Content-SHA256"] = added["x-amz-content-sha256"]
    request.headers["X-Amz-Date"] = added["x-amz-date"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    theirs = auth.S3SigV4Auth(Theirs("id", "secret", token), "s3", "eu-west-1")
    request.context["timestamp"] = added["x-amz-date"]
    request.headers["Host"] = "store.test:9000"
    canonical = theirs.canonical_request(request)
    signature = theirs.signature(theirs.string_to_sign(request, canonical), request)
    assert f"Signature={signature}" in added["Authorization"]
