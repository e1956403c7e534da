"""A folder as an origin: its files are answered as an HTTP origin would answer them, without a second server.

    opening.py   which file a path names, and no way out of the folder
    headers.py   the fields that the folder's `_headers` file adds
    answer.py    a request and a file → status, fields, which bytes
    origin.py    the origin itself: all of that in threads, behind the seam

Must not know clients, the store, or what is cached of it.
"""

from cdn.tier.directory.origin import DirectoryOrigin

__all__ = ["DirectoryOrigin"]
