"""What a trained readout is, whichever way it is trained: a method makes readers of an SFM and takes them apart again.

Each method is a file beside this one. Recipe, bundle and evaluation know only what stands here.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from emoprobe.data.prepare import Item
from emoprobe.data.sound.audio import duration_seconds
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.answering import AnsweringModel, answering
from emoprobe.models.base import Network, SpeechFoundationModel
from emoprobe.prompts.prompt import Prompt
from emoprobe.readout.scoring.module import library_versions
from emoprobe.readout.scoring.plan import PromptPlan, make_plan
from emoprobe.registry import Registry
from emoprobe.run.cell import NO_PROMPT
from emoprobe.run.scores import CLIP, WINDOWS
from emoprobe.training.answers import AnswersOptions
from emoprobe.training.batches import Clips
from emoprobe.training.heads.base import head_options
from emoprobe.training.losses.base import Loss, make_loss


class Method(ABC):
    """Makes readers: modules that give log-probabilities of the labels for a batch of clips.

    Args:
        sfm: The model.
        config: The head's configuration; what is trained repeats it.
        labels: The label set.
        prompt: What the model is asked, where the method asks something.
        loss: What readers are trained with.
        answers: What the SFM is taught to write beside it.

    Attributes:
        options: The same, checked.
        name: Name of the head, the readout's in all tables.
        plan: The tokenised prompt; None where nothing is asked.
        members: How many readers are averaged.
        sounds: Id -> SHA-256 of the sound file, of all prepared utterances.
    """

    def __init__(
        self,
        sfm: SpeechFoundationModel,
        config: Mapping,
        labels: LabelSet,
        prompt: Prompt | None = None,
        loss: Loss | None = None,
        answers: AnswersOptions | None = None,
    ) -> None:
        self.sfm, self.config, self.labels, self.loss = (
            sfm,
            dict(config),
            labels,
            loss or make_loss({"name": "soft_kl"}),
        )
        self.options = head_options(config)
        self.name: str = self.options.name
        self.members: int = self.options.members
        self.answers = answers
        if answers is not None and not self.teaches:
            raise InputError(
                f"{self.name} stands beside the model, which is taught nothing",
                field="answers",
                remedy="Use head=lora, which changes what the model writes, or answers=none.",
            )
        self.sounds: dict[str, str] = {}
        self.plan: PromptPlan | None = None
        if not self.asks and not sfm.hears:
            raise InputError(
                f"{sfm.name} does not hear, so it has no encoder states to read",
                field="head.source",
                remedy="Use head.source=decoder, head=lora, or the transcriber itself: model=whisper.",
            )
        if self.asks and not sfm.answers:
            raise InputError(
                f"{sfm.name} hears and does not answer, so it has no decoder to read or to adapt",
                field="head",
                remedy="Use head=linear_probe or mlp_probe, or head=lora_probe head.source=encoder head.part=encoder.",
            )
        if self.asks:
            if prompt is None or prompt.needs or prompt.reasoning_tokens:
                raise InputError(
                    "a head is trained with one prompt that is the same for every clip",
                    field="prompt",
                    remedy="Choose one without transcript, dialogue, acoustic facts or reasoning.",
                )
            self.plan = make_plan(self.answerer, prompt, labels)

    @property
    @abstractmethod
    def asks(self) -> bool:
        """Whether the model is asked a prompt."""

    @property
    def teaches(self) -> bool:
        """Whether the model can be taught answers in words beside."""
        return False

    @property
    def answerer(self) -> AnsweringModel:
        """The model, of a method that asks."""
        return answering(self.sfm)

    @property
    def asked(self) -> PromptPlan:
        """The tokenised prompt, of a method that asks."""
        if self.plan is None:
            raise ValueError(f"{self.name} asks nothing")
        return self.plan

    @property
    def prompt_name(self) -> str:
        """Name of the prompt for tables."""
        return self.plan.prompt.name if self.plan else NO_PROMPT

    @abstractmethod
    def prepare(
        self, utterances: Sequence[Utterance], limits: AudioLimits, *, keep: bool = True, **options: Any
    ) -> list[Skipped]:
        """Do what is done once per clip; `clips` can be made of these utterances afterwards.

        Args:
            utterances: All that will be trained or tested on.
            limits: Which clips are taken.
            keep: Whether what is large may be kept on disk for later epochs.
            options: Of `emoprobe.training.features.extract`: batch_size, num_workers, on_error, progress.

        Returns:
            Utterances left out.
        """

    @abstractmethod
    def inputs(self, ids: Sequence[str]) -> Mapping:
        """What a reader is given of these clips."""

    def clips(self, items: Sequence[Item]) -> Clips:
        """Prepared utterances with their targets."""
        target = torch.tensor([item.target.distribution.tolist() for item in items], dtype=torch.float32)
        votes = torch.tensor([item.target.votes.tolist() for item in items], dtype=torch.float32)
        return Clips([item.utterance.id for item in items], self.inputs, target, votes)

    @abstractmethod
    def new(self, train: Clips) -> Network:
        """A fresh reader, its weights from torch's generator; `release` it before the next one is made."""

    @abstractmethod
    def weights(self, reader: Network) -> dict[str, Tensor]:
        """All that a reader adds to the SFM."""

    @abstractmethod
    def restore(self, weights: Mapping[str, Tensor]) -> Network:
        """A reader with these weights.

        Raises:
            InputError: Weights are missing or unexpected.
        """

    def release(self, reader: Network) -> None:  # noqa: B027  # most readers do not touch the SFM
        """Leave the SFM as it was."""

    def merge(self) -> Network:
        """The SFM's model with all that the present reader adds to it in its weights, of a method that changes them."""
        raise ValueError(f"{self.name} stands beside its model")

    def facts(self) -> dict:
        """What a bundle must say beside the weights, JSON values."""
        asked = {}
        if self.plan:
            prompt = self.plan.prompt
            asked = {"prompt": prompt.name, "prompt_hash": prompt.hash, "question_hash": self.plan.question_hash}
        return {"head": self.config, **asked}

    def describe(self, reader: Network) -> str:
        """What is trained, in words."""
        trained = sum(value.numel() for value in reader.parameters() if value.requires_grad)
        frozen = sum(value.numel() for value in self.sfm.model.parameters() if not value.requires_grad)
        return f"{trained:,} trained parameters; {frozen:,} frozen"


METHODS: Registry[type[Method]] = Registry("method of training", "emoprobe.training.methods")


def make_method(
    sfm: SpeechFoundationModel,
    config: Mapping,
    labels: LabelSet,
    prompts: Sequence[Prompt],
    loss: Loss | None = None,
    answers: AnswersOptions | None = None,
) -> Method:
    """The method of the head that a config names.

    Raises:
        InputError: There is none of this name, an option is wrong, or several prompts are given.
    """
    kind = METHODS[head_options(config).method]
    sfm.model.requires_grad_(False)
    return kind(sfm, config, labels, prompts[0] if len(prompts) == 1 else None, loss, answers)


def score_rows(
    method: Method, items: Sequence[Item], log_probs: Sequence[Sequence[float]], trained: Mapping, limits: AudioLimits
) -> list[dict]:
    """Rows of the score table; the labels themselves stand where a prompt's surface forms would.

    Args:
        method: What was trained.
        items: The scored utterances.
        log_probs: Their log-probabilities, ``[utterances, labels]``.
        trained: What tells this readout from others of its name.
        limits: How long clips were heard.
    """
    sfm, plan = method.sfm, method.plan
    shared = {
        "input": CLIP,
        "draw": 0,
        "model": sfm.name,
        "model_revision": sfm.revision,
        "dtype": sfm.dtype,
        "prompt": method.prompt_name,
        "prompt_hash": plan.prompt.hash if plan else "",
        "question_hash": plan.question_hash if plan else "",
        "label_set_hash": method.labels.hash,
        "readout": method.name,
        "readout_options": json.dumps(trained, sort_keys=True),
        "library_versions": library_versions(),
        "form_labels": list(method.labels.labels),
        "forms": list(method.labels.labels),
        "log_label_mass": 0.0,
    }
    rows = []
    for item, own in zip(items, log_probs, strict=True):
        seconds = duration_seconds(item.utterance.audio)
        cut = limits.long_audio == "truncate" and seconds > limits.max_seconds
        heard = {"duration_seconds": seconds, "truncated": cut}
        # Features are averaged over windows, so that there is one row for all of them.
        windows = {WINDOWS: limits.windows(seconds)} if limits.windows(seconds) > 1 else {}
        rows.append({**shared, "utterance_id": item.utterance.id, **heard, **windows, "form_logprobs": list(own)})
    return rows


def chosen_layers(layers: Sequence[int | str] | int | str, depth: int, part: str) -> tuple[int, ...]:
    """Numbers of the chosen layers; negative ones count from the last.

    Args:
        layers: ``all``, or one or several numbers or names: ``first``, ``middle``, ``last``.
        depth: The last layer's number.
        part: ``encoder`` or ``decoder``, for the error.

    Raises:
        InputError: There is no such layer.
    """
    count = depth + 1
    asked = list(range(count)) if layers == "all" else [layers] if isinstance(layers, int | str) else list(layers)
    names = {"first": min(1, depth), "middle": (depth + 1) // 2, "last": depth}
    asked = [names.get(layer, layer) if isinstance(layer, str) else layer for layer in asked]
    wrong = [layer for layer in asked if not isinstance(layer, int) or not -count <= layer < count]
    if wrong or not asked:
        raise InputError(
            f"the {part} has no layer {wrong[0] if wrong else '(none given)'}",
            field="head.layers",
            remedy=f"Layers are 0 to {depth}, -1 for the last, or first, middle, last.",
        )
    return tuple(layer % count for layer in asked if isinstance(layer, int))
