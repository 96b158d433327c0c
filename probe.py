"""``emoprobe probe`` from a checkout: python probe.py --help."""

import sys

from emoprobe.cli.probe import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
