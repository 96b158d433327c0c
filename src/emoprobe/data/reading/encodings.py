"""Text files in the encodings that programs save: told by the file's first bytes or by the user, never guessed."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from emoprobe.errors import InputError

_GZIP = b"\x1f\x8b"
_MARKS = {  # of which those of UTF-32 must come before the shorter ones of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HEAD = 4096  # bytes
OPTION = "dataset.reader.encoding"


def open_bytes(file: Path) -> BinaryIO:
    """A file, unpacked where its first bytes say that gzip packed it, whatever its name.

    Raises:
        OSError: It cannot be read.
    """
    handle = file.open("rb")
    if handle.read(2) != _GZIP:
        handle.seek(0)
        return handle
    handle.close()
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, _Unpacked(gzip.open(file)))))


def first_bytes(file: Path) -> bytes:
    """The beginning of a file, unpacked; empty where it cannot be read, which whoever reads all of it will say."""
    try:
        with open_bytes(file) as handle:
            return handle.read(_HEAD)
    except OSError:
        return b""


class _Unpacked(io.RawIOBase):
    """Unpacked bytes; a damaged file is a file that cannot be read."""

    def __init__(self, handle: gzip.GzipFile) -> None:
        self._handle = handle

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            chunk = self._handle.read(len(buffer))
        except (EOFError, zlib.error, OSError) as error:
            raise OSError(f"it was packed by gzip and is damaged, {error}") from None
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._handle.close()
        super().close()


def encoding_of(head: bytes) -> str:
    """The encoding that a file's first bytes tell: by its mark, or by the zeros that UTF-16 puts beside each letter.

    >>> encoding_of("path,label".encode("utf-16-le")), encoding_of("größe".encode())
    ('utf-16-le', 'utf-8')
    """
    marked = _mark_of(head)
    if marked:
        return marked
    half = len(head) // 2
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if half and not even and odd > 0.5 * half:
        return "utf-16-le"
    if half and not odd and even > 0.5 * half:
        return "utf-16-be"
    return "utf-8"


def _mark_of(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)


def open_as_utf8(file: Path, encoding: str | None = None) -> BinaryIO:
    """The text of a file as UTF-8.

    Args:
        file: The file, packed by gzip or not.
        encoding: Of its text, where it has no mark; what its first bytes tell if None.

    Raises:
        InputError: There is no such encoding.
        OSError: The file cannot be read; of what comes later, when it is read.
        UnicodeDecodeError: When it is read: the text is not in this encoding.
    """
    head = first_bytes(file)
    encoding = _mark_of(head) or encoding or encoding_of(head)
    try:
        found = codecs.lookup(encoding)
    except (LookupError, TypeError, ValueError):
        found = None
    if found is None or not getattr(found, "_is_text_encoding", True):
        remedy = "Use the name of one, such as utf-8, utf-16, cp1252, cp1251, latin-1 or shift_jis."
        raise InputError(f"{encoding!r:.80} is no encoding of text", field=OPTION, remedy=remedy)
    handle = open_bytes(file)
    if found.name == "utf-8":
        return handle
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, _Recoded(handle, found))))


class _Recoded(io.RawIOBase):
    """Text as UTF-8."""

    def __init__(self, handle: BinaryIO, encoding: codecs.CodecInfo) -> None:
        self._handle, self._decoder, self._rest = handle, encoding.incrementaldecoder("strict"), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = self._handle.read(1 << 16)
            # Half a surrogate pair is text for some decoders, and for nobody else.
            self._rest = self._decoder.decode(chunk, final=not chunk).encode("utf-8", "replace")
            if not chunk:
                break
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        self._handle.close()
        super().close()
