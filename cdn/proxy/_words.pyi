class Words:
    """What edges have said that is believed, each for its time; one per worker."""

    def trust(self, secret: bytes | None) -> None:
        """The secret that codes are made with from now on, None: nobody is an edge. What was believed is forgotten."""

    def believe(self, said: str, https: bool, until: int) -> None:
        """Whoever says this, with a right code for his request, is an edge until then (ms of node time)."""
