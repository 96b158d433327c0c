"""``python -m emoprobe`` is the console command ``emoprobe``."""

import sys

from emoprobe.cli import main

sys.exit(main())
