"""Fitting as a run does it, with the callbacks of the shipped configuration."""

from __future__ import annotations

from pathlib import Path

from emoprobe.settings import compose, plain
from emoprobe.training.feature_head import Head
from emoprobe.training.feature_head import make_head as head_of
from emoprobe.training.fit import ReaderModule, fit_reader
from emoprobe.training.heads.base import head_options
from emoprobe.training.losses.base import Loss, make_loss
from emoprobe.training.options import FitOptions
from emoprobe.training.trainer import make_callbacks


def fit(reader, loss, clips, options: FitOptions, folder: Path, more=(), **settings) -> ReaderModule:
    """Fit a reader to clips that are its development clips too; ``more`` are further callbacks."""
    own = [f"fit.patience={options.patience}", f"fit.monitor={options.monitor}"]
    nodes = plain(compose([*own, "callbacks=[early_stopping,model_checkpoint]"], "train").callbacks)
    callbacks = [*make_callbacks(nodes), *more]
    return fit_reader(reader, loss, clips, clips, options, checkpoints=folder, callbacks=callbacks, **settings)


def make_head(config: dict, **sizes) -> Head:
    """The head on features that a config names, with its ``output`` beside it."""
    output = "dirichlet" if config.get("output") == "dirichlet" else "log_probs"
    own = {name: value for name, value in config.items() if value not in ("dirichlet", "log_probs")}
    return head_of(head_options(own), **sizes, output=output)


def loss_of(name: str = "soft_kl", **options) -> Loss:
    """A loss by its name and options."""
    return make_loss({"name": name, **options})
