"""What Slurm's variables say of this process: whether it is one of several tasks, or alone in an allocation.

A batch script and a shell of ``salloc`` have the variables of the whole allocation; ``srun`` alone begins a command
several times, and alone sets those of a step (srun(1), "OUTPUT ENVIRONMENT VARIABLES").
"""

from __future__ import annotations

import os
import subprocess

from emoprobe.errors import InputError

OWN = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")


def tasks() -> int:
    """How often ``srun`` has begun this command; 1 without it, and in a shell that it has begun."""
    if "SLURM_PTY_PORT" in os.environ or "SLURM_STEP_ID" not in os.environ:
        return 1
    return _number("SLURM_STEP_NUM_TASKS")


def is_first() -> bool:
    """Whether this is the first of the tasks, or the only one."""
    return tasks() == 1 or _number("SLURM_PROCID", 0) == 0


def is_alone(devices: object) -> bool:
    """Whether this process is in an allocation of Slurm whose variables are not its own: Lightning must not take its
    rank, and the number of processes, from them.

    Args:
        devices: As Lightning's trainer is told.
    """
    if "SLURM_NTASKS" not in os.environ or tasks() > 1:
        return False
    own = all(name in os.environ for name in OWN) and devices in (1, "1", "auto")
    return not (own and _number("SLURM_NTASKS") == 1 and _number("SLURM_NNODES") == 1)


def check_tasks(devices: object, nodes: object) -> None:
    """Refuse to be one of several processes that each do the whole work.

    Args:
        devices: Per node, as Lightning's trainer is told; what is not a number is Lightning's own affair.
        nodes: Likewise.

    Raises:
        InputError: In the first of them.
        SystemExit: In the others.
    """
    begun = tasks()
    if begun == 1:
        return
    many = len(devices) if isinstance(devices, list) else int(str(devices)) if str(devices).isdigit() else None
    per_node = os.environ.get("SLURM_NTASKS_PER_NODE")
    if many is None or (many * int(str(nodes or 1)) == begun and per_node is not None):
        return
    if not is_first():
        raise SystemExit(2)
    each = f"trainer.devices={begun}" if many == 1 else f"trainer.devices={many}"
    raise InputError(
        f"Slurm's srun has begun this command {begun} times, not {many * int(str(nodes or 1))} as the settings say",
        field="trainer.devices",
        remedy=f"Use srun --ntasks=1, or {each} with as many --ntasks-per-node.",
    )


class _Wish:
    """Whether a job that is told to stop by SIGUSR1 is to be begun again."""

    requeues = True


def never_requeue() -> None:
    """Leave it to the user to begin a job again, as ``SLURMEnvironment(auto_requeue=False)`` says."""
    _Wish.requeues = False


def requeue() -> str | None:
    """Ask Slurm to begin this batch job again, as Lightning's ``SLURMEnvironment`` does at SIGUSR1.

    Returns:
        What was asked for, in words; None where this process is no batch job, or shall not be begun again.
    """
    name, job = os.environ.get("SLURM_JOB_NAME"), os.environ.get("SLURM_JOB_ID")
    if not _Wish.requeues or job is None or name in (None, "bash", "interactive"):
        return None
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return f"Slurm could not be asked to begin job {job} again: {error}."
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        return f"Slurm does not begin job {job} again: {said or f'status {done.returncode}'}."
    return f"Slurm begins job {job} again."


def _number(name: str, default: int = 1) -> int:
    text = os.environ.get(name, "").partition("(")[0]
    return int(text) if text.isdigit() else default
