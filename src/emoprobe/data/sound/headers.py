"""What the headers of sound files claim, held against the file itself.

libsndfile believes most of what a header says: it stops where the header lets the sound end, whatever follows, reads
odd widths as the next common one, and takes any sampling rate. What is wrong is wrong in silence then.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import soundfile

Order: TypeAlias = Literal["little", "big"]  # of the bytes of a number

RATES = (4_000, 768_000)  # hertz: below the first no speech is understood, and nothing records above the second
_STREAMED = 0x7FFF_F000  # bytes: programs that cannot go back to correct a header write this or more into it
_NO_LENGTH = 2**62  # the same, of lengths of eight bytes
_WIDTHS = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8} | {
    law: 1 for law in ("ULAW", "ALAW")
}  # bytes per sample
# Containers held against their files: by their claim, or later (FLAC, MPEG); that of HTK libsndfile itself compares.
_CHECKED = frozenset(("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "OGG", "FLAC", "MP3", "HTK"))
_UNCOMPRESSED = {1: "PCM", 3: "float", 6: "A-law", 7: "mu-law"}  # format tags of WAV
# What may follow the sound; other names are believed only if chunk after chunk fills the file to its end.
_METADATA = frozenset(
    name.ljust(4)
    for name in b"LIST id3 ID3 bext iXML axml chna cue plst smpl inst acid strc fact PEAK JUNK junk PAD FLLR DISP afsp "
    b"LGWV _PMX aXML umid levl NAME AUTH (c) ANNO COMT MARK INST APPL MIDI AESD CHAN".split()
)
_FLAC_RATES = dict(
    enumerate((88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000), start=1)
)
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")


class HeaderError(ValueError):
    """A header that does not fit the file."""


@dataclass(frozen=True)
class Claim:
    """What a container says of its sound.

    Args:
        length: Bytes of sound that are there.
        open_end: Whether the header leaves the length open, so that the end may be within a sample.
        frame: Bytes of one sample of all channels, of uncompressed sound; 0 where the header does not say.
        frames: Samples per channel as stated beside the length; None where they are not.
        pad: Chunks are padded to a multiple of so many bytes, and some writers count these with the sound.
    """

    length: int
    open_end: bool = False
    frame: int = 0
    frames: int | None = None
    pad: int = 2


def read_claim(content: bytes) -> Claim | None:
    """What the header of a WAV (RIFF, RIFX, RF64, BW64, W64), AIFF, AU, CAF or NIST SPHERE file says.

    Ogg, which has no such header, is looked through for its end. Other files have no claim that is known here; which of
    them are read nevertheless, `check_opened` says.

    Raises:
        HeaderError: The header contradicts itself, or there is less or more sound than it says.
    """
    magic = content[:4]
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64") and content[8:12] == b"WAVE":
        return _wav(content, _Layout(12, 4, "big" if magic == b"RIFX" else "little"))
    if magic == b"riff" and content[24:28] == b"wave":
        return _wav(content, _Layout(40, 8, "little", name_bytes=16, pad=8, unlimited=_NO_LENGTH))
    if magic == b"FORM" and content[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(content)
    if magic == b"caff":
        return _caf(content)
    if magic in (b".snd", b"dns."):
        return _au(content)
    if content[:8] == b"NIST_1A\n":
        return _nist(content)
    if magic == b"OggS":
        _check_ogg(content)
    return None


def check_opened(claim: Claim | None, sound: soundfile.SoundFile) -> None:
    """What the decoder makes of a header must be what the header says.

    Raises:
        HeaderError: It is not, the sampling rate is no recorder's, or the container is one that is not checked here.
    """
    if sound.format == "RAW":
        raise HeaderError("it has no header, and what its samples are would be guessed from its name")
    if sound.format not in _CHECKED:
        raise HeaderError(f"it is {sound.format_info}, of which nobody checks here whether it is whole")
    _check_rate(sound.samplerate)
    width = _WIDTHS.get(sound.subtype, 0) * sound.channels
    if claim is None or not width:
        return
    if claim.frame not in (0, width):
        raise HeaderError(
            f"its header says {claim.frame} bytes per sample of {sound.channels} channels, and its sample format has "
            f"{width}"
        )
    held, rest = divmod(claim.length, width)
    padded = rest < claim.pad and claim.length % claim.pad == 0
    if rest and not padded and not claim.open_end:
        raise HeaderError(f"its header says {claim.length} bytes of sound, and a sample of all channels has {width}")
    for said, what in ((claim.frames, "its header says"), (sound.frames, "the decoder finds")):
        if said is not None and said != held:
            raise HeaderError(f"{what} {said} samples, and {claim.length} bytes of sound, that is {held}, are there")


def _check_rate(rate: int) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise HeaderError(f"its header says {rate} samples per second; speech has {RATES[0]} to {RATES[1]}")


def check_flac(content: bytes, sound: soundfile.SoundFile, samples: np.ndarray) -> None:
    """A FLAC file that was decoded whole: against the MD5 sum in its header, or else the end of the stream.

    Args:
        content: The file.
        sound: The file, opened.
        samples: All that was decoded, float32 ``[samples, channels]``.

    Raises:
        HeaderError: The header lies, the sound is damaged, or a second file follows.
    """
    headers = [match.end() for match in _FLAC.finditer(content)]
    if not headers:
        return  # FLAC within Ogg
    if len(headers) > 1:
        raise HeaderError(f"a second FLAC file follows at byte {headers[1] - 8}: several files were joined")
    start = headers[0]
    rate = _flac_frame_rate(content, start - 4)
    if rate not in (None, sound.samplerate):
        raise HeaderError(f"its header says {sound.samplerate} samples per second, and its frames say {rate}")
    stated, bits = content[start + 18 : start + 34], 1 + (int.from_bytes(content[start + 12 : start + 14]) >> 4 & 31)
    if any(stated) and bits == 8 * _WIDTHS.get(sound.subtype, 0):
        integers = np.ascontiguousarray(samples * np.float32(2 ** (bits - 1))).astype("<i4")
        kept = integers.view(np.uint8).reshape(-1, 4)[:, : bits // 8]
        if hashlib.md5(np.ascontiguousarray(kept).data, usedforsecurity=False).digest() != stated:
            raise HeaderError("the MD5 sum in its header is not that of the decoded sound: one of them is damaged")
        return
    longer = bytearray(content)
    count = int.from_bytes(content[start + 13 : start + 18]) + 1  # the number of samples, 36 bits
    longer[start + 13 : start + 18] = count.to_bytes(5)
    try:
        with soundfile.SoundFile(io.BytesIO(longer)) as file:
            there = len(file.read(len(samples) + 1, always_2d=True))
    except soundfile.LibsndfileError:
        return  # the stream does end where the header says
    if there > len(samples):
        raise HeaderError(f"its header says {len(samples)} samples, and more are there")


def _flac_frame_rate(content: bytes, position: int) -> int | None:
    """The sampling rate by the first frame, hertz; None where it does not say.

    Args:
        content: The file.
        position: Of the first block of metadata.
    """
    last = False
    while not last and position + 4 <= len(content):
        last = content[position] >= 128
        position += 4 + int.from_bytes(content[position + 1 : position + 4])
    code = content[position + 2] & 15 if content[position : position + 1] == b"\xff" else 0
    return _FLAC_RATES.get(code)


# ------------------------------------------------------------------------------------------------------------- chunks


@dataclass(frozen=True)
class _Layout:
    """How a container writes chunks: where the first begins, how long a name and a length are, what pads them.

    With names of 16 bytes (W64) a chunk's length counts its own name and length. A length of ``unlimited`` or more
    stands for an unknown one.
    """

    start: int
    length_bytes: int
    order: Order
    name_bytes: int = 4
    pad: int = 2
    unlimited: int = _STREAMED

    @property
    def head(self) -> int:
        return self.name_bytes + self.length_bytes

    def chunks(self, content: bytes, position: int | None = None) -> Iterator[tuple[bytes, int, int]]:
        """Name, first byte and stated length of each chunk that begins before the end of the file."""
        position = self.start if position is None else position
        while position + self.head <= len(content):
            name = content[position : position + 4]
            length = int.from_bytes(content[position + self.name_bytes : position + self.head], self.order)
            if self.name_bytes == 16:
                length = max(0, length - self.head)
            yield name, position + self.head, length
            position = self.end(position + self.head, length)

    def end(self, begin: int, length: int) -> int:
        """Where the next chunk begins."""
        return begin + length + -length % self.pad


def _sound_length(content: bytes, layout: _Layout, begin: int, stated: int) -> tuple[int, bool]:
    """Bytes of sound in a chunk, once nothing but metadata is found behind it; whether its end is that of the file."""
    there = len(content) - begin
    if stated >= layout.unlimited:
        return there, True
    if stated > there:
        raise HeaderError(f"the file is truncated: its header promises {stated} bytes of sound, and {there} are there")
    end, position = begin + stated, layout.end(begin, stated)
    # Some writers forget the byte that pads a chunk.
    if content[end : end + 4] in _METADATA or content[position : position + 4] in _METADATA:
        return stated, False
    if content[end : end + 3] == b"TAG" and len(content) - end == 128:
        return stated, False  # ID3v1
    if int.from_bytes(content[4:8], layout.order) + 8 in (end, position) and not any(content[end:]):
        return stated, False  # blank, and outside of what the file says of its own size
    padded = not any(content[end:position])
    for name, inner, length in layout.chunks(content, position) if padded else ():
        known = name not in (b"RIFF", b"riff", b"FORM", b"data") and re.fullmatch(rb"[ -~]{4}", name)
        if not known or inner + length > len(content):
            break
        position = layout.end(inner, length)
    if not padded or any(content[position:]):
        raise HeaderError(
            f"its header says {stated} bytes of sound, and {there} are there: the last {there - stated} are neither "
            "sound nor metadata by that header"
        )
    return stated, False


def _wav(content: bytes, layout: _Layout) -> Claim | None:
    form, long_length = b"", 0
    for name, begin, length in layout.chunks(content):
        if name == b"ds64":
            long_length = int.from_bytes(content[begin + 8 : begin + 16], "little")
        elif name == b"fmt ":
            form = content[begin : begin + length]
        elif name == b"data":
            if content[:4] in (b"RF64", b"BW64") and length == 0xFFFF_FFFF:
                layout, length = replace(layout, unlimited=_NO_LENGTH), long_length
            held, open_end = _sound_length(content, layout, begin, length)
            return Claim(held, open_end, _wav_frame(form, layout.order), pad=layout.pad)
    return None


def _wav_frame(form: bytes, order: Order) -> int:
    """Bytes of one sample of all channels by a format chunk; 0 of compressed sound."""
    if len(form) < 16:
        return 0

    def number(start: int, size: int) -> int:
        return int.from_bytes(form[start : start + size], order)

    tag, channels, rate, byte_rate, frame, bits = (
        number(at, size) for at, size in ((0, 2), (2, 2), (4, 4), (8, 4), (12, 2), (14, 2))
    )
    if tag == 0xFFFE and len(form) >= 26:
        tag = number(24, 2)
    if tag not in _UNCOMPRESSED:
        return 0
    says = f"its header says {_UNCOMPRESSED[tag]} of {bits} bits in {channels} channels at {rate} Hz"
    if bits < 8 or not channels or frame != channels * -(-bits // 8):
        raise HeaderError(f"{says}, and {frame} bytes per sample of all channels: these do not fit together")
    _check_rate(rate)
    if byte_rate != rate * frame:
        raise HeaderError(f"{says}, that is {rate * frame} bytes per second, and {byte_rate} bytes per second")
    return frame


def _aiff(content: bytes) -> Claim | None:
    layout = _Layout(12, 4, "big")
    frames = channels = bits = sound = None
    for name, begin, length in layout.chunks(content):
        if name == b"COMM":
            comm = content[begin : begin + 22]
            channels, frames, bits = (int.from_bytes(comm[at : at + size]) for at, size in ((0, 2), (2, 4), (6, 2)))
            packed = content[8:12] == b"AIFC" and comm[18:22] in (b"ima4", b"GSM ", b"MAC3", b"MAC6")
            frames = None if packed or frames >= _STREAMED // 4 else frames
        elif name == b"SSND" and sound is None:
            offset = int.from_bytes(content[begin : begin + 4])
            held, open_end = _sound_length(content, layout, begin, length)
            sound = held - 8 - offset
            if sound < 0:
                raise HeaderError(f"its header lets the sound begin at byte {offset} of {held - 8}")
            if open_end:
                break
    if sound is None:
        return None
    if channels == 0 or (bits is not None and not 8 <= bits <= 64 and frames is not None):
        raise HeaderError(f"its header says {bits} bits in {channels} channels")
    return Claim(sound, open_end, frames=frames)


def _caf(content: bytes) -> Claim | None:
    layout = _Layout(8, 8, "big", pad=1, unlimited=_NO_LENGTH)
    frame = 0
    for name, begin, length in layout.chunks(content):
        if name == b"desc":
            kind = content[begin + 8 : begin + 12]
            frame = int.from_bytes(content[begin + 16 : begin + 20]) if kind in (b"lpcm", b"ulaw", b"alaw") else 0
        elif name == b"data":
            held, open_end = _sound_length(content, layout, begin, length)
            return Claim(held - 4, open_end, frame)  # four bytes count edits
    return None


def _au(content: bytes) -> Claim | None:
    order: Order = "big" if content[:4] == b".snd" else "little"
    start, length = (int.from_bytes(content[at : at + 4], order) for at in (4, 8))
    there = len(content) - start
    if length != 0xFFFF_FFFF and length != there:
        what = "the file is truncated: " if length > there else ""
        raise HeaderError(f"{what}its header says {length} bytes of sound, and {max(0, there)} are there")
    return Claim(max(0, there), open_end=length == 0xFFFF_FFFF)


def _nist(content: bytes) -> Claim | None:
    size = content[8:16].strip()
    if not size.isdigit():
        raise HeaderError(f"its header says {size!r} where its own length should stand")
    fields = dict(re.findall(rb"^(\w+) -i (\d+)", content[: int(size)], re.MULTILINE))
    width, channels = int(fields.get(b"sample_n_bytes", b"1")), int(fields.get(b"channel_count", b"1"))
    there = len(content) - int(size)
    if b"sample_count" not in fields:
        return Claim(there, frame=width * channels)
    frames = int(fields[b"sample_count"])
    length = frames * width * channels
    if length != there:
        what = "the file is truncated: " if length > there else ""
        raise HeaderError(
            f"{what}its header says {frames} samples of {width} bytes in {channels} channels, that is {length} bytes, "
            f"and {there} are there"
        )
    return Claim(there, frame=width * channels, frames=frames)


def _check_ogg(content: bytes) -> None:
    """Pages of one Ogg stream, in order, up to the one that is marked as the last."""
    position, number, stream, last = 0, None, b"", 0
    while content[position : position + 4] == b"OggS" and position + 27 <= len(content):
        flags, serial = content[position + 5], content[position + 14 : position + 18]
        sequence = int.from_bytes(content[position + 18 : position + 22], "little")
        table = content[position + 27 : position + 27 + content[position + 26]]
        end = position + 27 + content[position + 26] + sum(table)
        if end > len(content):
            raise HeaderError(f"the file is truncated: its last page ends {end - len(content)} bytes behind the file")
        if number is not None and (flags & 2 or serial != stream):
            raise HeaderError(f"a second Ogg stream begins at byte {position}: several files were joined")
        if number is not None and sequence != number + 1:
            raise HeaderError(f"pages are missing: number {sequence} follows {number} at byte {position}")
        position, number, stream, last = end, sequence, serial, flags
    if any(content[position:]):
        raise HeaderError(f"the last {len(content) - position} of its {len(content)} bytes are no Ogg pages")
    if not last & 4:
        raise HeaderError("the file is truncated: its last page is not marked as the end of the stream")
