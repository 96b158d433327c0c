"""What a readout is: how it asks a model, what it stores, and how what is stored becomes distributions.

Each readout is a file beside this one. It is imported without torch: what needs torch stands inside `Readout.ask`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

import numpy as np
import pyarrow as pa

from emoprobe.beliefs.reading import Reading
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.labels import LabelSet
from emoprobe.options import Count, OneOf, check, options, unknown, valid
from emoprobe.prompts.answers import FORMATS
from emoprobe.readout.scoring.asking import Asking
from emoprobe.registry import Registry
from emoprobe.run.cell import NO_PROMPT
from emoprobe.run.scores import STORED, Contradiction

if TYPE_CHECKING:
    from torch import Tensor

    from emoprobe.models.base import SpeechFoundationModel
    from emoprobe.prompts.prompt import Prompt

FLOATS, INTS = pa.list_(pa.float32()), pa.list_(pa.int32())
Channel = Literal["tokens", "text", "layers", "classes"]


class Stored(ABC):
    """What the score table holds of a readout, and how it becomes distributions; needs neither torch nor a model.

    Attributes:
        name: Name in every table.
        channel: Whether it reads probabilities of ``tokens``, written ``text``, or ``classes`` that the model was
            trained to tell apart; or ``layers``: every variant is one layer of the model, of which there are many,
            shown as curves and ranked nowhere.
        columns: Its columns of the score table beside those of every readout (`emoprobe.run.scores`).
        place: Where its columns stand among those of emoprobe's other readouts: lower ones first.
        apart: Whether its columns are in the tables of runs that read it alone, as those of other packages are.
        plain: The variant that its name alone stands for in print.
        analysis: Class of the options that a configuration gives under ``analysis.<name>``; None without any. Where it
            has a field ``variants``, they are a list of them.
    """

    name: ClassVar[str] = ""
    channel: ClassVar[Channel] = "tokens"
    columns: ClassVar[Sequence[pa.Field]] = ()
    place: ClassVar[int] = 100
    apart: ClassVar[bool] = False
    plain: ClassVar[str] = ""
    analysis: ClassVar[type | None] = None

    @classmethod
    @abstractmethod
    def read(cls, rows: pa.Table, labels: LabelSet, options: Any) -> list[Reading]:
        """The variants of the readout, in table order.

        Args:
            rows: Rows of the clips in the score table, of one model and prompt.
            labels: The run's label set.
            options: An object of the class ``analysis``, or None.

        Raises:
            InputError: The stored rows do not allow what the options ask for.
        """

    @classmethod
    def contradictions(cls, rows: pa.Table) -> Iterator[Contradiction]:
        """What may be wrong in stored rows of one model, prompt and readout, of its own columns; by default nothing.

        Args:
            rows: Rows that may be another readout's, whose columns are then empty.
        """
        yield from ()


@options("readout")
class Readout(Stored):
    """One way to read a model, beside what is stored of it.

    A subclass of `PromptReadout` or `SoundReadout` registers its name in `READOUTS`; its fields are the options of its
    ``readout`` config. What is normalised or parsed later is none of its business.
    """

    @abstractmethod
    def of(self, sfm: SpeechFoundationModel, labels: LabelSet) -> Readout:
        """The readout as this model is read by it, all that it decides for itself decided.

        Raises:
            InputError: The model cannot be read so.
        """

    def notes(self) -> list[str]:
        """What of that a reader should know, a line each."""
        return []

    def options(self, prompt: Prompt | None) -> str:
        """The options that a prompt is read with as JSON, for the record; None where nothing is asked."""
        return json.dumps(asdict(self), sort_keys=True)

    def check_finite(self, row: Mapping) -> None:
        """Refuse a row of the score table with a score of this readout that is not a finite number.

        Raises:
            EmoprobeError: There is one.
        """
        scores = [each.name for each in self.columns if each.type in (FLOATS, pa.list_(pa.float64()), pa.float64())]
        if not all(np.isfinite(row[name]).all() for name in scores if row.get(name) is not None):
            asked = "" if row["prompt"] == NO_PROMPT else f" for prompt {row['prompt']!r}"
            raise EmoprobeError(
                f"{row['model']} gave a score that is not a finite number{asked} in {row['dtype']}. "
                "Use model.dtype=float32."
            )


@options("readout")
class PromptReadout(Readout):
    """One way to ask a model prompts, of each clip and of null inputs.

    Attributes:
        needs: What it reads beside log-probabilities and text; empty for nothing.
    """

    needs: ClassVar[str] = ""

    def of(self, sfm: SpeechFoundationModel, labels: LabelSet) -> Readout:
        """Itself, of a model that answers and gives what is needed."""
        from emoprobe.models.answering import answering

        if answering(sfm).served and self.needs:
            raise InputError(
                f"{self.name} needs {self.needs}, which {sfm.name} does not give: it is with a server",
                field=f"readout.{self.name}",
                remedy="Use readout=[label_likelihood,generated_text,sampled_text,constrained_text], or load the model "
                "itself.",
            )
        return self

    @abstractmethod
    def ask(self, asking: Asking) -> list[list[dict[str, Any]]]:
        """The readout's own columns of the score table, ``[prompts][clips]``.

        Args:
            asking: The model, the encoded clips and the tokenised prompts.
        """


@options("readout")
class SoundReadout(Readout):
    """One way to read what a model says of a clip without being asked: one row per clip, and none of null inputs."""

    @abstractmethod
    def listen(self, sfm: SpeechFoundationModel, waveforms: Sequence[Tensor]) -> list[dict[str, Any]]:
        """Per clip the columns of its row: ``forms``, ``form_labels`` and the readout's own.

        Args:
            sfm: The model that `of` was given.
            waveforms: Of each clip ``[samples]``.
        """


@options("readout")
class AnswerReadout(PromptReadout):
    """One way to let a model write its answer.

    Args:
        max_new_tokens: Longest answer, tokens, its end included; None for that of the prompt's answer format.

    Attributes:
        greedy: Whether `ask` uses `emoprobe.readout.scoring.asking.Asking.answers`.
    """

    max_new_tokens: Count | None = None
    greedy: ClassVar[bool] = True

    def limit(self, prompt: Prompt) -> int:
        """Longest answer to a prompt, tokens, its end included."""
        return FORMATS[prompt.answer_format].max_new_tokens if self.max_new_tokens is None else self.max_new_tokens

    def drawn(self, prompt: Prompt) -> int:
        """Tokens that it lets a model write at most beside the greedy answer."""
        return 0

    def options(self, prompt: Prompt | None) -> str:
        """As of every readout, with the limit that holds for the prompt."""
        limit = self.max_new_tokens if prompt is None else self.limit(prompt)
        return json.dumps(asdict(self) | {"max_new_tokens": limit}, sort_keys=True)


READOUTS = cast("Registry[type[Readout]]", STORED)


def readouts_of(sfm: SpeechFoundationModel, labels: LabelSet, readouts: Sequence[Readout]) -> list[Readout]:
    """The readouts as this model is read by them; see `Readout.of`.

    Raises:
        InputError: The model cannot be read by one of them.
    """
    return [readout.of(sfm, labels) for readout in readouts]


def asks(readouts: Sequence[Readout]) -> bool:
    """Whether some readout asks prompts."""
    return any(isinstance(readout, PromptReadout) for readout in readouts)


def cells_of(prompts: Sequence[Prompt], readouts: Sequence[Readout]) -> list[tuple[Prompt | None, Readout]]:
    """Every prompt with every readout that asks it, then every readout that asks nothing, with None."""
    asked = [(prompt, readout) for prompt in prompts for readout in readouts if isinstance(readout, PromptReadout)]
    return [*asked, *((None, readout) for readout in readouts if isinstance(readout, SoundReadout))]


def names_of(channel: Channel) -> set[str]:
    """Names of the readouts of a channel; trained heads and fusions, which are none of them, are read from tokens."""
    return {name for name in READOUTS if READOUTS[name].channel == channel}


def make_readouts(config: Mapping[str, Mapping[str, Any] | None]) -> list[Readout]:
    """Readouts from the composed ``readout`` config: name -> options.

    Raises:
        InputError: A readout or an option is unknown or wrong.
    """
    if not config:
        raise InputError("no readout was chosen", field="readout", remedy=f"There are {', '.join(READOUTS)}.")
    named = Annotated[str, OneOf(READOUTS)]
    return [check(READOUTS[valid(named, name, "readout")], own, f"readout.{name}") for name, own in config.items()]


def make_reading_options(config: Mapping[str, object], others: Sequence[str] = ()) -> dict[str, Any]:
    """What a configuration says of single readouts under ``analysis``: name -> a list of variants, or options.

    Args:
        config: That part of the configuration.
        others: Further options of an analysis, for the error.

    Raises:
        InputError: A readout or an option is unknown or wrong.
    """
    kinds = {name: readout.analysis for name, readout in READOUTS.items() if readout.analysis is not None}
    made: dict[str, Any] = {}
    for name, given in config.items():
        if name not in kinds:
            raise unknown(name, [*others, *kinds], "analysis")
        listed = "variants" in {each.name for each in fields(kinds[name])}
        made[name] = kinds[name](variants=given) if listed else check(kinds[name], given)
    return made
