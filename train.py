"""``emoprobe train`` from a checkout: python train.py --help."""

import sys

from emoprobe.cli.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
