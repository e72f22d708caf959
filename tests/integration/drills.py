"""Drills on real worker processes. `python -m tests.integration.drills NAME` runs one.

Each runs in a process of its own with a fresh ATTUNE_HOME, so that Django there has the
workers' database and not the test run's. It ends with exit code 0, or an AssertionError.
"""

import sys

import django

from tests.integration import clip_drills, round_drills  # noqa: F401 - both register drills
from tests.integration.drilling import DRILLS


def main() -> None:
    """Runs the drill named on the command line."""
    django.setup()
    DRILLS[sys.argv[1]].run()


if __name__ == "__main__":
    main()
