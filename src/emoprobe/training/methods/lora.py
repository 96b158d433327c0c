"""LoRA on the SFM itself, read through the label likelihoods of a prompt or through a head on its states.

A frozen encoder's output is computed once per clip and kept on disk, as features are; an adapted encoder hears every
clip in every epoch.
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before peft

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig, LoraModel, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from emoprobe.data.datamodule import check_length
from emoprobe.data.sound.audio import read_audio
from emoprobe.data.sound.limits import AudioError, AudioLimits
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.answering import AnsweringModel, answering
from emoprobe.models.base import Network, SpeechFoundationModel
from emoprobe.prompts.prompt import Prompt
from emoprobe.system import stopping
from emoprobe.training.answers import AnswersOptions, TaughtAnswers
from emoprobe.training.batches import Clips
from emoprobe.training.extraction import pooled
from emoprobe.training.feature_head import Head, make_head
from emoprobe.training.feature_spec import FeatureSpec
from emoprobe.training.features import Features, extract
from emoprobe.training.heads.base import check_windows
from emoprobe.training.heads.linear_probe import LinearProbe
from emoprobe.training.heads.lora import Lora
from emoprobe.training.heads.lora_probe import LoraProbe
from emoprobe.training.losses.base import Loss
from emoprobe.training.methods.base import METHODS, Method, chosen_layers
from emoprobe.training.methods.probe import check_names
from emoprobe.training.methods.reached import reached

ADAPTER, WHOLE, HEAD = "adapter.", "whole.", "head."  # beginnings of the names of a bundle's weights
EVALUATE_BY = 16  # clips at a time


class TunedReader(nn.Module):
    """A tuned SFM as a reader.

    Args:
        method: Whose SFM is adapted.
        head: Reads the distribution out of states; without one it is that of the label likelihoods.
    """

    def __init__(self, method: LoraMethod, head: Head | None = None) -> None:
        super().__init__()
        self.method, self.model, self.head = [method], method.sfm.model, head  # a list hides it from torch

    def train(self, mode: bool = True) -> TunedReader:
        """Training mode, but for batch norms: their running statistics are the untuned model's, and are no weights."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def stats(self, batch: Mapping) -> Tensor:
        """States for the head, ``[batch, layers, kinds, width]``."""
        return self._states(batch).to(next(self.model.parameters()).device)  # beside the head

    def _states(self, batch: Mapping) -> Tensor:
        (method,) = self.method
        if method.plan is None:
            rows = []
            for states in method.sfm.hear(batch_waveforms(batch), method.layers).states:
                rows.append(torch.stack([pooled(states[layer].float(), method.kinds) for layer in method.layers]))
            return torch.stack(rows)
        return method.answerer.answer(self.sounds(batch), method.plan.free)[1].float()[:, None, None]

    def sounds(self, batch: Mapping) -> Sequence[Tensor]:
        """What the decoder is given of each clip."""
        if "sounds" in batch:
            return batch["sounds"]
        (method,) = self.method
        return method.sfm.hear(batch_waveforms(batch)).sounds

    def forward(self, batch: Mapping) -> Tensor:
        """Log-probabilities of the labels, ``[batch, labels]`` float32."""
        if self.head is not None:
            return self.head({"stats": self.stats(batch)})
        (method,) = self.method
        likelihoods, _ = method.answerer.answer(self.sounds(batch), method.asked.question)
        forms = [[i for i, own in enumerate(method.asked.labels) if own == label] for label in method.labels.labels]
        pooled = torch.stack([likelihoods[:, own].logsumexp(-1) for own in forms], dim=-1)
        return pooled.log_softmax(-1)

    def written(self, batch: Mapping, turn: int, draws: Sequence[float]) -> Tensor:
        """Mean log-likelihood of the tokens of the answers in words whose turn it is, nats ``[batch]``.

        Args:
            batch: Clips with their targets.
            turn: See `emoprobe.training.answers.AnswersOptions.turn`.
            draws: A number from 0 to 1 of every clip.
        """
        (method,) = self.method
        taught = method.taught
        if taught is None:
            raise ValueError("this reader is taught no answers")
        texts = taught.texts(turn, batch["target"].tolist(), draws)
        return method.answerer.teacher_forced(self.sounds(batch), *taught.tokens(turn, texts))

    def concentration(self, batch: Mapping) -> Tensor:
        """Of a head with the Dirichlet output."""
        if self.head is None:
            raise ValueError("label likelihoods have no concentration")
        return self.head.concentration({"stats": self.stats(batch)})


def batch_waveforms(batch: Mapping) -> list[Tensor]:
    """The clips of a batch; they stay on the CPU until the SFM's own features are made of them."""
    return [torch.from_numpy(waveform) for waveform in batch["waveforms"]]


@METHODS.register("lora")
class LoraMethod(Method):
    """``lora``: adapters, read through label likelihoods; ``lora_probe``: adapters and a head."""

    options: Lora

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
        self.taught = None if answers is None else TaughtAnswers(answering(sfm), answers, labels)
        head = self.options if isinstance(self.options, LoraProbe) else None
        self.with_head = head is not None
        if self.loss.of_head == "concentration" and not self.with_head:
            raise InputError(
                "label likelihoods have no concentration for the dirichlet loss",
                field="loss",
                remedy="Use head=lora_probe, or another loss.",
            )
        self.targets = self._targets()
        decoder = self._decoder_modules()
        modules = dict(sfm.model.named_modules())
        self.whole = self._whole(modules)
        changed = [*self.targets, *(name.rpartition(".")[0] for name in self.whole)]
        self.frozen_encoder = all(id(modules[name]) in decoder for name in changed)
        self.layers: tuple[int, ...] = ()
        self.kinds: tuple[str, ...] = ("state",)
        if head is not None and not self.asks:
            self.layers = chosen_layers(head.layers, sfm.num_encoder_layers, "encoder")
            self.config["layers"] = list(self.layers)
            self.kinds = head.kinds
            if self.frozen_encoder:
                raise InputError(
                    "only decoder modules are adapted, and the head reads the encoder",
                    field="head.target_modules",
                    remedy="Adapt encoder modules too, use head.source=decoder, or head=linear_probe.",
                )
        self.targets = self._reached(self.targets)
        self.lora = LoraConfig(
            r=self.options.rank,
            lora_alpha=self.options.alpha,  # type: ignore[arg-type]  # a factor, which need not be whole
            lora_dropout=self.options.dropout,
            use_rslora=self.options.rslora,
            use_dora=self.options.dora,
            target_modules=self.targets,
        )
        self.utterances: dict[str, Utterance] = {}
        self.features: Features | None = None
        self.tuner: LoraModel | None = None
        self.limits = AudioLimits()

    @property
    def teaches(self) -> bool:
        return not isinstance(self.options, LoraProbe)

    @property
    def asks(self) -> bool:
        return self.options.asks

    def _decoder_modules(self) -> set[int]:
        """Identities of the decoder's modules; none in a model that only hears."""
        return {id(module) for module in self.sfm.decoder.modules()} if isinstance(self.sfm, AnsweringModel) else set()

    def _targets(self) -> list[str]:
        """Names of the adapted modules: linear ones that the expression finds in the chosen part."""
        pattern, part = self.options.target_modules, self.options.part
        expression = re.compile(pattern)
        inside = self._decoder_modules()
        output = self.sfm.model.get_output_embeddings()
        linear = {
            name: module
            for name, module in self.sfm.model.named_modules()
            if isinstance(module, nn.Linear) and module is not output
        }
        if part != "all":
            linear = {name: module for name, module in linear.items() if (id(module) in inside) == (part == "decoder")}
        found = [name for name in linear if expression.search(name)]
        if not found:
            kinds = sorted({name.rpartition(".")[2] for name in linear})
            raise InputError(
                f"no linear module of the {part} matches {pattern!r}",
                field="head.target_modules",
                remedy=f"Their names end in {', '.join(kinds)}." if kinds else "Use head.part=encoder.",
            )
        return found

    def _reached(self, found: Sequence[str]) -> list[str]:
        """Those that a pass calls; the others are left out with a note."""
        kept = reached(self.sfm, found, None if self.plan is None else self.plan.question)
        lost = [name for name in found if name not in set(kept)]
        why = f"{len(lost)} of {len(found)} modules that match head.target_modules are never called, such as"
        if lost and kept:
            print(f"note: {why} {lost[0]}: an adapter there would learn nothing, and is left out", file=sys.stderr)
        if not kept:
            raise InputError(
                f"{why} {lost[0]}: {self.sfm.name} takes their weights, or no sound meets them",
                field="head.target_modules",
                remedy="Adapt other modules, such as those of its feed-forward layers.",
            )
        return kept

    def _whole(self, modules: Mapping[str, Network]) -> dict[str, Tensor]:
        """Parameters that are trained whole, by name, and their values in the untuned model."""
        pattern = self.options.whole_modules
        if pattern is None:
            return {}
        expression = re.compile(pattern)
        inside = [name for name in modules if name and expression.search(name)]
        found = {
            name: value.detach().clone()
            for name, value in self.sfm.model.named_parameters()
            if any(name.startswith(f"{module}.") for module in inside)
        }
        if not found:
            raise InputError(
                f"no module of {self.sfm.name} with weights of its own matches {pattern!r}",
                field="head.whole_modules",
                remedy=f"Its modules are {', '.join(name for name, _ in self.sfm.model.named_children())}.",
            )
        adapted = sorted({name for name in self.targets if f"{name}.weight" in found})
        if adapted:
            raise InputError(
                f"{adapted[0]} is to be adapted and trained whole",
                field="head.whole_modules",
                remedy="Let head.target_modules and head.whole_modules name different modules.",
            )
        return found

    def prepare(
        self, utterances: Sequence[Utterance], limits: AudioLimits, *, keep: bool = True, **options: Any
    ) -> list[Skipped]:
        check_windows(self.options, limits)
        self.limits = limits
        self.utterances = {utterance.id: utterance for utterance in utterances}
        if not (keep and self.frozen_encoder and self.options.cache_sound and self.sfm.keeps_sound):
            return self._unreadable(**options)
        spec = FeatureSpec(source="sound", dtype=self.options.sound_dtype)
        self.features = extract(self.sfm, utterances, spec, limits, **options)
        self.sounds = self.features.sha256
        return list(self.features.skipped)

    def _unreadable(
        self, *, batch_size: int, num_workers: int | None = 0, on_error: str = "error", progress: bool = True
    ) -> list[Skipped]:
        """Clips that cannot be used, found out before the first epoch rather than within it."""
        skipped = []
        for utterance in list(self.utterances.values()):
            if stopping.is_main():  # others would leave it waiting
                stopping.check()
            try:
                clip = read_audio(utterance.audio, self.sfm.sampling_rate, self.limits)
                check_length(clip, self.sfm.min_samples, utterance.audio)
                self.sounds[utterance.id] = clip.sha256
            except AudioError as error:
                if not self.limits.leaves_out(error, on_error):
                    raise
                reason = error.reason
                skipped.append(Skipped(utterance.id, reason, str(error), str(utterance.audio), utterance.row))
                del self.utterances[utterance.id]
        return skipped

    def inputs(self, ids: Sequence[str]) -> Mapping:
        if self.features is not None:
            return {"sounds": [sound.to(self.sfm.model.dtype) for sound in self.features.sounds(ids)]}
        waveforms = [read_audio(self.utterances[i].audio, self.sfm.sampling_rate, self.limits).waveform for i in ids]
        return {"waveforms": waveforms}

    def _adapt(self) -> None:
        self.tuner = LoraModel(self.sfm.model, self.lora, "default")
        for value in self._whole_now().values():
            value.requires_grad_(True)
        if self.options.gradient_checkpointing:
            self.sfm.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    def _whole_now(self) -> dict[str, nn.Parameter]:
        """Parameters that are trained whole, as they are now, by name."""
        return {name: value for name, value in self.sfm.model.named_parameters() if name in self.whole}

    def _set_whole(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in self._whole_now().items():
                value.copy_(values[name])

    def _head(self, width: int) -> Head:
        output = "dirichlet" if self.loss.of_head == "concentration" else "log_probs"
        layers = len(self.layers) or 1
        shape = {"layers": layers, "kinds": len(self.kinds), "width": width, "num_labels": len(self.labels)}
        return make_head(LinearProbe("linear_probe"), **shape, output=output).to(self.sfm.model.device)

    def new(self, train: Clips) -> Network:
        self._adapt()
        reader = TunedReader(self)
        if self.with_head:
            # Fresh adapters change nothing yet: these are the states of the untuned model.
            self.sfm.model.eval()
            with torch.no_grad():
                batches = [{"stats": reader.stats(batch)} for batch in train.in_order(EVALUATE_BY)]
            reader.head = self._head(batches[0]["stats"].shape[-1])
            reader.head.fit(batches)
        # With gradient checkpointing the layers themselves must be in training mode, and elsewhere dropout is wanted.
        return reader.train()

    def weights(self, reader: Network) -> dict[str, Tensor]:
        state = get_peft_model_state_dict(self.sfm.model, adapter_name="default", save_embedding_layers=False)
        weights = {ADAPTER + name: value.detach().cpu().contiguous() for name, value in state.items()}
        weights |= {WHOLE + name: value.detach().cpu().clone() for name, value in self._whole_now().items()}
        if reader.head is not None:
            weights |= {HEAD + name: value.cpu().contiguous() for name, value in reader.head.state_dict().items()}
        return weights

    def restore(self, weights: Mapping[str, Tensor]) -> Network:
        self._adapt()
        reader = TunedReader(self)
        if self.with_head:
            mean = weights.get(HEAD + "features.standardise.mean")
            reader.head = self._head(mean.shape[-1] if mean is not None else 1)
        try:
            check_names(weights, self.weights(reader))
        except InputError:
            self.release(reader)
            raise
        adapter = {name.removeprefix(ADAPTER): value for name, value in weights.items() if name.startswith(ADAPTER)}
        set_peft_model_state_dict(self.sfm.model, adapter, adapter_name="default")
        self._set_whole({name.removeprefix(WHOLE): value for name, value in weights.items() if name.startswith(WHOLE)})
        if reader.head is not None:
            own = {name.removeprefix(HEAD): value for name, value in weights.items() if name.startswith(HEAD)}
            reader.head.load_state_dict(own)
        return reader.eval()

    def release(self, reader: Network) -> None:
        if self.options.gradient_checkpointing:
            self.sfm.model.gradient_checkpointing_disable()
            self.sfm.model.disable_input_require_grads()  # enabling it has put hooks on the embeddings
        if self.tuner is not None:
            self.tuner.unload()
            self.tuner = None
        self._set_whole(self.whole)
        self.sfm.model.requires_grad_(False)
        self.sfm.model.eval()

    def merge(self) -> Network:
        """The SFM's model with the adapters of the present reader added to its weights for good."""
        if self.tuner is None:
            raise ValueError("no reader is there whose adapters could be added")
        model, self.tuner = self.tuner.merge_and_unload(), None
        return model

    def facts(self) -> dict:
        return super().facts() | {"adapted_modules": self.targets, "whole_parameters": list(self.whole)}

    def describe(self, reader: Network) -> str:
        ends: dict[str, int] = {}
        for name in self.targets:
            end = name.rpartition(".")[2]
            ends[end] = ends.get(end, 0) + 1
        where = ", ".join(f"{count} {end}" for end, count in ends.items())
        heard = "the encoder's output is kept" if self.features is not None else "every epoch hears every clip"
        whole = f"; whole: {', '.join(self.whole)}" if self.whole else ""
        return f"{super().describe(reader)}; adapted: {where}{whole}; {heard}"
