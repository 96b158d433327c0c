"""What a loaded model is, whatever it is called: its weights and its configuration as hashes."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor

from emoprobe.system.digest import digest_of

SAMPLED_ELEMENTS = 64  # of each tensor of the weights


def sample_of_weights(model: torch.nn.Module) -> str:
    """Hash of name, shape, dtype, sum of bits and a few elements of every tensor; the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if not tensor.is_meta and tensor.numel():
            flat = tensor.detach().flatten()
            some = flat[:: max(1, len(flat) // SAMPLED_ELEMENTS)]
            digest.update(some.cpu().contiguous().view(torch.uint8).numpy().tobytes())
            # Whole numbers add up to the same in any order: one changed element anywhere changes the sum.
            bits = flat.contiguous().view(torch.uint8)
            whole = len(bits) // 8 * 8
            words = (bits[:whole] if bits.storage_offset() % 8 == 0 else bits[:whole].clone()).view(torch.int64)
            digest.update(f"{int(words.sum())} {bits[whole:].tolist()}".encode())
    return digest.hexdigest()[:16]


def sha256_of_weights(model: torch.nn.Module) -> str:
    """SHA-256 of name, shape, dtype and all bits of every tensor, in their order; the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if not tensor.is_meta:
            digest.update(tensor.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def config_of(model: torch.nn.Module) -> str:
    """Hash of a model's configuration: what its weights do not show, such as the number of heads."""
    config = getattr(model, "config", None)
    facts = {} if config is None else config.to_dict()
    plain = {name: value for name, value in facts.items() if name != "_name_or_path"}
    return digest_of(json.loads(json.dumps(plain, default=str)))[:32]
