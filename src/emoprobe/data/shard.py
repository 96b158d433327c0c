"""A part of a corpus for one job of many: which clips are in it follows from their ids alone."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from emoprobe.errors import InputError
from emoprobe.options import shown

MOST = 1_000_000
"""Parts at most; the arrays of Slurm end there too."""


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``of``, counted from 1.

    A clip is in the part that the SHA-256 of its id says: neither its place nor what else a corpus holds counts, so a
    clip that is added later moves no other.
    """

    number: int
    of: int

    def holds(self, name: str) -> bool:
        """Whether a clip of this id is in it."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8]) % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def read_shard(given: object) -> object:
    """The part that a text such as ``3/64`` names; what is none of one is handed on.

    Raises:
        InputError: There is no such part.
    """
    if given is None or isinstance(given, Shard):
        return given
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", given) if isinstance(given, str) else None
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of <= MOST:
        raise InputError(
            f"{shown(given)} is no part K/N of a corpus",
            field="dataset.shard",
            remedy=f"Give K from 1 to N and N up to {MOST:,}, such as dataset.shard=3/64; a Slurm array that counts "
            "from 1 is --array=1-64.",
        )
    return Shard(number, of)
