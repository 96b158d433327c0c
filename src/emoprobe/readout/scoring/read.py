"""Readouts: from an encoded clip and a tokenised prompt to the raw scores of the score table."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models.base import AudioContext, Generation, Question, Sampling, SpeechFoundationModel
from emoprobe.prompts.answers import FORMATS
from emoprobe.prompts.prompt import Prompt
from emoprobe.readout.scoring.plan import PromptPlan

SHARES = tuple(f"{i / 20:.2f}" for i in range(21))  # what a constrained dictionary may say of a label


@dataclass(frozen=True)
class Asked:
    """What the model said to one prompt about one clip; parts that no readout needs are None."""

    plan: PromptPlan
    token_logprobs: list[Tensor] | None = None
    layer_logprobs: list[Tensor] | None = None
    generation: Generation | None = None
    samples: Sequence[Generation] = ()
    constrained: str | None = None


@dataclass(frozen=True)
class Readout(ABC):
    """One way to read raw scores; what is normalised or parsed later is none of its business.

    Attributes:
        name: Name in every table.
        needs: What must be asked of the model: ``scores``, ``layers``, ``answer``, ``samples``, ``constrained``.
        max_new_tokens: Longest answer, tokens, its end included; None for that of the prompt's answer format.
    """

    name = ""
    needs = frozenset()
    max_new_tokens = None

    @abstractmethod
    def fields(self, asked: Asked) -> dict:
        """The readout's own columns of the score table for one clip and prompt."""

    def limit(self, prompt: Prompt) -> int:
        """Longest answer to a prompt, tokens, its end included."""
        if self.max_new_tokens is None:
            return FORMATS[prompt.answer_format].max_new_tokens
        return self.max_new_tokens

    def options(self, prompt: Prompt) -> str:
        """The options that a prompt is read with as JSON, for the record, with the limit that holds for it."""
        options = asdict(self)
        if "max_new_tokens" in options:
            options["max_new_tokens"] = self.limit(prompt)
        return json.dumps(options, sort_keys=True)


@dataclass(frozen=True)
class LabelLikelihood(Readout):
    """log P(surface form, end | audio, prompt), summed over the form's tokens, in nats.

    Every form is scored to its end token, so a form whose tokens begin another's ("sad", "sadness") is not credited
    for it, and the label mass is the probability that the whole answer is one of the forms.
    """

    name = "label_likelihood"
    needs = frozenset({"scores"})

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
class Layerwise(Readout):
    """The label likelihood at every decoder layer through the final norm and the vocabulary matrix (logit lens).

    Layer 0 is the embeddings, the last layer is `LabelLikelihood`.
    """

    name = "layerwise"
    needs = frozenset({"layers"})

    def fields(self, asked: Asked) -> dict:
        """Sums over each form's tokens, layers x forms."""
        sums = torch.stack([values.double().sum(-1) for values in asked.layer_logprobs], dim=-1)
        return {"layer_form_logprobs": sums.flatten().tolist()}


@dataclass(frozen=True)
class AveragedLogits(Readout):
    """Raw logits of the label tokens at every position of the greedy answer (arXiv 2505.18484).

    Which positions, which tokens, what is averaged and how shares are formed are variants computed later from the
    stored logits: `emoprobe.beliefs.distributions.AVERAGED_LOGITS`.

    Args:
        max_new_tokens: Positions that are averaged at most. No other readout's answer is cut by it.
    """

    max_new_tokens: int = 16
    name = "averaged_logits"
    needs = frozenset({"answer"})

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
    """The greedy answer as text; it is parsed later (`emoprobe.prompts.answers`), never turned into a label here.

    Args:
        max_new_tokens: Longest answer, tokens, its end included; None for that of the prompt's answer format.
    """

    max_new_tokens: int | None = None
    name = "generated_text"
    needs = frozenset({"answer"})

    def fields(self, asked: Asked) -> dict:
        """Text and tokens of the answer, cut at this readout's own limit."""
        return _answer(asked.generation)


@dataclass(frozen=True)
class SampledText(Readout):
    """Several drawn answers as text; their parsed distributions are averaged later.

    Every draw has its own seed, made of the run's seed, the sound, the question and the number of the draw, so that it
    depends neither on the batch nor on the order.

    Args:
        max_new_tokens: As of `GeneratedText`.
        samples: Answers per clip and prompt.
        temperature: Divides the logits.
        seed: Of the draws.
    """

    max_new_tokens: int | None = None
    samples: int = 10
    temperature: float = 1.0
    seed: int = 0
    name = "sampled_text"
    needs = frozenset({"samples"})

    def __post_init__(self) -> None:
        if self.samples < 1 or self.temperature <= 0:
            raise InputError(
                "samples and temperature must be positive",
                field=f"readout.{self.name}",
                remedy="For the likeliest answer use readout=generated_text.",
            )

    def fields(self, asked: Asked) -> dict:
        """All drawn texts, and which of them ended."""
        return {
            "sampled_texts": [generation.text for generation in asked.samples],
            "sampled_finished": [generation.finished for generation in asked.samples],
        }

    def seed_of(self, sound: str, plan: PromptPlan, draw: int) -> int:
        """Seed of one draw."""
        text = f"{self.seed}/{sound}/{plan.question_hash}/{draw}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class ConstrainedText(Readout):
    """A dictionary of probabilities that the model fills in, label by label, in steps of .05; always well formed.

    The keys are given and each number is the likeliest of 21 after what stands before it, so the text always parses.
    What the model writes of its own is stored beside it: how often that parses is still reported.

    Args:
        max_new_tokens: Of its own answer, as of `GeneratedText`.
    """

    max_new_tokens: int | None = None
    name = "constrained_text"
    needs = frozenset({"answer", "constrained"})

    def fields(self, asked: Asked) -> dict:
        """The constrained text, and the model's own."""
        return {
            "generated_text": asked.constrained,
            "finished": True,
            "free_text": asked.generation.text,
            "free_finished": asked.generation.finished,
        }


READOUTS: dict[str, type[Readout]] = {
    cls.name: cls for cls in (LabelLikelihood, AveragedLogits, GeneratedText, SampledText, ConstrainedText, Layerwise)
}


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
        limit = readout.max_new_tokens
        if limit is not None and (type(limit) is not int or limit < 1):
            raise InputError(
                f"{limit!r} is no number of tokens; the longest answer must have at least one token",
                field=f"readout.{name}.max_new_tokens",
                remedy="Leave it out for the limit of the prompt's answer format.",
            )
        readouts.append(readout)
    if not readouts:
        raise InputError("no readout was chosen", field="readout", remedy=f"There are {sorted(READOUTS)}.")
    return readouts


def kept_tokens(plan: PromptPlan) -> tuple[int, ...]:
    """The distinct tokens of all surface forms themselves, in the order they first occur."""
    pairs = zip(plan.question.continuations, plan.own_tokens, strict=True)
    return tuple(dict.fromkeys(token for tokens, count in pairs for token in tokens[:count]))


def read(
    sfm: SpeechFoundationModel,
    context: AudioContext,
    plans: Sequence[PromptPlan],
    readouts: Sequence[Readout],
    sounds: Sequence[str],
) -> list[list[dict]]:
    """Ask every prompt of every clip of a batch, one pass over the sound.

    Args:
        sfm: The model.
        context: The encoded clips.
        plans: What is asked of all of them.
        readouts: What is read.
        sounds: A name of each clip's sound, for the seeds of draws.

    Returns:
        Per clip the rows of the score table, without the columns that say which clip it was.

    Raises:
        EmoprobeError: A score is not finite.
    """
    rows: list[list[dict]] = [[] for _ in range(context.size)]
    direct = [i for i, plan in enumerate(plans) if not plan.prompt.reasoning_tokens]
    asked: list[list[Asked]] = [[None] * len(plans) for _ in range(context.size)]
    reasoning: list[list[dict]] = [[{}] * len(plans) for _ in range(context.size)]
    for i, answers in zip(direct, _ask(sfm, context, [plans[i] for i in direct], readouts, sounds), strict=True):
        for clip, answer in enumerate(answers):
            asked[clip][i] = answer
    for i, plan in enumerate(plans):
        if plan.prompt.reasoning_tokens:
            for clip, (written, after) in enumerate(_reason(sfm, context, plan)):
                one = sfm.select(context, clip)
                asked[clip][i] = _ask(sfm, one, [after], readouts, sounds[clip : clip + 1])[0][0]
                reasoning[clip][i] = written
    for clip in range(context.size):
        for i, plan in enumerate(plans):
            for readout in readouts:
                row = {
                    "model": sfm.name,
                    "model_revision": sfm.revision,
                    "dtype": sfm.dtype,
                    "prompt": plan.prompt.name,
                    "prompt_hash": plan.prompt.hash,
                    "question_hash": plan.question_hash,
                    "label_set_hash": plan.label_set_hash,
                    "readout": readout.name,
                    "readout_options": readout.options(plan.prompt),
                    "answer_format": plan.prompt.answer_format,
                    **reasoning[clip][i],
                    "form_labels": list(plan.labels),
                    "forms": list(plan.forms),
                    "form_tokens": [list(tokens) for tokens in plan.question.continuations],
                    "form_own_tokens": list(plan.own_tokens),
                    **readout.fields(_shorten(sfm, asked[clip][i], readout.limit(plan.prompt))),
                }
                _check_finite(row)
                rows[clip].append(row)
    return rows


def _ask(
    sfm: SpeechFoundationModel,
    context: AudioContext,
    plans: Sequence[PromptPlan],
    readouts: Sequence[Readout],
    sounds: Sequence[str],
) -> list[list[Asked]]:
    """What the model says to each plan about each clip."""
    needs = frozenset().union(*(readout.needs for readout in readouts))
    asked = [[Asked(plan) for _ in range(context.size)] for plan in plans]

    def add(name: str, values) -> None:
        for i in range(len(plans)):
            for clip in range(context.size):
                asked[i][clip] = replace(asked[i][clip], **{name: values(i, clip)})

    if not plans:
        return asked
    questions = [plan.question for plan in plans]
    free = [plan.free for plan in plans]
    if "scores" in needs:
        scores = sfm.score(context, questions)
        add("token_logprobs", lambda i, clip: [values[clip] for values in scores[i]])
    if "layers" in needs:
        layers = sfm.score_layers(context, questions)
        add("layer_logprobs", lambda i, clip: [values[clip] for values in layers[i]])
    if "answer" in needs:
        askers = [readout for readout in readouts if "answer" in readout.needs]
        for longest, members in _by_limit(plans, askers):
            keep = [kept_tokens(plans[i]) for i in members]
            generated = sfm.generate(context, [free[i] for i in members], max_new_tokens=longest, keep=keep)
            for i, answers in zip(members, generated, strict=True):
                for clip, answer in enumerate(answers):
                    asked[i][clip] = replace(asked[i][clip], generation=answer)
    if "samples" in needs:
        drawer = next(readout for readout in readouts if "samples" in readout.needs)
        count = drawer.samples
        for limit, members in _by_limit(plans, [drawer]):
            draws = [i for i in members for _ in range(count)]
            seeds = [
                [drawer.seed_of(sound, plans[i], draw) for sound in sounds] for i in members for draw in range(count)
            ]
            drawn = sfm.generate(
                context,
                [free[i] for i in draws],
                max_new_tokens=limit,
                sampling=Sampling(drawer.temperature, seeds),
            )
            for place, i in enumerate(members):
                rows = drawn[place * count : (place + 1) * count]
                for clip in range(context.size):
                    asked[i][clip] = replace(asked[i][clip], samples=[row[clip] for row in rows])
    if "constrained" in needs:
        for clip in range(context.size):
            one = sfm.select(context, clip) if context.size > 1 else context
            for i, plan in enumerate(plans):
                asked[i][clip] = replace(asked[i][clip], constrained=_fill_dictionary(sfm, one, plan))
    return asked


def _by_limit(plans: Sequence[PromptPlan], readouts: Sequence[Readout]) -> list[tuple[int, list[int]]]:
    """Plans, by their place, that are answered together: under the longest limit that a readout sets for them."""
    groups: dict[int, list[int]] = {}
    for i, plan in enumerate(plans):
        groups.setdefault(max(readout.limit(plan.prompt) for readout in readouts), []).append(i)
    return list(groups.items())


def _reason(sfm: SpeechFoundationModel, context: AudioContext, plan: PromptPlan) -> list[tuple[dict, PromptPlan]]:
    """Per clip the columns of the model's own reasoning, and the plan that asks for the answer after it.

    Where the reasoning already comes to the cue of the answer it is cut before it. Reasoning that neither came to the
    cue nor ended by itself is not finished.
    """
    limit = plan.prompt.reasoning_tokens
    results = []
    for generation in sfm.generate(context, [plan.free], max_new_tokens=limit)[0]:
        tokens = generation.tokens
        cue = plan.prompt.answer_cue.strip()
        came_to_cue = cue in generation.text
        if came_to_cue:
            place = generation.text.index(cue)
            tokens = next(tokens[:n] for n in range(len(tokens), -1, -1) if len(sfm.decode(tokens[:n])) <= place)
        prefix = (*plan.free.prefix, *tokens, *plan.question.prefix[len(plan.free.prefix) :])
        after = replace(plan, question=replace(plan.question, prefix=prefix), free=Question(prefix))
        written = {"reasoning": sfm.decode(tokens), "reasoning_finished": came_to_cue or generation.finished}
        results.append((written, after))
    return results


def _fill_dictionary(sfm: SpeechFoundationModel, context: AudioContext, plan: PromptPlan) -> str:
    """``{"angry": 0.30, ...}``: for each label the number that is likeliest after what stands before it."""
    text = "{"
    words = dict(zip(plan.labels, plan.forms, strict=True))
    for i, label in enumerate(words):
        text += f'"{words[label]}": '
        closing = "}" if i == len(words) - 1 else ","
        question = sfm.extend(plan.free, (), text.rstrip(), [f" {share}{closing}" for share in SHARES])
        # Without the end token: more text follows a comma.
        values = [tokens[0, :-1].double().sum() for tokens in sfm.score(context, [question])[0]]
        text += SHARES[int(torch.stack(values).argmax())] + closing + (" " if closing == "," else "")
    return text


def _shorten(sfm: SpeechFoundationModel, asked: Asked, limit: int) -> Asked:
    """A greedy answer under a lower limit is the beginning of the longer one.

    The limit counts the end token, so an answer of as many tokens is not finished, whatever a longer one would show:
    what a readout stores does not depend on the others.
    """
    answer = asked.generation
    if answer is None:
        return asked
    positions = min(limit, len(answer.log_normalizer))
    tokens = answer.tokens[:limit]
    short = Generation(
        tokens,
        answer.text if len(tokens) == len(answer.tokens) else sfm.decode(tokens),
        answer.finished and len(answer.tokens) < limit,
        answer.kept_logits[:positions],
        answer.log_normalizer[:positions],
    )
    return replace(asked, generation=short)


def _answer(generation: Generation) -> dict:
    return {
        "generated_text": generation.text,
        "generated_tokens": list(generation.tokens),
        "finished": generation.finished,
    }


def _check_finite(row: Mapping) -> None:
    names = ("form_logprobs", "kept_logits", "log_normalizers", "layer_form_logprobs")
    values = [value for name in names for value in row.get(name, ())]
    if not torch.tensor(values).isfinite().all():
        raise EmoprobeError(
            f"{row['model']} gave a score that is not a finite number for prompt {row['prompt']!r} in {row['dtype']}. "
            "Use model.dtype=float32."
        )
