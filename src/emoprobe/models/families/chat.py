"""The common form of a native audio chat model: a Jinja chat template with one placeholder for the sound."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoProcessor, PreTrainedModel, ProcessorMixin

from emoprobe.errors import InputError
from emoprobe.models.base import Network
from emoprobe.models.families.sound_only import load_sound_only, processor_class, sees
from emoprobe.models.families.turns import ANY, Turns
from emoprobe.models.processor_files import TOKENIZERS, check_processor_files
from emoprobe.models.span import Frame, find_frame, probe_sounds
from emoprobe.models.text import PromptText

SAMPLES_PER_FRAME = 320  # all encoders here work at 20 ms per frame before they are pooled for the decoder
FRAMES = 256  # frames that are remembered, the latest of them


class ChatFamily(Turns):
    """How a family writes a chat turn with sound in it, and how it hears the sound.

    A new native model needs a subclass only where it departs from the common form.

    Args:
        model: The loaded model.
        processor: Its processor.
    """

    model_class = ""  # class in transformers; empty: the one that AutoModelForMultimodalLM finds
    encoder = "audio_tower"  # attribute of the audio encoder in the model's base model
    has_adapter = False  # whether the class loads an adapter as a part of itself
    encoder_in_decoder = False  # whether the sound is encoded within the decoder's own forward pass
    left_out = ""  # weights that are not loaded, as a regular expression
    eager_parts: Sequence[str] = ()  # parts of the configuration whose classes know no other attention

    def __init__(self, model: PreTrainedModel, processor: Any) -> None:
        super().__init__(model, processor, processor.tokenizer)
        self.audio_token = self._audio_token()
        self.audio_token_id = self.tokenizer.convert_tokens_to_ids(self.audio_token)
        # A tokenizer that was saved after use says that text was not padded, and sound would be treated so too.
        told = getattr(self.tokenizer, "init_kwargs", {})
        for name in ("pad_to_multiple_of", "max_length"):
            if name in told and told[name] is None:
                del told[name]
        self._frames: dict[tuple, tuple[Frame, tuple]] = {}

    @classmethod
    def prepare(cls, config: Any) -> None:
        """Take out of a checkpoint's configuration what no sound meets."""

    @classmethod
    def complete(cls, model: Any, path: Path) -> Any:
        """The model with what lies beside its weights."""
        return model

    @classmethod
    def load_processor(cls, path: Path) -> Any:
        """The processor of a checkpoint folder, without what would prepare pictures."""
        check_processor_files(path, TOKENIZERS)
        kind = processor_class(path)
        if sees(kind):
            return load_sound_only(path, kind)
        processor = AutoProcessor.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        if not isinstance(processor, ProcessorMixin):
            raise InputError(
                f"transformers finds no processor of sound and text there, only a {type(processor).__name__}",
                file=path,
                field="model",
                remedy="Take a checkpoint with the processor files of a model that transformers supports with audio.",
            )
        return processor

    def _audio_token(self) -> str:
        token = getattr(self.processor, "audio_token", None) or getattr(self.tokenizer, "audio_token", None)
        if not token:
            raise InputError(
                "its processor has no placeholder for sound, so the model would answer without hearing",
                field="model",
                remedy="Choose a model that transformers supports with audio.",
            )
        return token

    @property
    def sampling_rate(self) -> int:
        """What waveforms must have, hertz."""
        return self.processor.feature_extractor.sampling_rate

    @property
    def max_seconds(self) -> float:
        """Longest clip that is heard whole, seconds: the window of the feature extractor."""
        return float(getattr(self.processor.feature_extractor, "chunk_length", 30))

    @property
    def encoder_layers(self) -> Sequence[Network]:
        """Layers of the audio encoder; one that has none is its own layer."""
        base = self.model if hasattr(self.model, self.encoder) else self.model.base_model
        encoder = getattr(base, self.encoder)
        return getattr(encoder, "layers", [encoder])

    def frames(self, states: Tensor, samples: int) -> Tensor:
        """An encoder layer's states of one clip as ``[frames, width]``, without frames of padding behind the clip."""
        return states.reshape(-1, states.shape[-1])[: -(-samples // SAMPLES_PER_FRAME)]

    def messages(self, prompt: PromptText) -> list[dict]:
        """The conversation of a prompt, the sound without its content."""
        sound = [{"type": "audio"}]
        text = [{"type": "text", "text": prompt.instruction}] if prompt.instruction else []
        system = [] if prompt.system is None else [{"role": "system", "content": self.system_content(prompt.system)}]
        return [*system, {"role": "user", "content": sound + text if prompt.audio_first else text + sound}]

    def system_content(self, text: str) -> Any:
        """The content of the system turn."""
        return [{"type": "text", "text": text}]

    def inputs(self, prompt: PromptText, waveform: Tensor) -> dict[str, Tensor]:
        """The model's inputs as its processor makes them of the whole chat with the sound in it."""
        text = self.text(prompt)
        try:
            made = self.processor(
                text=text,
                audio=[waveform.numpy()],
                sampling_rate=self.sampling_rate,
                add_special_tokens=self._begins(text),
                return_tensors="pt",
            )
        except (ValueError, TypeError, IndexError, KeyError) as error:
            raise InputError(
                f"the model's processor cannot make inputs of this chat: {error}", field="model"
            ) from error
        return dict(made)

    def frame(self, prompt: PromptText) -> Frame:
        """What the processor writes around the sound of a chat.

        Raises:
            InputError: It cannot be told apart from what it writes of the sound.
        """
        frame, sounds = self._framed(prompt)
        if sounds[-1] != self._framed(ANY)[1][-1]:
            raise InputError("its processor writes a sound differently in different chats", field="prompt")
        return frame

    @property
    def probed_sounds(self) -> tuple[tuple[int, ...], ...]:
        """Tokens that the processor writes of a shorter and of a longer sound."""
        return self._framed(ANY)[1]

    def _framed(self, prompt: PromptText) -> tuple[Frame, tuple]:
        """The frame of a chat, and the tokens of the sounds it was found with."""
        key = (self.processor, type(self.processor), repr(self.messages(prompt)), prompt.before)
        if key not in self._frames:
            rendered = [
                self.inputs(prompt, sound)["input_ids"][0].tolist() for sound in probe_sounds(self.sampling_rate)
            ]
            frame = find_frame(rendered, self.audio_token_id)
            if len(self._frames) >= FRAMES:
                del self._frames[next(iter(self._frames))]
            self._frames[key] = frame, tuple(frame.sound(ids, self.audio_token_id) for ids in rendered)
        return self._frames[key]

    def control_tokens(self) -> Mapping[str, int]:
        """Those of the tokenizer, and the placeholder of the sound."""
        return {**super().control_tokens(), self.audio_token: self.audio_token_id}
