"""One person is one speaker, one recording one utterance, however a table writes them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from emoprobe.data.reading.files import RowError
from emoprobe.data.utterance import Corpus, Utterance
from emoprobe.errors import InputError

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+(\.0+)?", re.ASCII)
_PADDING = re.compile(r"(?<![\d.])0+(?=\d)", re.ASCII)
_BLANKS = re.compile(r"(?<!\d)\s+|\s+(?!\d)")  # not those between two numbers
SHOWN = 3


def settle(corpus: Corpus, *, speaker: str = "speaker", utterance_id: str = "utterance_id") -> Corpus:
    """The corpus with one id per person.

    Where all numbers among the speakers are whole, ``1.0`` is ``1``. Speakers that still differ only in case, zero
    padding, blanks or Unicode form are refused: taken for two people, one person would be trained on and tested on.
    Utterance ids that differ only in blanks, Unicode form or a fraction of nought are refused too; not those that
    differ in case, which may name two recordings.

    Args:
        corpus: As read from a user's table.
        speaker: Column of the speakers.
        utterance_id: Column of the utterance ids.

    Raises:
        InputError: Two ids look alike; it names both, with their rows.
    """
    refuse_alike(corpus.utterances, lambda utterance: utterance.id, utterance_id, loose=False)
    names = whole_numbers({utterance.speaker for utterance in corpus.utterances if utterance.speaker})
    if names:
        utterances = (
            replace(each, speaker=each.speaker and names.get(each.speaker, each.speaker)) for each in corpus.utterances
        )
        corpus = replace(corpus, utterances=tuple(utterances))
    refuse_alike(corpus.utterances, lambda utterance: utterance.speaker, speaker)
    return corpus


def whole_numbers(names: Iterable[str]) -> dict[str, str]:
    """``1.0`` -> ``1``, where no number among the names has a real fraction."""
    numbers = [name for name in names if _NUMBER.fullmatch(name)]
    if not all(_WHOLE.fullmatch(number) for number in numbers):
        return {}
    return {number: number.partition(".")[0] for number in numbers if "." in number}


def _plain(name: str) -> str:
    """An id without what nobody sees: compatible characters, invisible ones, blanks, and a fraction of nought."""
    if not name.isascii():
        name = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf")
    name = _BLANKS.sub("", name.strip())
    return name.partition(".")[0] if _WHOLE.fullmatch(name) else name


def _loose(name: str) -> str:
    """An id in which case and zero padding do not count either."""
    return _PADDING.sub("", _plain(name).casefold())


def refuse_alike(
    utterances: Iterable[Utterance], name_of: Callable[[Utterance], str | None], field: str, *, loose: bool = True
) -> None:
    """Refuse names that are one name in different spellings.

    Args:
        utterances: Whose names are compared.
        name_of: The name of each; None where it is unknown.
        field: Where the names stand.
        loose: Whether names that differ in case or zero padding are one, too.

    Raises:
        InputError: There are such; it names the first pairs and their rows.
    """
    first: dict[str, Utterance] = {}
    for utterance in utterances:
        name = name_of(utterance)
        if name is not None:
            first.setdefault(name, utterance)
    alike = _alike(first, _loose if loose else _plain)
    if alike:
        owner = first[alike[0][1]]
        raise _alike_error(alike, {name: each.row for name, each in first.items()}, owner.file, field, loose)


def refuse_alike_names(first: Mapping[str, int | None], file: Path | None, field: str) -> None:
    """Refuse names, with the rows in which they first stand, that are one name in different spellings.

    Raises:
        InputError: There are such; it names the first pairs and their rows.
    """
    alike = _alike(first, _loose)
    if alike:
        raise _alike_error(alike, first, file, field, loose=True)


def _alike(names: Iterable[str], key: Callable[[str], str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _alike_error(
    alike: Sequence[Sequence[str]], rows: Mapping[str, int | None], file: Path | None, field: str, loose: bool
) -> InputError:
    shown = "; ".join(" and ".join(f"{name!r:.80} (row {rows[name]})" for name in group[:2]) for group in alike[:SHOWN])
    more = f"; {len(alike) - SHOWN} more" if len(alike) > SHOWN else ""
    return InputError(
        f"these differ only in {'case, zero padding, ' if loose else ''}blanks, Unicode form or a fraction of nought: "
        f"{shown}{more}",
        file=file,
        row=rows[alike[0][1]],
        field=field,
        remedy="Write the same one in the same way, and let different ones differ in more.",
    )


class SoundFiles:
    """The sound files that utterances have so far: the same one under two ids would count twice.

    A file is the same by another path, through a link, and by another case or Unicode form of its name where the disk
    takes these for one. Of files that are not there only the names can be compared, without case.
    """

    def __init__(self) -> None:
        self._seen: dict[str, list[Utterance]] = {}
        self._folders: dict[str, str] = {}

    def add(self, utterance: Utterance, *, field: str, facts: Sequence[str] = ()) -> None:
        """Take an utterance's file.

        Args:
            utterance: The utterance.
            field: The column of its path.
            facts: Columns of the table; a start or an end among them explains why a file is there twice.

        Raises:
            RowError: Another utterance has it.
        """
        path = self._real(str(utterance.audio))
        same = self._seen.setdefault(unicodedata.normalize("NFC", path).casefold(), [])
        for before in same:
            if _one_file(path, self._real(str(before.audio))):
                parts = [name for name in facts if name.strip().lower().startswith(("start", "end", "offset", "onset"))]
                remedy = "Give every recording one row, or keep the first: dataset.on_error=skip."
                if parts:
                    remedy = f"Stretches of a file ({', '.join(parts)}) are not read: cut the sound into a file each."
                raise RowError(
                    f"the sound of {utterance.id!r:.80} is that of {before.id!r:.80}, in row {before.row}, and would "
                    "count twice",
                    file=utterance.file,
                    row=utterance.row,
                    field=field,
                    reason="duplicate_file",
                    remedy=remedy,
                )
        same.append(utterance)

    def _real(self, path: str) -> str:
        """Where a path leads; folders are looked up once."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        found = os.path.join(self._folders[folder], name)
        return os.path.realpath(found) if os.path.islink(found) else found


def _one_file(path: str, other: str) -> bool:
    try:
        return path == other or os.path.samefile(path, other)
    except (OSError, ValueError):
        # One of them is not there, or both: a disk that has both spellings would have shown two files.
        return not os.path.exists(path) and not os.path.exists(other)


def called_after_sound(utterances: Sequence[tuple[Utterance, str | None]]) -> list[Utterance]:
    """Ids for utterances whose sound stands in a table and that have no other name than its path.

    They are called after the file name, where that tells all of them apart; else after split and name, else after split
    and path, else after those and the sound itself.

    Args:
        utterances: Each with the path by which it is to be called, None where it has an id.
    """
    called = [(utterance, path) for utterance, path in utterances if path is not None]
    chosen: list[str] = []
    for spell in (_by_name, _by_split, _by_path, _by_sound):
        chosen = [spell(utterance, path) for utterance, path in called]
        if len(set(chosen)) == len(chosen):
            break
    names = iter(chosen)
    return [u if path is None else _renamed(u, next(names)) for u, path in utterances]


def _by_name(utterance: Utterance, path: str) -> str:
    return os.path.splitext(re.split(r"[/\\]", path)[-1])[0] or utterance.audio.stem[:16]


def _by_split(utterance: Utterance, path: str) -> str:
    return f"{utterance.split or 'all'}/{_by_name(utterance, path)}"


def _by_path(utterance: Utterance, path: str) -> str:
    stem = os.path.splitext(path.replace("\\", "/").strip("/"))[0]
    return f"{utterance.split or 'all'}/{stem or utterance.audio.stem[:16]}"


def _by_sound(utterance: Utterance, path: str) -> str:
    return f"{_by_path(utterance, path)}-{utterance.audio.stem[:16]}"


def _renamed(utterance: Utterance, name: str) -> Utterance:
    """The utterance under another id, which its unknown raters have in their names."""
    if name == utterance.id:
        return utterance
    old = f"{utterance.id}#"
    ratings = tuple(
        each._replace(rater=f"{name}#{each.rater.removeprefix(old)}") if each.rater.startswith(old) else each
        for each in utterance.ratings
    )
    return replace(utterance, id=name, ratings=ratings)
