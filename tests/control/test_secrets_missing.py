"""What a configuration reads from the environment and does not find there: one sentence at the start, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..harness.process import free_port, run

APP = "origins: {app: {servers: [http://127.0.0.1:1]}}\n"
BUCKET = "origins: {app: {s3: {endpoint: http://127.0.0.1:1, bucket: site, key_id_env: CDN_NO_SUCH}}}\n"


@pytest.mark.parametrize(
    "text",
    [
        BUCKET,
        APP + "shields: {servers: [http://127.0.0.1:2], secret_env: CDN_NO_SUCH}\n",
        APP + "node: {tier: shield}\nedges: {secret_env: CDN_NO_SUCH}\n",
    ],
    ids=["bucket", "shields", "edges"],
)
def test_a_missing_variable_is_named_and_nothing_else_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(
        f"listen: [http://127.0.0.1:{free_port()}]\nworkers: 2\nstore: {{memory: 16 MiB}}\n{text}"
        "routes: [{match: {host: [site.test], path: /*}, origin: app}]\n"
    )
    ended = run("serve", str(file))
    assert ended.returncode == 2
    lines = [line for line in ended.stderr.splitlines() if "open files are limited" not in line]
    assert len(lines) == 1, lines
    assert "the environment variable CDN_NO_SUCH is not set" in lines[0]
