"""The proxy as its users meet it: a process beside real peers (nginx, curl, wrk, Chromium) and real signals."""
