"""Damaged variants of label files."""

from __future__ import annotations

import random

from emoprobe.data.reading.files import MAX_LINE

KINDS = ("truncate", "flip", "insert", "cut", "shuffle", "remove", "cell", "duplicate", "drop", "swap", "blank", "junk")
KINDS += ("long", "random")
CELLS = ("", " ", "nan", "-1", "1e999", "\u0663", "\u00b2", "0x1", "..", "/", '"', "'", "a\nb", "\u2028", "9" * 400)


def damaged(text: bytes, separator: bytes, rng: random.Random) -> bytes:
    """A variant of a label file whose lines have columns between separators: one to three kinds of damage."""
    for _ in range(rng.randint(1, 3)):
        text = _damage(text, rng.choice(KINDS), separator, rng)
    return text


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    """A variant of a file that is no text: bytes changed here and there, the end cut off, or bytes of any kind."""
    kind = rng.choice(("flip", "flip", "flip", "truncate", "truncate", "random"))
    if kind != "flip":
        return _damage(content, kind, b",", rng)
    broken = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        broken[rng.randrange(len(content))] ^= rng.randint(1, 255)
    return bytes(broken)


def _damage(text: bytes, kind: str, separator: bytes, rng: random.Random) -> bytes:
    if kind == "truncate":
        return text[: rng.randrange(len(text) + 1)]
    if kind == "flip":
        spots = {rng.randrange(len(text)) for _ in range(rng.randint(1, 4))} if text else set()
        return bytes(byte ^ 1 << rng.randrange(8) if spot in spots else byte for spot, byte in enumerate(text))
    if kind == "insert":
        spot = rng.randrange(len(text) + 1)
        return text[:spot] + rng.randbytes(rng.randint(1, 6)) + text[spot:]
    if kind == "cut":
        spot = rng.randrange(len(text) + 1)
        return text[:spot] + text[spot + rng.randint(1, 4) :]
    if kind == "random":
        return rng.randbytes(rng.randrange(300))
    lines = text.split(b"\n")
    line = rng.randrange(len(lines))
    if kind in ("shuffle", "remove"):
        columns = lines[line].split(separator)
        rng.shuffle(columns)
        lines[line] = separator.join(columns if kind == "shuffle" else columns[1:])
    elif kind == "cell":
        columns = lines[line].split(separator)
        any_text = "".join(chr(rng.randrange(0xD800)) for _ in range(rng.randrange(7)))
        columns[rng.randrange(len(columns))] = rng.choice((*CELLS, any_text)).encode()
        lines[line] = separator.join(columns)
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
