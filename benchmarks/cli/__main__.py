"""`python -m fedsynth.benchmarks.cli`: the same as `fedsynth`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
