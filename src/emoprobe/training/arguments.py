"""What Lightning's trainer and callbacks are told by a configuration, checked before Lightning is imported."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from emoprobe.errors import InputError
from emoprobe.nodes import TARGET, check_arguments, check_node, signature_of
from emoprobe.options import Count, Natural, Words, valid

NoPlace = Mapping[str, tuple[str, str]]

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
STRATEGIES = (
    *("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true", "single_device"),
    *("ddp_spawn", "ddp_fork", "ddp_notebook"),
    *(
        f"ddp_{how}_find_unused_parameters_{said}"
        for how in ("spawn", "fork", "notebook")
        for said in ("false", "true")
    ),
    *("fsdp", "fsdp_cpu_offload", "deepspeed", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_2_offload"),
    *("deepspeed_stage_3", "deepspeed_stage_3_offload", "deepspeed_stage_3_offload_nvme"),
    *("single_xla", "xla_debug", "xla", "single_tpu"),
)
PRECISIONS = (
    *("32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true", "32", "16", "bf16", "64", 16, 32, 64),
    *("transformer-engine", "transformer-engine-float16"),
)
Devices = Annotated[
    Literal["auto", -1] | Count | Annotated[str, StringConstraints(pattern=r"^-?\d+(, *\d+)*$")] | list[Natural],
    Words("auto, a number of devices, -1 for all of them, or a list of their numbers"),
]
ARGUMENTS = {
    "accelerator": Literal[*ACCELERATORS],
    "devices": Devices,
    "strategy": Literal[*STRATEGIES],
    "precision": Literal[*PRECISIONS] | None,
    "profiler": Literal["simple", "advanced", "pytorch", "xla"] | None,
    "gradient_clip_algorithm": Literal["norm", "value"] | None,
    "deterministic": bool | Literal["warn"] | None,
    "enable_progress_bar": bool,
}
"""Arguments of Lightning's trainer whose values its signature does not tell; each may be a node too."""
OURS: NoPlace = {
    "logger": ("the tracker is a group of its own", "Use logger=wandb, csv, tensorboard or none."),
    "default_root_dir": ("everything is written into the run folder", "Use hydra.run.dir=DIR."),
    "use_distributed_sampler": ("every process takes its own part of the clips already, none twice", "Leave it out."),
}
"""Arguments that Lightning knows and a run decides otherwise: why, and what to do instead."""

ONLY_FITTING = (
    *("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "accumulate_grad_batches"),
    *("gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches", "limit_val_batches", "limit_test_batches"),
    *("check_val_every_n_epoch", "val_check_interval", "num_sanity_val_steps", "reload_dataloaders_every_n_epochs"),
    *("enable_checkpointing", "sync_batchnorm"),
)
"""Arguments of Lightning's trainer, and callbacks, that mean something in emoprobe train alone."""
FITTING_CALLBACKS = ("EarlyStopping", "ModelCheckpoint", "LearningRateMonitor")
FEWER = ("this would leave clips unscored", "Use dataset.limit=N, which takes the same N clips, spread over speakers.")
PRECISION = "Scoring computes in the precision of the model, which is recorded: model.dtype=bfloat16."
NOT_IN_SCORING: NoPlace = {
    **dict.fromkeys(ONLY_FITTING, ("scoring fits nothing", "Leave it out; emoprobe train takes it.")),
    **dict.fromkeys(("limit_predict_batches", "fast_dev_run", "overfit_batches"), FEWER),
}
ALL_ARE_TESTED = ("every held-out clip is tested, by emoprobe itself", "Use dataset.limit=N for fewer clips.")
NOT_IN_FITTING: NoPlace = {
    "limit_test_batches": ALL_ARE_TESTED,
    "limit_predict_batches": ALL_ARE_TESTED,
    "barebones": ("a fit needs the checkpoints and values that this forbids", "Leave it out."),
}


WHOLE = (
    "every process holds the whole model",
    "For one beyond a card use model.device_map=auto, which spreads it over the cards of one process, or "
    "model.quantization=4bit.",
)
DIVIDING = ("fsdp", "deepspeed")
"""How the strategies of Lightning are called that divide a model among processes."""


def check_strategy(given: Mapping[str, Any]) -> None:
    """Refuse a strategy that would divide the model among processes.

    Raises:
        InputError: It is one.
    """
    strategy = given.get("strategy")
    name = str(strategy.get(TARGET)).rpartition(".")[2] if isinstance(strategy, Mapping) else str(strategy)
    if name.lower().startswith((*DIVIDING, "modelparallel")):
        raise InputError(WHOLE[0], field="trainer.strategy", remedy=WHOLE[1])


def check_names(given: Mapping[str, Any], refused: NoPlace) -> None:
    """Refuse arguments that Lightning's trainer does not have, or that have no place in a run.

    Args:
        given: Its arguments.
        refused: Those that mean nothing in this kind of run: why, and what to do instead.

    Raises:
        InputError: There is one.
    """
    signature, no_place = signature_of("lightning.Trainer"), {**OURS, **refused}
    for name, value in given.items():
        if signature is not None and name not in signature.parameters:
            near = get_close_matches(name, signature.parameters, 1)
            remedy = f"Did you mean trainer.{near[0]}?" if near else "See the documentation of lightning.Trainer."
            raise InputError("Lightning's trainer has no such argument", field=f"trainer.{name}", remedy=remedy)
        if name in no_place and value is not None and value is not False:
            what, remedy = no_place[name]
            raise InputError(what, field=f"trainer.{name}", remedy=remedy)


def check_values(given: Mapping[str, Any]) -> None:
    """Refuse values that arguments of Lightning's trainer do not take.

    Raises:
        InputError: There is one.
    """
    for name, known in ARGUMENTS.items():
        value = given.get(name)
        if name in given and not (isinstance(value, Mapping) and TARGET in value):
            valid(known, value, f"trainer.{name}")
    signature = signature_of("lightning.Trainer")
    if signature is not None:
        check_arguments({name: own for name, own in given.items() if name not in ARGUMENTS}, signature, "trainer")


def check_fitting(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The trainer's arguments of a training; raises `InputError`."""
    check_names(given, NOT_IN_FITTING)
    check_values(given)
    check_strategy(given)
    return given


def check_scoring(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The trainer's arguments of a scoring run; raises `InputError`."""
    check_names(given, NOT_IN_SCORING)
    check_values(given)
    check_strategy(given)
    if given.get("precision") not in (None, 32, "32", "32-true"):
        raise InputError("Lightning's precision is for training", field="trainer.precision", remedy=PRECISION)
    return given


def check_callbacks(nodes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Callbacks by name, each a node or null; raises `InputError`."""
    for name, node in nodes.items():
        field = f"callbacks.{name}"
        if node is None:
            continue
        if not isinstance(node, Mapping) or TARGET not in node:
            near = get_close_matches(name, [each for each in nodes if each != name], 1)
            remedy = f"Did you mean callbacks.{near[0]}?" if near else "Give a _target_ that names a class, or null."
            raise InputError("this is no callback of Lightning", field=field, remedy=remedy)
        check_node({key: value for key, value in node.items() if (key, value) != ("mode", None)}, field)
    return nodes


def check_scoring_callbacks(nodes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of a scoring run; raises `InputError`."""
    for name, node in nodes.items():
        if isinstance(node, Mapping) and str(node.get(TARGET)).rpartition(".")[2] in FITTING_CALLBACKS:
            remedy = "Leave it out: callbacks=none, or callbacks=rich_progress_bar."
            raise InputError("scoring fits nothing for this callback", field=f"callbacks.{name}", remedy=remedy)
    return check_callbacks(nodes)
