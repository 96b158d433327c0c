"""The name of facts: what two runs, caches or files share exactly when they agree in all of them."""

from __future__ import annotations

import hashlib
import json


def digest_of(facts: object) -> str:
    """SHA-256 of facts as JSON with sorted keys, hexadecimal.

    Args:
        facts: Anything that JSON can say.

    Raises:
        TypeError: JSON cannot say it.
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
