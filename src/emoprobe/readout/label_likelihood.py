"""The likelihood of every surface form of every label, each scored to its end; the default readout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emoprobe.beliefs.distributions import Distributions, over_labels
from emoprobe.beliefs.reading import Reading
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.options import At, Distinct, OneOf, options
from emoprobe.readout.base import FLOATS, READOUTS, PromptReadout
from emoprobe.readout.scoring.asking import Asking
from emoprobe.run.lists import by_row, joined, lengths, log_mass
from emoprobe.run.scores import Contradiction

NATS = 1e-4
"""By how much stored logarithms may miss their sum: they are float32, token by token."""
NORMALIZATIONS = ("sum", "mean_token", "without_end")
TOKENS = pa.field("form_token_logprobs", pa.list_(FLOATS))
SUMS = pa.field("form_logprobs", pa.list_(pa.float64()))
MASS = pa.field("log_label_mass", pa.float64())
"""Natural logarithms, token by token and summed (the end included); log of the label mass."""


@options("analysis.label_likelihood")
class LabelLikelihoodOptions:
    """What is derived of stored label likelihoods.

    Args:
        variants: Normalisations: ``sum`` of the token log-probabilities (the only one that is a probability),
            ``mean_token`` (their mean), ``without_end`` (their sum without the end token).
    """

    variants: Annotated[Distinct[Annotated[str, OneOf(NORMALIZATIONS)]], At("analysis.label_likelihood")] = ("sum",)


@READOUTS.register("label_likelihood")
@options("readout.label_likelihood")
class LabelLikelihood(PromptReadout):
    """log P(surface form, end | audio, prompt), summed over the form's tokens, in nats.

    Every form is scored to its end token, so a form whose tokens begin another's ("sad", "sadness") is not credited
    for it, and the label mass is the probability that the whole answer is one of the forms.
    """

    name = "label_likelihood"
    columns = (TOKENS, SUMS, MASS)
    place = 1
    plain = "sum"
    analysis = LabelLikelihoodOptions

    def ask(self, asking: Asking) -> list[list[dict[str, Any]]]:
        """Log-probabilities token by token, their sums, and the log of the label mass."""
        import torch

        def columns(forms: list[torch.Tensor]) -> dict[str, Any]:
            sums = torch.stack([values.double().sum() for values in forms])
            return {
                TOKENS.name: [values.tolist() for values in forms],
                SUMS.name: sums.tolist(),
                MASS.name: sums.logsumexp(0).item(),
            }

        return [[columns(forms) for forms in clips] for clips in asking.form_logprobs]

    @classmethod
    def read(cls, rows: pa.Table, labels: LabelSet, options: LabelLikelihoodOptions) -> list[Reading]:
        """One reading per normalisation."""
        return [
            Reading(
                name,
                partial(_with_mass, labels=labels.labels, normalization=name),
                partial(form_scores, normalization=name),
            )
            for name in options.variants
        ]

    @classmethod
    def contradictions(cls, rows: pa.Table) -> Iterator[Contradiction]:
        """Log-probabilities of the surface forms, token by token, summed, and all together."""
        size = lengths(rows[SUMS.name])
        if not size.any():
            return
        yield Contradiction(size != lengths(rows["forms"]), SUMS.name, "has not one value for each surface form")
        sums = joined(rows[SUMS.name])
        above = by_row(~(sums <= NATS), size, np.maximum) > 0
        yield Contradiction(above, SUMS.name, "is no log-probability")
        mass, stated = log_mass(sums, size), rows[MASS.name].to_numpy().astype(np.float64)
        told = ~np.isnan(stated)
        yield Contradiction(told & ~(stated <= NATS), MASS.name, "is above a probability of 1")
        differs = told & ~((np.abs(mass - stated) <= NATS) | (mass == stated))
        yield Contradiction(differs, MASS.name, "is not that of its form_logprobs")
        tokens = lengths(rows[TOKENS.name])
        if not tokens.any():
            return
        yield Contradiction(tokens != size, TOKENS.name, "has not one list for each surface form")
        lists = pc.list_flatten(rows[TOKENS.name])
        each, values = lengths(lists), joined(lists)
        form_above = by_row(~(values <= NATS), each, np.maximum)
        yield Contradiction(by_row(form_above, size, np.maximum) > 0, TOKENS.name, "holds no log-probability")
        made = by_row(values, each)
        differs = ~((np.abs(made - sums) <= NATS * (1 + np.abs(sums) / 10)) | (made == sums))
        wrong = by_row(differs, size, np.maximum) > 0
        yield Contradiction(wrong, SUMS.name, "is not the sum of its form_token_logprobs")


def _with_mass(rows: pa.Table, labels: Sequence[str], normalization: str) -> Distributions:
    mass = np.exp(rows[MASS.name].to_numpy())
    return replace(label_likelihood(rows, labels, normalization), label_mass=mass)


def label_likelihood(table: pa.Table, labels: Sequence[str], normalization: str = "sum") -> Distributions:
    """``P(label | audio, prompt, the answer is a label)``: softmax over labels of the log-sum-exp over forms."""
    return over_labels(form_scores(table, normalization), table["form_labels"][0].as_py(), labels)


def form_scores(table: pa.Table, normalization: str) -> np.ndarray:
    """Log-score of every surface form, ``[rows, forms]`` nats.

    Args:
        table: Rows of one model and prompt.
        normalization: See `LabelLikelihoodOptions`.

    Raises:
        InputError: Without their ends some forms cannot be told apart.
    """
    if normalization == "sum":
        return np.array(table[SUMS.name].to_pylist(), dtype=np.float64)
    rows = table[TOKENS.name].to_pylist()
    if normalization == "mean_token":
        return np.array([[np.mean(tokens, dtype=np.float64) for tokens in forms] for forms in rows])
    tokens = table["form_tokens"][0].as_py()
    bare = [form[:-1] for form in tokens]
    for i, short in enumerate(bare):
        for j, long in enumerate(bare):
            if i != j and long[: len(short)] == short:
                names = table["forms"][0].as_py()
                raise InputError(
                    f"{names[i]!r} begins {names[j]!r} in this tokenizer, so only their ends tell them apart",
                    field="analysis.label_likelihood",
                    remedy="Use the normalization sum, which scores the end.",
                )
    return np.array([[np.sum(tokens[:-1], dtype=np.float64) for tokens in forms] for forms in rows])
