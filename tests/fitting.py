"""Fitting as a run does it, with the callbacks of the shipped configuration."""

from __future__ import annotations

from pathlib import Path

from emoprobe.settings import compose, plain
from emoprobe.training.fit import ReaderModule, fit_reader
from emoprobe.training.options import FitOptions
from emoprobe.training.trainer import make_callbacks


def fit(reader, loss, clips, options: FitOptions, folder: Path, more=(), **settings) -> ReaderModule:
    """Fit a reader to clips that are its development clips too; ``more`` are further callbacks."""
    own = [f"fit.patience={options.patience}", f"fit.monitor={options.monitor}"]
    nodes = plain(compose([*own, "callbacks=[early_stopping,model_checkpoint]"], "train").callbacks)
    callbacks = [*make_callbacks(nodes), *more]
    return fit_reader(reader, loss, clips, clips, options, checkpoints=folder, callbacks=callbacks, **settings)
