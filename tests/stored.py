"""Rows of the score table made by hand, for tests of readouts."""

from __future__ import annotations

import pyarrow as pa


def likelihood_table(tokens, form_tokens=((1, 9), (2, 9), (2, 3, 9)), labels=("angry", "sad", "sad")):
    """One row per list of per-form token log-probabilities."""
    return pa.table(
        {
            "form_labels": [list(labels)] * len(tokens),
            "forms": [["angry", "sad", "sadness"][: len(labels)]] * len(tokens),
            "form_tokens": [[list(form) for form in form_tokens]] * len(tokens),
            "form_token_logprobs": [[list(form) for form in row] for row in tokens],
            "form_logprobs": [[float(sum(form)) for form in row] for row in tokens],
        }
    )


def text_table(texts, forms=("angry", "sad"), column="generated_text", **columns):
    """Rows of a text readout; every answer ended and names one label, unless told otherwise."""
    ended = [[True] * len(text) if isinstance(text, list) else True for text in texts]
    of = {"generated_text": "finished", "free_text": "free_finished", "sampled_texts": "sampled_finished"}[column]
    nobody = [None] * len(texts)
    return pa.table(
        {
            "form_labels": [["angry", "sad"]] * len(texts),
            "forms": [list(forms)] * len(texts),
            "answer_format": columns.pop("answer_format", ["single_word"] * len(texts)),
            "reasoning": pa.array(columns.pop("reasoning", nobody), pa.string()),
            "reasoning_finished": pa.array(columns.pop("reasoning_finished", nobody), pa.bool_()),
            of: columns.pop("finished", ended),
            column: texts,
        }
    )
