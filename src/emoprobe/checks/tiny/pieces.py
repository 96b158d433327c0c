"""A tiny tokenizer of the SentencePiece kind: a bar stands for a space, and bytes for what has no piece."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from emoprobe.checks.tiny.common import WORDS

BAR = "▁"
PRINTABLE = [chr(code) for code in range(33, 127)]


def pieces(first: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges by which each word becomes the tokens given; tokens with the first ids stand before."""
    vocabulary = dict.fromkeys([*first, BAR, *PRINTABLE])
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS.split():
        start, *rest = word.split("|")
        for piece in (BAR + start, *rest):
            for end in range(1, len(piece)):
                merges[piece[:end], piece[end]] = None
                vocabulary[piece[: end + 1]] = None
    return {token: i for i, token in enumerate(vocabulary)}, list(merges)


def write_pieces(
    folder: Path, special: Sequence[str], *, roles: dict[str, str], prepended: bool = False
) -> PreTrainedTokenizerFast:
    """Write the tokenizer.

    Args:
        folder: The checkpoint's folder.
        special: The special tokens, which have the first ids in this order.
        roles: The special tokens that transformers asks for, by role (``eos_token``).
        prepended: Whether a space is put before any text, as Llama's tokenizer does it, and not only before text that
            begins without one.
    """
    ids, merges = pieces([*special, *(f"<0x{byte:02X}>" for byte in range(256))])
    made = Tokenizer(BPE(ids, merges, unk_token=roles["unk_token"], fuse_unk=True, byte_fallback=True))
    replace, join = decoders.Replace(BAR, " "), [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    if prepended:
        made.normalizer = normalizers.Sequence([normalizers.Prepend(BAR), normalizers.Replace(" ", BAR)])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=BAR, prepend_scheme="always")
    made.decoder = decoders.Sequence([replace, *join])
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, clean_up_tokenization_spaces=False, **roles)
    tokenizer.save_pretrained(folder)
    return tokenizer
