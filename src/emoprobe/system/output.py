"""Files that appear whole or not at all: a full disk or a kill leaves what was there before, and never half a file."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

REMEDY = "Make room or give write access, then run the same command again: what was computed before is kept."

_BEGUN = re.compile(r"\.[0-9a-f]{32}(\.\w+)?")


@contextmanager
def whole(file: Path, remedy: str = REMEDY) -> Iterator[Path]:
    """A path beside ``file``, with its suffix, to write to; it takes the file's place once the block has ended well.

    The folder must be there: one that has vanished has taken with it what was computed.

    Raises:
        InputError: The file cannot be written; nothing is left of it.
    """
    temporary = file.with_name(f".{uuid.uuid4().hex}{file.suffix}")
    try:
        yield temporary
        os.replace(temporary, file)
    except OSError as error:
        what = f"this file cannot be written: {error.strerror or error}"
        raise InputError(what, file=file, remedy=remedy) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what `whole` had begun to write into a folder when its process was killed; nobody else may write there."""
    for file in folder.glob(".*"):
        if _BEGUN.fullmatch(file.name):
            with suppress(OSError):
                file.unlink()


def write_text(text: str, file: Path) -> None:
    """Write UTF-8; what UTF-8 does not have (halves of a damaged file name) stands as an escape."""
    with whole(file) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def write_json(value: Any, file: Path) -> None:
    """Write strict JSON."""
    write_text(json.dumps(json_safe(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n", file)


def write_csv(frame: pd.DataFrame, file: Path) -> None:
    """Write a data frame without its index."""
    write_text(frame.to_csv(index=False, lineterminator="\n"), file)


def write_rows(names: Sequence[str], rows: Iterable[Sequence], file: Path) -> None:
    """Write a CSV table of plain values."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows(rows)
    write_text(text.getvalue(), file)


def write_parquet(frame: pd.DataFrame, file: Path) -> None:
    """Write a data frame without its index."""
    with whole(file) as temporary:
        frame.to_parquet(temporary, index=False)


def json_safe(value: Any) -> Any:
    """Plain JSON values: NaN and infinities, which JSON does not have, become null and the strings inf, -inf."""
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
