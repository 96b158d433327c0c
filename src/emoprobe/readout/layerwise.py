"""The label likelihood at every decoder layer (logit lens): where in the network the belief forms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import logsumexp

from emoprobe.beliefs.distributions import Distributions, over_labels
from emoprobe.beliefs.reading import Reading
from emoprobe.labels import LabelSet
from emoprobe.options import options
from emoprobe.readout.base import READOUTS, PromptReadout
from emoprobe.readout.label_likelihood import NATS
from emoprobe.readout.scoring.asking import Asking
from emoprobe.run.lists import by_row, joined, lengths, log_mass
from emoprobe.run.scores import Contradiction

LAYERS = pa.field("layer_form_logprobs", pa.list_(pa.float64()))
"""Sums as of `label_likelihood` at every decoder layer (0: the embeddings), layers x forms, row by row."""


@READOUTS.register("layerwise")
@options("readout.layerwise")
class Layerwise(PromptReadout):
    """The label likelihood at every decoder layer through the final norm and the vocabulary matrix (logit lens).

    Layer 0 is the embeddings, the last layer is `label_likelihood`.
    """

    name = "layerwise"
    channel = "layers"
    columns = (LAYERS,)
    place = 2
    needs = "the states of every layer"

    def ask(self, asking: Asking) -> list[list[dict[str, Any]]]:
        """Sums over each form's tokens, layers x forms."""
        import torch

        def columns(forms: list[torch.Tensor]) -> dict[str, Any]:
            sums = torch.stack([values.double().sum(-1) for values in forms], dim=-1)
            return {LAYERS.name: sums.flatten().tolist()}

        return [[columns(forms) for forms in clips] for clips in asking.layer_form_logprobs]

    @classmethod
    def read(cls, rows: pa.Table, labels: LabelSet, options: None) -> list[Reading]:
        """One reading per layer, with names that sort as layers do."""
        count = layer_scores(rows).shape[1]
        width = max(2, len(str(count - 1)))
        return [
            Reading(
                f"layer_{layer:0{width}}",
                partial(layerwise, labels=labels.labels, layer=layer),
                partial(_scores_of_layer, layer=layer),
            )
            for layer in range(count)
        ]

    @classmethod
    def contradictions(cls, rows: pa.Table) -> Iterator[Contradiction]:
        """One value per layer and form, each a log-probability, and together no more than one."""
        forms, size = lengths(rows["forms"]), lengths(rows[LAYERS.name])
        if not size.any():
            return
        wrong = (size != size[0]) | (size % np.maximum(forms, 1) != 0)
        yield Contradiction(wrong, LAYERS.name, "has a wrong length")
        values = joined(rows[LAYERS.name])
        above = by_row(~(values <= NATS), size, np.maximum) > 0
        yield Contradiction(above, LAYERS.name, "holds no log-probability")
        mass = log_mass(values, np.full(len(values) // forms[0], forms[0])).reshape(len(size), -1)
        yield Contradiction(np.any(mass > NATS, axis=1), LAYERS.name, "is above a probability of 1")


def layerwise(table: pa.Table, labels: Sequence[str], layer: int) -> Distributions:
    """`label_likelihood` with the normalisation ``sum``, read at one decoder layer, with its label mass."""
    scores = _scores_of_layer(table, layer)
    found = over_labels(scores, table["form_labels"][0].as_py(), labels)
    return replace(found, label_mass=np.exp(logsumexp(scores, axis=1)))


def layer_scores(table: pa.Table) -> np.ndarray:
    """Log-score of every surface form at every decoder layer, ``[rows, layers, forms]`` nats.

    Args:
        table: Rows of one model and prompt. Layer 0 is the embeddings; at the last layer the scores are those of
            `label_likelihood`.
    """
    flat = pc.list_flatten(table[LAYERS.name]).to_numpy()
    return flat.reshape(len(table), -1, len(table["forms"][0].as_py()))


def _scores_of_layer(table: pa.Table, layer: int) -> np.ndarray:
    return layer_scores(table)[:, layer]
