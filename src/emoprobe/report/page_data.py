"""Values as a page holds them: JSON that cannot end its element, and packed numbers."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np

from emoprobe.system.output import json_safe


def embed_json(data: Any) -> str:
    """JSON for a script element of type ``application/json``: ASCII without ``<``, ``>`` and ``&``."""
    text = json.dumps(json_safe(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def pack(content: np.ndarray | bytes) -> str:
    """Little-endian bytes, gzip, base64: what the page's script unpacks."""
    if isinstance(content, np.ndarray):
        content = np.ascontiguousarray(content, content.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def pack_json(value: Any) -> str:
    """JSON, gzip, base64."""
    return pack(json.dumps(json_safe(value), ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode())
