"""`make bench`: this proxy beside its peers (nginx, HAProxy, Varnish, Traffic Server) and the limit of the machine.

    python -m bench --help

`rows` says what is asked, `peers` who answers, `load` how it is asked, `runner` in which order, `figures`
what that comes to, `report` and `plot` write it down. It measures real processes over loopback and imports
nothing of `cdn`; `stocked` and the microbenchmarks do. `scale`, `micro` and `memory` are measured alone; `written`
makes the page of what all of them have left, `tools` says what has to be installed for them.
"""
