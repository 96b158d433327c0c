"""How clips are divided into who trains, who develops and who tests: the options of a dataset's ``partition``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Gt, Lt
from pydantic import StringConstraints

from emoprobe.errors import InputError
from emoprobe.options import At, Natural, Several, Word, Words, options
from emoprobe.system.digest import digest_of

PartName: TypeAlias = Literal["train", "development", "test"]
PARTS: tuple[PartName, ...] = ("train", "development", "test")
SPLITS: dict[PartName, tuple[str, ...]] = {
    "train": ("train",),
    "development": ("development", "dev", "validation", "valid"),
    "test": ("test",),
}
_PARTITION = "dataset.partition"


@options("dataset.partition")
class SplitPolicy:
    """How clips are divided.

    Args:
        kind: ``official`` (the corpus's own splits), ``kfold`` (folds that share no group), ``leave_one_out`` (a fold
            per group, sorted by name, 2 before 10).
        by: What a group is: ``speaker``, or a key of the metadata such as ``session``.
        folds: Folds of ``kfold``, of about as many clips each.
        fold: The fold that is tested, from 0.
        development: Of folds: ``next`` (the next fold); ``rotate`` (another fold for every averaged member, so that all
            that is not tested is trained on by some); or a share of the groups that are not tested, in (0, 1), rounded
            and at least one: the groups after the tested ones, so that it moves with the fold.
        rater_folds: Into how many groups raters are divided, beside the clips: the test part of fold f counts the
            ratings of group f alone, the others those of all other groups, so that no rater is in both. 0 lets every
            rater count everywhere.
        seed: Which groups go together, where their sizes leave a choice; the fold does not change it.
        allow_overlap: Let the parts share speakers (and of an official split groups), or leave it unknown.
        unknown_speakers: Of an official split, ``error``, or ``allow`` to check the overlap of known speakers alone.
        splits: Of ``official``: part (``train``, ``development``, ``test``) -> the corpus's names for it, without case;
            parts not named keep the names in `SPLITS`.
    """

    kind: Literal["official", "kfold", "leave_one_out"] = "kfold"
    by: Annotated[str, StringConstraints(pattern=r"\S"), Words("the name of a fact, such as speaker or session")] = (
        "speaker"
    )
    folds: Annotated[int, Ge(2)] = 5
    fold: Annotated[Natural, At("dataset.fold")] = 0
    development: Annotated[
        Literal["next", "rotate"] | Annotated[float, Gt(0), Lt(1)],
        Words("next, rotate, or a share between 0 and 1, such as 0.15"),
    ] = "next"
    rater_folds: Annotated[Natural, Words("a whole number of at least 2, or 0")] = 0
    seed: Natural = 0
    allow_overlap: bool = False
    unknown_speakers: Literal["error", "allow"] = "error"
    splits: Mapping[PartName, Word | Several[Word] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind == "official" and isinstance(self.development, float):
            raise InputError(
                f"a share of {self.development:g} is asked for, but an official split has its own development part",
                field=f"{_PARTITION}.development",
                remedy=f"Use {_PARTITION}.development=next, or {_PARTITION}.kind=kfold.",
            )
        if self.rater_folds == 1:
            raise InputError(
                "one group of raters leaves nobody for training",
                field=f"{_PARTITION}.rater_folds",
                remedy="Use 2 or more, or 0 to let every rater count everywhere.",
            )
        object.__setattr__(self, "splits", _clean_splits(self.splits))

    @property
    def named(self) -> dict[PartName, tuple[str, ...]]:
        """Part -> the corpus' names of it, for all three parts."""
        return _clean_splits(self.splits)

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of all options."""
        # An option that came later counts where it is set, so that stored results keep their hash.
        options = {name: value for name, value in asdict(self).items() if name != "rater_folds" or value}
        return digest_of(options)[:16]

    @property
    def name(self) -> str:
        """The policy in words, for tables."""
        if self.kind == "official":
            own = [f"{part}: {' + '.join(names)}" for part, names in self.named.items() if names != SPLITS[part]]
            parts = ["official split", *own]
        else:
            many = f"{self.folds} folds by {self.by}" if self.kind == "kfold" else f"leave one {self.by} out"
            share = self.development if isinstance(self.development, str) else f"{self.development:g} of the rest"
            parts = [many, f"fold {self.fold} tested", f"development: {share}", f"seed {self.seed}"]
        parts += [f"raters in {self.rater_folds} groups"] if self.rater_folds else []
        parts += ["overlap allowed"] if self.allow_overlap else []
        parts += ["unknown speakers allowed"] if self.unknown_speakers == "allow" else []
        return "; ".join(parts)


def _clean_splits(splits: Mapping[PartName, str | Sequence[str] | None]) -> dict[PartName, tuple[str, ...]]:
    """Part -> names in lower case, for all three parts."""
    where = f"{_PARTITION}.splits"
    clean = dict(SPLITS)
    for part, names in splits.items():
        names = [names] if isinstance(names, str) else list(names or [])
        clean[part] = tuple(dict.fromkeys(name.strip().lower() for name in names))
    twice = [name for name, count in Counter(name for names in clean.values() for name in names).items() if count > 1]
    if twice:
        raise InputError(f"the split {twice[0]!r} is in two parts", field=where, remedy="Name every split once.")
    return clean
