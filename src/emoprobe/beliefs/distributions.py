"""From raw scores to distributions over labels: normalisation, variants and prompt ensembles. Pure functions, no model.

Source of the averaged-logit family: "Token-Level Logits Matter" (arXiv 2505.18484), whose readable descriptions leave
open which positions, tokens and values are meant; every plausible reading is a named variant here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import log_softmax, logsumexp, softmax

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.prompts.answers import STATUSES, ParsedAnswer, parse_answer

NORMALIZATIONS = ("sum", "mean_token", "without_end")


@dataclass(frozen=True)
class AveragedLogitsVariant:
    """One reading of the published formula ``z_n / sum(z)``.

    Args:
        positions: ``all`` generated positions, or the ``answer`` position only.
        tokens: ``all`` sub-tokens of a surface form (their mean; the template's text around it is left out), or its
            ``first``.
        values: What is averaged over positions: the raw ``logit``, its softmax over the vocabulary (``probability``),
            or its softmax over the labels (``label_softmax``).
        shares: ``ratio``: value / sum of values, undefined unless every value is positive; ``softmax`` of the values.
    """

    positions: str = "all"
    tokens: str = "all"
    values: str = "logit"
    shares: str = "ratio"

    def __post_init__(self) -> None:
        allowed = {
            "positions": ("all", "answer"),
            "tokens": ("all", "first"),
            "values": ("logit", "probability", "label_softmax"),
            "shares": ("ratio", "softmax"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise InputError(
                    f"unknown value {getattr(self, name)!r}",
                    field=f"variants.averaged_logits.*.{name}",
                    remedy=f"Use one of {values}.",
                )
        if self.shares == "softmax" and self.values != "logit":
            raise InputError("a softmax of probabilities is no distribution of theirs; use shares: ratio")


AVERAGED_LOGITS = {
    "raw_logit_ratio": AveragedLogitsVariant(),
    "raw_logit_ratio_answer": AveragedLogitsVariant(positions="answer"),
    "raw_logit_ratio_first_token": AveragedLogitsVariant(tokens="first"),
    "probability_ratio": AveragedLogitsVariant(values="probability"),
    "softmax_of_mean": AveragedLogitsVariant(shares="softmax"),
    "mean_of_softmax": AveragedLogitsVariant(values="label_softmax"),
    "answer_softmax": AveragedLogitsVariant(positions="answer", tokens="first", shares="softmax"),
}


@dataclass(frozen=True)
class Distributions:
    """Distributions of one cell, in the order of its rows.

    Args:
        log_probs: Natural logarithms, ``[utterances, labels]``; a row without a distribution is NaN.
        status: ``ok`` or why there is none, per utterance.
        label_mass: Of written answers, the share of what is written that is on labels, ``[utterances]``; NaN where
            nothing can be read.
        share_parsed: Of drawn answers, the share that states a distribution, ``[utterances]``.
    """

    log_probs: np.ndarray
    status: tuple[str, ...]
    label_mass: np.ndarray | None = None
    share_parsed: np.ndarray | None = None

    @property
    def probs(self) -> np.ndarray:
        """Probabilities, ``[utterances, labels]``."""
        return np.exp(self.log_probs)


def form_scores(table: pa.Table, normalization: str) -> np.ndarray:
    """Log-score of every surface form, ``[rows, forms]`` nats.

    Args:
        table: Rows of one cell of `label_likelihood`.
        normalization: ``sum`` of the token log-probabilities (the only one that is a probability), ``mean_token``
            (their mean), ``without_end`` (their sum without the end token).
    """
    if normalization not in NORMALIZATIONS:
        raise InputError(
            f"unknown normalization {normalization!r}",
            field="variants.label_likelihood",
            remedy=f"Use one of {NORMALIZATIONS}.",
        )
    if normalization == "sum":
        return np.array(table["form_logprobs"].to_pylist(), dtype=np.float64)
    rows = table["form_token_logprobs"].to_pylist()
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
                    field="variants.label_likelihood",
                    remedy="Use the normalization sum, which scores the end.",
                )
    return np.array([[np.sum(tokens[:-1], dtype=np.float64) for tokens in forms] for forms in rows])


def layer_scores(table: pa.Table) -> np.ndarray:
    """Log-score of every surface form at every decoder layer, ``[rows, layers, forms]`` nats.

    Args:
        table: Rows of one cell of `layerwise`. Layer 0 is the embeddings; at the last layer the scores are those of
            `label_likelihood`.
    """
    flat = pc.list_flatten(table["layer_form_logprobs"]).to_numpy()
    return flat.reshape(len(table), -1, len(table["forms"][0].as_py()))


def pool_forms(scores: np.ndarray, form_labels: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Log-score of each label: log-sum-exp over its surface forms, ``[rows, forms]`` -> ``[rows, labels]``."""
    owner = np.array([labels.index(label) for label in form_labels])
    return np.stack([logsumexp(scores[:, owner == i], axis=1) for i in range(len(labels))], axis=1)


def label_likelihood(table: pa.Table, labels: Sequence[str], normalization: str = "sum") -> Distributions:
    """``P(label | audio, prompt, the answer is a label)``: softmax over labels of the log-sum-exp over forms."""
    return _over_labels(form_scores(table, normalization), table, labels)


def layerwise(table: pa.Table, labels: Sequence[str], layer: int) -> Distributions:
    """`label_likelihood` with the normalization ``sum``, read at one decoder layer."""
    return _over_labels(layer_scores(table)[:, layer], table, labels)


def _over_labels(scores: np.ndarray, table: pa.Table, labels: Sequence[str]) -> Distributions:
    pooled = pool_forms(scores, table["form_labels"][0].as_py(), labels)
    return Distributions(log_softmax(pooled, axis=1), ("ok",) * len(pooled))


def averaged_logits(table: pa.Table, labels: Sequence[str], variant: AveragedLogitsVariant) -> Distributions:
    """Shares of token-averaged logits under one reading; a row whose ratio has a value <= 0 is ``undefined``."""
    kept = table["kept_tokens"][0].as_py()
    groups = _token_groups(table, labels, kept, variant.tokens)
    rows, status = [], []
    for flat, normalizers in zip(table["kept_logits"].to_pylist(), table["log_normalizers"].to_pylist(), strict=True):
        logits = np.array(flat, dtype=np.float64).reshape(len(normalizers), len(kept))
        normalizer = np.array(normalizers, dtype=np.float64)
        if variant.positions == "answer":
            logits, normalizer = logits[:1], normalizer[:1]
        values = logits - normalizer[:, None] if variant.values == "probability" else logits
        if variant.values == "probability":
            values = np.exp(values)
        per_label = np.stack([_pool(values, group, variant.values) for group in groups], axis=1)  # [positions, labels]
        if variant.values == "label_softmax":
            per_label = softmax(per_label, axis=1)
        mean = per_label.mean(axis=0)
        if variant.shares == "softmax":
            rows.append(log_softmax(mean))
        elif (mean > 0).all():
            rows.append(np.log(mean / mean.sum()))
        else:
            rows.append(np.full(len(labels), np.nan))
        status.append("undefined" if np.isnan(rows[-1]).any() else "ok")
    return Distributions(np.array(rows), tuple(status))


def _token_groups(table: pa.Table, labels: Sequence[str], kept: list[int], tokens: str) -> list[list[list[int]]]:
    """Per label, per surface form, the columns of its tokens."""
    column = {token: i for i, token in enumerate(kept)}
    groups: list[list[list[int]]] = [[] for _ in labels]
    columns_of = ("form_labels", "form_tokens", "form_own_tokens")
    for label, form, own in zip(*(table[name][0].as_py() for name in columns_of), strict=True):
        ids = form[:own] if tokens == "all" else form[:1]
        groups[labels.index(label)].append([column[token] for token in ids])
    owners: dict[tuple[int, ...], str] = {}
    for label, forms in zip(labels, groups, strict=True):
        for columns in forms:
            if owners.setdefault(tuple(columns), label) != label:
                raise InputError(
                    f"labels {owners[tuple(columns)]!r} and {label!r} share their first token, which cannot tell them "
                    "apart",
                    field="variants.averaged_logits.*.tokens",
                    remedy="Use tokens: all, or other surface forms.",
                )
    return groups


def _pool(values: np.ndarray, forms: list[list[int]], kind: str) -> np.ndarray:
    """One value per position for a label: mean over a form's tokens; over forms probabilities add, logits average."""
    per_form = np.stack([values[:, columns].mean(axis=1) for columns in forms], axis=1)
    return per_form.sum(axis=1) if kind == "probability" else per_form.mean(axis=1)


def known_words(labels: LabelSet) -> list[tuple[str, str]]:
    """``(label, word)``: what a label may be called in an answer, whatever the prompt asked for.

    Surface forms of all kinds, and aliases. Left out are single letters, which options of a prompt may be called, and
    words that stand for two labels.
    """
    pairs = [(label, word) for label, kinds in labels.forms.items() for words in kinds.values() for word in words]
    pairs += [(label, alias) for alias, label in labels.aliases.items()]
    owners: dict[str, set[str]] = {}
    for label, word in pairs:
        owners.setdefault(word.lower(), set()).add(label)
    return [
        (label, word)
        for label, word in dict.fromkeys(pairs)
        if len(owners[word.lower()]) == 1 and not (len(word) == 1 and word.isascii())
    ]


TOO_FEW_PARSED = "too_few_parsed"
MIN_PARSED = 0.5


def written_text(
    table: pa.Table, labels: Sequence[str], words: Sequence[tuple[str, str]] = (), column: str = "generated_text"
) -> Distributions:
    """The distributions that the answers state, with their parse status; a failure has no distribution.

    Args:
        table: Rows of one cell of `generated_text` or `constrained_text`.
        labels: Labels in order.
        words: ``(label, word)`` pairs known beside the rows' own surface forms, which win over them (`known_words`).
        column: Where the answers stand: ``generated_text``; ``free_text``; or ``constrained``, which is the
            ``generated_text`` of `constrained_text`: a filled dictionary whatever the prompt asks for.
    """
    if column == "constrained":
        texts, ended, form = "generated_text", "finished", "probability_dict"
    else:
        texts, ended, form = column, "free_finished" if column == "free_text" else "finished", None
    answers = [[(text, done)] for text, done in zip(table[texts].to_pylist(), table[ended].to_pylist(), strict=True)]
    parsed = [one for (one,) in _parse_rows(table, labels, words, answers, form)]
    shares = [answer.shares or (np.nan,) * len(labels) for answer in parsed]
    masses = np.array([np.nan if answer.label_mass is None else answer.label_mass for answer in parsed])
    return Distributions(_log(shares), tuple(answer.status for answer in parsed), masses)


def sampled_text(
    table: pa.Table, labels: Sequence[str], words: Sequence[tuple[str, str]] = (), min_parsed: float = MIN_PARSED
) -> Distributions:
    """Mean of the distributions that the drawn answers of a row state, over those that state one.

    The status is ``ok`` where all answers state one and ``partial`` where at least the share ``min_parsed`` does.
    Below it there is no distribution: ``too_few_parsed``, or where no answer states one the commonest failure, the
    first in `emoprobe.prompts.answers.STATUSES` of equally common ones. The label mass is the mean over answers that
    state one.

    Args:
        table: Rows of one cell of `sampled_text`.
        labels: Labels in order.
        words: As in `written_text`.
        min_parsed: Least share of a row's answers that state a distribution.
    """
    answers = [
        list(zip(texts, ended, strict=True))
        for texts, ended in zip(table["sampled_texts"].to_pylist(), table["sampled_finished"].to_pylist(), strict=True)
    ]
    shares, status, masses, parts = [], [], [], []
    for parsed in _parse_rows(table, labels, words, answers):
        stated = [answer for answer in parsed if answer.shares is not None]
        parts.append(len(stated) / len(parsed))
        masses.append(np.mean([answer.label_mass for answer in stated]) if stated else np.nan)
        enough = stated and parts[-1] >= min_parsed
        shares.append(np.mean([answer.shares for answer in stated], axis=0) if enough else (np.nan,) * len(labels))
        if enough:
            status.append("ok" if len(stated) == len(parsed) else "partial")
        elif stated:
            status.append(TOO_FEW_PARSED)
        else:
            failures = Counter(answer.status for answer in parsed)
            status.append(max(STATUSES, key=failures.__getitem__))
    return Distributions(_log(shares), tuple(status), np.array(masses), np.array(parts))


def _parse_rows(
    table: pa.Table,
    labels: Sequence[str],
    words: Sequence[tuple[str, str]],
    answers: Sequence[Sequence[tuple[str, bool | None]]],
    form: str | None = None,
) -> list[list[ParsedAnswer]]:
    """Every answer of every row, ``(text, whether it ended)``, parsed; equal answers are parsed once.

    An answer of which nobody knows whether it ended did not. A filled dictionary (``form`` is given) does not continue
    the reasoning before it.
    """
    # Of two labels that claim a word the parser takes the later.
    words = [*words, *zip(table["form_labels"][0].as_py(), table["forms"][0].as_py(), strict=True)]
    columns = ("answer_format", "reasoning", "reasoning_finished")

    @cache
    def parse(text: str, ended: bool, asked: str, reasoned: bool) -> ParsedAnswer:
        # After reasoning the cue of the answer was written for the model: it stands before the text, not in it.
        cue = "Answer: " if reasoned else ""
        return parse_answer(cue + text, labels, words, answer_format=form or asked, finished=ended)

    rows = []
    for row, asked, reasoning, whole in zip(answers, *(table[name].to_pylist() for name in columns), strict=True):
        if reasoning is not None and not whole:
            rows.append([ParsedAnswer("reasoning_cut")] * len(row))
        else:
            reasoned = reasoning is not None and form is None
            rows.append([parse(text, bool(ended), asked, reasoned) for text, ended in row])
    return rows


def _log(shares: Sequence[Sequence[float]]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(shares, dtype=np.float64))


def ensemble(members: Sequence[Distributions], kind: str) -> Distributions:
    """Combine the distributions that several prompts gave for the same utterances, in the same order.

    Args:
        members: One per prompt.
        kind: ``arithmetic``: mean of probabilities; ``geometric``: renormalised mean of log-probabilities.

    A row is left without a distribution (``undefined``) unless every member has one.
    """
    logs = np.stack([member.log_probs for member in members])
    if kind == "arithmetic":
        combined = logsumexp(logs, axis=0) - np.log(len(members))
    elif kind == "geometric":
        mean = logs.mean(axis=0)
        # Labels that some member excludes everywhere leave nothing to renormalise.
        combined = np.where(np.isfinite(mean).any(axis=1, keepdims=True), mean, np.nan)
        combined = combined - logsumexp(combined, axis=1, keepdims=True)
    else:
        raise InputError(f"unknown ensemble {kind!r}", field="ensembles", remedy="Use arithmetic or geometric.")
    status = tuple("undefined" if np.isnan(row).any() else "ok" for row in combined)
    return Distributions(combined, status)
