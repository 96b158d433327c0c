"""Readouts: from an encoded clip and a tokenised prompt to the raw scores of the score table."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models.base import AudioContext, Generation, SpeechFoundationModel
from emoprobe.readout.plan import PromptPlan


@dataclass(frozen=True)
class Asked:
    """What the model said to one prompt about one clip; parts that no readout needs are None."""

    plan: PromptPlan
    token_logprobs: list[Tensor] | None
    generation: Generation | None


@dataclass(frozen=True)
class Readout(ABC):
    """One way to read raw scores; what is normalised or parsed later is none of its business.

    Attributes:
        name: Name in every table.
        needs_scores: Whether label continuations must be scored.
        max_new_tokens: Length of the generated answer it needs; 0 for none.
    """

    name = ""
    needs_scores = False
    max_new_tokens = 0

    @abstractmethod
    def fields(self, asked: Asked) -> dict:
        """The readout's own columns of the score table for one clip and prompt."""

    @property
    def options(self) -> str:
        """The readout's options as JSON, for the record."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class LabelLikelihood(Readout):
    """log P(surface form, end | audio, prompt), summed over the form's tokens, in nats.

    Every form is scored to its end token, so a form whose tokens begin another's ("sad", "sadness") is not credited
    for it, and the label mass is the probability that the whole answer is one of the forms.
    """

    name = "label_likelihood"
    needs_scores = True

    def fields(self, asked: Asked) -> dict:
        """Log-probabilities token by token, their sums, and the log of the label mass."""
        tokens = [values.tolist() for values in asked.token_logprobs]
        sums = torch.stack([values.double().sum() for values in asked.token_logprobs])
        return {
            "form_token_logprobs": tokens,
            "form_logprobs": sums.tolist(),
            "log_label_mass": sums.logsumexp(0).item(),
        }


@dataclass(frozen=True)
class AveragedLogits(Readout):
    """Raw logits of the label tokens at every position of the greedy answer (arXiv 2505.18484).

    Which positions, which tokens, what is averaged and how shares are formed are variants computed later from the
    stored logits: `emoprobe.distributions.AVERAGED_LOGITS`.

    Args:
        max_new_tokens: Longest answer, tokens.
    """

    max_new_tokens: int = 16
    name = "averaged_logits"

    def fields(self, asked: Asked) -> dict:
        """Kept token ids and, position by position, their raw logits and the vocabulary's log normalizer."""
        return {
            "kept_tokens": list(kept_tokens(asked.plan)),
            "kept_logits": asked.generation.kept_logits.flatten().tolist(),
            "log_normalizers": asked.generation.log_normalizer.tolist(),
            **_answer(asked.generation),
        }


@dataclass(frozen=True)
class GeneratedText(Readout):
    """The greedy answer as text; it is parsed later (`emoprobe.readout.parse`), never turned into a label here.

    Args:
        max_new_tokens: Longest answer, tokens.
    """

    max_new_tokens: int = 32
    name = "generated_text"

    def fields(self, asked: Asked) -> dict:
        """Text and tokens of the answer, cut at this readout's own limit."""
        return _answer(asked.generation)


READOUTS: dict[str, type[Readout]] = {cls.name: cls for cls in (LabelLikelihood, AveragedLogits, GeneratedText)}


def make_readouts(config: Mapping[str, Mapping]) -> list[Readout]:
    """Readouts from the composed ``readout`` config: name -> options.

    Raises:
        InputError: A readout or an option is unknown.
    """
    readouts = []
    for name, options in config.items():
        if name not in READOUTS:
            raise InputError(f"unknown readout {name!r}", field="readout", remedy=f"There are {sorted(READOUTS)}.")
        try:
            readout = READOUTS[name](**(options or {}))
        except TypeError as error:
            raise InputError(f"readout {name!r} is malformed: {error}", field=f"readout.{name}") from error
        if not readout.needs_scores and readout.max_new_tokens < 1:
            raise InputError("the longest answer must have at least one token", field=f"readout.{name}.max_new_tokens")
        readouts.append(readout)
    if not readouts:
        raise InputError("no readout was chosen", field="readout", remedy=f"There are {sorted(READOUTS)}.")
    return readouts


def kept_tokens(plan: PromptPlan) -> tuple[int, ...]:
    """The distinct tokens of all surface forms without their end, in the order they first occur."""
    return tuple(dict.fromkeys(token for tokens in plan.question.continuations for token in tokens[:-1]))


def read(
    sfm: SpeechFoundationModel, context: AudioContext, plans: Sequence[PromptPlan], readouts: Sequence[Readout]
) -> list[list[dict]]:
    """Ask every prompt of every clip of a batch, one pass over the sound.

    Returns:
        Per clip the rows of the score table, without the columns that say which clip it was.

    Raises:
        EmoprobeError: A score is not finite.
    """
    questions = [plan.question for plan in plans]
    scores = sfm.score(context, questions) if any(readout.needs_scores for readout in readouts) else None
    longest = max(readout.max_new_tokens for readout in readouts)
    keep = [kept_tokens(plan) for plan in plans]
    generated = sfm.generate(context, questions, max_new_tokens=longest, keep=keep) if longest else None
    rows: list[list[dict]] = []
    for clip in range(context.size):
        rows.append([])
        for i, plan in enumerate(plans):
            for readout in readouts:
                logprobs = [values[clip] for values in scores[i]] if readout.needs_scores else None
                answer = _shorten(sfm, generated[i][clip], readout.max_new_tokens) if readout.max_new_tokens else None
                row = {
                    "model": sfm.name,
                    "model_revision": sfm.revision,
                    "dtype": sfm.dtype,
                    "prompt": plan.prompt.name,
                    "prompt_hash": plan.prompt.hash,
                    "label_set_hash": plan.label_set_hash,
                    "readout": readout.name,
                    "readout_options": readout.options,
                    "form_labels": list(plan.labels),
                    "forms": list(plan.forms),
                    "form_tokens": [list(tokens) for tokens in plan.question.continuations],
                    **readout.fields(Asked(plan, logprobs, answer)),
                }
                _check_finite(row)
                rows[-1].append(row)
    return rows


def _shorten(sfm: SpeechFoundationModel, answer: Generation, limit: int) -> Generation:
    """A greedy answer under a lower limit is the beginning of the longer one."""
    positions = min(limit, len(answer.log_normalizer))
    tokens = answer.tokens[:limit]
    return Generation(
        tokens,
        answer.text if len(tokens) == len(answer.tokens) else sfm.decode(tokens),
        answer.finished and len(answer.tokens) < limit,
        answer.kept_logits[:positions],
        answer.log_normalizer[:positions],
    )


def _answer(generation: Generation) -> dict:
    return {
        "generated_text": generation.text,
        "generated_tokens": list(generation.tokens),
        "finished": generation.finished,
    }


def _check_finite(row: Mapping) -> None:
    values = [*row.get("form_logprobs", ()), *row.get("kept_logits", ()), *row.get("log_normalizers", ())]
    if not torch.tensor(values).isfinite().all():
        raise EmoprobeError(
            f"{row['model']} gave a score that is not a finite number for prompt {row['prompt']!r} in {row['dtype']}. "
            "Use model.dtype=float32."
        )
