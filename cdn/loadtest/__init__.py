"""A load test of any HTTP server: what `cdn bench` runs.

It is a client: it sees URLs, bytes and times, and must not know anything of the proxy's inside (the linter holds
it to that). `plan` says what is asked, `run` asks it with the generator that fits and returns a `Result`.
"""

from cdn.loadtest.errors import LoadTestError
from cdn.loadtest.plan import Plan
from cdn.loadtest.result import Result
from cdn.loadtest.running import run

__all__ = ["LoadTestError", "Plan", "Result", "run"]
