"""Throw-away certificates from the openssl command line."""

from __future__ import annotations

import atexit
import ssl
import subprocess
import tempfile
from functools import cache
from pathlib import Path

TLS_NAME = "app.test"  # what origins that `site` makes into configurations are called


@cache
def certificate(*names: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key (PEM files) for these DNS names; made once a test run."""
    home = tempfile.TemporaryDirectory(prefix="cdn-tls-")
    atexit.register(home.cleanup)
    chain, key = Path(home.name, "site.pem"), Path(home.name, "site.key")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-days", "30", "-subj", f"/CN={names[0]}", "-keyout", str(key), "-out", str(chain)]
    command += ["-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return chain, key


def server_context(*names: str) -> ssl.SSLContext:
    """For an origin that speaks TLS."""
    chain, key = certificate(*names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def tls_of(scheme: str) -> ssl.SSLContext | None:
    """What an origin needs to be one of this scheme."""
    return server_context(TLS_NAME) if scheme == "https" else None
