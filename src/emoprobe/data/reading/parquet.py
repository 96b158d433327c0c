"""Parquet and Arrow tables that may be damaged, and sound that stands inside of them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from emoprobe.data.reading.files import AUDIO_SUFFIXES, RESTORE
from emoprobe.errors import InputError
from emoprobe.system.cache import cache_folder

_ROWS = 64  # read at once: sound may stand in them
_MAGIC = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"\xff\xfb": ".mp3", b"FORM": ".aiff"}


def parquet_rows(
    file: Path, needed: Sequence[str] = (), *, only_needed: bool = False, remedy: str = f"{RESTORE}."
) -> Iterator[tuple[int, dict]]:
    """``(row number, values by column)`` of a Parquet file, a few rows in memory at a time; the first row is row 1.

    Args:
        file: The file.
        needed: Columns that must be there.
        only_needed: Read no others.
        remedy: What to do about a damaged file.

    Raises:
        InputError: The file cannot be read to its end, or a column is missing or occurs twice.
    """
    import pyarrow.parquet as pq

    # Damaged files make pyarrow raise whatever the damage leads to (ArrowException, OSError, ValueError, OverflowError,
    # KeyError, ...); all of it means the same.
    try:
        table = pq.ParquetFile(file)
        names = list(table.schema_arrow.names)
    except Exception as error:
        raise _damaged(file, error, remedy) from error
    _check_columns(file, names, needed, remedy)
    row = 0
    try:
        with table:
            for batch in table.iter_batches(_ROWS, columns=list(needed) if only_needed else None):
                for values in batch.to_pylist():
                    row += 1
                    yield row, values
    except InputError:
        raise
    except Exception as error:
        raise _damaged(file, error, remedy) from error


def arrow_rows(file: Path, needed: Sequence[str] = ()) -> Iterator[tuple[int, dict]]:
    """``(row number, values by column)`` of an Arrow stream or file, as the ``datasets`` library saves them.

    Raises:
        InputError: The file cannot be read to its end, or a column is missing or occurs twice.
    """
    import pyarrow as pa

    row = 0
    try:
        with pa.memory_map(str(file)) as source:
            try:
                reader = pa.ipc.open_stream(source)
            except pa.ArrowInvalid:
                reader = pa.ipc.open_file(source)
            _check_columns(file, reader.schema.names, needed)
            stream = hasattr(reader, "read_next_batch")
            batches = reader if stream else map(reader.get_batch, range(reader.num_record_batches))
            for batch in batches:
                batch.validate(full=True)
                for start in range(0, batch.num_rows, _ROWS):
                    for values in batch.slice(start, _ROWS).to_pylist():
                        row += 1
                        yield row, values
    except InputError:
        raise
    except Exception as error:
        raise _damaged(file, error) from error


def class_names(file: Path) -> dict[str, list[str]]:
    """Column -> its words by number, as the ``datasets`` library notes them in a Parquet or Arrow file, where it does.

    Raises:
        InputError: The file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix.lower() == ".parquet":
            schema = pq.read_schema(file)
        else:
            with pa.memory_map(str(file)) as source:
                try:
                    schema = pa.ipc.open_stream(source).schema
                except pa.ArrowInvalid:
                    schema = pa.ipc.open_file(source).schema
    except Exception as error:
        raise _damaged(file, error) from error
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        found = {column: _class_label(feature) for column, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {column: names for column, names in found.items() if names}


def _class_label(feature: object) -> list[str]:
    """The words of a feature that is a class, or a list of classes."""
    if isinstance(feature, list) and len(feature) == 1:
        return _class_label(feature[0])
    if not isinstance(feature, dict):
        return []
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _class_label(feature.get("feature"))
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def _damaged(file: Path, error: Exception, remedy: str = f"{RESTORE}.") -> InputError:
    what = f"the file cannot be read: {type(error).__name__}, {str(error) or 'no more is known'!s:.200}"
    return InputError(what.replace("\n", " ").rstrip(". "), file=file, remedy=remedy)


def _check_columns(file: Path, names: Sequence[str], needed: Sequence[str], remedy: str = f"{RESTORE}.") -> None:
    for name in (*needed, *names):
        if names.count(name) != 1:
            what = f"the column {name!r:.80} " + ("occurs twice" if name in names else "is missing")
            what += f"; there are {', '.join(map(repr, names))}"[:300]
            raise InputError(what, file=file, field=name, remedy=remedy)


def store_sound(content: bytes, name: str | None = None, *, cache_dir: str | Path | None = None) -> Path:
    """Write sound that stands in a table as a file of the cache, once; the same bytes are the same file.

    Args:
        content: A sound file's bytes.
        name: Its name, for the suffix; else the first bytes tell.
        cache_dir: Cache folder; see `emoprobe.system.cache.cache_folder`.

    Returns:
        ``<cache>/corpora/sound/<two digits>/<SHA-256><suffix>``.

    Raises:
        InputError: The cache cannot be written.
    """

    digest = hashlib.sha256(content).hexdigest()
    suffix = os.path.splitext(name or "")[1].lower()
    if suffix not in AUDIO_SUFFIXES:
        suffix = next((suffix for magic, suffix in _MAGIC.items() if content.startswith(magic)), ".wav")
    file = cache_folder(cache_dir).absolute() / "corpora" / "sound" / digest[:2] / (digest + suffix)
    try:
        if not (file.is_file() and file.stat().st_size == len(content)):
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".", dir=file.parent)
            try:
                with os.fdopen(handle, "wb") as target:
                    target.write(content)
                os.replace(temporary, file)
            except BaseException:
                os.unlink(temporary)
                raise
    except OSError as error:
        what = f"the sound cannot be written to the cache: {error.strerror or error}"
        raise InputError(what, file=file, remedy="Make room, or name another folder: EMOPROBE_CACHE.") from None
    return file
