"""``python -m hemgs``: the command line."""

import sys

from hemgs.cli import main

if __name__ == "__main__":
    sys.exit(main())
