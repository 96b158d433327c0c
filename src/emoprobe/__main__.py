"""``python -m emoprobe``: the console command."""

import sys

from emoprobe.cli import main

sys.exit(main())
