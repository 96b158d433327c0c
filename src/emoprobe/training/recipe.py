"""The training recipe, top to bottom: corpus, partition, frozen features, heads, the same analysis as zero-shot."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from emoprobe import runs, tracking
from emoprobe.analysis import AnalysisOptions, analyse
from emoprobe.calibration import Calibration
from emoprobe.data.audio import AudioLimits
from emoprobe.data.splits import Split, SplitPolicy, split_items
from emoprobe.data.votes import Item, Prepared
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.labels import LabelSet
from emoprobe.scores import CLIP, ScoreWriter, read_scores

NO_PROMPT = "-"  # a head on states is asked nothing


def main(config: DictConfig) -> None:
    """Run the recipe; the user's mistakes end in one line, not in a traceback."""
    try:
        run(config)
    except EmoprobeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def run(config: DictConfig) -> Path:
    """Train heads on one fold or on all, score the held-out clips, write and log everything; returns the run folder."""
    settings = runs.plain(config)
    folder = Path(settings["output_dir"])
    labels = runs.build(LabelSet, settings["labels"], "labels")
    limits = runs.build(AudioLimits, settings["dataset"]["audio"], "dataset.audio")
    if settings["dataset"]["split"] not in (None, "all"):
        raise InputError(
            "training takes a corpus as a whole and divides it itself",
            field="dataset.split",
            remedy="Leave dataset.split=all; dataset.partition.kind=official uses the corpus's own split.",
        )
    corpus = runs.read_corpus(config)
    prepared = runs.prepare_run(config, corpus, labels)
    splits = make_splits(prepared.items, settings["dataset"])

    # Heavy imports come after everything cheap has been checked.
    import lightning as L
    from hydra.utils import instantiate

    from emoprobe.probing import quiet
    from emoprobe.report.figures import save_learning_curves
    from emoprobe.training.features import FeatureSpec, extract, num_encoder_layers
    from emoprobe.training.fit import FitOptions
    from emoprobe.training.losses import Loss

    quiet()
    L.seed_everything(settings["seed"], verbose=False)
    options = runs.build(FitOptions, settings["fit"], "fit")
    loss = runs.build(Loss, settings["loss"], "loss")
    sfm = runs.call(lambda: instantiate(config.model, _convert_="all"), "model")
    depth = num_encoder_layers(sfm)
    spec = FeatureSpec(source="encoder", layers=tuple(range(depth + 1)), kinds=("mean", "std", "max"))
    features = extract(
        sfm,
        [item.utterance for item in prepared.items],
        spec,
        limits,
        batch_size=settings["batch_size"],
        on_error=settings["dataset"]["on_error"],
        progress=settings["trainer"]["enable_progress_bar"],
    )
    lost = {row.id for row in features.skipped}
    splits = [_without(split, lost) for split in splits]
    tested = {item.utterance.id: item for split in splits for item in split.test}
    training = splits[0].train if len(splits) == 1 else ()
    shown = Prepared(
        tuple(item for item in prepared.items if item.utterance.id in tested),
        tuple(training),
        (*prepared.skipped, *features.skipped),
    )
    frame = runs.utterances_frame(shown, labels)
    model = {"model": sfm.name, "revision": sfm.revision, "dtype": sfm.dtype}

    with tracking.open_logger(config.logger) as logger:
        folder.mkdir(parents=True, exist_ok=True)
        curves: list[dict] = []
        with ScoreWriter(folder) as writer:
            for split in splits:
                rows, learned = train_fold(split, features, settings, loss, options, labels, model, folder)
                curves += [{"fold": split.fold, **row} for row in learned]
                writer.write([_row(sfm, settings, labels, *row) for row in rows])
        _write_curves(curves, folder)
        shown_model = {"name": sfm.name, **model, "device": str(sfm.model.device)}
        record = runs.make_record(config, corpus, shown, shown.skipped, labels, shown_model)
        record |= {"head": settings["head"], "loss": settings["loss"], "fit": settings["fit"]}
        record["partition"] = settings["dataset"]["partition"] | {"fold": settings["dataset"]["fold"]}
        record["num_left_out_of_partition"] = len(prepared.items) - len(lost) - len(_all_parts(splits))
        runs.write_json(record, folder / runs.RUN_FILE)
        frame.to_parquet(folder / runs.UTTERANCES_FILE, index=False)
        runs.write_skipped(shown.skipped, folder / runs.SKIPPED_FILE)
        plain = AnalysisOptions([Calibration("none")], failures=settings["analysis"]["failures"])
        analysis = analyse(read_scores(folder), frame, labels, plain)
        figures = runs.write_results(folder, analysis, record, figures=settings["analysis"]["figures"])
        if settings["analysis"]["figures"]:
            title = f"Learning curves of {settings['head']['name']} ({settings['loss']['name']})"
            figures += save_learning_curves(curves, folder / "figures", title, runs.subtitle(record))
        tracking.log_results(logger, settings, analysis, figures)
    runs.print_results(analysis, record, folder, figures)
    return folder


def make_splits(items: Sequence[Item], dataset: Mapping) -> list[Split]:
    """The fold that is asked for, or all of them; every clip is then tested once.

    Raises:
        InputError: The partition cannot be made.
    """
    policy = runs.build(SplitPolicy, dict(dataset["partition"]), "dataset.partition")
    fold = dataset["fold"]
    if fold != "all":
        return [split_items(items, replace(policy, fold=fold))]
    if policy.kind == "official":
        return [split_items(items, policy)]
    return [split_items(items, replace(policy, fold=i)) for i in range(policy.count(items))]


def _all_parts(splits: Sequence[Split]) -> set[str]:
    """Ids of all utterances that some part of some fold uses."""
    parts = [part for split in splits for part in (split.train, split.development, split.test)]
    return {item.utterance.id for part in parts for item in part}


def _without(split: Split, lost: set[str]) -> Split:
    """A split without the clips whose sound could not be read."""

    def keep(part: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(item for item in part if item.utterance.id not in lost)

    left = replace(split, train=keep(split.train), development=keep(split.development), test=keep(split.test))
    for part in ("train", "development", "test"):
        if not getattr(left, part):
            raise InputError(
                f"no clip of the {part} part of fold {split.fold} can be read",
                field="dataset.root",
                remedy="Use dataset.on_error=error to see why.",
            )
    return left


def train_fold(
    split: Split, features, settings: Mapping, loss, options, labels: LabelSet, model: Mapping, folder: Path
):
    """Train the members of a head on a fold.

    Returns:
        ``(item, log-probabilities)`` of every test utterance, and the learning curves.
    """
    import torch

    from emoprobe.training.bundle import save_head
    from emoprobe.training.fit import ClipFeatures, fit_head, predict
    from emoprobe.training.heads import make_head

    config = dict(settings["head"])
    name, members = config.pop("name"), config.pop("members", 1)
    config.pop("source")
    chosen = _layers(config.pop("layers"), len(features.layers))
    kinds = config.pop("kinds")
    unknown = [kind for kind in kinds if kind not in features.kinds]
    if unknown:
        raise InputError(f"unknown pooling {unknown[0]!r}", field="head.kinds", remedy=f"Use some of {features.kinds}.")
    columns = [features.kinds.index(kind) for kind in kinds]

    def load(part: Sequence[Item]) -> ClipFeatures:
        ids = [item.utterance.id for item in part]
        stats = features.stats(ids)[:, chosen][:, :, columns]
        target = torch.tensor([item.target.distribution.tolist() for item in part], dtype=torch.float32)
        votes = torch.tensor([item.target.votes.tolist() for item in part], dtype=torch.float32)
        return ClipFeatures(ids, stats, target, votes)

    train, development, test = load(split.train), load(split.development), load(split.test)
    fitted = loss.fit(train.target, train.votes)
    output = "dirichlet" if loss.of_head == "concentration" else "log_probs"
    description = {"name": name, "output": output, **config}
    heads, modules, curves = [], [], []
    for member in range(members):
        seed = settings["seed"] * 1000 + member
        torch.manual_seed(seed)
        head = make_head(
            description,
            layers=len(chosen),
            kinds=len(kinds),
            width=features.width,
            num_labels=len(labels),
        )
        head.fit(train.stats)
        module = fit_head(head, fitted, train, development, options, seed=seed)
        heads.append(head)
        modules.append(module)
        curves += [{"member": member, **row} for row in module.curve]
    facts = {
        **model,
        "labels": list(labels.labels),
        "label_set_hash": labels.hash,
        "head": description,
        "layers": [features.layers[i] for i in chosen],
        "kinds": list(kinds),
        "width": features.width,
        "loss": settings["loss"],
        "fit": settings["fit"],
        "fold": split.fold,
        "development": [max(module.curve, key=lambda row: -row["js_divergence"]) for module in modules],
    }
    save_head(folder / f"head_fold{split.fold}", heads, facts)
    return list(zip(split.test, predict(heads, test).tolist(), strict=True)), curves


def _layers(layers: Sequence[int] | str, count: int) -> list[int]:
    """Indices of the chosen layers; negative ones count from the last."""
    asked = list(range(count)) if layers == "all" else [layers] if isinstance(layers, int) else list(layers)
    wrong = [layer for layer in asked if not -count <= layer < count]
    if wrong or not asked:
        raise InputError(
            f"the encoder has no layer {wrong[0] if wrong else '(none given)'}",
            field="head.layers",
            remedy=f"Layers are 0 to {count - 1}, or -1 for the last.",
        )
    return [layer % count for layer in asked]


def _row(sfm, settings: Mapping, labels: LabelSet, item: Item, log_probs: Sequence[float]) -> dict:
    """A row of the score table: the labels themselves are the forms."""
    from emoprobe.readout.module import library_versions

    trained = {name: settings[name] for name in ("head", "loss", "fit", "seed")}
    return {
        "utterance_id": item.utterance.id,
        "input": CLIP,
        "draw": 0,
        "model": sfm.name,
        "model_revision": sfm.revision,
        "dtype": sfm.dtype,
        "prompt": NO_PROMPT,
        "prompt_hash": "",
        "question_hash": "",
        "label_set_hash": labels.hash,
        "readout": settings["head"]["name"],
        "readout_options": json.dumps(trained, sort_keys=True),
        "library_versions": library_versions(),
        "form_labels": list(labels.labels),
        "forms": list(labels.labels),
        "form_logprobs": list(log_probs),
        "log_label_mass": 0.0,
    }


def _write_curves(curves: Sequence[Mapping], folder: Path) -> None:
    import pandas as pd

    pd.DataFrame(curves).to_csv(folder / "learning_curves.csv", index=False)
