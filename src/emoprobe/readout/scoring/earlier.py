"""Taking over scores that an earlier run already has, of this output folder or of another."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from emoprobe.data.sound.audio import read_audio
from emoprobe.data.sound.limits import AudioError, AudioLimits
from emoprobe.data.sound.survey import remember
from emoprobe.data.utterance import Utterance
from emoprobe.readout.base import READOUTS, cells_of
from emoprobe.readout.scoring.module import ZeroShotProbe
from emoprobe.readout.scoring.nulls import NullInput
from emoprobe.run.cell import NO_PROMPT
from emoprobe.run.folder import open_folder
from emoprobe.run.scores import CLIP, WINDOWS, ScoreWriter, has_scores, reopen
from emoprobe.run.settings import Difference, other_settings


class Earlier:
    """Finished cells of an earlier run: of this output folder (the same command run again), or of ``resume``.

    A row is taken over only if model, revision, dtype, prompt text, label set, readout options, library versions and
    the sound file's bytes, its duration and its windows are all the same, and only if its utterance is complete,
    nothing that its readout stores is missing from it and this run's own limits take its clip.

    Args:
        resume: Folder of an earlier run, or None.
        folder: This run's output folder.
        probe: What this run asks.
        limits: Which clips this run takes.
        differs: In what the settings differ from those of the run in the output folder, a line each.

    Raises:
        InputError: The output folder holds scores that this run would not have made.
    """

    def __init__(
        self,
        resume: str | Path | None,
        folder: Path,
        probe: ZeroShotProbe,
        limits: AudioLimits,
        differs: Sequence[object] = (),
    ) -> None:
        self.same_folder = has_scores(folder)
        source = folder if self.same_folder else resume
        self.probe, self.limits = probe, limits
        self.folder, self.differs = folder, differs
        self.rows: list[dict] = []
        self.taken: list[dict] = []
        self._kept: pa.Table | None = None
        if source is None:
            return
        run = open_folder(source)
        zero_shot = table = _zero_shot(run.table)
        whole = len(zero_shot)
        sfm = probe.sfm
        constants = {
            "model": sfm.name,
            "model_revision": sfm.revision,
            "dtype": sfm.dtype,
            "library_versions": probe.versions,
            "label_set_hash": probe.plans.labels.hash,
        }
        for name, value in constants.items():
            table = table.filter(pc.equal(table[name], value))
        self.names = {"": NO_PROMPT} | {prompt.hash: prompt.name for prompt in probe.plans.prompts}
        self.wanted = {
            ("" if prompt is None else prompt.hash, readout.name, readout.options(prompt))
            for prompt, readout in cells_of(probe.plans.prompts, probe.readouts)
        }
        self.tokens = {"": ""} | {plan.prompt.hash: plan.question_hash for plan in probe.plans.samples}
        self.rows = [row for row in table.to_pylist() if _asked(row) in self.wanted and _is_whole(row)]
        if self.same_folder and len(self.rows) != whole:
            found = [_difference(zero_shot[name].to_pylist(), name, value) for name, value in constants.items()]
            raise other_settings("scores of another configuration", folder, [*differs, *chain(*found)])
        if self.same_folder and (run.is_scored or whole < len(run.table)):
            self._kept = zero_shot  # the rows of trained heads are made anew

    def left(self, utterances: Sequence[Utterance]) -> list[Utterance]:
        """The utterances still to be scored.

        Raises:
            InputError: The output folder holds scores of others, or of other sound.
        """
        by_utterance: dict[str, list[dict]] = {}
        for row in self.rows:
            if row["input"] == CLIP:
                by_utterance.setdefault(row["utterance_id"], []).append(row)
        left, taken = [], self.taken
        for utterance in utterances:
            rows = by_utterance.pop(utterance.id, [])
            complete = rows and Counter(map(_asked, rows)) == dict.fromkeys(self.wanted, rows[0].get(WINDOWS) or 1)
            # Whether a clip is cut depends on this run's limits, so a cut clip of another run is scored anew.
            usable = complete and (self.same_folder or not rows[0]["truncated"])
            if usable and self._same_question(utterance, rows) and self._same_sound(utterance, rows[0]):
                taken += [row | {"prompt": self.names[row["prompt_hash"]]} for row in rows]
            else:
                left.append(utterance)
                if rows and self.same_folder:
                    by_utterance[utterance.id] = rows
        if self.same_folder and by_utterance:
            what = f"scores of other sound, for example of {next(iter(by_utterance))}"
            raise other_settings(what, self.folder, self.differs)
        if taken:
            print(f"taken over from an earlier run: {len(utterances) - len(left)} of {len(utterances)} utterances")
        return left

    def reopen(self) -> None:
        """Make of a finished run in the output folder one that goes on."""
        if self._kept is not None:
            reopen(self.folder, self._kept)

    def write(self, writer: ScoreWriter) -> None:
        """Write what another folder's run has of those that are not left."""
        if self.taken and not self.same_folder:
            writer.write(self.taken)

    def _same_question(self, utterance: Utterance, rows: Sequence[dict]) -> bool:
        """Whether the tokens asked then are those asked now: chat templates and facts of utterances may change."""
        own = {plan.prompt.hash: plan.question_hash for plan in self.probe.plans.of(utterance.id)}
        return all(row["question_hash"] == (self.tokens | own)[row["prompt_hash"]] for row in rows)

    def _same_sound(self, utterance: Utterance, row: dict) -> bool:
        """Whether the clip that was heard is the one that this run would hear, if it takes it at all."""
        try:
            clip = read_audio(utterance.audio, self.probe.sfm.sampling_rate, self.limits)
        except AudioError:
            return False  # said where it is read to be scored
        remember(utterance.audio, clip, self.limits)
        heard = clip.sha256, clip.duration_seconds, clip.windows
        return heard == (row["audio_sha256"], row["duration_seconds"], row.get(WINDOWS) or 1)

    def missing_nulls(self, nulls: Sequence[NullInput]) -> list[NullInput]:
        """The null inputs that this folder does not hold yet."""
        if not self.same_folder:
            return list(nulls)
        held = {(row["input"], row["draw"]): row["audio_sha256"] for row in self.rows if row["input"] != CLIP}
        asked = {(null.kind, null.draw): null.sha256 for null in nulls}
        if any(asked.get(key) != value for key, value in held.items()):
            raise other_settings("other null inputs", self.folder, self.differs)
        return [null for null in nulls if (null.kind, null.draw) not in held]


def _asked(row: dict) -> tuple[str, str, str]:
    return row["prompt_hash"], row["readout"], row["readout_options"]


def _difference(then: Sequence[str], name: str, now: str) -> Iterator[Difference]:
    """What the rows of a table say of their model, the libraries or the labels, if it is not what holds now."""
    for value in dict.fromkeys(then):
        if value == now:
            continue
        if name != "library_versions":
            yield Difference(name, value, now)
            continue
        versions, own = json.loads(value), json.loads(now)
        yield from (Difference(each, versions.get(each), own[each]) for each in own if versions.get(each) != own[each])


def _is_whole(row: dict) -> bool:
    """Whether a row holds all that its readout stores, which grows from version to version."""
    return all(row.get(each.name) is not None for each in READOUTS[row["readout"]].columns)


def _zero_shot(table: pa.Table) -> pa.Table:
    """Rows that a model was asked for, without those of trained heads."""
    return table.filter(pc.is_in(table["readout"], pa.array(sorted(READOUTS))))
