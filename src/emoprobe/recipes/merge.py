"""Parts of a run, scored by jobs of their own, become the run that one job would have made.

Score tables pass through part by part, in the order of the parts' numbers, behind the null inputs, which every part has
scored and the run holds once; utterances stand in the corpus's order. What depends on all clips is derived anew.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emoprobe.data.utterance import Skipped
from emoprobe.errors import InputError
from emoprobe.recipes.analyse import as_it_ran
from emoprobe.run import files, sealing
from emoprobe.run.cell import in_words
from emoprobe.run.folder import RunFolder
from emoprobe.run.parts import Part, Sum, check_alike, find_parts, unlike
from emoprobe.run.scores import CLIP, column_names, write_scores
from emoprobe.run.writing import PLACE, finish_run
from emoprobe.system import stopping
from emoprobe.system.claim import claimed
from emoprobe.system.output import write_json, write_text

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

OF_A_CELL = ("model_revision", "dtype", "library_versions", "label_set_hash", "prompt_hash", "readout_options")
OF_A_NULL = ("input", "draw", "audio_sha256", "prompt_hash", "question_hash", "readout")
LIKELIHOOD = "form_logprobs"
TOLERANCE = {"float32": 1e-3}
HALF = 0.25
"""How far log-probabilities of the same null input may be apart, nats: by dtype, and of shorter ones. On cards of one
kind they are the same bit by bit."""


def merge(folders: Sequence[Path], output: Path) -> Path:
    """Make one run of all its parts, print its results, and return its folder.

    The same command again makes the same run again, whatever an interruption has left of it.

    Args:
        folders: Of the parts, or folders that hold them.
        output: Run folder of the result.

    Raises:
        InputError: A part is missing, doubled, unfinished, damaged, or of another run than the others; or the output
            folder holds something else.
    """
    from emoprobe.analysis.derive import analyse
    from emoprobe.recipes.settings import read_analysis
    from emoprobe.report.results import print_results, write_results

    parts = find_parts(folders, output)
    check_alike(parts)
    _check_output(output, parts)
    with stopping.heard("Run the same command again to go on."), claimed(output, "merge", "--output"):
        utterances = _utterances(parts)
        whole = Sum(parts, utterances.loc[utterances["role"] == "evaluated", "utterance_id"].tolist())
        record = whole.record
        write_json(record.to_json() | {"num_scored": None}, output / files.RECORD)
        _pass_on_settings(parts[0].run, output)
        names = column_names([part.run.home / files.SCORES for part in parts])
        write_scores(output, names, _tables(parts))
        record = finish_run(output, record, [row for part in parts for row in _skipped(part)], utterances)
        made = RunFolder(output)
        options = read_analysis(as_it_ran(made, ()))
        print(f"Merged   {len(parts)} parts, {record.num_scored:,} clips scored")
        analysis = analyse(made.table, utterances, record.labels, options)
        figures = write_results(output, analysis, record, figures=options.figures)
    print_results(analysis, record, output, figures)
    return output


def _check_output(output: Path, parts: Sequence[Part]) -> None:
    """Refuse a folder that holds anything but what this command has begun or made there before."""
    if not output.exists():
        return
    held = [each for each in output.iterdir() if not each.name.startswith(".")] if output.is_dir() else [output]
    if not held:
        return
    wanted = [(str(part.shard), part.sha256) for part in parts]
    try:
        earlier = RunFolder(output).record.merged or () if output.is_dir() else ()
    except InputError:
        earlier = ()
    if [(each.get("part"), each.get("sha256")) for each in earlier] != wanted:
        raise InputError(
            "the folder holds something else than the run of these parts",
            file=output,
            field="--output",
            remedy="Give a new folder.",
        )


def _utterances(parts: Sequence[Part]) -> pd.DataFrame:
    """The human side of the whole run, in the corpus's order; every part is read and checked for it.

    Raises:
        InputError: A part is damaged, or holds an utterance that belongs to another.
    """
    import pandas as pd

    frames, others = [], None
    for part in parts:
        frame = part.run.utterances
        own = frame[frame["role"] == "evaluated"]
        file = part.run.home / files.UTTERANCES
        strange = [name for name in own["utterance_id"] if not part.shard.holds(name)]
        if PLACE not in own or own[PLACE].isna().any() or strange:
            what = (
                f"{strange[0]!r} is no utterance of part {part.shard}" if strange else f"the column {PLACE} is damaged"
            )
            raise InputError(what, file=file, field=PLACE, remedy="Run the part again into a new folder.")
        rest = frame[frame["role"] != "evaluated"]
        if others is None:
            others = rest
        elif rest["utterance_id"].tolist() != others["utterance_id"].tolist():
            raise unlike("training utterances", len(others), len(rest), parts[0], file)
        frames += [own] if len(own) else []
        part.run.release()
    if not frames:
        raise InputError("no part holds a clip that could be scored", file=parts[0].run.folder)
    order = pd.concat(frames).sort_values(PLACE)
    whole = pd.concat([order, others]) if others is not None and len(others) else order
    return whole.drop(columns=PLACE).reset_index(drop=True)


def _tables(parts: Sequence[Part]) -> Iterator[pa.Table]:
    """Null inputs once, then the clips of part after part; memory is that of one part.

    Raises:
        InputError: A part is damaged, or its cells or null inputs are not those of the others.
    """
    import pyarrow.compute as pc

    nulls: pa.Table | None = None
    cells: dict[tuple, dict[str, Any]] = {}
    for part in parts:
        stopping.check()
        table, file = part.run.table, part.run.home / files.SCORES
        part.run.release()
        _check_cells(cells, table, parts[0], file)
        of_clips = pc.equal(table["input"], CLIP)
        own = table.filter(pc.invert(of_clips))
        if nulls is None:
            nulls = own
            yield nulls
        else:
            _check_nulls(nulls, own, parts[0], file)
        yield table.filter(of_clips)


def _check_cells(known: dict[tuple, dict[str, Any]], table: pa.Table, first: Part, file: Path) -> None:
    """Refuse a part whose cells were asked otherwise, or are others, than those of the parts before."""
    columns = table.select([*sealing.ASKED, *OF_A_CELL])
    found = (
        columns.group_by(list(sealing.ASKED), use_threads=False)
        .aggregate([(name, "min") for name in OF_A_CELL])
        .to_pylist()
    )
    own = {
        tuple(row[name] for name in sealing.ASKED): {name: row[f"{name}_min"] for name in OF_A_CELL} for row in found
    }
    for cell in dict.fromkeys((*known, *own)) if known and own else ():
        if (cell in known) != (cell in own):
            raise unlike(f"the cell {in_words(cell)}", cell in known, cell in own, first, file)
        for name in OF_A_CELL:
            if known[cell][name] != own[cell][name]:
                raise unlike(name, known[cell][name], own[cell][name], first, file)
    known.update(own)


def _check_nulls(one: pa.Table, two: pa.Table, first: Part, file: Path) -> None:
    """Refuse a part whose null inputs are others, or were answered otherwise."""

    def by_key(table: pa.Table) -> dict[tuple, tuple[str, Any]]:
        rows = table.select([*OF_A_NULL, "dtype", LIKELIHOOD]).to_pylist()
        return {tuple(row[name] for name in OF_A_NULL): (row["dtype"], row[LIKELIHOOD]) for row in rows}

    here, there = by_key(one), by_key(two)
    if set(here) != set(there):
        raise unlike("null inputs", len(here), len(there), first, file)
    for key, (dtype, values) in here.items():
        other = there[key][1]
        if values is None and other is None:
            continue
        gap = np.abs(np.subtract(values, other)).max() if values and other and len(values) == len(other) else np.inf
        if not gap <= TOLERANCE.get(dtype, HALF):
            raise unlike(f"{LIKELIHOOD} of the null input {key[0]}", values, other, first, file)


def _skipped(part: Part) -> list[Skipped]:
    file = part.run.home / files.SKIPPED
    if not file.is_file():
        raise InputError(f"{file.name} is missing", file=file, remedy=sealing.REMEDY)
    with file.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    return [
        Skipped(
            row["utterance_id"], row["reason"], row["message"], row["file"], int(row["row"]) if row["row"] else None
        )
        for row in rows
    ]


def _pass_on_settings(run: RunFolder, output: Path) -> None:
    """Leave the configuration of the parts beside the run, as that of a whole one, for later analyses."""
    from omegaconf import OmegaConf, open_dict

    config = run.config
    if config is None:
        print("note: the parts hold no configuration: analysed with the default calibrations")
        return
    with open_dict(config):
        config.dataset.shard = None
    (output / ".hydra").mkdir(exist_ok=True)
    write_text(OmegaConf.to_yaml(config), output / ".hydra" / "config.yaml")
    given = run.home / ".hydra" / "overrides.yaml"
    if given.is_file():
        kept = [each for each in OmegaConf.load(given) if not str(each).lstrip("+").startswith("dataset.shard=")]
        write_text(OmegaConf.to_yaml(OmegaConf.create(kept)), output / ".hydra" / "overrides.yaml")
