"""Encoder-decoders that transcribe, one small file per class: what it does otherwise than `encoder_decoder.py`.

A new class is one file here, or in a package of your own (see `emoprobe.registry`)::

    @TRANSCRIBERS.register("moonshine")  # the model_type in config.json
    class Moonshine(EncoderDecoder): ...

and one config ``model/NAME.yaml`` that calls `emoprobe.models.load.load_transcriber`.
"""

from __future__ import annotations

from pathlib import Path

from emoprobe.errors import InputError
from emoprobe.models.encoder_decoder import EncoderDecoder
from emoprobe.registry import Registry

TRANSCRIBERS: Registry[type[EncoderDecoder]] = Registry("transcribing model", "emoprobe.models.transcribers")

PIECES = "its tokenizer is a SentencePiece model that transformers reads with another package alone, sentencepiece"
REFUSED = {
    "kyutai_speech_to_text": "it writes while it listens, so that no place of its text has heard the whole clip",
    "speech-encoder-decoder": "it is assembled of any two models, whose processors say no common decoder prompt",
    "speech_to_text": PIECES,
    "speecht5": PIECES,
}
"""Classes of transformers that transcribe and are not asked, by ``model_type``, with the reason."""


def transcriber_class(model_type: str, path: Path) -> type[EncoderDecoder]:
    """The class for a ``model_type``.

    Args:
        model_type: As config.json says it.
        path: The checkpoint's folder, for the error.

    Raises:
        InputError: There is none.
    """
    found = TRANSCRIBERS.get(model_type)
    if found is None:
        reason = REFUSED.get(model_type)
        raise InputError(
            f"model_type {model_type!r} is "
            + (f"not asked: {reason}" if reason else "no encoder-decoder that transcribes"),
            file=path / "config.json",
            field="model",
            remedy=f"Take one of {', '.join(TRANSCRIBERS)}; model=audio_llm loads chat models, model=encoder encoders.",
        )
    return found
