"""Corpora in miniature, made up, in their official layouts: one module per reader.

A module has ``write(root)``, ``read(root)`` and ``COPIES``: what was written, and where. What all readers do alike is
tested on each of them in tests/data/corpora/test_contract.py.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emoprobe.data.corpora import CORPORA
from emoprobe.data.utterance import Corpus, Utterance


@dataclass(frozen=True)
class Wrong:
    """Text that must be refused, in the words, file, row and field of the error.

    Args:
        file: A label file.
        old: Is replaced where it first stands.
        new: By this.
        what: Said of it.
        field: Named.
        clip: Is left out with ``on_error=skip``; None if no clip is, but a row that is of none.
        left: What is read of the clip without the row that is wrong: its words, as `say` has them.
        reason: Under which the row is listed.
        row: Named; the one in which ``old`` begins if None.
        listed: The id under which the row is listed; whatever it is if None.
        skips: Whether ``on_error=skip`` helps: not where a file is optional and goes as a whole.
    """

    file: str
    old: str
    new: str
    what: str
    field: str | None
    clip: str | None = None
    left: str | None = None
    reason: str = "bad_row"
    row: int | None = None
    listed: str | None = None
    skips: bool = True


@dataclass(frozen=True)
class Copy:
    """A made-up copy of a corpus, and what its reader must find in it.

    Args:
        name: Of the corpus: ``dataset=NAME``.
        write: Writes it below a folder.
        said: What was written, a line per clip in the corpus's order: ``id | speaker | split | words``, the words as
            `say` has them.
        variant: Tells several copies of one corpus apart.
        label_files: Files that say who felt what; all but ``needed`` may be missing.
        needed: Those without which nothing can be read.
        damaged: Files that are damaged in every way, ``label_files`` if None.
        thin: Makes a copy smaller, so that damage hits more kinds of lines.
        examples: Of damage to each file.
        separator: Between columns of text, where the suffix (.csv, .tsv, .json, .jsonl) does not tell.
        encoding: Of text; None of files that are no text.
        any_bytes: Text in which any byte may stand.
        columns: Label file -> columns that it must have.
        against: Label file -> the one that tells, too, when the first is damaged, since they must agree.
        again: ``(file, first, last)`` lines of one clip: it must not occur twice.
        wrong: What its text may not hold.
        other: ``(file, old, new, line)``: text whose new word the corpus does not have, and what is read of its clip.
        path: ``(file, text)``: a path of sound as it is written.
        sound: ``(id, file)``: one clip's sound.
        sound_field: What errors call the field that says where it is.
        listed_by_sound: Whether the names of sound files are all that is known of clips.
        sound_beside: Whether sound lies in files of its own, and not within the tables.
        skips: Whether bad rows can be skipped.
        at: Where, below the folder, the reader's first argument points.
        place: Of the config, the option that says where the copy is.
        absent: What an empty folder lacks, in the words of the error; None where the corpus has no layout of its own.
        options: Further options of the reader.
        overrides: Their spelling on the command line, with whatever else the copy needs.
        partition: Kind and fact by which the config divides it for training.
        key: Text of a clip's row by its id.
        holds: What must be true of every utterance, whatever the damage.
    """

    name: str
    write: Callable[[Path], None]
    said: str
    variant: str = ""
    label_files: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    damaged: tuple[str, ...] | None = None
    thin: Callable[[Path], None] | None = None
    examples: int = 300
    separator: bytes = b";"
    encoding: str | None = "utf-8"
    any_bytes: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    against: Mapping[str, str] = field(default_factory=dict)
    again: tuple[str, int, int] | None = None
    wrong: tuple[Wrong, ...] = ()
    other: tuple[str, str, str, str] | None = None
    path: tuple[str, str] | None = None
    sound: tuple[str, str] = ("", "")
    sound_field: str = "path"
    listed_by_sound: bool = False
    sound_beside: bool = True
    skips: bool = True
    at: str = "."
    place: str = "dataset.root"
    absent: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    partition: tuple[str, str] = ("kfold", "speaker")
    key: Callable[[str], str] = str
    holds: Callable[[Utterance], bool] = lambda utterance: True

    def read(self, root: Path, **options: object) -> Corpus:
        """Call the corpus's reader."""
        return CORPORA[self.name].read(root / self.at, **self.options, **options)

    def command(self, root: Path) -> list[str]:
        """The overrides that read it."""
        return [f"dataset={self.name}", f"{self.place}={root / self.at}", *self.overrides]

    def separator_of(self, file: str) -> bytes:
        """What stands between the columns of a label file."""
        return {".csv": b",", ".tsv": b"\t", ".json": b",", ".jsonl": b","}.get(Path(file).suffix, self.separator)


def say(utterance: Utterance) -> str:
    """A line of `Copy.said`.

    Ratings are words in the raters' order: several of one rater joined by ``+``, secondary ones in brackets, ``@2``
    where rater 2 said it again, ``!`` where it was the speaker; votes are ``word=votes``.
    """
    raters: dict[str, int] = {}
    said = []
    for rating in utterance.ratings:
        word = "+".join(rating.labels) + (f"({'+'.join(rating.secondary)})" if rating.secondary else "")
        word += f"@{raters[rating.rater]}" if rating.rater in raters else ""
        raters.setdefault(rating.rater, len(raters) + 1)
        said.append(word + ("!" if rating.self_report else ""))
    said = said or [f"{word}={votes:.4g}" for word, votes in utterance.votes.items() if votes]
    return f"{utterance.id} | {utterance.speaker or '-'} | {utterance.split or '-'} | {' '.join(said)}".strip()


def all_copies() -> list[Copy]:
    """Those of every module here."""
    modules = [importlib.import_module(f"copies.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return [copy for module in modules for copy in getattr(module, "COPIES", ())]
