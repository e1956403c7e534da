"""A bucket of an S3-compatible object store as an origin.

    signing.py   AWS Signature Version 4 of a request without a body
    objects.py   which object a request names, what is asked of the store, what its answer becomes

Must not know clients, the store of the cache, or how a connection is made.
"""
