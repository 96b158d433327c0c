"""Several drawn answers as text: parsed with a status, and averaged if enough of them state a distribution."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from emoprobe.beliefs.distributions import Distributions
from emoprobe.beliefs.reading import Reading
from emoprobe.labels import LabelSet
from emoprobe.options import Count, Positive, Seed, Share, options
from emoprobe.prompts.answers import STATUSES
from emoprobe.readout.base import READOUTS, AnswerReadout
from emoprobe.readout.scoring.asking import Asking
from emoprobe.readout.written import known_words, log_shares, parse_rows

if TYPE_CHECKING:
    from emoprobe.prompts.prompt import Prompt
    from emoprobe.readout.scoring.plan import PromptPlan

TEXTS = pa.field("sampled_texts", pa.list_(pa.string()))
FINISHED = pa.field("sampled_finished", pa.list_(pa.bool_()))
TOO_FEW_PARSED = "too_few_parsed"
MIN_PARSED = 0.5


@options("analysis.sampled_text")
class SampledTextOptions:
    """What is derived of stored draws.

    Args:
        min_parsed: Least share of the drawn answers about a clip that must state a distribution; else the clip fails.
    """

    min_parsed: Share = MIN_PARSED


@READOUTS.register("sampled_text")
@options("readout.sampled_text")
class SampledText(AnswerReadout):
    """Several drawn answers as text.

    Every draw has its own seed, made of the run's seed, the sound, the question and the number of the draw, so that it
    depends neither on the batch nor on the order.

    Args:
        samples: Answers per clip and prompt.
        temperature: Divides the logits.
        seed: Of the draws.
    """

    samples: Count = 10
    temperature: Positive = 1.0
    seed: Seed = 0
    name = "sampled_text"
    channel = "text"
    columns = (TEXTS, FINISHED)
    place = 5
    plain = "mean"
    analysis = SampledTextOptions
    greedy = False

    def ask(self, asking: Asking) -> list[list[dict[str, Any]]]:
        """All drawn texts, and which of them ended."""
        from emoprobe.models.answering import Sampling

        plans, count = asking.plans, self.samples
        each = [plan for plan in plans for _ in range(count)]
        seeds = [[self.seed_of(s, plan, draw) for s in asking.sounds] for plan in plans for draw in range(count)]
        drawn = asking.sfm.generate(
            asking.context,
            [plan.free for plan in each],
            max_new_tokens=[self.limit(plan.prompt) for plan in each],
            sampling=Sampling(self.temperature, seeds),
        )
        return [
            [
                {TEXTS.name: [one.text for one in clip], FINISHED.name: [one.finished for one in clip]}
                for clip in zip(*drawn[i * count : (i + 1) * count], strict=True)
            ]
            for i in range(len(plans))
        ]

    def drawn(self, prompt: Prompt) -> int:
        """Tokens of all draws, at most."""
        return self.samples * self.limit(prompt)

    def seed_of(self, sound: str, plan: PromptPlan, draw: int) -> int:
        """Seed of one draw."""
        text = f"{self.seed}/{sound}/{plan.question_hash}/{draw}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    @classmethod
    def read(cls, rows: pa.Table, labels: LabelSet, options: SampledTextOptions) -> list[Reading]:
        """One reading, the ``mean`` over draws."""
        words = known_words(labels)
        derive = partial(
            sampled_text,
            labels=labels.labels,
            words=words,
            min_parsed=options.min_parsed,
            dimension=labels.dimension,
        )
        return [Reading(cls.plain, derive, texts=_joined, stated=True)]


def _joined(rows: pa.Table) -> list[str]:
    return [" | ".join(drawn) for drawn in rows[TEXTS.name].to_pylist()]


def sampled_text(
    table: pa.Table,
    labels: Sequence[str],
    words: Sequence[tuple[str, str]] = (),
    min_parsed: float = MIN_PARSED,
    dimension: str | None = None,
) -> Distributions:
    """Mean of the distributions that the drawn answers of a row state, over those that state one.

    The status is ``ok`` where all answers state one and ``partial`` where at least the share ``min_parsed`` does.
    Below it there is no distribution: ``too_few_parsed``, or where no answer states one the commonest failure, the
    first in `emoprobe.prompts.answers.STATUSES` of equally common ones. The label mass is the mean over answers that
    state one.

    Args:
        table: Rows of one model and prompt.
        labels: Labels in order.
        words: As in `emoprobe.readout.written.written_text`.
        min_parsed: Least share of a row's answers that state a distribution.
        dimension: As in `emoprobe.readout.written.written_text`.
    """
    answers = [
        list(zip(texts, ended, strict=True))
        for texts, ended in zip(table["sampled_texts"].to_pylist(), table["sampled_finished"].to_pylist(), strict=True)
    ]
    shares, status, masses, parts = [], [], [], []
    for parsed in parse_rows(table, labels, words, answers, dimension=dimension):
        stated = [(answer.shares, answer.label_mass) for answer in parsed if answer.shares is not None]
        parts.append(len(stated) / len(parsed))
        masses.append(np.mean([mass for _, mass in stated]) if stated else np.nan)
        enough = stated and parts[-1] >= min_parsed
        shares.append(np.mean([own for own, _ in stated], axis=0) if enough else (np.nan,) * len(labels))
        if enough:
            status.append("ok" if len(stated) == len(parsed) else "partial")
        elif stated:
            status.append(TOO_FEW_PARSED)
        else:
            failures = Counter(answer.status for answer in parsed)
            status.append(max(STATUSES, key=failures.__getitem__))
    return Distributions(log_shares(shares), tuple(status), np.array(masses), np.array(parts))
