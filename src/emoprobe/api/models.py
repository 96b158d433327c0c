"""A loaded model, and the question what it believes about a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.api.beliefs import Beliefs
from emoprobe.api.choices import Choice, configuration, label_choice, prompt_choice
from emoprobe.data.utterance import Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.settings import make, read_node

if TYPE_CHECKING:
    import numpy as np

    from emoprobe.beliefs.calibrations.base import Calibration
    from emoprobe.data.sound.audio import AudioClip
    from emoprobe.models.base import SpeechFoundationModel


@dataclass(frozen=True)
class Model:
    """A speech foundation model that can be asked.

    Args:
        choice: Its name among the ``model`` configs.
        options: What else was chosen, such as ``path`` and ``dtype``.
        sfm: The loaded model.
    """

    choice: str
    options: Mapping[str, Any]
    sfm: SpeechFoundationModel

    def __repr__(self) -> str:
        sfm = self.sfm
        return f"Model({sfm.name!r}, revision {sfm.revision}, {sfm.dtype} on {sfm.model.device})"

    @property
    def values(self) -> dict[str, Any]:
        """The options as a configuration has them."""
        return {f"model.{name}": value for name, value in self.options.items()}

    def read(
        self,
        audio: str | Path | np.ndarray | Sequence[str | Path | np.ndarray],
        *,
        sampling_rate: int | None = None,
        prompt: Choice = None,
        labels: str | Sequence[str] | LabelSet | None = None,
        readout: Choice = None,
        calibration: Choice = "none",
        transcript: str | None = None,
        dialogue: str | None = None,
        overrides: Sequence[str] = (),
    ) -> Beliefs:
        """What the model believes about a clip, or about each of several.

        Args:
            audio: A sound file, an array ``[samples]`` or ``[samples, channels]``, or a list of such.
            sampling_rate: Of arrays, hertz.
            prompt: Names of prompts, or a completion that holds ``{label}``, such as ``"The voice sounds {label}."``.
            labels: Name of a label set, words, or a `LabelSet`.
            readout: Names of readouts; the usual ones that ask the model by default.
            calibration: Names of calibrations that need no votes, such as ``contextual_silence``.
            transcript: Words spoken, for prompts that show them.
            dialogue: Previous turns, likewise.
            overrides: Further options as on the command line, such as ``null_inputs.seconds=1``.

        Raises:
            InputError: A name is unknown, the sound cannot be read, or a prompt needs what is not given.
        """
        import torch

        from emoprobe.analysis.derive import make_beliefs
        from emoprobe.beliefs.targets import no_targets
        from emoprobe.data.datamodule import Batch
        from emoprobe.data.facts import gather_facts
        from emoprobe.readout.base import readouts_of
        from emoprobe.readout.scoring.module import ZeroShotProbe
        from emoprobe.readout.scoring.plan import Plans, sayable
        from emoprobe.recipes.settings import read_probe
        from emoprobe.run.scores import table_of

        label_name, own_labels = label_choice(labels)
        prompt_names, own_prompt = prompt_choice(prompt)
        groups = {"prompt": prompt_names, "labels": label_name, "readout": readout, "calibration": calibration}
        values = own_labels | own_prompt | {"output_dir": "-"}
        settings = read_probe(configuration("probe", groups, values, overrides))
        label_set, prompts, limits = settings.labels, settings.prompts, settings.dataset.audio
        readouts = readouts_of(self.sfm, label_set, settings.readout)
        with_nulls = _check_calibrations(settings.calibration)
        sounds: list[Any] = list(audio) if isinstance(audio, list | tuple) else [audio]
        names = [str(sound) if isinstance(sound, str | Path) else f"array {i}" for i, sound in enumerate(sounds)]
        if not sounds or len(set(names)) < len(names):
            what = "a clip is given twice" if sounds else "no clip is given"
            raise InputError(what, field="audio", remedy="Give a sound file, an array, or a list of different ones.")
        clips = [_clip(sound, sampling_rate, self.sfm.sampling_rate, limits) for sound in sounds]
        utterances = [Utterance(name, Path(name), transcript=transcript, dialogue=dialogue) for name in names]
        needs = frozenset().union(*(each.needs for each in prompts))
        facts, _ = gather_facts(needs, utterances, utterances, limits, "error", check=sayable(self.sfm))
        probe = ZeroShotProbe(self.sfm, Plans(self.sfm, prompts, label_set, facts), readouts)
        with torch.inference_mode():
            pairs = [(of, window) for of, clip in zip(utterances, clips, strict=True) for window in clip.cut()]
            rows = probe.predict_step(Batch([of for of, _ in pairs], [window for _, window in pairs], []))
            if with_nulls:
                rows += probe.null_rows(settings.null_inputs.make(self.sfm.sampling_rate, settings.seed))
        found = make_beliefs(table_of(rows), names, label_set, settings.derived, no_targets(names, label_set))
        return Beliefs(label_set.labels, tuple(names), found)


def _check_calibrations(calibrations: Sequence[Calibration]) -> bool:
    """Whether null inputs are needed.

    Raises:
        InputError: A calibration needs more than the clip and null inputs.
    """
    from emoprobe.beliefs.calibrations.none import Uncalibrated
    from emoprobe.beliefs.calibrations.null_inputs import OfNullInputs

    for each in calibrations:
        if not isinstance(each, Uncalibrated | OfNullInputs):
            raise InputError(
                f"{each.name} is fitted to a corpus",
                field=f"calibration.{each.name}",
                remedy="Use emoprobe.probe on a corpus, or one of null inputs only: contextual_silence, pmi, ...",
            )
    return any(isinstance(each, OfNullInputs) for each in calibrations)


def load_model(name: str = "whisper_base", **options: Any) -> Model:
    """Load a speech foundation model.

    Args:
        name: One of the ``model`` configs, such as ``whisper_base`` or ``qwen2_audio``, those of installed packages
            included.
        options: Its options: ``path``, ``dtype``, ``device``, ...

    Raises:
        InputError: There is no such model or option.
        WeightsError: The weights are missing, damaged or not what they claim to be.
    """
    config = configuration("probe", {"model": name}, {f"model.{key}": value for key, value in options.items()})
    return Model(name, options, make(read_node(config, "model"), "model"))


def _clip(sound: str | Path | np.ndarray, rate: int | None, wanted: int, limits: Any) -> AudioClip:
    from emoprobe.data.sound.audio import clip_of_array, read_audio

    if isinstance(sound, str | Path):
        return read_audio(Path(sound).expanduser().absolute(), wanted, limits)
    if rate is None:
        raise InputError("an array needs its sampling rate", field="sampling_rate", remedy="Give it in hertz.")
    return clip_of_array(sound, rate, wanted, limits)
