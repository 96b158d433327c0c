"""The sound of one clip put into another from a decoder layer on, and what that does to the belief."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.beliefs.distributions import over_labels
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.report.style import save
from emoprobe.system.output import write_csv

if TYPE_CHECKING:
    import pandas as pd

    from emoprobe.labels import LabelSet
    from emoprobe.models.answering import AnsweringModel
    from emoprobe.readout.scoring.plan import PromptPlan
    from emoprobe.recipes.listening import HeardClip

ITSELF = {"float32": 1e-3}
COARSE_ITSELF = 0.5
"""Nats by which a form's log-likelihood may change where a clip is put into itself: rounding."""
PAIRS, LAYERS, FIGURE = "patching.csv", "patching_layers.csv", "patching.png"


def patch(
    overrides: Sequence[str],
    folder: Path,
    *,
    layers: Sequence[int] | None = None,
    seed: int = 0,
    resamples: int = 2000,
    figures: bool = True,
) -> Path:
    """Put every clip's donor into it, layer by layer; writes the pairs, the layers and a figure, returns the folder.

    Args:
        overrides: Of the configuration: model, corpus, labels, prompts.
        folder: Where to write; made if it is not there.
        layers: Decoder layers, 0 to their number; all by default. The first and the last are always among them.
        seed: Draws who is put into whom.
        resamples: Of speakers, for intervals.
        figures: Whether to draw.

    Raises:
        InputError: The model does not hear or does not show its states, a prompt speaks of single clips, or there is no
            such layer.
        EmoprobeError: A clip put into itself changes the belief.
    """
    from emoprobe.analysis.patching import by_layer
    from emoprobe.models.answering import answering
    from emoprobe.prompts.prompt import make_prompts
    from emoprobe.readout.scoring.plan import make_plan
    from emoprobe.recipes.listening import read_clips
    from emoprobe.recipes.settings import read_labels
    from emoprobe.settings import compose, make, plain, read_node
    from emoprobe.system.claim import claimed

    config = compose(overrides)
    labels = read_labels(config)
    prompts = make_prompts(plain(config.prompt), labels)
    told = next((prompt.name for prompt in prompts if prompt.needs or prompt.reasoning_tokens), None)
    if told is not None:
        raise InputError(
            f"{told} speaks of the single clip, so two clips are not asked the same",
            field="prompt",
            remedy="Choose one without transcript, dialogue, acoustic facts or reasoning.",
        )
    sfm = answering(make(read_node(config, "model"), "model"))
    if not sfm.hears:
        raise InputError(f"{sfm.name} is told words, not sound", field="model", remedy="Choose a model that hears.")
    chosen = chosen_layers(layers, sfm)
    clips = read_clips(config, sfm, least=2)
    plans = [make_plan(sfm, prompt, labels) for prompt in prompts]
    with claimed(folder, "patch", "--output"):
        gap = _into_itself(sfm, clips[0], plans, chosen)
        print(f"{sfm.name}: a clip put into itself changes no log-likelihood by more than {gap:.1e} nats")
        pairs = patched_pairs(sfm, clips, plans, labels, chosen, seed)
        means = by_layer(pairs, resamples=resamples, seed=seed)
        write_csv(pairs, folder / PAIRS)
        write_csv(means, folder / LAYERS)
        if figures:
            from emoprobe.report.belief_figures import patched_layers

            title = "How far the belief goes along with another clip's sound"
            save(patched_layers(means, title, f"{sfm.name}, {len(clips)} pairs"), folder / FIGURE)
        for line in conclusions(means):
            print(line)
    print(f"Written: {folder}")
    return folder


def chosen_layers(layers: Sequence[int] | None, sfm: AnsweringModel) -> list[int]:
    """The layers in order, the first and the last among them.

    Raises:
        InputError: There is no such layer.
    """
    depth = sfm.num_decoder_layers
    wrong = [layer for layer in layers or () if not 0 <= layer <= depth]
    if wrong:
        raise InputError(
            f"{sfm.name} has no decoder layer {wrong[0]}", field="--layers", remedy=f"Layers are 0 to {depth}."
        )
    return sorted({0, depth, *(range(depth + 1) if layers is None else layers)})


def _into_itself(sfm: AnsweringModel, clip: HeardClip, plans: Sequence[PromptPlan], layers: Sequence[int]) -> float:
    """Largest change of a form's log-likelihood where a clip is put into itself, nats.

    Raises:
        EmoprobeError: It is more than rounding.
    """
    import torch

    context, worst = sfm.encode([torch.from_numpy(clip.waveform)]), 0.0
    for plan in plans:
        (scores,) = sfm.score(context, [plan.question])
        own = torch.stack([tokens[0].sum() for tokens in scores])
        found = sfm.score_patched(context, context, plan.question, layers)
        worst = max(worst, (found - own).abs().max().item())
    if not worst <= ITSELF.get(sfm.dtype, COARSE_ITSELF):
        raise EmoprobeError(f"a clip put into itself changes the log-likelihoods of {sfm.name} by {worst:.2g} nats")
    return worst


def patched_pairs(
    sfm: AnsweringModel,
    clips: Sequence[HeardClip],
    plans: Sequence[PromptPlan],
    labels: LabelSet,
    layers: Sequence[int],
    seed: int,
) -> pd.DataFrame:
    """A row for each pair, prompt and layer: the belief after patching, and how far it is from both clips' own.

    The donor is heard at the receiver's length, cut or followed by silence; its own belief is that of what is heard.

    Args:
        sfm: The model.
        clips: Receivers, and donors of each other.
        plans: The tokenised prompts.
        labels: The label set.
        layers: Decoder layers, 0 and their number among them.
        seed: Draws who is put into whom.
    """
    import pandas as pd
    import torch

    from emoprobe.analysis.patching import choose_donors, distances, fitted

    ids, samples = [clip.utterance.id for clip in clips], [len(clip.waveform) for clip in clips]
    rows = []
    for clip, other in zip(clips, [clips[i] for i in choose_donors(ids, samples, seed)], strict=True):
        sounds = clip.waveform, fitted(other.waveform, len(clip.waveform))
        receiver, donor = (sfm.encode([torch.from_numpy(np.ascontiguousarray(sound))]) for sound in sounds)
        for plan in plans:
            scores = sfm.score_patched(receiver, donor, plan.question, layers).double().numpy()
            beliefs = over_labels(scores, plan.labels, labels.labels).probs
            own, others = distances(beliefs, receiver=beliefs[-1], donor=beliefs[0])
            for i, layer in enumerate(layers):
                rows.append(
                    {
                        "receiver": clip.utterance.id,
                        "donor": other.utterance.id,
                        "speaker": clip.speaker,
                        "seconds": len(clip.waveform) / sfm.sampling_rate,
                        "donor_seconds": len(other.waveform) / sfm.sampling_rate,
                        "prompt": plan.prompt.name,
                        "layer": layer,
                        "js_from_receiver": own[i],
                        "js_from_donor": others[i],
                        **{f"p_{label}": beliefs[i, k] for k, label in enumerate(labels.labels)},
                    }
                )
    return pd.DataFrame(rows)


def conclusions(means: pd.DataFrame) -> list[str]:
    """A sentence for each prompt: up to which layer the sound's own states move the belief half of the way."""
    lines = []
    for prompt, part in means.groupby("prompt", sort=False):
        last = part["layer"].max()
        if not part["share"].notna().all():
            lines.append(f"{prompt}: the beliefs about receivers and donors do not differ.")
            continue
        far = part[part["share"] >= 0.5]
        row = far.iloc[-1]
        ends = "" if np.isnan(row["share_low"]) else f" [{row['share_low']:.2f}, {row['share_high']:.2f}]"
        lines.append(
            f"{prompt}: layer {row['layer']} of {last} is the last one tried at which another clip's sound moves the "
            f"belief half of the way and more ({row['share']:.2f}{ends})."
        )
    return lines
