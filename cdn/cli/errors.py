"""How a command says no: one sentence a line, and an exit code."""

from __future__ import annotations

FAILED = 1
WRONG_USE = 2
ADMIN_REFUSED = 3


class Refused(Exception):  # noqa: N818 (it reads as a sentence where it is raised)
    """Ends the command: every line goes to stderr as `cdn COMMAND: line`, without a traceback.

    `bare` lines are printed as they are: they begin with a file's name and line already.
    """

    def __init__(self, *lines: str, code: int = WRONG_USE, bare: bool = False) -> None:
        super().__init__(*lines)
        self.lines = lines
        self.code = code
        self.bare = bare
