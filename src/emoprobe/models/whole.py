"""A model that is trained reads every layer and every frame."""

from __future__ import annotations

from typing import Any

from emoprobe.models.base import Network


def keep_whole(model: Network) -> None:
    """Let no layer be dropped and no frame be masked in training mode."""
    for module in model.modules():
        if hasattr(module, "layerdrop"):
            module.layerdrop = 0.0
        config: Any = getattr(module, "config", None)
        for name in ("layerdrop", "encoder_layerdrop", "speech_encoder_layerdrop"):
            if hasattr(config, name):
                setattr(config, name, 0.0)
        if hasattr(config, "mask_time_prob"):
            config.apply_spec_augment = False
