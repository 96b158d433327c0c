"""Damaged variants of label files, as a hypothesis strategy."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from emoprobe.data.files import MAX_LINE

KINDS = ("truncate", "flip", "insert", "shuffle", "remove", "duplicate", "drop", "swap", "blank", "junk", "long")


def damaged(text: bytes, separator: bytes) -> st.SearchStrategy[bytes]:
    """Variants of a label file whose lines have columns between separators: one to three kinds of damage."""

    def make(kinds: list[str], rng: random.Random) -> bytes:
        broken = text
        for kind in kinds:
            broken = _damage(broken, kind, separator, rng)
        return broken

    kinds = st.lists(st.sampled_from(KINDS), min_size=1, max_size=3)
    return st.builds(make, kinds, st.integers(0, 2**32).map(random.Random))


def _damage(text: bytes, kind: str, separator: bytes, rng: random.Random) -> bytes:
    if kind == "truncate":
        return text[: rng.randrange(len(text) + 1)]
    if kind == "flip":
        spots = {rng.randrange(len(text)) for _ in range(rng.randint(1, 4))} if text else set()
        return bytes(byte ^ 1 << rng.randrange(8) if spot in spots else byte for spot, byte in enumerate(text))
    if kind == "insert":
        spot = rng.randrange(len(text) + 1)
        return text[:spot] + rng.randbytes(rng.randint(1, 6)) + text[spot:]
    lines = text.split(b"\n")
    line = rng.randrange(len(lines))
    if kind in ("shuffle", "remove"):
        columns = lines[line].split(separator)
        rng.shuffle(columns)
        lines[line] = separator.join(columns if kind == "shuffle" else columns[1:])
    elif kind == "duplicate":
        lines.insert(line, lines[line])
    elif kind == "drop":
        del lines[line]
    elif kind == "swap":
        other = rng.randrange(len(lines))
        lines[line], lines[other] = lines[other], lines[line]
    elif kind == "blank":
        lines.insert(line, b"")
    else:
        lines.insert(line, b"\xff\x00; [\t" if kind == "junk" else b"x" * (MAX_LINE + 1))
    return b"\n".join(lines)
