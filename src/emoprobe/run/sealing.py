"""Checksums of what a run folder holds: of content, not of files, so that a copy compressed otherwise is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emoprobe.errors import InputError
from emoprobe.run import files
from emoprobe.run.cell import in_words
from emoprobe.system.digest import digest_of

if TYPE_CHECKING:
    import pyarrow as pa

SEAL = "files"
"""Key of the seal in the record and beside the metric rows."""
ROWS = "rows"
"""Key of the checksum of the metric table's rows in the seal beside them."""
INDEX = "__index_level_0__"  # what pandas adds to a table whose index it keeps
ASKED = ("model", "prompt", "readout")
"""What names the rows of a score table: cells of one of them differ in how these rows are read."""
REMEDY = "Run it again into a new folder (hydra.run.dir=DIR), or bring back the file that the run wrote."


def seal(folder: Path) -> dict:
    """What a finished run's record says about the score table and the utterances in its folder.

    Returns:
        File -> ``rows``, ``sha256`` of all content, ``columns`` (name -> first 16 digits of the SHA-256 of its content)
        and, of the score table, ``cells``: model, prompt, readout and number of clips of each.
    """
    import pyarrow.parquet as pq

    found = {}
    for name in (files.SCORES, files.UTTERANCES):
        if (folder / name).is_file():
            with pq.ParquetFile(folder / name) as file:
                columns = file.schema_arrow.names
                found[name] = _fingerprint(file.metadata.num_rows, columns, lambda one: file.read([one])[one])
                if name == files.SCORES:
                    found[name]["cells"] = _cells(file.read(["input", "utterance_id", *ASKED]))
    return found


def seal_predictions(folder: Path) -> dict:
    """The same of the predictions, for what stands beside the metric rows."""
    import pyarrow.parquet as pq

    return {files.PREDICTIONS: fingerprint(pq.read_table(folder / files.PREDICTIONS))}


def seal_rows(rows: Sequence[Mapping]) -> str:
    """SHA-256 of the rows of a metric table as JSON values, whatever their layout in the file."""
    return digest_of(rows)


def fingerprint(table: pa.Table) -> dict:
    """Rows and checksums of a table's content: neither chunks, nor encodings, nor the order of columns count."""
    return _fingerprint(table.num_rows, table.column_names, lambda name: table[name])


def _fingerprint(rows: int, names: Sequence[str], column: Callable[[str], pa.ChunkedArray]) -> dict:
    """The same of columns that are read one at a time, which is all that must fit into memory."""
    columns = {name: _digest(column(name)) for name in sorted(set(names) - {INDEX})}
    whole = digest_of([rows, columns])
    return {"rows": rows, "sha256": whole, "columns": columns}


def _digest(column: pa.ChunkedArray) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a column's values in order."""
    import pyarrow as pa

    digest = hashlib.sha256()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type):
        column = column.cast(pa.large_string())  # a large table's texts have no room in one chunk of short ones
    joined = column.combine_chunks()
    # An empty column, or one of several chunks, comes back chunked in some versions.
    for chunk in joined.chunks if isinstance(joined, pa.ChunkedArray) else [joined]:
        _add(digest, chunk)
    return digest.hexdigest()[:16]


def _add(digest: Any, array: pa.Array) -> None:
    """Feed an array's values: where there are any, lengths of lists and texts, then what is in them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    digest.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_null(kind):
        return
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        digest.update(_numbers(pc.list_value_length(array), "<i8"))
        _add(digest, array.flatten())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = pc.fill_null(array, "").cast(pa.large_binary())
        digest.update(_numbers(pc.binary_length(texts), "<i8"))
        ends = np.frombuffer(texts.buffers()[1], "<i8")[texts.offset : texts.offset + len(texts) + 1]
        if len(texts) and ends[-1] > ends[0]:
            digest.update(memoryview(texts.buffers()[2])[ends[0] : ends[-1]])
    else:
        digest.update(_numbers(array, "<f8" if pa.types.is_floating(kind) else "<i8"))


def _numbers(array: pa.Array, kind: str) -> bytes:
    import pyarrow as pa
    import pyarrow.compute as pc

    wide = array.cast(pa.float64() if kind == "<f8" else pa.int64())
    return pc.fill_null(wide, 0).to_numpy(zero_copy_only=False).astype(kind).tobytes()


def _cells(scores: pa.Table) -> list[dict]:
    """Model, prompt, readout and number of clips of every cell, in the order of their names."""
    import pyarrow.compute as pc

    clips = scores.filter(pc.equal(scores["input"], "clip"))
    counted = clips.group_by(list(ASKED)).aggregate([("utterance_id", "count_distinct")]).to_pylist()
    cells = [{**{name: row[name] for name in ASKED}, "clips": row["utterance_id_count_distinct"]} for row in counted]
    return sorted(cells, key=lambda cell: [str(cell[name]) for name in ASKED])


def stated_of(stated: object, name: str) -> Mapping | None:
    """What a seal says about a file; None without one.

    Raises:
        InputError: The seal is none.
    """
    if not stated:
        return None
    if not isinstance(stated, Mapping) or not isinstance(stated.get(name, {}), Mapping):
        raise InputError(f"the checksums of {name} cannot be read", field=SEAL, remedy=REMEDY)
    return stated.get(name)


def check_seal(file: Path, stated: Mapping, table: pa.Table) -> None:
    """Refuse a table that is not the one that was sealed.

    Raises:
        InputError: Its content is another.
    """
    found = fingerprint(table)
    if found["sha256"] == stated.get("sha256"):
        return
    told = []
    if found["rows"] != stated.get("rows"):
        told.append(f"{found['rows']} rows instead of {stated.get('rows')}")
        then = {tuple(cell[name] for name in ASKED): cell["clips"] for cell in stated.get("cells", ())}
        now = {tuple(c[name] for name in ASKED): c["clips"] for c in _cells(table)} if then else {}
        other = [key for key in {**then, **now} if then.get(key) != now.get(key)]
        told += [f"{now.get(key, 0)} clips instead of {then.get(key, 0)} in {in_words(key)}" for key in other[:1]]
    else:
        before, after = stated.get("columns", {}), found["columns"]
        told += [f"changed in {name}" for name in before if name in after and before[name] != after[name]][:4]
        told += [f"without {name}" for name in before if name not in after][:4]
        told += [f"with a new column {name}" for name in after if name not in before][:4]
    raise InputError(
        f"the file is not the one that the run wrote: {'; '.join(told) or 'its checksum differs'}",
        file=file,
        remedy=REMEDY,
    )
