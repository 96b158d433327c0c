"""MPEG audio (MP3): its frames counted one by one, and the decoder made to read all of them.

An MP3 file has no header of its own: it is a row of frames, each with its own. Its length stands nowhere, or in a first
frame without sound (Xing, Info or VBRI). Where that is missing, the decoder in libsndfile takes the file's size over
the size of one frame for the length, and stops there; where several files were joined it stops at the length of the
first. Here the frames themselves are the length.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import soundfile

_KBPS = {  # (MPEG-1, layer) -> kbit/s by index, from 1 on
    (True, 1): range(32, 449, 32),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SIDE = ((17, 32), (9, 17))  # bytes of side information: MPEG-1, else; mono, stereo
_MOST_ADDED = 2 * 4095 + 529  # samples that a LAME length frame can say were added, and the decoder's own delay
_LONGEST_FREE = 8192  # bytes; free-format frames state no bit rate, so the next header has to be looked for


class MpegError(ValueError):
    """Frames that do not make one sound, or fewer than promised."""


@dataclass(frozen=True)
class Header:
    """What the four bytes before a frame say.

    Args:
        rate: Hertz.
        channels: 1 or 2.
        layer: 1 to 3.
        first: Whether this is MPEG-1, not 2 or 2.5.
        kbps: Bit rate; 0 in free format, which states none.
        padding: Bytes added to the frame.
        protected: Whether a checksum of two bytes follows the header.
    """

    rate: int
    channels: int
    layer: int
    first: bool
    kbps: int
    padding: int
    protected: bool

    @property
    def samples(self) -> int:
        """Per channel."""
        return 384 if self.layer == 1 else 1152 if self.layer == 2 or self.first else 576

    @property
    def kind(self) -> tuple:
        """What is the same in all frames of a sound."""
        return self.first, self.layer, self.rate, self.channels

    @property
    def size(self) -> int:
        """Bytes of the frame, its header included; 0 in free format."""
        slot = 4 if self.layer == 1 else 1
        return self.samples // 8 * self.kbps * 1000 // self.rate // slot * slot + self.padding if self.kbps else 0


@dataclass
class Part:
    """Frames that belong together: a file, or one of several that were joined.

    Args:
        header: Of its first frame.
        promised: Frames that its length frame promises; None where it has no such frame or that says nothing.
        length_frame: That frame's bytes, if the decoder understands it: it also says what the encoder added at both
            ends, and the decoder takes that away.
        frames: The frames with sound.
    """

    header: Header
    promised: int | None = None
    length_frame: bytes = b""
    frames: list[bytes] = field(default_factory=list)

    def open(self) -> tuple[soundfile.SoundFile, int]:
        """The part for decoding, and how many samples per channel it holds."""
        sound, whole = b"".join(self.frames), len(self.frames) * self.header.samples
        if self.length_frame and self.promised == len(self.frames):
            file = soundfile.SoundFile(io.BytesIO(self.length_frame + sound))
            if whole - _MOST_ADDED <= file.frames <= whole:
                return file, file.frames
            file.close()
        # The decoder's guess, bytes over the first frame's size, becomes too long instead of too short.
        room = 2 * len(self.frames) * max(map(len, self.frames)) - len(sound)
        return soundfile.SoundFile(io.BytesIO(sound + bytes(room))), whole

    def count(self) -> int:
        """Samples per channel."""
        file, count = self.open()
        file.close()
        return count


def parts(content: bytes) -> list[Part]:
    """The files that a file was joined from; most are of one part.

    Raises:
        MpegError: Sampling rate, channels or layer change, or a part holds fewer frames than its length frame promises.
    """
    found: list[Part] = []
    for start, size, header in _frames(content):
        frame = content[start : start + size]
        if found and header.kind != found[0].header.kind:
            raise MpegError(
                f"it begins with {_in_words(found[0].header)} and goes on with {_in_words(header)} at byte {start}: "
                "several files were joined"
            )
        part = _length_part(frame, header)
        if part is not None:
            found.append(part)
        else:
            if not found:
                found.append(Part(header))
            found[-1].frames.append(frame)
    for part in found:
        if part.promised is not None and len(part.frames) < part.promised:
            raise MpegError(
                f"the file is truncated: its header promises {part.promised} frames and {len(part.frames)} are there"
            )
    return [part for part in found if part.frames]


def remark(content: bytes) -> str:
    """Where an MP3 file holds more than its length frame says; empty if it does not, or is no MP3."""
    if content[:3] != b"ID3" and read_header(content, 0) is None:
        return ""
    try:
        found = parts(content)
    except MpegError:
        return ""
    if len(found) > 1:
        return "several MP3 files were joined; all of them are decoded"
    if found and found[0].promised is not None and found[0].promised < len(found[0].frames):
        return "more MP3 frames are there than the length frame says; all of them are decoded"
    return ""


def decode(found: list[Part], wanted: int) -> np.ndarray:
    """The first ``wanted`` samples, float32 ``[samples, channels]``; fewer where decoding stops before."""
    pieces = [np.zeros((0, found[0].header.channels), np.float32)]
    for part in found:
        file, count = part.open()
        with file:
            piece = file.read(min(wanted, count), dtype="float32", always_2d=True)
        pieces.append(piece)
        wanted -= len(piece)
        if not wanted:
            break
    return np.concatenate(pieces)


def read_header(content: bytes, start: int) -> Header | None:
    """The header at a byte, if there is one."""
    word = int.from_bytes(content[start : start + 4], "big")
    version, layer, bit_rate, rate = word >> 19 & 3, 4 - (word >> 17 & 3), word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or bit_rate == 15 or rate == 3 or word & 3 == 2:
        return None
    return Header(
        rate=(44_100, 48_000, 32_000)[rate] >> (0, 1, 2)[(3, 2, 0).index(version)],
        channels=1 if word >> 6 & 3 == 3 else 2,
        layer=layer,
        first=version == 3,
        kbps=_KBPS[version == 3, layer][bit_rate - 1] if bit_rate else 0,
        padding=(word >> 9 & 1) * (4 if layer == 1 else 1),
        protected=not word >> 16 & 1,
    )


def _frames(content: bytes) -> Iterator[tuple[int, int, Header]]:
    """Start, size and header of every whole frame; tags and what is no frame are passed over."""
    position, last, free = 0, None, 0
    while 0 <= position <= len(content) - 4:
        tag = _tag(content, position)
        if tag:
            position += tag
            continue
        header = read_header(content, position)
        size = 0
        if header is not None:
            if not header.kbps and not free:
                free = _free_size(content, position, header)
            size = header.size or (free + header.padding if free else 0)
        whole = 0 < size <= len(content) - position
        if header is not None and whole and (last == header.kind or _goes_on(content, position + size, header)):
            yield position, size, header
            position, last = position + size, header.kind
        else:
            position, last = content.find(b"\xff", position + 1), None


def _goes_on(content: bytes, position: int, header: Header) -> bool:
    """Whether a frame, a tag or the end follows: two bytes of a header alone also occur by chance."""
    following = read_header(content, position)
    same = following is not None and following.kind == header.kind
    return same or position == len(content) or _tag(content, position) > 0


def _free_size(content: bytes, start: int, header: Header) -> int:
    """Bytes of a free-format frame without padding: up to the next header of its kind; 0 if there is none."""
    for position in range(start + 24, min(start + _LONGEST_FREE, len(content) - 3)):
        following = read_header(content, position)
        if following is not None and following.kind == header.kind and not following.kbps:
            return position - start - header.padding
    return 0


def _tag(content: bytes, start: int) -> int:
    """Length of an ID3 or APE tag at a byte; 0 if there is none."""
    head = content[start : start + 16]
    if head[:3] == b"ID3" and len(head) > 9 and max(head[6:10]) < 128:
        length = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        return 10 + length + (10 if head[5] & 16 else 0)
    if head[:3] == b"TAG" and len(content) - start >= 128:
        return 128
    if head[:8] == b"APETAGEX" and len(head) == 16:
        is_header = int.from_bytes(content[start + 20 : start + 24], "little") & 0x2000_0000 != 0
        return 32 + int.from_bytes(head[12:16], "little") * is_header
    return 0


def _length_part(frame: bytes, header: Header) -> Part | None:
    """The part that begins with a frame, if that is a length frame."""
    if header.layer != 3:
        return None
    plain = 4 + (_SIDE[0] if header.first else _SIDE[1])[header.channels - 1]
    # A checksum moves all by two bytes, but LAME writes the mark where it would be without one.
    for mark in (plain, plain + 2):
        if frame[mark : mark + 4] in (b"Xing", b"Info") and len(frame) >= mark + 12:
            promised = int.from_bytes(frame[mark + 8 : mark + 12], "big") if frame[mark + 7] & 1 else None
            understood = mark == plain and not any(frame[6:mark])
            return Part(header, promised, frame if understood else b"")
    if frame[36:40] == b"VBRI":
        return Part(header, int.from_bytes(frame[50:54], "big"))
    return None


def _in_words(header: Header) -> str:
    channels = "1 channel" if header.channels == 1 else "2 channels"
    return f"{header.rate} Hz, {channels} (MPEG layer {'I' * header.layer})"
