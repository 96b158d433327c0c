"""What a clip is replaced by to see what a model follows: another sound, no sound, other words than its own.

A model that is told the transcript, or how a clip sounds in words, may follow the words and not the sound; a model that
hears may follow what is said and not how. Each control changes one channel of every clip and leaves the others and the
votes as they are. Sound of one clip with the words of another is the conflict of cues of Chen et al. 2025, "Do audio
LLMs really LISTEN, or just transcribe?", arXiv:2510.10444.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import numpy as np

from emoprobe.data.balance import drawn
from emoprobe.data.prepare import Item, Prepared
from emoprobe.data.utterance import Corpus, Utterance
from emoprobe.errors import InputError
from emoprobe.options import Positive, Seed, Word, options
from emoprobe.system.cache import cache_folder
from emoprobe.system.digest import digest_of
from emoprobe.system.output import whole

OPPOSITES = {"low": "high", "high": "low", "monotone": "varied", "varied": "monotone"}


@options("dataset.control")
class Control:
    """What is changed of every clip.

    Args:
        name: Of the control, in titles and tables; ``own`` for none.
        sound: Its ``own``, its own ``shuffled`` in time, that of ``another`` clip of another emotion, ``silence`` of
            the same length, or ``none``: the model is given no sound at all.
        words: Transcript and dialogue, its ``own`` or those of ``another`` clip.
        acoustics: How it sounds in words, its ``own``, that of ``another`` clip, or the ``opposite``: low for high.
        segment_seconds: Length of what is shuffled.
        seed: Of the order, and of which clip is the other.
    """

    name: Word = "own"
    sound: Literal["own", "shuffled", "another", "silence", "none"] = "own"
    words: Literal["own", "another"] = "own"
    acoustics: Literal["own", "another", "opposite"] = "own"
    segment_seconds: Positive = 0.1
    seed: Seed = 0

    def __post_init__(self) -> None:
        changes = (self.sound, self.words, self.acoustics) != ("own",) * 3
        if changes == (self.name == "own"):
            what = "changes something" if changes else "changes nothing"
            remedy = "Take one of conf/control, such as control=sound_shuffled, or give dataset.control.name too."
            raise InputError(f"the control {self.name!r} {what}", field="dataset.control", remedy=remedy)

    @property
    def is_own(self) -> bool:
        """Whether nothing is changed."""
        return self.name == "own"

    def of_corpus(self, corpus: Corpus) -> Corpus:
        """The corpus under a name of its own, so that nothing of it is ranked with what was not changed."""
        if self.is_own or corpus.card.name.endswith(f"+{self.name}"):
            return corpus
        title = f"{corpus.card.title} (CONTROL: {self.name.replace('_', ' ')})"
        return replace(corpus, card=replace(corpus.card, name=f"{corpus.card.name}+{self.name}", title=title))

    def of_prepared(self, prepared: Prepared) -> Prepared:
        """The clips as they are presented; their votes stay.

        Raises:
            InputError: No clip is of another emotion, or a sound cannot be written.
        """
        if self.is_own:
            return prepared
        division = prepared.division
        known = division.whole if division else prepared.items
        found = donors({item.utterance.id: _top(item) for item in known}, self.seed) if self._borrows else {}
        by_id = {item.utterance.id: item.utterance for item in known}

        def changed(item: Item) -> Item:
            donor = found.get(item.utterance.id)
            return replace(item, utterance=self._changed(item.utterance, None if donor is None else by_id[donor]))

        items = tuple(map(changed, prepared.items))
        return replace(prepared, items=items)

    @property
    def _borrows(self) -> bool:
        return "another" in (self.sound, self.words, self.acoustics)

    def _changed(self, utterance: Utterance, donor: Utterance | None) -> Utterance:
        told: dict = {}
        if donor is not None:
            told["donor"] = donor.id
            if self.sound == "another":
                told["audio"] = donor.audio
            if self.words == "another":
                told |= {"transcript": donor.transcript, "dialogue": donor.dialogue}
        if self.sound in ("shuffled", "silence") and utterance.audio.is_file():
            told["audio"] = self._written(utterance.audio)
        return replace(utterance, **told)

    def _written(self, audio: Path) -> Path:
        """A changed sound, kept beside other caches; as it was where the file is no sound, for its reader to say so."""
        import soundfile

        content = audio.read_bytes()
        facts = {name: value for name, value in asdict(self).items() if name in ("sound", "segment_seconds", "seed")}
        name = digest_of([hashlib.sha256(content).hexdigest(), facts])
        file = cache_folder() / "controls" / name[:2] / f"{name}.wav"
        if file.is_file():
            return file
        try:
            samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
        except (RuntimeError, OSError):
            return audio
        if self.sound == "silence":
            samples = np.zeros_like(samples)
        else:
            order = np.random.default_rng([self.seed, int(name[:8], 16)])
            samples = shuffled(samples, max(1, round(self.segment_seconds * rate)), order)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"a control cannot be written: {error.strerror}", file=file.parent) from error
        with whole(file) as temporary:
            soundfile.write(temporary, samples, rate, subtype="FLOAT")
        return file

    def acoustics_of(self, utterance: Utterance, known: Mapping[str, str]) -> str | None:
        """How a clip is said to sound.

        Args:
            utterance: The clip, as it is presented.
            known: Utterance id -> how it sounds in words.
        """
        own = known.get(utterance.id)
        if self.acoustics == "another":
            return None if utterance.donor is None else known.get(utterance.donor)
        return opposite(own) if self.acoustics == "opposite" and own is not None else own


def donors(tops: Mapping[str, frozenset[int]], seed: int = 0) -> dict[str, str]:
    """For every clip another one about whose emotion the raters said something else.

    The clips stand in a ring in an order that the seed draws, and each takes the next one that shares no top label.

    Args:
        tops: Utterance id -> its labels with most votes.
        seed: Of the order.

    Raises:
        InputError: There is none for some clip.
    """
    ring = sorted(tops, key=lambda name: (drawn(name, seed), name))
    found = {}
    for place, name in enumerate(ring):
        others = (ring[(place + step) % len(ring)] for step in range(1, len(ring)))
        donor = next((other for other in others if not tops[other] & tops[name]), None)
        if donor is None:
            raise InputError(
                f"no clip is of another emotion than {name!r}",
                field="dataset.control",
                remedy="Evaluate clips of several emotions, or use control=sound_shuffled or control=silence.",
            )
        found[name] = donor
    return found


def _top(item: Item) -> frozenset[int]:
    shares = item.target.distribution
    return frozenset(np.flatnonzero(shares >= shares.max() - 1e-9).tolist())


def shuffled(samples: np.ndarray, length: int, order: np.random.Generator) -> np.ndarray:
    """Segments of a sound in another order, all its samples kept.

    Args:
        samples: ``[samples, channels]``.
        length: Of a segment, samples; the last one may be shorter.
        order: Draws it.
    """
    starts = np.arange(0, len(samples), length)
    return np.concatenate([samples[start : start + length] for start in order.permutation(starts)])


def opposite(acoustics: str) -> str:
    """Words for the contrary of how a clip sounds: ``pitch: high, varied`` for ``pitch: low, monotone``.

    What is in the middle, or not measurable, stays.
    """
    parts = [part.partition(": ") for part in acoustics.split("; ")]
    swapped = [(name, ", ".join(OPPOSITES.get(word, word) for word in words.split(", "))) for name, _, words in parts]
    return "; ".join(f"{name}: {words}" for name, words in swapped)
