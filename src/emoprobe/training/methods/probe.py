"""Heads on frozen features: every clip goes through the SFM once, whatever is trained on it afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.base import Network, SpeechFoundationModel
from emoprobe.prompts.prompt import Prompt
from emoprobe.training.answers import AnswersOptions
from emoprobe.training.batches import Clips
from emoprobe.training.extraction import LayersError
from emoprobe.training.feature_head import Head, make_head
from emoprobe.training.feature_spec import STATE, STATISTICS, FeatureSpec
from emoprobe.training.features import Features, extract
from emoprobe.training.heads.base import ProbeHead
from emoprobe.training.losses.base import Loss
from emoprobe.training.methods.base import METHODS, Method, chosen_layers

STANDARDISE_BY = 256  # clips at a time


@METHODS.register("probe")
class ProbeMethod(Method):
    """Heads on pooled encoder states, on encoder frames, or on the decoder's answer state."""

    options: ProbeHead
    features: Features  # of the prepared utterances

    def __init__(
        self,
        sfm: SpeechFoundationModel,
        config: Mapping,
        labels: LabelSet,
        prompt: Prompt | None = None,
        loss: Loss | None = None,
        answers: AnswersOptions | None = None,
    ) -> None:
        super().__init__(sfm, config, labels, prompt, loss, answers)
        source, self.attentive = self.options.source, self.options.pooling == "attentive"
        depth = sfm.num_encoder_layers if source == "encoder" else self.answerer.num_decoder_layers
        self.layers = chosen_layers(self.options.layers, depth, source)
        normalised = self.options.normalised
        self.config |= {"layers": list(self.layers), "normalise_layers": normalised}
        self.kinds: tuple[str, ...] = self.options.kinds if source == "encoder" else (STATE,)
        # Pooled states are small: all layers and statistics are kept at once, so that every head finds its own. Of a
        # model whose layers differ in width, or are not all there, only those chosen are (`prepare`).
        everything = tuple(range(depth + 1))
        if self.attentive:
            self.spec = FeatureSpec(source="encoder", layers=self.layers, frames=True, normalised=normalised)
        elif source == "encoder":
            self.spec = FeatureSpec(source="encoder", layers=everything, kinds=tuple(STATISTICS), normalised=normalised)
        else:
            self.spec = FeatureSpec(source="decoder", layers=everything, question=self.asked.question)
        self.loaded: dict[str, Tensor] = {}

    @property
    def asks(self) -> bool:
        return self.options.asks

    def prepare(
        self, utterances: Sequence[Utterance], limits: AudioLimits, *, keep: bool = True, **options: Any
    ) -> list[Skipped]:
        try:
            self.features = extract(self.sfm, utterances, self.spec, limits, **options)
        except LayersError:
            if self.spec.layers == self.layers:
                raise
            self.spec = replace(self.spec, layers=self.layers)
            self.features = extract(self.sfm, utterances, self.spec, limits, **options)
        self.sounds = self.features.sha256
        if not self.attentive:
            columns = [self.features.kinds.index(kind) for kind in self.kinds]
            rows = [self.spec.layers.index(layer) for layer in self.layers]
            stats = self.features.stats(self.features.ids)[:, rows][:, :, columns]
            self.loaded = dict(zip(self.features.ids, stats, strict=True))
        return list(self.features.skipped)

    def inputs(self, ids: Sequence[str]) -> Mapping:
        if self.attentive:
            frames, lengths = self.features.frames(ids)
            return {"frames": frames, "lengths": lengths}
        return {"stats": torch.stack([self.loaded[name] for name in ids])}

    def _build(self, width: int) -> Head:
        shape = {"layers": len(self.layers), "kinds": len(self.kinds), "width": width, "num_labels": len(self.labels)}
        output = "dirichlet" if self.loss.of_head == "concentration" else "log_probs"
        return make_head(self.options, **shape, output=output)

    def new(self, train: Clips) -> Network:
        head = self._build(self.features.width)
        head.fit(train.in_order(STANDARDISE_BY))
        return head

    def weights(self, reader: Network) -> dict[str, Tensor]:
        return {name: value.detach().cpu().contiguous() for name, value in reader.state_dict().items()}

    def restore(self, weights: Mapping[str, Tensor]) -> Network:
        mean = weights.get("features.standardise.mean")
        head = self._build(mean.shape[-1] if mean is not None else 1)
        check_names(weights, head.state_dict())
        head.load_state_dict(dict(weights))
        return head.eval()


def check_names(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse weights of other names or shapes.

    Raises:
        InputError: Weights are missing, unexpected or of another shape.
    """
    missing, unexpected = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    shapes = [name for name in set(expected) & set(weights) if expected[name].shape != weights[name].shape]
    if missing or unexpected or shapes:
        raise InputError(
            f"the head's weights do not fit: missing {missing}, unexpected {unexpected}, of another shape {shapes}",
            field="head.path",
            remedy="Train the head again.",
        )
