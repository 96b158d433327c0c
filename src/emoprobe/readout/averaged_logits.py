"""Raw logits of the label tokens over the greedy answer, and where each label is forced as the answer.

How they become distributions: `emoprobe.readout.logit_readings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator

from emoprobe.beliefs.reading import Reading
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.options import At, Count, Distinct, OneOf, Words, options
from emoprobe.readout.base import READOUTS, AnswerReadout
from emoprobe.readout.logit_readings import (
    AVERAGED_LOGITS,
    ENDS,
    FORCED,
    FORCED_NORMALIZERS,
    KEPT,
    LOGITS,
    NORMALIZERS,
    SPELLED,
    SPELLED_LOGITS,
    averaged_logits,
)
from emoprobe.readout.scoring.asking import Asking, kept_tokens
from emoprobe.readout.written import ANSWER, answer_columns, known_words
from emoprobe.run.lists import by_row, joined, lengths, unlike_the_first
from emoprobe.run.scores import UNLIKE, Contradiction

if TYPE_CHECKING:
    from torch import Tensor

    from emoprobe.models.answering import AnsweringModel, Generation
    from emoprobe.readout.scoring.plan import PromptPlan


@options("analysis.averaged_logits")
class AveragedLogitsOptions:
    """What is derived of stored logits.

    Args:
        variants: Some of the names of `AVERAGED_LOGITS`, or ``all``. Among all of them a reading of first tokens that
            labels share is undefined, so that models can be compared; alone it is refused.
    """

    variants: Annotated[
        Distinct[Annotated[str, OneOf(AVERAGED_LOGITS)]],
        BeforeValidator(lambda given: tuple(AVERAGED_LOGITS) if given == "all" else given),
        Words(f"a list of some of {', '.join(AVERAGED_LOGITS)}, or all"),
        At("analysis.averaged_logits"),
    ] = ("raw_logit_ratio", "softmax_of_mean", "mean_of_softmax")


@READOUTS.register("averaged_logits")
@options("readout.averaged_logits")
class AveragedLogits(AnswerReadout):
    """Raw logits of the label tokens at every position of the greedy answer, and of each label forced as the answer.

    Args:
        max_new_tokens: Positions that are averaged at most. No other readout's answer is cut by it.
    """

    max_new_tokens: Count | None = 16
    name = "averaged_logits"
    columns = (KEPT, LOGITS, NORMALIZERS, *ANSWER, FORCED, FORCED_NORMALIZERS, SPELLED, SPELLED_LOGITS, ENDS)
    place = 3
    needs = "raw logits"
    analysis = AveragedLogitsOptions

    def ask(self, asking: Asking) -> list[list[dict[str, Any]]]:
        """Kept token ids and, position by position, their raw logits and the vocabulary's log normalizer.

        What is forced comes of the same pass as the label likelihood.
        """
        ends = cache(partial(_ends, asking.sfm))

        def columns(plan: PromptPlan, answer: Generation, forms: Sequence[Tensor]) -> dict[str, Any]:
            kept = kept_tokens(plan)
            return {
                KEPT.name: list(kept),
                LOGITS.name: answer.kept_logits[:, : len(kept)].flatten().tolist(),
                NORMALIZERS.name: answer.log_normalizer.tolist(),
                **answer_columns(answer),
                FORCED.name: [one[0].tolist() for one in forms],
                FORCED_NORMALIZERS.name: [one[1].tolist() for one in forms],
                SPELLED.name: [list(tokens) for tokens in plan.spelled],
                SPELLED_LOGITS.name: answer.kept_logits[:, len(kept) :].flatten().tolist(),
                ENDS.name: ends(answer.tokens),
            }

        asked = zip(asking.plans, asking.answers(self.limit), asking.form_logits, strict=True)
        return [[columns(plan, *told) for told in zip(answers, forced, strict=True)] for plan, answers, forced in asked]

    @classmethod
    def read(cls, rows: pa.Table, labels: LabelSet, options: AveragedLogitsOptions) -> list[Reading]:
        """One reading per variant; surface forms have no scores of their own."""
        for name in options.variants:
            _check_stored(rows, name)
        everything = set(options.variants) == set(AVERAGED_LOGITS)
        derive = partial(averaged_logits, labels=labels.labels, words=known_words(labels), lenient=everything)
        return [Reading(name, partial(derive, variant=AVERAGED_LOGITS[name])) for name in options.variants]

    @classmethod
    def contradictions(cls, rows: pa.Table) -> Iterator[Contradiction]:
        """The same tokens in all rows, one logit per position and token, none above its log normalizer."""
        yield Contradiction(unlike_the_first(rows[KEPT.name]), KEPT.name, UNLIKE)
        size, positions, kept = (lengths(rows[each.name]) for each in (LOGITS, NORMALIZERS, KEPT))
        if not (size.any() or positions.any()):
            return
        yield Contradiction(size != positions * kept, LOGITS.name, "has not one value per position and token")
        logits, normalizers = joined(rows[LOGITS.name]), joined(rows[NORMALIZERS.name])
        above = ~(logits <= np.repeat(normalizers, np.repeat(kept, positions)) + 1e-3)
        wrong = by_row(above, size, np.maximum) > 0
        yield Contradiction(wrong, LOGITS.name, "is above its log_normalizer")
        yield from _later_contradictions(rows)


def _ends(sfm: AnsweringModel, tokens: tuple[int, ...]) -> list[int]:
    """Characters of an answer's text up to the end of each of its tokens."""
    return [len(sfm.decode(tokens[: i + 1])) for i in range(len(tokens))]


def _check_stored(rows: pa.Table, reading: str) -> None:
    """Refuse a reading of what an earlier version did not store.

    Raises:
        InputError: A column that it needs is missing or has gaps.
    """
    lacking = [name for name in AVERAGED_LOGITS[reading].columns if not _holds(rows, name)]
    if lacking:
        others = [
            name for name, variant in AVERAGED_LOGITS.items() if all(_holds(rows, column) for column in variant.columns)
        ]
        raise InputError(
            f"the score table holds no {lacking[0]}, which {reading} is read from: an earlier version wrote it",
            field="analysis.averaged_logits",
            remedy=f"Run the probe again into a new folder, or use analysis.averaged_logits=[{','.join(others)}].",
        )


def _holds(rows: pa.Table, column: str) -> bool:
    return column in rows.column_names and not rows[column].null_count


def _later_contradictions(rows: pa.Table) -> Iterator[Contradiction]:
    """Of every surface form one logit and one log normalizer per token, and one logit per position and spelling."""
    forms = lengths(rows[FORCED.name])
    if not forms.any():
        return
    tokens = lengths(pc.list_flatten(rows["form_tokens"]))
    for name in (FORCED.name, FORCED_NORMALIZERS.name):
        yield Contradiction(lengths(rows[name]) != lengths(rows["form_tokens"]), name, "has not one list for each form")
        unlike = lengths(pc.list_flatten(rows[name])) != tokens
        yield Contradiction(
            by_row(unlike, forms, np.maximum) > 0, name, "has not one value for each of a form's tokens"
        )
    logits, normalizers = (joined(pc.list_flatten(rows[name.name])) for name in (FORCED, FORCED_NORMALIZERS))
    above = by_row(~(logits <= normalizers + 1e-3), tokens, np.maximum)
    yield Contradiction(by_row(above, forms, np.maximum) > 0, FORCED.name, "is above its forced_log_normalizer")
    if lengths(rows[SPELLED.name]).any():
        size = lengths(rows[SPELLED_LOGITS.name])
        wrong = size != lengths(rows[NORMALIZERS.name]) * lengths(rows[SPELLED.name]) * forms
        yield Contradiction(wrong, SPELLED_LOGITS.name, "has not one value per position, spelling and form")
        wrong = lengths(rows[ENDS.name]) != lengths(rows["generated_tokens"])
        yield Contradiction(wrong, ENDS.name, "has not one place per generated token")
