"""A bundle as one more readout of a zero-shot run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emoprobe.data.prepare import Item
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Skipped
from emoprobe.labels import LabelSet
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.readout.trained_head import KNOWS_VOTES
from emoprobe.training.bundle import Bundle
from emoprobe.training.methods.base import score_rows


def bundle_rows(
    bundle: Bundle,
    sfm: SpeechFoundationModel,
    labels: LabelSet,
    items: Sequence[Item],
    limits: AudioLimits,
    *,
    knows_votes: bool = False,
    **options: Any,
) -> tuple[list[dict], list[Skipped]]:
    """Rows of the score table, the bundle's distribution of every clip, and the clips left out.

    Args:
        bundle: The bundle.
        sfm: Its base model.
        labels: Its label set.
        items: The clips.
        limits: Which clips are taken.
        knows_votes: Whether it was trained on some of these clips or their speakers; its rows then have no rank.
        options: ``batch_size``, ``num_workers``, ``on_error`` and ``progress``.

    Raises:
        InputError: The bundle is for another model, label order or prompt.
    """
    method = bundle.method(sfm, labels)
    skipped = method.prepare([item.utterance for item in items], limits, keep=False, **options)
    lost = {row.id for row in skipped}
    items = [item for item in items if item.utterance.id not in lost]
    log_probs = bundle.predict(method, method.clips(items), options["batch_size"])
    trained = {name: bundle.facts[name] for name in ("head", "loss", "fit", "seed")}
    if knows_votes:
        trained[KNOWS_VOTES] = True
    return score_rows(method, items, log_probs.tolist(), trained, limits), skipped
