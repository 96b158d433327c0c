"""The same probe with one channel changed at a time, and a table of what its beliefs follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.errors import InputError
from emoprobe.recipes import probe as probing
from emoprobe.recipes.loaded import one_model
from emoprobe.recipes.settings import ProbeSettings, read_probe
from emoprobe.run.folder import RunFolder, open_folder
from emoprobe.run.settings import read_told
from emoprobe.settings import compose
from emoprobe.system import stopping
from emoprobe.system.claim import claimed
from emoprobe.system.output import write_csv, write_text

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig

SOUND = ("sound_shuffled", "sound_of_another", "silence")
TOLD = {
    "transcript": ["words_of_another"],
    "dialogue": ["words_of_another"],
    "acoustics": ["acoustics_of_another", "acoustics_opposite"],
}
FILE = "controls"


def run_controls(
    run: Path,
    output: Path,
    chosen: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    *,
    resamples: int = 1000,
    figures: bool = True,
) -> Path:
    """Run a finished probe again under each control, then write and print what its beliefs follow.

    Args:
        run: Folder of the probe.
        output: Where to write: a run folder per control, ``controls.csv``, ``controls.md`` and a figure.
        chosen: Names of controls (conf/control); by default all that change something of what the prompts give.
        overrides: Further settings of every control, such as a key that no run keeps.
        resamples: Of speakers, for intervals and tests.
        figures: Whether to draw.

    Returns:
        The output folder.

    Raises:
        InputError: The folder is no finished probe, or is one under a control itself; or a control's name is unknown.
    """
    plain = open_folder(run)
    told = read_told(plain.home)
    if told is None or told.verb != "probe" or told.settings.get("study") or not plain.has_results:
        raise InputError("it is no finished run of emoprobe probe", file=run, remedy="Run emoprobe probe first.")
    asked = _asked_of(told.settings, chosen, output, overrides)
    with stopping.heard("Run the same command again to go on."), claimed(output, "controls", "--output"), one_model():
        found = {}
        for name, settings in asked.items():
            print(f"-- {name}")
            found[name] = open_folder(probing.run(settings))
        return _tell(plain, found, output, resamples, figures)


def _asked_of(
    settings: Mapping[str, Any], chosen: Sequence[str] | None, output: Path, overrides: Sequence[str]
) -> dict[str, ProbeSettings]:
    from omegaconf import OmegaConf

    control = (settings["dataset"].get("control") or {}).get("name", "own")
    if control != "own":
        raise InputError(f"this run is one under the control {control} itself", field="RUN_DIR")
    base = OmegaConf.create(dict(settings))
    asked = {name: read_probe(_with(base, name, output / name, overrides)) for name in chosen or SOUND}
    if chosen is None:
        needs = frozenset().union(*(prompt.needs for prompt in next(iter(asked.values())).prompts))
        more = list(dict.fromkeys(name for fact in sorted(needs) for name in TOLD[fact]))
        more += ["no_sound"] if needs else []
        asked |= {name: read_probe(_with(base, name, output / name, overrides)) for name in more}
        if not needs:
            print("note: the prompts tell nothing of a clip beside its sound, so only the sound is changed")
    return asked


def _with(base: DictConfig, name: str, folder: Path, overrides: Sequence[str]) -> DictConfig:
    """The configuration of the run, under a control."""
    from omegaconf import OmegaConf, open_dict

    dataset = compose([f"control={name}"]).dataset
    config = base.copy()
    with open_dict(config):
        config.dataset.control = dataset.control
        if dataset.control.sound == "silence":
            config.dataset.audio.allow_silence = True
        OmegaConf.update(config, "analysis.figures", False)
        config.merge_with(OmegaConf.from_dotlist(list(overrides)))
        config.output_dir, config.logger, config.report = str(folder), {"_target_": None}, False
        config.optimize = None
    return config


def _tell(plain: RunFolder, found: Mapping[str, RunFolder], output: Path, resamples: int, figures: bool) -> Path:
    from rich.console import Console

    from emoprobe.analysis.controls import follow
    from emoprobe.report.controls import controls_markdown, controls_table, save_controls

    changed = {name: (run.predictions, _donors(run.utterances)) for name, run in found.items()}
    table = follow(plain.predictions, changed, plain.labels.labels, resamples=resamples)
    write_csv(table, output / f"{FILE}.csv")
    write_text(controls_markdown(table, plain.record.title), output / f"{FILE}.md")
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    console.print(controls_table(table))
    if figures and len(table):
        save_controls(table, output, plain.record.title)
    print(f"Results  {output}: {FILE}.csv, .md{', .png, .pdf' if figures else ''}, and a run folder per control")
    return output


def _donors(utterances: pd.DataFrame) -> dict[str, str]:
    if "donor" not in utterances:
        return {}
    known = utterances[utterances["donor"].notna()]
    return dict(zip(known["utterance_id"], known["donor"], strict=True))
