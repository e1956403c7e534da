"""`make bench`: this proxy beside nginx, HAProxy, Varnish and the speed limit of the machine, row by row.

    python -m bench --help

`rows` says what is asked, `peers` who answers, `load` how it is asked, `runner` in which order, `figures`
what that comes to, `report` and `plot` write it down. It measures real processes over loopback and imports
nothing of `cdn`.
"""
