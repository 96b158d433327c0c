"""Corpora whose files say by their names what is felt in them: one way to read them, and one label is one vote."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

from emoprobe.data.reading.files import Harvest, RowError, SoundFolder, open_root
from emoprobe.data.utterance import Corpus, Total, Utterance
from emoprobe.errors import InputError

SUFFIXES = (".wav", ".flac")
NO_VOTES = "Single labels are no distribution of votes: divergences from them say nothing about ambiguity."


class NamedClip(NamedTuple):
    """What the name of a file says.

    Args:
        id: Of the clip, in one spelling whatever the case of the name.
        word: The emotion.
        speaker: Who speaks.
        facts: What else is known.
        split: Of the corpus.
        transcript: Words spoken.
    """

    id: str
    word: str
    speaker: str
    facts: Mapping[str, str | float] = {}
    split: str | None = None
    transcript: str | None = None


ClipOf: TypeAlias = Callable[[Path], NamedClip | None]


def read_named_clips(harvest: Harvest, root: Path, example: str, clip_of: ClipOf, word_fact: str) -> Corpus:
    """Read the clips that are there, in any folders below the root; sound is not decoded.

    Args:
        harvest: Gathers them.
        root: Top folder, as `emoprobe.data.reading.files.open_root` gives it.
        example: Relative path of a clip that every copy has, for errors.
        clip_of: What a file's path below the root says; None for a file that is passed over, a ValueError that goes on
            from its name for one that is named wrongly.
        word_fact: Under which the emotion stands in the metadata too, such as ``acted_emotion``.

    Returns:
        Corpus in the order of the ids; the emotion is the one vote.

    Raises:
        InputError: The folder is not the corpus, a name is malformed, or a clip is there twice.
    """
    if not os.path.isdir(root):
        open_root(root, harvest.card, example)
    sounds = SoundFolder(root, SUFFIXES)
    found: list[tuple[str, Path]] = []
    for folder, names in _folders(sounds, harvest):
        found += [(name, folder / name) for name in names if name.lower().endswith(SUFFIXES) and name[0] != "."]
    if not found and not harvest.skipped:
        open_root(root, harvest.card, example)
    for name, relative in sorted(found):
        with harvest.row(os.path.splitext(name)[0]):
            file = root / relative
            try:
                clip = clip_of(relative)
            except InputError:
                raise
            except ValueError as error:
                remedy = "Take the file away, or leave it out: dataset.on_error=skip."
                raise RowError(f"{name!r:.80} {error}", file=file, row=None, remedy=remedy) from None
            if clip is None:
                continue
            before = harvest.utterances.get(clip.id)
            if before is not None:
                what = f"clip {clip.id} is there twice; the other is {before.file}"
                remedy = "Set dataset.root to the folder of one copy, or take the first: dataset.on_error=skip."
                raise RowError(what, file=file, row=None, reason="duplicate_id", remedy=remedy)
            audio = sounds.find(relative, file=file)
            harvest.add(
                Utterance(
                    id=clip.id,
                    audio=audio,
                    votes={clip.word: 1.0},
                    num_raters=1,
                    speaker=clip.speaker,
                    split=clip.split,
                    transcript=clip.transcript,
                    metadata={word_fact: clip.word, **clip.facts},
                    file=file,
                )
            )
    harvest.utterances = dict(sorted(harvest.utterances.items()))
    return harvest.corpus(root)


def _folders(sounds: SoundFolder, harvest: Harvest) -> Iterator[tuple[Path, list[str]]]:
    """The root and all folders within, relative to it, with their files; linked ones once, if they stay in the root."""
    seen = {os.path.realpath(sounds.root)}
    for folder, inner, names in os.walk(sounds.root, followlinks=True):
        relative = Path(os.path.relpath(folder, sounds.root))
        for name in sorted(inner):
            inner.remove(name)
            real = os.path.realpath(os.path.join(folder, name))
            with harvest.row():
                if real not in seen:
                    sounds.find(relative / name, file=sounds.root / relative / name)
                    seen.add(real)
                    inner.append(name)
        yield relative, names


def parts_of(pattern: re.Pattern[str], relative: Path, form: str) -> re.Match[str]:
    """The parts of a file's name without its suffix.

    Raises:
        ValueError: It is not of the form, which is named in the error.
    """
    parts = pattern.fullmatch(relative.stem)
    if not parts:
        raise ValueError(f"is not {form}")
    return parts


def check_folders(relative: Path, words: Mapping[str, str], said: str) -> None:
    """Refuse a file below a folder that stands for another word than the one its name says.

    Args:
        relative: Path of the file below the root.
        words: Name of a folder in lower case -> word; other folders say nothing.
        said: What the name says.

    Raises:
        ValueError: They contradict each other.
    """
    for folder in relative.parts[:-1]:
        if words.get(folder.lower(), said) != said:
            raise ValueError(f"says {said}, and its folder {folder!r:.80} {words[folder.lower()]}")


def totals_of(clips: int, speakers: int, words: Mapping[str, int], source: str) -> tuple[Total, ...]:
    """Published numbers of clips, speakers, and clips of each word."""
    return (
        Total("clips", clips, lambda corpus: len(corpus.utterances), source),
        Total("speakers", speakers, lambda corpus: len({each.speaker for each in corpus.utterances}), source),
        *(Total.of_word(f"clips of {word}", count, word, source) for word, count in words.items()),
    )
