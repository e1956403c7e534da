"""`make bench-hits`: how often the store answers, policy by policy, beside reference caches.

    python -m bench.hits --help

`traces` is what is asked for, `store` replays it through the real store and `references` through other caches,
`figures` puts both at the same capacity, `page` writes it down.
"""
