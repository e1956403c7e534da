from collections.abc import Callable

class Normaliser:
    """Remembers the normal forms of request fields that responses vary by."""

    computed: int
    def __init__(self, compute: Callable[[str, str], bytes]) -> None: ...
