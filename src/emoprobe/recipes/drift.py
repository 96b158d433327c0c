"""What adapters changed in their model, layer by layer: its states and its beliefs about the same clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emoprobe.beliefs.distributions import over_labels
from emoprobe.errors import InputError
from emoprobe.report.style import save
from emoprobe.system.output import write_csv

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from emoprobe.labels import LabelSet
    from emoprobe.models.base import SpeechFoundationModel
    from emoprobe.readout.scoring.plan import PromptPlan
    from emoprobe.recipes.listening import HeardClip

LAYERS, FIGURE = "drift.csv", "drift.png"
ENCODER, DECODER = "encoder", "decoder"


class Inside(NamedTuple):
    """What a model holds of some clips.

    Args:
        states: Part -> layer -> ``[clips, width]``: of the encoder means over frames, of the decoder the states at the
            answer position.
        beliefs: Distributions over the labels at every decoder layer, ``[clips, layers, labels]``; None where the model
            is asked nothing, or does not give its layers.
    """

    states: dict[str, dict[int, np.ndarray]]
    beliefs: np.ndarray | None


def drift(
    bundle_path: Path, folder: Path, overrides: Sequence[str], *, resamples: int = 2000, figures: bool = True
) -> Path:
    """Compare a model before and after the adapters of a bundle, a table and a figure; returns their folder.

    Args:
        bundle_path: Head folder of a training with ``head=lora`` or ``lora_probe``.
        folder: Where to write; made if it is not there.
        overrides: Of the configuration: model and labels as they were trained with, and the clips.
        resamples: Of speakers, for intervals.
        figures: Whether to draw.

    Raises:
        InputError: The bundle changes nothing in its model, or belongs to another one.
    """
    import pandas as pd

    from emoprobe.analysis.drift import drift_by_layer
    from emoprobe.recipes.listening import read_clips
    from emoprobe.recipes.settings import read_labels
    from emoprobe.settings import compose, make, read_node
    from emoprobe.system.claim import claimed
    from emoprobe.training.bundle import load_bundle
    from emoprobe.training.heads.base import head_options

    bundle = load_bundle(bundle_path)
    if head_options(bundle.facts["head"]).method != "lora":
        raise InputError(
            f"{bundle.facts['head']['name']} stands beside its model and changes nothing in it",
            file=bundle_path,
            field="bundle",
            remedy="Give the head folder of a training with head=lora or head=lora_probe.",
        )
    config = compose(overrides, "train")
    labels = read_labels(config)
    sfm = make(read_node(config, "model"), "model")
    method = bundle.method(sfm, labels)
    clips = read_clips(config, sfm, least=2)
    with claimed(folder, "drift", "--output"):
        before, found = look_inside(sfm, clips, method.plan, labels), []
        for member, weights in enumerate(bundle.weights):
            reader = method.restore(weights)
            try:
                after = look_inside(sfm, clips, method.plan, labels)
            finally:
                method.release(reader)
            beliefs = None if before.beliefs is None or after.beliefs is None else (before.beliefs, after.beliefs)
            speakers = [clip.speaker for clip in clips]
            rows = drift_by_layer(before.states, after.states, beliefs, speakers, resamples=resamples)
            found.append(rows.assign(member=member))
        layers = pd.concat(found, ignore_index=True)
        write_csv(layers, folder / LAYERS)
        if figures:
            from emoprobe.report.belief_figures import drifted_layers

            title = f"What training changed in {sfm.name}, layer by layer"
            several = f", mean of {len(found)} members" if len(found) > 1 else ""
            means = layers.groupby(["part", "layer"], sort=False).mean(numeric_only=True).reset_index()
            save(drifted_layers(means, title, f"{len(clips)} clips{several}"), folder / FIGURE)
        for line in conclusions(layers):
            print(line)
    print(f"Written: {folder}")
    return folder


def look_inside(
    sfm: SpeechFoundationModel, clips: Sequence[HeardClip], plan: PromptPlan | None, labels: LabelSet
) -> Inside:
    """States and beliefs of every layer, clip by clip.

    Args:
        sfm: The model as it is now.
        clips: What it hears.
        plan: What it is asked; None for nothing.
        labels: The label set.
    """
    import torch

    states: dict[str, dict[int, list[np.ndarray]]] = {ENCODER: {}} if sfm.hears else {}
    beliefs: list[np.ndarray] = []
    with torch.no_grad():
        for clip in clips:
            waveform = torch.from_numpy(clip.waveform)
            if sfm.hears:
                heard = sfm.hear([waveform], range(sfm.num_encoder_layers + 1)).states[0]
                for layer, frames in heard.items():
                    mean = frames.float().mean(dim=0).cpu().numpy()
                    states[ENCODER].setdefault(layer, []).append(mean)
            if plan is None:
                continue
            found, own = _asked(sfm, waveform, plan, labels)
            for layer, state in found.items():
                states.setdefault(DECODER, {}).setdefault(layer, []).append(state)
            beliefs += [] if own is None else [own]
    stacked = {
        part: {layer: np.stack(found) for layer, found in sorted(layers.items())} for part, layers in states.items()
    }
    return Inside(stacked, np.stack(beliefs) if beliefs else None)


def _asked(
    sfm: SpeechFoundationModel, waveform: Tensor, plan: PromptPlan, labels: LabelSet
) -> tuple[dict[int, np.ndarray], np.ndarray | None]:
    """Decoder states at the answer position by layer, and the belief at every layer, ``[layers, labels]``."""
    import torch

    from emoprobe.models.answering import answering

    asked = answering(sfm)
    context = asked.encode([waveform])
    found = {layer: state[0].numpy() for layer, state in asked.hidden_states(context, plan.question).items()}
    if len(found) <= asked.num_decoder_layers:  # a class that keeps its layers' states in a form of its own
        return found, None
    forms = torch.stack([form[0].double().sum(-1) for form in asked.score_layers(context, [plan.question])[0]], dim=-1)
    return found, over_labels(forms.numpy(), plan.labels, labels.labels).probs


def conclusions(layers: pd.DataFrame) -> list[str]:
    """Where states and beliefs changed most, a sentence each."""
    lines = []
    means = layers.groupby(["part", "layer"], sort=False).mean(numeric_only=True).reset_index()
    for part, rows in means.groupby("part", sort=False):
        if rows["cka"].notna().any():
            least = rows.loc[rows["cka"].idxmin()]
            lines.append(
                f"{part}: CKA is lowest, {least['cka']:.3f}, at layer {least['layer']:.0f} of {rows['layer'].max()}"
            )
    told = means[means["js"].notna()]
    if len(told):
        most, last = told.loc[told["js"].idxmax()], told.iloc[-1]
        lines.append(
            f"beliefs: JS between before and after is highest, {most['js']:.3f}, at layer {most['layer']:.0f}, and "
            f"{last['js']:.3f} at the last"
        )
    return lines
