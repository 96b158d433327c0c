"""Readers of corpora, one file each: how its files are read, its card, its published totals.

A new corpus is one file here, or in a package of your own (see `emoprobe.registry`)::

    @register("toy", CARD, TOTALS)
    def read_toy(root: str | Path, on_error: Literal["error", "skip"] = "error") -> Corpus: ...

and one config ``dataset/toy.yaml``, whose ``reader`` names the function (``_target_``) and its options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from emoprobe.data.utterance import Corpus, CorpusCard, Total
from emoprobe.registry import Registry

Read = TypeVar("Read", bound=Callable[..., Corpus])


@dataclass(frozen=True)
class CorpusSource:
    """What emoprobe knows of a corpus by its name.

    Args:
        read: Reads a copy of it; its arguments are the options of the config's ``reader``.
        card: What one must know of it.
        totals: Published numbers that a whole copy must show.
        check_sound: Compares SHA-256 sums by file stem with published ones, given the root; a line per difference.
    """

    read: Callable[..., Corpus]
    card: CorpusCard
    totals: tuple[Total, ...] = ()
    check_sound: Callable[[Path, Mapping[str, str]], Sequence[str]] | None = None


CORPORA: Registry[CorpusSource] = Registry("corpus", "emoprobe.data.corpora")


def register(
    name: str,
    card: CorpusCard,
    totals: Sequence[Total] = (),
    check_sound: Callable[[Path, Mapping[str, str]], Sequence[str]] | None = None,
) -> Callable[[Read], Read]:
    """Decorator of a reader: the corpus is known by this name, as in ``dataset=NAME``; see `CorpusSource`.

    Raises:
        ValueError: Another corpus has the name.
    """

    def add(read: Read) -> Read:
        CORPORA.register(name)(CorpusSource(read, card, tuple(totals), check_sound))
        return read

    return add
