"""What transformers itself makes of a chat with a sound in it: the reference that nothing of emoprobe rebuilds."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor


def chat_inputs(sfm, prompt, waveform: Tensor, written: Sequence[int] = ()) -> dict:
    """The processor's own inputs for the chat with the sound, then the answer's beginning and further tokens.

    An option of the class's forward pass is among them where its own default draws noise (VibeVoice-ASR).

    Args:
        sfm: An audio LLM; of its family only the conversation (who says what) is taken.
        prompt: A `PromptText`.
        waveform: The sound, ``[samples]``.
        written: Token ids after the chat.
    """
    processor, family = sfm.family.processor, sfm.family
    if type(processor).__name__ == "VoxtralProcessor":
        inputs = dict(processor.apply_chat_template(family.messages(prompt, waveform.numpy())))
    else:
        messages = copy.deepcopy(family.messages(prompt))
        options = {"add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}
        if isinstance(messages[-1]["content"], str):  # the placeholder stands in a string
            text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            inputs = dict(processor(text=text, audio=[waveform.numpy()], return_tensors="pt"))
        else:
            for part in messages[-1]["content"]:
                if part["type"] == "audio":
                    part["audio"] = waveform.numpy()
            inputs = dict(processor.apply_chat_template(messages, tokenize=True, **options))
    begun = processor.tokenizer(prompt.before, add_special_tokens=False).input_ids if prompt.before else []
    ids = torch.tensor([[*begun, *written]], dtype=torch.long)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    return {name: value for name, value in inputs.items() if isinstance(value, Tensor)} | dict(family.further)


@torch.no_grad()
def chat_logits(sfm, prompt, waveform: Tensor, written: Sequence[int] = ()) -> Tensor:
    """Logits of the class's own forward pass, ``[positions, vocabulary]``; Granite's scaled as it was trained."""
    return sfm.family.class_logits(sfm.model(**chat_inputs(sfm, prompt, waveform, written)).logits[0].float())
