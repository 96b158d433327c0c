"""Self-checks of a model on real speech: does it hear, and is every shortcut exact?"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.checks.adapters import examine_adapters
from emoprobe.checks.hearing import examine_encoder, examine_states
from emoprobe.checks.verdict import Verdict, gap
from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.sound.audio import read_audio
from emoprobe.errors import InputError, WeightsError
from emoprobe.labels import LabelSet
from emoprobe.models.text import PromptText
from emoprobe.prompts.prompt import make_prompts
from emoprobe.settings import compose, make, read_node, read_part, read_values

if TYPE_CHECKING:
    from torch import Tensor

    from emoprobe.models.answering import AnsweringModel, Generation, Question
    from emoprobe.models.base import SpeechFoundationModel

# Largest difference of a token's log-probability, nats, between two ways that must agree.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.5}
# Largest total variation between the label distributions in bfloat16 and in float32.
DTYPE_TOLERANCE = 0.1
DTYPES = "bfloat16 against float32"
GENERATED = 8  # tokens of the answer that is checked
INSTRUCTED = "[instruction/single_word,instruction/lettered_options]"  # what an instructed model is asked by default


def examine(
    sfm: SpeechFoundationModel,
    waveforms: Sequence[Tensor],
    questions: Sequence[Question] = (),
    *,
    other_dtype: bool = True,
) -> list[Verdict]:
    """Every check of a model.

    Args:
        sfm: The model.
        waveforms: At least two clips of different length, ``[samples]`` at the model's rate.
        questions: Of a model that answers: questions with continuations.
        other_dtype: Whether to compare bfloat16 with float32, for which a copy of the model is made.
    """
    from emoprobe.models.answering import AnsweringModel

    tolerance = TOLERANCE.get(sfm.dtype, TOLERANCE["bfloat16"])
    if not isinstance(sfm, AnsweringModel):
        verdicts = examine_encoder(sfm, waveforms, other_dtype=other_dtype)
    else:
        verdicts = _examine_answers(sfm, waveforms, questions, tolerance, other_dtype)
        verdicts += examine_states(sfm, waveforms)
    return [*verdicts, examine_adapters(sfm, waveforms, questions, tolerance)]


def examine_served(
    sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question], reference: AnsweringModel | None
) -> list[Verdict]:
    """Every check of a model that is with a server, of which only answers come.

    Args:
        sfm: The model.
        waveforms: As of `examine`.
        questions: Likewise.
        reference: The same model in transformers; None where its weights are not here.
    """
    tolerance = TOLERANCE.get(reference.dtype if reference else sfm.dtype, TOLERANCE["bfloat16"])
    against = Verdict("the server against transformers", None, note="not compared: the weights are not here")
    if reference is not None:
        difference = gap(_scores(sfm, waveforms, questions), _scores(reference, waveforms, questions))
        against = Verdict(
            "the server against transformers", difference, tolerance, note=f"nats, {reference.dtype} here"
        )
    return [
        against,
        Verdict("batch of 1 against all clips", _batch(sfm, waveforms, questions), tolerance),
        Verdict("order of clips, questions and labels", _order(sfm, waveforms, questions), tolerance),
        *_hearing(sfm, waveforms, questions),
    ]


def _examine_answers(
    sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question], tolerance: float, other_dtype: bool
) -> list[Verdict]:
    return [
        Verdict("batch of 1 against all clips", _batch(sfm, waveforms, questions), tolerance),
        _padding(sfm, waveforms, questions, tolerance),
        Verdict("shared prefix against a full forward pass", _full(sfm, waveforms, questions), tolerance),
        Verdict("order of clips, questions and labels", _order(sfm, waveforms, questions), tolerance),
        _dtypes(sfm, waveforms, questions) if other_dtype else Verdict(DTYPES, None, note="not run"),
        *_hearing(sfm, waveforms, questions),
        _placeholders(sfm, waveforms, questions),
        Verdict("generated text against its tokens' scores", _generation(sfm, waveforms, questions), tolerance),
        _greedy(sfm, waveforms, questions, tolerance),
        _layers(sfm, waveforms, questions, tolerance),
    ]


def _scores(sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question], **options: Any) -> Tensor:
    """Log-probability of every continuation token, ``[clips, tokens of all continuations]``."""
    import torch

    scores = sfm.score(sfm.encode(waveforms, **options), questions)
    return torch.cat([values for question in scores for values in question], dim=-1)


def _batch(sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question]) -> float:
    import torch

    alone = torch.cat([_scores(sfm, [waveform], questions) for waveform in waveforms])
    return gap(_scores(sfm, waveforms, questions), alone)


def _padding(
    sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question], tolerance: float
) -> Verdict:
    name = "left against right padding"
    if not sfm.pads:
        return Verdict(name, None, note="does not apply: the decoder sees no padding")
    right = _scores(sfm, waveforms, questions, padding="right")
    return Verdict(name, gap(_scores(sfm, waveforms, questions, padding="left"), right), tolerance)


def _full(sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question]) -> float:
    """Scores of a batch against one plain forward pass per clip, question and label."""
    import torch

    scores = sfm.score(sfm.encode(waveforms), questions)
    worst = 0.0
    for clip, waveform in enumerate(waveforms):
        for question, ours in zip(questions, scores, strict=True):
            for continuation, values in zip(question.continuations, ours, strict=True):
                logits = sfm.reference(waveform, question, continuation[:-1]).log_softmax(-1)
                expected = logits[-len(continuation) :].gather(-1, torch.tensor(continuation)[:, None])[:, 0]
                worst = max(worst, gap(values[clip], expected))
    return worst


def _order(sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question]) -> float:
    import torch

    turned = [replace(question, continuations=question.continuations[::-1]) for question in reversed(questions)]
    scores = sfm.score(sfm.encode(waveforms[::-1]), turned)
    back = torch.cat([values for question in reversed(scores) for values in reversed(question)], dim=-1)
    return gap(back.flip(0), _scores(sfm, waveforms, questions))


def _dtypes(sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question]) -> Verdict:
    """Total variation between label distributions of the same model in the two precisions, with and without sound."""
    import torch

    name = DTYPES
    if getattr(sfm.model, "is_quantized", False):
        return Verdict(name, None, note="does not apply: the weights are quantised")
    try:
        other = sfm.around(copy.deepcopy(sfm.model).to(torch.bfloat16 if sfm.dtype == "float32" else torch.float32))
    except (torch.OutOfMemoryError, MemoryError):
        return Verdict(name, None, note="not run: no memory for a second copy")

    def shares(model: AnsweringModel) -> list[Tensor]:
        contexts = [model.encode(waveforms), model.encode_without_audio()]
        scores = [question for context in contexts for question in model.score(context, questions)]
        return [torch.stack([values.sum(-1) for values in question], -1).softmax(-1) for question in scores]

    pairs = zip(shares(sfm), shares(other), strict=True)
    difference = max((a - b).abs().sum(-1).max().item() / 2 for a, b in pairs)
    return Verdict(name, difference, DTYPE_TOLERANCE, note="total variation")


def _hearing(sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question]) -> list[Verdict]:
    """The scores must depend on the sound: on its presence, and on which clip it is."""
    from emoprobe.readout.scoring.hearing import DEAF, sound_effects

    if not sfm.hears:
        note = "does not apply: it is told words, not sound"
        return [Verdict(f"the clip against {name}", None, note=note) for name in ("silence", "noise", "another clip")]
    floor = max(DEAF, 0.0 if sfm.dtype == "float32" else 1e-2)
    effects = sound_effects(sfm, waveforms[0], questions[0])
    shorter = min(map(len, waveforms[:2]))  # of one length, or the mere number of placeholders would tell them apart
    two = _scores(sfm, [waveform[:shorter] for waveform in waveforms[:2]], questions[:1])
    effects["another clip"] = gap(two[0], two[1])
    return [
        Verdict(f"the clip against {name}", effect, floor, least=True)
        for name, effect in effects.items()
        if name != "reversed"
    ]


def _placeholders(sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question]) -> Verdict:
    """What is asked is, token by token, what the model's processor makes of the whole chat with the sound in it."""
    from emoprobe.models.chat_model import ChatModel

    name = "placeholders of the sound"
    if not isinstance(sfm, ChatModel):
        return Verdict(name, None, note="does not apply: the sound is not in the prompt")
    context = sfm.encode(waveforms)
    wrong = 0
    for clip, waveform in enumerate(waveforms):
        for question in questions:
            ours = sfm.asked(context, clip, question)[: -question.added or None]
            wrong += sfm.hears and sfm.family.audio_token_id not in ours
            theirs = sfm.family.inputs(question.prompt or PromptText(), waveform)
            wrong += ours != theirs["input_ids"][0].tolist()
    return Verdict(name, float(wrong), 0.0, note="chats with other tokens than the processor's")


def _answers(
    sfm: AnsweringModel,
    waveforms: Sequence[Tensor],
    questions: Sequence[Question],
    keep: Sequence[Sequence[int]] | None = None,
) -> list[list[Generation]]:
    return sfm.generate(sfm.encode(waveforms), questions, max_new_tokens=GENERATED, keep=keep)


def _generation(sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question]) -> float:
    """Log-probabilities that generation reports of its own tokens, against scoring the same tokens."""
    import torch

    from emoprobe.models.answering import Question

    worst = 0.0
    question = questions[0]
    for clip, generation in enumerate(_answers(sfm, waveforms, [question])[0]):
        if not generation.tokens:
            continue
        again = _answers(sfm, waveforms, [question], keep=[generation.tokens])[0][clip]
        count = len(generation.tokens)
        reported = again.kept_logits[:count].diagonal() - again.log_normalizer[:count]
        asked = Question(question.prefix, ((*generation.tokens, 0),))
        scored = sfm.score(sfm.encode([waveforms[clip]]), [asked])[0][0][0, :-1]
        worst = max(worst, gap(reported, torch.as_tensor(scored)))
    return worst


def _greedy(
    sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question], tolerance: float
) -> Verdict:
    """What is generated first is what the logits of a plain forward pass rank first, unless two nearly tie.

    Tokens that the checkpoint's own generation settings forbid or penalise are its business; the check compares the raw
    logits that are reported with the plain ones.
    """
    question = questions[0]
    worst = 0.0
    for waveform in waveforms:
        plain = sfm.reference(waveform, question)[-1]
        everything = list(range(len(plain)))
        answer = sfm.generate(sfm.encode([waveform]), [question], max_new_tokens=1, keep=[everything])[0][0]
        worst = max(worst, gap(answer.kept_logits[0] - answer.log_normalizer[0], plain.log_softmax(-1)))
    return Verdict("reported logits against a plain forward pass", worst, tolerance)


def _layers(
    sfm: AnsweringModel, waveforms: Sequence[Tensor], questions: Sequence[Question], tolerance: float
) -> Verdict:
    name = "last layer of the logit lens against the scores"
    context = sfm.encode(waveforms)
    try:
        lens = sfm.score_layers(context, questions)
    except InputError as error:
        return Verdict(name, None, note=f"does not apply: {error.what}")
    pairs = zip(lens, sfm.score(context, questions), strict=True)
    worst = max(gap(a[:, -1], b) for layers, last in pairs for a, b in zip(layers, last, strict=True))
    return Verdict(name, worst, tolerance)


@dataclass(frozen=True)
class Patient:
    """A model with what it is examined on.

    Args:
        sfm: The model.
        waveforms: Clips of the bundled corpus, of different length, ``[samples]`` at the model's rate.
        questions: What it is asked, one per prompt; nothing if it only hears.
        reference: The same model in transformers, of one that is with a server, if its weights are here.
    """

    sfm: SpeechFoundationModel
    waveforms: list[Tensor]
    questions: list[Question]
    reference: AnsweringModel | None = None

    def examine(self) -> list[Verdict]:
        """Every check."""
        from emoprobe.models.answering import AnsweringModel

        if isinstance(self.sfm, AnsweringModel) and self.sfm.served:
            return examine_served(self.sfm, self.waveforms, self.questions, self.reference)
        return examine(self.sfm, self.waveforms, self.questions)


def admit(overrides: Sequence[str]) -> Patient:
    """Load the configured model; it is asked the given prompts, or those that fit it.

    Raises:
        InputError: An override is wrong, or the model cannot be loaded.
    """
    config = compose(overrides)
    labels, model = read_part(config, "labels", LabelSet), read_node(config, "model")
    prompts = make_prompts(read_values(config, "prompt") or {}, labels)

    from emoprobe.models.answering import AnsweringModel
    from emoprobe.readout.scoring.plan import Plans

    logging.getLogger("transformers").setLevel(logging.ERROR)
    sfm = make(model, "model")
    clips = bundled_clips(sfm)
    if not isinstance(sfm, AnsweringModel):
        return Patient(sfm, clips, [])
    if not any(item.startswith("prompt=") for item in overrides):
        completion = "whisper_all" if sfm.takes_context else "completion_all"
        config = compose([*overrides, f"prompt={INSTRUCTED if sfm.instructed else completion}"])
        prompts = make_prompts(read_values(config, "prompt"), labels)
    questions = [plan.question for plan in Plans(sfm, prompts, labels).samples]
    return Patient(sfm, clips, questions, _reference(model) if sfm.served else None)


def _reference(node: Mapping) -> AnsweringModel | None:
    """What a served model is in transformers; None where its weights are not here."""
    from emoprobe.models.load import load_audio_llm
    from emoprobe.models.server import Server

    serves = Server(node["url"], model=node.get("served"), api_key=node.get("api_key")).serves
    name = str(node.get("path") or node.get("name") or serves)
    folder = node.get("path") or (serves if node.get("name") is None and Path(serves).is_dir() else None)
    try:
        return load_audio_llm(name, path=folder, revision=node.get("revision"))
    except (WeightsError, InputError):
        return None


def bundled_clips(sfm: SpeechFoundationModel) -> list[Tensor]:
    """Three clips of the bundled corpus, the second cut to two thirds and the third to one."""
    import torch

    utterances = read_demo().utterances
    chosen = [utterances[i] for i in (0, len(utterances) // 3, len(utterances) - 1)]
    clips = [read_audio(utterance.audio, sfm.sampling_rate) for utterance in chosen]
    return [torch.from_numpy(clip.waveform)[: len(clip.waveform) * (3 - i) // 3] for i, clip in enumerate(clips)]
