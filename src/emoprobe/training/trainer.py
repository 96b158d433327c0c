"""Lightning's trainer and callbacks out of a config: each argument passes through, or one line says why it does not.

Under ``trainer`` stand the arguments of `lightning.Trainer`, under ``callbacks`` what is to be called, by ``_target_``;
an argument that takes an object (``strategy``, ``plugins``, ``profiler``) may be such a node too.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher

from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS
from emoprobe.settings import call, make
from emoprobe.system import slurm
from emoprobe.training.arguments import OURS, NoPlace, check_names


def make_trainer(options: Mapping, own: Mapping, refused: NoPlace) -> L.Trainer:
    """The trainer that a config describes.

    Args:
        options: Arguments of `lightning.Trainer`, plain values; nodes with a ``_target_`` are instantiated.
        own: Arguments that the caller decides.
        refused: Further arguments that mean nothing here: why, and what to do instead.

    Raises:
        InputError: An argument is refused, unknown, or not what Lightning takes.
    """
    check_names(options, refused)
    check_devices(options)
    given = {name: value for name, value in options.items() if name not in OURS}
    made = call(lambda: instantiate(given, _convert_="all"), "trainer")
    plugins = listed(made.get("plugins"))
    if any(isinstance(plugin, SLURMEnvironment) and not plugin.auto_requeue for plugin in plugins):
        slurm.never_requeue()
    if slurm.is_alone(made.get("devices", "auto")) and not any(isinstance(one, ClusterEnvironment) for one in plugins):
        plugins.append(LightningEnvironment())
    writes = any(isinstance(plugin, CheckpointIO) for plugin in plugins)  # Lightning takes one
    plugins += [each for each in own.get("plugins", ()) if not (writes and isinstance(each, CheckpointIO))]
    with lightning_refusals(TypeError, ValueError, RuntimeError):
        trainer = L.Trainer(**(made | dict(own) | {"plugins": plugins}))
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise InputError(
            "what is done in processes that are spawned or forked stays there",
            field="trainer.strategy",
            remedy="Use trainer.strategy=ddp, which starts the command anew in each.",
        )
    return trainer


def check_devices(options: Mapping) -> None:
    """Refuse more devices than this machine has, before anything is loaded or begun on them.

    Args:
        options: Arguments of `lightning.Trainer`, plain values. A list of devices, ``auto`` and -1 are Lightning's own
            affair.

    Raises:
        InputError: There are fewer.
    """
    accelerator, devices = options.get("accelerator", "auto"), options.get("devices", 1)
    if isinstance(devices, bool) or not str(devices).isdigit() or accelerator not in ("auto", "cpu", "gpu", "cuda"):
        return
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())
    there = torch.cuda.device_count() if on_gpu else max(2, os.cpu_count() or 1)
    if int(str(devices)) <= there:
        return
    what = f"{there or 'no'} GPU{'' if there == 1 else 's'}" if on_gpu else f"room for {there} processes, one per core"
    raise InputError(
        f"{devices} devices are asked for and this machine has {what}",
        field="trainer.devices",
        remedy=f"Ask for {there} at most." if there else "Use trainer.accelerator=cpu for processes on its cores.",
    )


def listed(value: object) -> list:
    """What Lightning takes as one or several, as a list."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


@contextmanager
def lightning_refusals(*kinds: type[Exception]) -> Iterator[None]:
    """Let what Lightning says of its options come out as the user's error, in one line.

    Args:
        kinds: Exceptions that can mean nothing else here; `MisconfigurationException` never does.

    Raises:
        InputError: In place of these.
    """
    refusals: tuple[type[Exception], ...] = (MisconfigurationException, *kinds)
    try:
        yield
    except refusals as error:
        said = " ".join(str(error).split())
        raise InputError(f"Lightning's trainer refuses its options: {said}", field="trainer") from error
    except RuntimeError as error:  # EarlyStopping has no kind of its own
        if not str(error).startswith("Early stopping conditioned on metric"):
            raise
        raise InputError(" ".join(str(error).split()), field="callbacks") from error


def make_callbacks(nodes: Mapping | None, more: object = None) -> list[L.Callback]:
    """Fresh callbacks, in their order.

    A ``mode`` of null becomes what is better of the metric that ``monitor`` names: ``min`` or ``max``.

    Args:
        nodes: Name -> node with a ``_target_``, or null for none.
        more: ``trainer.callbacks``: another node, or a list of them.

    Raises:
        InputError: A node cannot be carried out, or makes no callback.
    """
    named = [*(nodes or {}).items(), *((f"{i}", node) for i, node in enumerate(listed(more)))]
    return [_make_callback(name, dict(node)) for name, node in named if node is not None]


def _make_callback(name: str, node: dict) -> L.Callback:
    field = f"callbacks.{name}"
    if "mode" in node and node["mode"] is None:
        node["mode"] = _mode(node.get("monitor"), field)
    made = make(node, field) if "_target_" in node else None
    if not isinstance(made, L.Callback):
        raise InputError("this is no callback of Lightning", field=field, remedy="Give a _target_ that names a class.")
    return made


def _mode(monitor: object, field: str) -> str:
    """Whether more or less of a logged value is better."""
    part, _, name = str(monitor).partition("/")
    if part in ("train", "dev") and name == "loss":
        return "min"
    if part != "dev" or name not in METRICS:
        raise InputError(
            f"it is not known whether {monitor!r} should rise or fall",
            field=f"{field}.mode",
            remedy=f"Say min or max, or monitor dev/loss or dev/ and one of {', '.join(METRICS)}.",
        )
    return "max" if METRICS[name].higher_is_better else "min"


def quiet() -> None:
    """Keep the libraries' chatter out of the output; warnings that concern the user are printed by emoprobe itself."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for chatter in (
        ".*does not have many workers.*",
        "Total length of `DataLoader` across ranks is zero",
        ".*isinstance.treespec, LeafSpec.*",
        ".*is smaller than the logging interval.*",
        "Checkpoint directory .* exists and is not empty.*",
        ".*in eval mode at the start of training.*",  # batch norms of a tuned model, which must not drift
        ".*your dataloader is not resumable.*",  # `EpochBatches` is
        ".*when logging on epoch level in distributed setting.*",  # `DevelopmentMetrics` has gathered already
    ):
        warnings.filterwarnings("ignore", message=chatter)
