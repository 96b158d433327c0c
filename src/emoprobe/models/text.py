"""What a model is asked, as text, and how one is called that knows nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emoprobe.errors import InputError
from emoprobe.nodes import TARGET, kin

TEXT_ONLY = "(text only)"
"""In the name of every model that does not hear, so that no table takes it for one that does."""


@dataclass(frozen=True)
class PromptText:
    """A prompt as text, before a model's tokenizer and template have seen it.

    Args:
        before: The beginning of the answer, which a label continues, without trailing space (``The speaker is
            feeling``). A chat model finds it already written in its own turn.
        context: Text given to a transcribing model ahead of the answer (for Whisper: the earlier transcript).
        instruction: What the user's turn of a chat says beside the sound.
        system: What the system turn says; None leaves what the chat template itself puts there.
        audio_first: Whether the sound stands before the instruction in the user's turn.
    """

    before: str = ""
    context: str = ""
    instruction: str = ""
    system: str | None = None
    audio_first: bool = True


def unasked(name: str) -> InputError:
    """The error of asking a model that only hears."""
    return InputError(
        f"{name} hears and does not answer: no text can be asked of it",
        field="model",
        remedy="Train a head on its states (emoprobe train), read classes of its own (readout=classifier), or choose a "
        "model that answers.",
    )


def check_answers(node: Mapping) -> None:
    """Refuse a ``model`` node whose loader says that its models only hear, before anything is loaded.

    Raises:
        InputError: It says so; `emoprobe.models.answering.answering` finds out the others.
    """
    _, *bases = kin(node[TARGET]) or ("",)
    if "SpeechFoundationModel" in bases and "AnsweringModel" not in bases:
        raise unasked(str(node.get("path") or node.get("name")))
