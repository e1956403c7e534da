"""`python -m cdn`: the same as the `cdn` command."""

import sys

from cdn.cli import main

if __name__ == "__main__":
    sys.exit(main())
