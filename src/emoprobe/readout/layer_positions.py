"""The label log-scores at every decoder layer and position: where in layers and in time the belief forms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from emoprobe.beliefs.distributions import pool_forms
from emoprobe.beliefs.reading import Reading
from emoprobe.errors import EmoprobeError
from emoprobe.labels import LabelSet
from emoprobe.options import options
from emoprobe.readout.base import FLOATS, INTS, READOUTS, AnswerReadout
from emoprobe.readout.label_likelihood import NATS
from emoprobe.readout.layerwise import LAYERS, Layerwise
from emoprobe.readout.scoring.asking import Asking
from emoprobe.run.lists import by_row, joined, lengths, log_mass
from emoprobe.run.scores import Contradiction

if TYPE_CHECKING:
    from emoprobe.models.answering import AudioContext, Generation
    from emoprobe.models.positions import Positions
    from emoprobe.readout.scoring.plan import PromptPlan

SOUND, PROMPT, WRITTEN = KINDS = ("sound", "prompt", "written")
SCORES = pa.field("position_label_scores", FLOATS)
"""Label log-scores, nats, layers x positions x labels (in the order of their first forms), row by row."""
TOKENS = pa.field("position_tokens", INTS)
KIND = pa.field("position_kinds", pa.list_(pa.string()))
TEXTS = pa.field("position_texts", pa.list_(pa.string()))
"""Of each position its token, what it stands for (one of `KINDS`), and its text, which is empty where it is sound."""
COVERS = pa.field("position_seconds", pa.float64())
"""Seconds that the sound's positions stand for; 0 where that is the clip itself, or there are none."""
AGREEMENT = {"float32": 1e-3}
COARSE_AGREEMENT = 1.0
"""Nats by which one token's log-probability may differ between two ways to compute it."""


@READOUTS.register("layer_positions")
@options("readout.layer_positions")
class LayerPositions(AnswerReadout):
    """What the logit lens says of the labels at every decoder layer and position: sound, prompt, greedy answer.

    The score of a surface form at a layer and position is the log-probability of its first token as the next one there,
    and of its further tokens, its end included, at that layer behind the whole prompt. So at the last prompt position
    it is `emoprobe.readout.layerwise`, and in the last layer there `emoprobe.readout.label_likelihood`. A label's is
    the log-sum-exp over its forms.

    Args:
        max_new_tokens: Written tokens that are read at most; None for the longest answer of the prompt's format.
    """

    name = "layer_positions"
    channel = "layers"
    columns = (LAYERS, SCORES, TOKENS, KIND, TEXTS, COVERS)
    place = 3
    apart = True
    needs = "the states of every layer"

    def ask(self, asking: Asking) -> list[list[dict[str, Any]]]:
        """Sums over each form's tokens at the answer position, then all positions."""
        rows = []
        answers = asking.answers(self.limit)
        for plan, clips, written in zip(asking.plans, asking.layer_form_logprobs, answers, strict=True):
            rows.append(
                [
                    _columns(asking, asking.context, i, plan, [values.double().numpy() for values in forms], answer)
                    for i, (forms, answer) in enumerate(zip(clips, written, strict=True))
                ]
            )
        return rows

    @classmethod
    def read(cls, rows: pa.Table, labels: LabelSet, options: None) -> list[Reading]:
        """The layers at the answer position, as `emoprobe.readout.layerwise` has them."""
        return Layerwise.read(rows, labels, options)

    @classmethod
    def contradictions(cls, rows: pa.Table) -> Iterator[Contradiction]:
        """A score for each layer, position and label, each a log-probability, and together no more than one."""
        size, positions = lengths(rows[SCORES.name]), lengths(rows[KIND.name])
        if not size.any():
            return
        forms = lengths(rows["forms"])
        labels = len(dict.fromkeys(rows["form_labels"][0].as_py()))
        layers = lengths(rows[LAYERS.name]) // np.maximum(forms, 1)
        yield Contradiction(size != layers * positions * labels, SCORES.name, "has a wrong length")
        for column in (TOKENS, TEXTS):
            yield Contradiction(lengths(rows[column.name]) != positions, column.name, "has not one for each position")
        values = joined(rows[SCORES.name])
        yield Contradiction(by_row(~(values <= NATS), size, np.maximum) > 0, SCORES.name, "holds no log-probability")
        mass = log_mass(values, np.full(len(values) // labels, labels))
        above = by_row(mass > NATS, size // labels, np.maximum) > 0
        yield Contradiction(above, SCORES.name, "is above a probability of 1")


def _columns(
    asking: Asking,
    context: AudioContext,
    clip: int,
    plan: PromptPlan,
    forms: Sequence[np.ndarray],
    answer: Generation,
) -> dict[str, Any]:
    """The row of one clip; ``forms`` are each form's tokens at the answer position, ``[layers, tokens]`` nats."""
    firsts = list(dict.fromkeys(tokens[0] for tokens in plan.question.continuations))
    prompted = plan.question.prefix == plan.free.prefix
    written: tuple[int, ...] = answer.tokens
    found = asking.sfm.score_positions(context, clip, plan.question, written if prompted else (), firsts)
    parts = [(found, np.arange(len(found.tokens)))]
    if not prompted and written:  # what a model writes of its own does not begin with the template's words
        free = asking.sfm.score_positions(context, clip, plan.free, written, firsts)
        parts.append((free, np.arange(len(free.tokens))[-len(written) :]))
    tokens = [one.tokens[place] for one, places in parts for place in places]
    kinds = [_kind(one, int(place)) for one, places in parts for place in places]
    answers = len(tokens) - len(written) - 1
    kinds[answers + 1 :] = [WRITTEN] * len(written)
    first = np.concatenate([one.log_probs.double().numpy()[:, places] for one, places in parts], axis=1)
    sums = np.stack([values.sum(-1) for values in forms], axis=-1)
    column = [firsts.index(one[0]) for one in plan.question.continuations]
    _check(first[:, answers, column], np.stack([values[:, 0] for values in forms], axis=-1), asking)
    rest = np.stack([values[:, 1:].sum(-1) for values in forms], axis=-1)
    scores = first[:, :, column] + rest[:, None]
    scores[:, answers] = sums
    labels, decode = list(dict.fromkeys(plan.labels)), asking.sfm.decode
    pooled = pool_forms(scores.reshape(-1, scores.shape[-1]), plan.labels, labels)
    return {
        LAYERS.name: sums.ravel().tolist(),
        SCORES.name: pooled.astype(np.float32).ravel().tolist(),
        TOKENS.name: tokens,
        KIND.name: kinds,
        TEXTS.name: ["" if kind == SOUND else decode([token]) for token, kind in zip(tokens, kinds, strict=True)],
        COVERS.name: found.covers,
    }


def _kind(found: Positions, place: int) -> str:
    return SOUND if found.is_sound[place] else PROMPT


def _check(whole: np.ndarray, tree: np.ndarray, asking: Asking) -> None:
    """Refuse positions that do not end in the label likelihood.

    Raises:
        EmoprobeError: One pass over the whole sequence says something else than the passes of `layerwise`.
    """
    gap = float(np.abs(whole - tree).max())
    if not gap <= AGREEMENT.get(asking.sfm.dtype, COARSE_AGREEMENT):
        raise EmoprobeError(
            f"the positions of {asking.sfm.name} end {gap:.2g} nats from its label likelihood. "
            "emoprobe doctor with the same model tells more."
        )


def position_scores(row: Mapping[str, Any]) -> np.ndarray:
    """Label log-scores of one row of the score table, ``[layers, positions, labels]`` nats.

    The labels are in the order of their first forms, ``dict.fromkeys(row["form_labels"])``.
    """
    labels = len(dict.fromkeys(row["form_labels"]))
    return np.asarray(row[SCORES.name], dtype=np.float64).reshape(-1, len(row[KIND.name]), labels)
