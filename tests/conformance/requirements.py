"""Each MUST and SHOULD of RFC 9111 §3 to §5 for a shared cache, in a few words, and the behaviours that show it.

A name is `table/behaviour`; one that ends with `*` stands for all that begin so.
"""

from __future__ import annotations

# (section, what it asks for, shown by)
REQUIREMENTS: list[tuple[str, str, list[str]]] = [
    (
        "3",
        "not of a method that is not understood",
        ["storing/3-unknown-method", "storing/3-put", "storing/3-options"],
    ),
    ("3", "final statuses only", ["storing/9110-15.2-interim-*"]),
    ("3", "a status that has to be understood is", ["storing/5.2.2.3-must-understand-*"]),
    ("3", "no-store", ["storing/3-no-store*"]),
    ("3", "private", ["storing/3-private*"]),
    (
        "3",
        "something says that and for how long",
        ["storing/3-status-*", "storing/4.2.2-*", "freshness/5.2-no-lifetime"],
    ),
    (
        "3",
        "a newer response takes the place of an older one",
        ["storing/3-a-newer-*", "validation/4.3.3-full-response"],
    ),
    (
        "3.1",
        "all received fields, unknown ones too",
        ["storing/3.1-fields-replayed", "storing/3.1-duplicates-replayed"],
    ),
    ("3.1", "not those of the connection", ["storing/3.1-hop-by-hop"]),
    (
        "3.1",
        "not those that no-cache and private name",
        ["storing/3.1-no-cache-fields", "storing/3.1-private-fields"],
    ),
    (
        "3.2",
        "a 304 updates every field it has",
        ["validation/3.2-304-updates-*", "validation/3.2-304-replaces-all-lines"],
    ),
    ("3.2", "but not those that describe the stored bytes", ["validation/3.2-304-keeps-*"]),
    ("3.2", "nor with those of its connection", ["validation/3.2-304-drops-*"]),
    (
        "3.3",
        "an incomplete response is no complete one",
        ["storing/3.3-truncated", "partial/3.3-a-part-is-no-whole"],
    ),
    (
        "3.3",
        "it answers only ranges that lie within it",
        ["partial/3.3-beyond-the-part", "partial/3.3-within-a-part-*"],
    ),
    ("3.3", "with 206 and nothing else", ["partial/3.3-within-a-part-*", "partial/3.3-suffix-within-a-part"]),
    (
        "3.4",
        "joined under one strong validator only",
        ["partial/3.4-other-tag", "partial/3.4-without-validator-*"],
    ),
    (
        "3.4",
        "joined where it is the same",
        ["partial/3.4-together", "partial/3.4-whole-of-parts", "partial/3.4-completed"],
    ),
    ("3.5", "Authorization", ["storing/3.5-authorization*"]),
    ("4", "the URI matches", ["storing/4-query", "storing/4-query-empty"]),
    ("4", "the method allows it", ["storing/9110-9.3.2-*", "storing/9110-9.3.3-*"]),
    ("4", "the nominated fields match", ["vary/4.1-differs-*", "vary/4.1-match"]),
    (
        "4",
        "neither no-cache nor the request forbids it",
        ["use/5.2.2.4-*", "use/5.2.1.4-*", "use/5.4-pragma"],
    ),
    (
        "4",
        "fresh, allowed to be stale, or validated",
        ["freshness/4.2-max-age-over", "use/4.2.4-*", "use/5861-*"],
    ),
    (
        "4",
        "Age in what was not validated for the request",
        ["freshness/5.1-age-none-on-a-miss", "freshness/4.2.3-*"],
    ),
    ("4", "unsafe methods go through", ["invalidation/4.4-POST-200", "invalidation/4.4-UNHEARD-OF-200"]),
    ("4", "the most recent of several", ["vary/4.1-one-without-vary"]),
    ("4.1", "`*` never matches", ["vary/4.1-star-*"]),
    (
        "4.1",
        "a missing field matches a missing one only",
        ["vary/4.1-missing-then-there", "vary/4.1-both-missing"],
    ),
    (
        "4.1",
        "white space, order and case where they say nothing",
        ["vary/4.1-equal-*", "vary/4.1-lines-are-one-list"],
    ),
    ("4.2", "dates in any case, invalid ones are none", ["freshness/5.3-expires-*"]),
    ("4.2.1", "s-maxage, max-age, Expires less Date", ["freshness/4.2.1-*"]),
    (
        "4.2.1",
        "of several values the first, or stale",
        ["freshness/5.2-control-first-of-two", "freshness/5.3-expires-first-line"],
    ),
    (
        "4.2.2",
        "no guess where something is said",
        ["freshness/4.2.1-max-age-0-over-expires", "freshness/5.3-expires-0"],
    ),
    ("4.2.2", "a guess for statuses that allow it", ["storing/4.2.2-*"]),
    ("4.2.3", "the age of a response", ["freshness/4.2.3-*", "freshness/5.1-*"]),
    (
        "4.2.4",
        "not stale where that is forbidden",
        ["use/4.2.4-must-revalidate-*", "use/4.2.4-no-cache-*", "use/4.2.4-s-maxage-*"],
    ),
    (
        "4.2.4",
        "stale only while disconnected or where allowed",
        ["use/4.2.4-disconnected", "use/4.2.4-stale-404", "use/5861-*"],
    ),
    ("4.3.1", "If-None-Match with the stored tag", ["validation/4.3.1-etag", "validation/4.3.1-weak-etag"]),
    ("4.3.1", "If-None-Match with the tags of all variants", ["vary/4.3.1-variants-validated"]),
    ("4.3.1", "If-Modified-Since with the stored date", ["validation/4.3.1-last-modified"]),
    (
        "4.3.2",
        "conditions are answered from what is stored",
        ["validation/4.3.2-*", "validation/9110-13.1.2-*"],
    ),
    (
        "4.3.2",
        "If-Match and If-Unmodified-Since are the origin's",
        ["validation/9110-13.1.1-if-match", "validation/9110-13.1.4-*"],
    ),
    ("4.3.2", "and forwarded where nothing is stored", ["validation/4.3.2-forward-*"]),
    (
        "4.3.3",
        "a full response is used",
        ["validation/4.3.3-full-response", "validation/4.3.4-304-of-another"],
    ),
    (
        "4.3.3",
        "an error is forwarded, or stale served",
        ["use/4.2.4-stale-on-*", "use/4.2.4-must-revalidate-*"],
    ),
    (
        "4.3.4",
        "which stored response a 304 renews",
        ["validation/4.3.4-*", "vary/4.3.4-a-304-selects", "use/4.3.4-*"],
    ),
    ("4.3.5", "a HEAD renews or makes stale", ["validation/4.3.5-*", "partial/3.4-head-of-parts-renews"]),
    (
        "4.4",
        "the target of a successful unsafe request",
        ["invalidation/4.4-POST-*", "invalidation/4.4-DELETE-*"],
    ),
    ("4.4", "and of one that failed not", ["invalidation/4.4-error-*"]),
    (
        "4.4",
        "Location and Content-Location of the same origin",
        ["invalidation/4.4-location-*", "invalidation/4.4-content-location-*"],
    ),
    (
        "4.4",
        "and of no other",
        ["invalidation/4.4-elsewhere", "invalidation/4.4-other-port", "invalidation/4.4-other-scheme"],
    ),
    ("5.1", "the first member of Age, invalid ones ignored", ["freshness/5.1-age-*"]),
    ("5.2", "unknown directives say nothing", ["freshness/5.2-control-unknown-*", "use/5.2.1-unknown"]),
    (
        "5.2",
        "tokens and quoted strings, names in any case",
        ["freshness/5.2-control-quoted", "freshness/5.2-control-case"],
    ),
    ("5.2.1.1", "max-age of requests", ["use/5.2.1.1-*"]),
    ("5.2.1.2", "max-stale of requests", ["loosened/5.2.1.2-*"]),
    ("5.2.1.3", "min-fresh of requests", ["use/5.2.1.3-*"]),
    ("5.2.1.4", "no-cache of requests", ["use/5.2.1.4-*"]),
    ("5.2.1.5", "no-store of requests", ["use/5.2.1.5-*", "partial/5.2.1.5-part-no-store"]),
    ("5.2.1.6", "no-transform of requests", ["use/5.2.1-no-transform"]),
    ("5.2.1.7", "only-if-cached, 504", ["use/5.2.1.7-*"]),
    ("5.2.2.1", "max-age", ["freshness/4.2-max-age-*", "freshness/5.2-control-*"]),
    (
        "5.2.2.2",
        "must-revalidate, an error rather than stale",
        ["use/5.2.2.2-*", "use/4.2.4-must-revalidate-*"],
    ),
    ("5.2.2.3", "must-understand", ["storing/5.2.2.3-*"]),
    ("5.2.2.4", "no-cache", ["use/5.2.2.4-*", "use/4.2.4-no-cache-*"]),
    ("5.2.2.5", "no-store", ["storing/3-no-store*"]),
    ("5.2.2.6", "no-transform", ["freshness/5.2-control-no-transform"]),
    ("5.2.2.7", "private", ["storing/3-private*", "storing/3.1-private-fields"]),
    ("5.2.2.8", "proxy-revalidate", ["use/5.2.2.8-*", "use/4.2.4-proxy-revalidate-*"]),
    ("5.2.2.9", "public", ["storing/3.5-authorization-public", "storing/4.2.2-public-guessed"]),
    (
        "5.2.2.10",
        "s-maxage, and proxy-revalidate by it",
        ["freshness/4.2.1-s-maxage-over", "use/4.2.4-s-maxage=5-*"],
    ),
    (
        "5.3",
        "invalid Expires is past, and beside max-age nothing",
        ["freshness/5.3-expires-*", "freshness/4.2.1-max-age-over-*"],
    ),
    ("5.4", "Pragma where there is no Cache-Control", ["use/5.4-*", "freshness/5.4-*"]),
]
