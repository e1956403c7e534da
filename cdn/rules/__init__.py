"""HTTP semantics as functions of values: (request, stored response, configuration, now) → decision, reason,
fields.

No clock, no socket, no store. The modules, in the order of a request's way:

- `forwarding`, `fields`: what goes on to the origin and back; `norms`: every number and list on one page
- `use`: may the stored response answer; `conditional`, `ranges`: what of it
- `storing`, with `directives`, `freshness`, `vary`: may the origin's response be stored, as what, for how
long - `validation`: asking the origin again, and taking in its answer; `invalidation`: what an unsafe request
makes void - `stored`: the record of it all; `cache_status`: how it is told
"""
