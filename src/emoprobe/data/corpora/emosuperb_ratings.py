"""How the tables of EMO-SUPERB were counted, and the single ratings of corpora that lie beside them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emoprobe.data.ballots import count_votes
from emoprobe.data.corpora.biic_podcast import read_biic_podcast
from emoprobe.data.corpora.iemocap import read_iemocap
from emoprobe.data.corpora.msp_improv import read_msp_improv
from emoprobe.data.corpora.msp_podcast import read_msp_podcast
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.reading.files import RowError
from emoprobe.data.utterance import Corpus, Utterance
from emoprobe.errors import InputError

_READ: dict[str, tuple[Callable[..., Corpus], dict[str, Any]]] = {
    "iemocap": (read_iemocap, {"context_turns": 0}),
    "improv": (read_msp_improv, {}),
    "podcast": (read_msp_podcast, {}),
    "biic_podcast": (read_biic_podcast, {}),
}
_NEAR = 1e-4  # of a share: the tables have six decimals, from which a smoothing was undone


def words_of(corpus: str, emotions: str) -> dict[str, object]:
    """Options of the policy by which a table was counted.

    Args:
        corpus: Folder of the corpus, in lower case.
        emotions: ``Primary`` or ``Secondary``.
    """
    if corpus == "iemocap":
        return {"self_reports": True, "several": "each"}
    if emotions == "Primary":
        return {"secondary": 0.0}
    # Raters of NNIME gave several labels and none beside them.
    return {"several": "each"} if corpus == "nnime" else {"several": "each", "secondary": 1.0}


@dataclass
class Own:
    """A corpus itself, beside its table.

    Args:
        clips: Id -> the clip with its ratings.
        words: That raters could choose.
        others: Clips whose ratings, counted as the table was, give other shares than it has.
        taken: How many clips were taken.
    """

    clips: Mapping[str, Utterance]
    words: tuple[str, ...]
    others: list[str] = field(default_factory=list)
    taken: int = 0

    def take(self, utterance: Utterance) -> Utterance:
        """The table's clip with the corpus's ratings and means in place of the shares.

        Raises:
            RowError: The corpus does not have the clip.
        """
        clip = self.clips.get(utterance.id)
        if clip is None:
            raise RowError(
                f"the corpus has no clip {utterance.id!r:.80}",
                file=utterance.file,
                row=utterance.row,
                field="FileName",
                remedy="Check dataset.ratings_root, or leave such clips out: dataset.on_error=skip.",
            )
        self.taken += 1
        if not _same(utterance, clip):
            self.others.append(utterance.id)
        facts = {fact: value for fact, value in utterance.metadata.items() if fact not in utterance.means}
        return replace(
            utterance,
            votes={},
            counted={},
            uncounted=(),
            ratings=clip.ratings,
            means=clip.means,
            scales=clip.scales,
            metadata={**facts, **clip.means},
        )

    def say(self, corpus: str) -> None:
        """A line of how many clips differ from the table."""
        if self.others:
            print(
                f"note: EMO-SUPERB {corpus}: of {len(self.others):,} of {self.taken:,} clips, the first "
                f"{self.others[0]}, the raters' words counted as the table was give other shares than it has; the "
                "ratings are taken",
                file=sys.stderr,
            )


def read_own(corpus: str, root: str | Path) -> Own:
    """A corpus in its official layout.

    Args:
        corpus: Folder of the corpus in EMO-SUPERB.
        root: Of the corpus.

    Raises:
        InputError: emoprobe reads no single ratings of it, or the folder is not the corpus.
    """
    if corpus.lower() not in _READ:
        what = f"the corpus is {corpus}, and single ratings are read of {', '.join(sorted(map(str.upper, _READ)))}"
        remedy = "Leave it out: dataset.ratings_root=null."
        raise InputError(what, field="dataset.ratings_root", remedy=remedy)
    read, options = _READ[corpus.lower()]
    own = read(root, **options)
    return Own({clip.id: clip for clip in own.utterances}, own.card.words)


def _same(published: Utterance, clip: Utterance) -> bool:
    """Whether the ratings give the published shares when they are counted in the same way."""
    policy: SoftLabelPolicy = replace(SoftLabelPolicy(repeated_raters="all"), **dict[str, Any](published.counted))
    counts, _ = count_votes(clip, policy)
    total = sum(counts.get(word, 0.0) for word in published.votes)
    return total > 0 and all(abs(counts.get(w, 0.0) / total - share) < _NEAR for w, share in published.votes.items())
