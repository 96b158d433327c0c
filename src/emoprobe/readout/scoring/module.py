"""The LightningModule that reads a speech foundation model: one predict step is one batch of the score table."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias, cast

import lightning as L
import torch
from torch import Tensor

from emoprobe.data.datamodule import Batch
from emoprobe.data.sound.audio import AudioClip
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models.answering import AnsweringModel, AudioContext, UnansweredError, answering
from emoprobe.models.base import SpeechFoundationModel, ahead
from emoprobe.readout.base import AnswerReadout, PromptReadout, Readout, SoundReadout
from emoprobe.readout.scoring.cached import cell_keys, heard_sha256, named_again, open_cache
from emoprobe.readout.scoring.hearing import check_hearing, check_reading, class_effects, sound_effects
from emoprobe.readout.scoring.nulls import NullInput
from emoprobe.readout.scoring.plan import Plans, PromptPlan
from emoprobe.readout.scoring.read import read, read_sounds
from emoprobe.run.score_cache import ScoreCache
from emoprobe.run.scores import CLIP, WINDOW, WINDOWS

LIBRARIES = ("emoprobe", "torch", "transformers")
Piece: TypeAlias = tuple[Utterance, AudioClip, Any]
"""A clip or one of its windows, whose it is, and what was prepared of it ahead."""
Cell: TypeAlias = tuple[int | None, Readout]
"""Number of a prompt, those of all clips first, and what is read of it; None where nothing is asked."""
CellName: TypeAlias = tuple[int | None, str]


@dataclass
class Known:
    """What came out of the score cache.

    Args:
        cells: Rows.
        clips: Clips all of whose rows did, told by their first windows.
    """

    cells: int = 0
    clips: int = 0


def library_versions(engine: str = "") -> str:
    """Versions of all that a score depends on, as JSON: libraries, and what computes where it is not this process."""
    found = {name: version(name) for name in LIBRARIES} | ({"engine": engine} if engine else {})
    return json.dumps(found, sort_keys=True)


class ZeroShotProbe(L.LightningModule):
    """Asks every prompt of every clip, hears what is unasked, and returns rows of the score table.

    A batch that does not fit into memory is halved until it does, and so are the batches after it.

    Args:
        sfm: The model.
        plans: Tokenised prompts.
        readouts: What is read, each as of this model (`emoprobe.readout.base.Readout.of`).
        cache: Folder of a score cache: what it holds is not asked again, and what is asked is kept there; None for
            none.
        on_error: ``skip`` to leave out clips about which nothing was answered, ``error`` to end the run at one.
        silenced: Whether the model is given prompts alone, and no sound.

    Attributes:
        known: Cells that came out of the cache so far, and clips all of whose cells did.
        unanswered: Clips that were left out so far.
    """

    def __init__(
        self,
        sfm: SpeechFoundationModel,
        plans: Plans,
        readouts: Sequence[Readout],
        cache: Path | None = None,
        on_error: str = "error",
        *,
        silenced: bool = False,
    ) -> None:
        super().__init__()
        self.sfm, self.plans, self.readouts = sfm, plans, list(readouts)
        self.asking = [readout for readout in self.readouts if isinstance(readout, PromptReadout)]
        self.listening = [readout for readout in self.readouts if isinstance(readout, SoundReadout)]
        self.versions = library_versions(getattr(sfm, "engine", ""))
        self.cells: list[Cell] = [(i, readout) for i in range(len(plans.prompts)) for readout in self.asking]
        self.cells += [(None, readout) for readout in self.listening]
        self.cache = None if cache is None else open_cache(cache, sfm, self.versions)
        self.known = Known()
        self.on_error = on_error
        self.silenced = silenced
        if silenced and self.listening:
            raise InputError(
                f"{self.listening[0].name} reads what a model says of a sound, and none is given",
                field="dataset.control.sound",
                remedy="Use dataset.control.sound=silence, or a readout that asks.",
            )
        self.unanswered: list[Skipped] = []
        self.most_clips = sys.maxsize
        self.heard = False

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> list[dict]:
        """Rows of all clips of a `emoprobe.data.datamodule.Batch`, of long ones a row for every window."""
        prepared = batch.prepared or [None] * len(batch.clips)
        at_once = len({utterance.id for utterance in batch.utterances})  # windows of long clips are many
        left = list(zip(batch.utterances, batch.clips, prepared, strict=True))
        rows: list[dict] = []
        while left:
            part = left[: min(self.most_clips, at_once)]
            try:
                rows += self._answered(part)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._shrink(len(part), error)
                continue
            left = left[len(part) :]
        lost = {row.id for row in self.unanswered}
        return [row for row in rows if row["utterance_id"] not in lost]  # one window of a clip may be lost

    def _shrink(self, size: int, error: BaseException) -> None:
        if size == 1:
            raise EmoprobeError(
                f"a single clip does not fit into memory on {self.sfm.model.device}: {str(error).splitlines()[0]} "
                "Use model.dtype=bfloat16, model.quantization=4bit, fewer prompts or samples, or a larger device."
            ) from error
        if self.most_clips == sys.maxsize:
            print(
                f"note: out of memory with {size} clips at once; going on with smaller batches (results do not change)",
                file=sys.stderr,
            )
        self.most_clips = size // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _check_on(self, waveform: Tensor) -> None:
        """See `emoprobe.readout.scoring.hearing`."""
        if self.asking:
            sfm, question = answering(self.sfm), self.plans.samples[0].question
            if sfm.hears and not self.silenced:
                check_hearing(sfm, sound_effects(sfm, waveform, question))
            check_reading(sfm, waveform, question)
        if self.listening:
            check_hearing(self.sfm, class_effects(self.sfm, waveform))

    def _answered(self, part: Sequence[Piece]) -> list[dict]:
        """Rows of some clips; none of those about which nothing is answered, if they may be left out."""
        try:
            return self._rows(part)
        except UnansweredError as error:
            if self.on_error != "skip":
                raise
            if len(part) == 1:
                clip = part[0][0]
                if clip.id not in {row.id for row in self.unanswered}:
                    self.unanswered.append(Skipped(clip.id, "unanswered", str(error), str(clip.audio)))
                return []
        return [row for piece in part for row in self._answered([piece])]

    def _rows(self, part: Sequence[Piece]) -> list[dict]:
        found = self._computed(part, self.cells) if self.cache is None else self._through(self.cache, part)
        rows = []
        for (utterance, clip, _), own in zip(part, found, strict=True):
            heard = {
                "utterance_id": utterance.id,
                "input": CLIP,
                "draw": 0,
                "audio_sha256": clip.sha256,
                "duration_seconds": clip.duration_seconds,
                "truncated": clip.truncated,
                "library_versions": self.versions,
                **({WINDOW: clip.window, WINDOWS: clip.windows} if clip.windows > 1 else {}),
            }
            rows += [heard | own[cell] for cell in map(_name_of, self.cells)]
        return rows

    def _through(self, cache: ScoreCache, part: Sequence[Piece]) -> list[dict[CellName, dict]]:
        """Per clip its cells: out of the cache, or else asked and kept in it."""
        keys: list[dict[CellName, str]] = []
        plans: list[dict[int, PromptPlan]] = []
        for utterance, clip, _ in part:
            plans.append(dict(enumerate([*self.plans.shared, *self.plans.of(utterance.id)])))
            asked = [(None if i is None else plans[-1][i], readout) for i, readout in self.cells]
            heard = heard_sha256(None if self.silenced else torch.from_numpy(clip.waveform))
            own = cell_keys(heard, _sound_of(clip), asked, self.plans.labels.hash)
            keys.append(dict(zip(map(_name_of, self.cells), own, strict=True)))
        held = cache.get([key for own in keys for key in own.values()])
        found: list[dict[CellName, dict]] = []
        missing: dict[tuple[int, ...], list[int]] = {}
        known = Known()
        for number, named in enumerate(keys):
            asked_of = {name: None if name[0] is None else plans[number][name[0]] for name in named}
            kept = {name: held[key] for name, key in named.items() if key in held}
            found.append({name: row | named_again(self.sfm, asked_of[name]) for name, row in kept.items()})
            known.cells += len(kept)
            known.clips += len(kept) == len(named) and not part[number][1].window
            left = tuple(i for i, cell in enumerate(self.cells) if _name_of(cell) not in found[-1])
            missing.setdefault(left, []).append(number)
        for left, numbers in missing.items():
            if not left:
                continue
            computed = self._computed([part[number] for number in numbers], [self.cells[i] for i in left])
            for number, rows in zip(numbers, computed, strict=True):
                found[number] |= rows
                cache.put({keys[number][name]: row for name, row in rows.items()})
        self.known.cells += known.cells  # now: a part that does not fit into memory comes again in smaller ones
        self.known.clips += known.clips
        return found

    def _computed(self, part: Sequence[Piece], cells: Sequence[Cell]) -> list[dict[CellName, dict]]:
        """Per clip what the model says to some cells."""
        waveforms = [torch.from_numpy(clip.waveform) for _, clip, _ in part]
        if not self.heard:
            self._check_on(waveforms[0])
            self.heard = True
        found: list[dict[CellName, dict]] = [{} for _ in part]
        listening = [readout for i, readout in cells if i is None]
        unasked = read_sounds(self.sfm, waveforms, cast("list[SoundReadout]", listening), self.plans.labels.hash)
        for own, rows in zip(found, unasked, strict=True):
            own |= {(None, row["readout"]): row for row in rows}
        asked = [(i, cast("PromptReadout", readout)) for i, readout in cells if i is not None]
        if asked:
            self._ask(part, waveforms, asked, found)
        return found

    def _ask(
        self,
        part: Sequence[Piece],
        waveforms: Sequence[Tensor],
        cells: Sequence[tuple[int, PromptReadout]],
        found: Sequence[dict[CellName, dict]],
    ) -> None:
        """Add the answers of each clip to some prompts."""
        sfm = answering(self.sfm)
        sounds = [_sound_of(clip) for _, clip, _ in part]
        if self.silenced:
            self._ask_alone(sfm, part, sounds, cells, found)
            return
        context = sfm.encode(waveforms, **ahead([prepared for _, _, prepared in part]))
        shared = len(self.plans.shared)
        for numbers, readouts in alike(cells):
            ours = [i for i in numbers if i < shared]
            rows = read(sfm, context, [self.plans.shared[i] for i in ours], readouts, sounds)
            for clip, (utterance, _, _) in enumerate(part):
                told = _told(context, clip)
                theirs = [i for i in numbers if i >= shared]
                if theirs:
                    of_clip = self.plans.of(utterance.id)
                    one, plans = sfm.select(context, clip), [of_clip[i - shared] for i in theirs]
                    rows[clip] += read(sfm, one, plans, readouts, sounds[clip : clip + 1])[0]
                names = [(i, readout.name) for i in (*ours, *theirs) for readout in readouts]
                found[clip].update((name, told | row) for name, row in zip(names, rows[clip], strict=True))

    def _ask_alone(
        self,
        sfm: AnsweringModel,
        part: Sequence[Piece],
        sounds: Sequence[str],
        cells: Sequence[tuple[int, PromptReadout]],
        found: Sequence[dict[CellName, dict]],
    ) -> None:
        """The same without a sound: prompts differ between clips by what they tell of each."""
        context = sfm.encode_without_audio()
        for clip, (utterance, _, _) in enumerate(part):
            plans = [*self.plans.shared, *self.plans.of(utterance.id)]
            for numbers, readouts in alike(cells):
                rows = read(sfm, context, [plans[i] for i in numbers], readouts, sounds[clip : clip + 1])[0]
                names = [(i, readout.name) for i in numbers for readout in readouts]
                found[clip].update((name, _told(context, 0) | row) for name, row in zip(names, rows, strict=True))

    def flush(self) -> None:
        """Write what waits to be kept in the score cache."""
        if self.cache is not None:
            self.cache.flush()

    @property
    def most_tokens(self) -> int:
        """Tokens that may be written at most about a clip, reasoning and all answers together."""
        answers = [readout for readout in self.asking if isinstance(readout, AnswerReadout)]
        return sum(
            prompt.reasoning_tokens
            + max((one.limit(prompt) for one in answers if one.greedy), default=0)
            + sum(one.drawn(prompt) for one in answers)
            for prompt in self.plans.prompts
        )

    def null_rows(self, inputs: Sequence[NullInput]) -> list[dict]:
        """Rows of the score table for content-free inputs, of what is asked."""
        rows: list[dict] = []
        for null in inputs if self.asking else ():
            heard = {
                "utterance_id": "",
                "input": null.kind,
                "draw": null.draw,
                "audio_sha256": null.sha256,
                "duration_seconds": 0.0 if null.waveform is None else len(null.waveform) / self.sfm.sampling_rate,
                "truncated": False,
                "library_versions": self.versions,
            }
            rows += [heard | row for row in self._of_null(null)]
        return rows

    def _of_null(self, null: NullInput) -> list[dict]:
        """Its cells in their order: out of the cache, or else asked and kept in it."""
        plans = self.plans.samples
        cells = [(i, readout) for i in range(len(plans)) for readout in self.asking]
        asked = [(plans[i], readout) for i, readout in cells]
        keys = cell_keys(heard_sha256(null.waveform), null.sha256, asked, self.plans.labels.hash)
        named = dict(zip(map(_name_of, cells), keys, strict=True))
        held = {} if self.cache is None else self.cache.get(keys)
        found = {
            _name_of(cell): held[key] | named_again(self.sfm, plans[cell[0]])
            for cell, key in zip(cells, keys, strict=True)
            if key in held
        }
        self.known.cells += len(found)
        left = [cell for cell in cells if _name_of(cell) not in found]
        if left:
            sfm = answering(self.sfm)
            context = sfm.encode_without_audio() if null.waveform is None else sfm.encode([null.waveform])
            told = _told(context, 0)
            for numbers, readouts in alike(left):
                rows = read(sfm, context, [plans[i] for i in numbers], readouts, [null.sha256])[0]
                names = [(i, readout.name) for i in numbers for readout in readouts]
                found |= {name: told | row for name, row in zip(names, rows, strict=True)}
            if self.cache is not None:
                self.cache.put({named[_name_of(cell)]: found[_name_of(cell)] for cell in left})
        return [found[_name_of(cell)] for cell in cells]


def alike(cells: Sequence[tuple[int, PromptReadout]]) -> list[tuple[list[int], list[PromptReadout]]]:
    """Prompts, by number, that the same readouts ask, with these."""
    asked: dict[int, list[PromptReadout]] = {}
    for i, readout in cells:
        asked.setdefault(i, []).append(readout)
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, readouts in asked.items():
        groups.setdefault(tuple(readout.name for readout in readouts), []).append(i)
    return [(numbers, asked[numbers[0]]) for numbers in groups.values()]


def _name_of(cell: Cell) -> CellName:
    return cell[0], cell[1].name


def _sound_of(clip: AudioClip) -> str:
    """A name of a sound, for the seeds of draws."""
    return f"{clip.sha256}-{clip.window}" if clip.windows > 1 else clip.sha256


def _told(context: AudioContext, clip: int) -> dict[str, str]:
    """The column of a model that does not hear."""
    return {"told": context.told[clip]} if context.told else {}


def _is_out_of_memory(error: BaseException) -> bool:
    """torch raises a plain RuntimeError where the CPU's memory is spent."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
