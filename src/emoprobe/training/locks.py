"""Locks on sounds: of several processes that fill the same cache, one encodes a sound and the others wait for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

BUCKET = 3  # hexadecimal digits of a sound's hash that name its lock file: at most 4,096 of them
MOST = 256  # locks held at once, each an open file


class SoundLocks:
    """The locks of one key; the system lets go of those of a process that dies.

    Where the file system knows no locks every sound is free: processes then may encode the same sounds.

    Args:
        folder: Where the features lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / ".locks"
        self.known = self._are_known()

    def _are_known(self) -> bool:
        """Whether a lock that nobody else can hold is given."""
        own = self.folder / uuid.uuid4().hex
        try:
            self.folder.mkdir(exist_ok=True)
            with FileLock(own, timeout=0):
                return True
        except (OSError, NotImplementedError):  # Timeout is an OSError
            return False
        finally:
            with suppress(OSError):
                own.unlink(missing_ok=True)

    @contextmanager
    def held(self, sounds: Sequence[str]) -> Iterator[frozenset[str]]:
        """Some of the sounds that no other process is encoding; none takes them up while the block runs.

        Nothing is waited for, so that two processes never wait for each other.

        Args:
            sounds: Their names in the cache.
        """
        if not self.known:
            yield frozenset(sounds)
            return
        with ExitStack() as locks:
            free = set()
            for bucket in sorted({sound[:BUCKET] for sound in sounds})[:MOST]:
                try:
                    locks.enter_context(FileLock(self.folder / bucket, timeout=0))
                except Timeout:
                    continue
                except (OSError, NotImplementedError):
                    pass  # a full disk, or another user's file: encoded without, if need be twice
                free.add(bucket)
            yield frozenset(sound for sound in sounds if sound[:BUCKET] in free)
