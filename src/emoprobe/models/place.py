"""Where a model computes, and in which precision."""

from __future__ import annotations

from typing import Any

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(device: str) -> torch.device:
    """The device asked for; ``auto`` takes a GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def straight_to(device: torch.device) -> dict[str, Any]:
    """What ``from_pretrained`` is told to read weights onto a device at once, and not onto the CPU first."""
    return {} if device.type == "cpu" else {"device_map": {"": device}}


def keep_float32() -> None:
    """Let convolutions on a GPU compute in float32 where a model is loaded in it.

    cuDNN's default, TensorFloat-32, keeps 10 of 23 bits: the first layers of an encoder are convolutions, and a form's
    log-probability then depends on the device by some thousandths of a nat.
    """
    torch.backends.cudnn.allow_tf32 = False
