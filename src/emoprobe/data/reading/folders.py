"""Names in folders, whatever their case, Unicode form or suffix, and paths as other systems write them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

FILM_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")
PACKED_SUFFIXES = (".m4a", ".aac", ".wma", ".amr", ".mp2")  # of sound that is often converted
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/", re.ASCII)
_DRIVE = re.compile(r"/?[A-Za-z]:[\\/]", re.ASCII)


def here(path: str, base: str | None = None) -> str:
    """A path as this system writes it, from a URL of a file or a path of Windows.

    Args:
        path: As it is written in a table.
        base: Folder of another computer; paths below it become relative, in whatever case.

    Raises:
        ValueError: It is a path of another computer.

    >>> here("sub\\\\a.wav"), here("file:///data/a%20b.wav"), here("C:\\\\wav\\\\a.wav", base="c:/wav")
    ('sub/a.wav', '/data/a b.wav', 'a.wav')
    """
    scheme = _SCHEME.match(path)
    if scheme:
        url = urlsplit(path)
        if scheme[1].lower() != "file" or url.netloc not in ("", "localhost"):
            raise ValueError(f"{path!r:.200} is no file of this computer")
        path = unquote(path[len(scheme[0]) - 1 :].removeprefix("//localhost"))
        path = re.sub("^/{2,}", "/", path)
    path = path.replace("\\", "/")
    if base:
        top = base.replace("\\", "/").rstrip("/") + "/"
        plain = path.removeprefix("/") if _DRIVE.match(path) else path
        if plain.lower().startswith(top.lower()):
            return plain[len(top) :].lstrip("/")
    if _DRIVE.match(path):
        raise ValueError(f"{path!r:.200} is a path of a Windows drive")
    return path


class _Listing(NamedTuple):
    """Where a folder really is, its names (by themselves, and composed in lower case), and those that are links."""

    real: str
    names: Mapping[str, str]
    links: frozenset[str]


class Folders:
    """Folders whose names are looked up once.

    Args:
        suffixes: A name with one of them, or with none, is also found with another: the first that is there.
        converted: A name with one of them, or that of a film or of packed sound, is also found with another, if one
            alone is there.
    """

    def __init__(self, suffixes: Sequence[str], converted: Sequence[str] = ()) -> None:
        self._suffixes, self._converted = tuple(suffixes), tuple(converted)
        self._listings: dict[str, _Listing] = {}
        self._places: dict[str, str] = {}

    def follow(self, root: Path, relative: str) -> tuple[Path, str]:
        """A path in its spelling on disk, and where it really leads.

        Raises:
            ValueError: Several files might be meant.
            OSError: The system refuses the path.
        """
        top = str(root)
        folder, wanted = os.path.split(os.path.join(top, relative))
        if wanted in ("", ".", ".."):
            asked = root / relative
            return asked, os.path.realpath(asked)
        real, names, links = self._list(self._place(folder, top))
        name = self._spelled(wanted, names) if names else wanted
        found = Path(self._place(folder, top), name)
        # Only links need a look at the disk, which would be slow for every file of a large corpus.
        return found, os.path.realpath(found) if name in links else os.path.join(real, name)

    def _place(self, folder: str, root: str) -> str:
        """A folder in its spelling on disk, as far as it is there."""
        if folder not in self._places:
            place = folder
            if folder.startswith(root) and not os.path.isdir(folder):
                place, rest = root, folder[len(root) :].split(os.sep)
                for at, name in enumerate(rest):
                    below = os.path.join(place, name)
                    if not os.path.isdir(below):
                        other = self._list(place).names.get(unicodedata.normalize("NFC", name).lower())
                        if other is None:  # nothing is below what is not there
                            place = os.path.join(place, *rest[at:])
                            break
                        below = os.path.join(place, other)
                    place = below
            self._places[folder] = place
        return self._places[folder]

    def _list(self, folder: str) -> _Listing:
        if folder not in self._listings:
            self._listings[folder] = _list_folder(folder)
        return self._listings[folder]

    def _spelled(self, name: str, names: Mapping[str, str]) -> str:
        """The name itself, without case or Unicode form, or its stem with a sound's suffix."""
        suffix = os.path.splitext(name)[1].lower()
        packed = self._converted and (suffix in FILM_SUFFIXES or suffix in PACKED_SUFFIXES)
        if name in names and not packed:
            return names[name]
        wanted = unicodedata.normalize("NFC", name).lower()
        stem = os.path.splitext(wanted)[0] if wanted.endswith(self._suffixes) else wanted
        there = [names[each] for each in (name, wanted) if each in names]
        there += [names[stem + other] for other in self._suffixes if stem + other in names]
        if packed or (suffix in self._converted and not there):
            stem = os.path.splitext(wanted)[0]
            made = [names[stem + other] for other in self._converted if stem + other in names]
            if len(made) > 1:
                raise ValueError(f"any of {', '.join(made)} may be meant")
            there = made or there
        return there[0] if there else name


def _list_folder(folder: str) -> _Listing:
    links: set[str] = set()
    names: dict[str, str] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names[entry.name] = entry.name
                if entry.is_symlink():
                    links.add(entry.name)
    except (OSError, ValueError):
        pass  # such a folder holds nothing that could be found
    for name in sorted(names):
        names.setdefault(unicodedata.normalize("NFC", name).lower(), name)
    return _Listing(os.path.realpath(folder), names, frozenset(links))
