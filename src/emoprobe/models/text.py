"""What a model is asked, as text, and how one is called that knows nothing else."""

from __future__ import annotations

from dataclasses import dataclass

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
