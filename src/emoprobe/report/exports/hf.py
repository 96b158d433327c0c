"""The Hugging Face hub's evaluation results: ``.eval_results/*.yaml`` of a model's repository.

An entry is one number for one task of a benchmark data set (https://huggingface.co/docs/hub/eval-results); the hub's
own library writes it. What the hub has no field for (interval, clips, readout) stands in the notes.
"""

from __future__ import annotations

from collections.abc import Mapping

from emoprobe.errors import InputError
from emoprobe.metrics.functional import headline_of
from emoprobe.report.exports import EXPORTS, Export, interval_of, slug, slug_of
from emoprobe.run.cell import NO_PROMPT


@EXPORTS.register("hf")
def hub_results(export: Export) -> dict[str, str]:
    """One file per readout, an entry per metric: the headline metric where none is chosen.

    Raises:
        InputError: The corpus has no name on the hub.
    """
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    if export.dataset_id is None:
        what = "an evaluation result on the hub names the benchmark by its repository, and none is given"
        raise InputError(what, field="--dataset-id", remedy="Give --dataset-id OWNER/NAME, or another --format.")
    files = {}
    for row in export.rows:
        entries = [
            EvalResultEntry(
                dataset_id=export.dataset_id,
                task_id=export.task_id or name,
                value=value,
                date=export.run.when,
                notes=_notes(export, row, name),
            )
            for name, value in export.values(row, [headline_of(export.run.labels)])
        ]
        if entries:
            text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=1000)
            files[f".eval_results/{slug(export.run.record.corpus.name)}-{slug_of(row)}.yaml"] = text
    return files


def _notes(export: Export, row: Mapping, metric: str) -> str:
    """What one must know of the number, in a line."""
    record, interval = export.run.record, interval_of(row, metric)
    unit = export.run.definitions[metric]["unit"]
    better = "higher" if export.run.definitions[metric]["higher_is_better"] else "lower"
    speakers = f" of {row['num_speakers']} speakers" if row.get("num_speakers") else ""
    parts = [
        f"{metric}{'' if unit == '1' else f' in {unit}'}, {better} is better",
        f"95 % interval {interval[0]:.4g} to {interval[1]:.4g}, speakers resampled" if interval else "no interval",
        f"{row['num_utterances']} clips{speakers}, {row['num_failed']} without a distribution",
        f"{record.title}, split {record.split or 'all'}",
        f"labels {record.labels.name}",
        f"soft labels: {record.soft_label_policy.name} ({record.soft_label_policy.hash})",
        f"readout {row['readout']} {row['variant']}".rstrip(),
        *([f"prompt {row['prompt']}"] if row["prompt"] not in ("", NO_PROMPT) else []),
        f"calibration {row['calibration']}",
        *([f"fitted on {row['fitted_on']}"] if row["fitted_on"] else []),
        f"model revision {record.model.revision}, {record.model.dtype}",
        f"emoprobe {record.versions.get('emoprobe', 'unknown')}",
    ]
    return "; ".join(parts)
