"""``emoprobe export-results``: a run in the formats that the hub and leaderboards read."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from reporting.runs import PLAIN, TEXT, make_human, make_probs, make_record, write_run

from emoprobe.cli.export_results import main
from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS
from emoprobe.recipes.export_results import export_results
from emoprobe.report.exports import EXPORTS
from emoprobe.run.folder import RunFolder

SIZE = 24
FITTED = (*PLAIN[:4], "temperature")
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
END = {"anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity"]}]}
SCHEMA = {  # what version 0.3.0 of the aggregate schema asks of the fields that are written
    "type": "object",
    "additionalProperties": False,
    "required": [
        *("schema_version", "evaluation_id", "retrieved_timestamp", "source_metadata", "model_info", "eval_library"),
        *("evaluation_results",),
    ],
    "properties": {
        "schema_version": {"const": "0.3.0"},
        "evaluation_id": {"type": "string"},
        "evaluation_timestamp": {"type": "string"},
        "retrieved_timestamp": {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
        "source_metadata": {
            "required": ["source_type", "source_organization_name", "evaluator_relationship"],
            "properties": {
                "source_type": {"const": "evaluation_run"},
                "evaluator_relationship": {"enum": ["first_party", "third_party", "collaborative", "other"]},
            },
        },
        "eval_library": {"required": ["name", "version"], "properties": {"additional_details": TEXTS}},
        "model_info": {
            "required": ["name", "id", "additional_details"],
            "properties": {
                "additional_details": TEXTS | {"required": ["deployment_type", "model_availability"]},
            },
        },
        "evaluation_results": {
            "type": "array",
            "minItems": 1,
            "items": {
                "required": ["evaluation_name", "source_data", "metric_config", "score_details"],
                "properties": {
                    "source_data": {
                        "required": ["dataset_name", "source_type"],
                        "properties": {
                            "source_type": {"enum": ["hf_dataset", "other"]},
                            "additional_details": TEXTS,
                        },
                    },
                    "metric_config": {
                        "required": ["lower_is_better", "score_type", "min_score", "max_score"],
                        "properties": {
                            "lower_is_better": {"type": "boolean"},
                            "score_type": {"const": "continuous"},
                            "min_score": END,
                            "max_score": END,
                        },
                    },
                    "score_details": {
                        "required": ["score", "details"],
                        "properties": {
                            "score": {"type": "number"},
                            "details": TEXTS,
                            "uncertainty": {
                                "required": ["confidence_interval"],
                                "properties": {
                                    "num_samples": {"type": "integer"},
                                    "confidence_interval": {
                                        "required": ["lower", "upper", "confidence_level", "method"],
                                        "properties": {"lower": {"type": "number"}, "upper": {"type": "number"}},
                                    },
                                },
                            },
                        },
                    },
                    "generation_config": {"properties": {"additional_details": TEXTS}},
                },
            },
        },
    },
}


def record_of(**changes) -> dict:
    model = {"name": "maker/listener", "revision": "a" * 40, "dtype": "float32", "device": "cpu"}
    return make_record(**{"model": model} | changes)


def make_run(folder: Path, **changes) -> Path:
    cells = {PLAIN: make_probs(SIZE), TEXT: make_probs(SIZE, seed=1, failed=[2]), FITTED: make_probs(SIZE, seed=2)}
    more = {"intervals": {"js_divergence": [0.1, 0.9], "ccc": [math.nan, 1.0]}, "num_speakers": 12}
    fitted = {FITTED: "evaluated votes"}
    return write_run(folder, make_human(SIZE), cells, record=record_of(**changes), fitted=fitted, more=more)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def read_record(files: list[Path]) -> dict:
    (file,) = files
    return json.loads(file.read_text(encoding="utf-8"))


def test_the_record_of_every_eval_ever_holds_every_number_with_its_interval(run, tmp_path, capsys):
    files = export_results(run, tmp_path / "out", "every_eval_ever", organization="A lab", relationship="third_party")
    assert "1 left out, fitted on the votes" in capsys.readouterr().out
    found = read_record(files)
    jsonschema.validate(found, SCHEMA)
    assert re.fullmatch(r"made/maker/listener/[0-9a-f-]{36}\.json", str(files[0].relative_to(tmp_path / "out")))
    assert found["model_info"]["id"] == "maker/listener"
    assert found["source_metadata"]["source_organization_name"] == "A lab"
    rows = [row for row in RunFolder(run).rows if row["kind"] == "readout" and row["fitted_on"] == ""]
    told = {each["evaluation_result_id"]: each for each in found["evaluation_results"]}
    finite = [v for row in rows for name, v in row["metrics"].items() if name in METRICS and math.isfinite(v)]
    assert sorted(each["score_details"]["score"] for each in told.values()) == sorted(finite)
    one = next(each for name, each in told.items() if "label_likelihood" in name and name.endswith("/js_divergence"))
    interval = one["score_details"]["uncertainty"]["confidence_interval"]
    assert (interval["lower"], interval["upper"], interval["confidence_level"]) == (0.1, 0.9, 0.95)
    assert sum("uncertainty" in each["score_details"] for each in told.values()) == 1  # half an interval is none
    for each in told.values():
        metric = METRICS[each["metric_config"]["metric_name"]]
        assert each["metric_config"]["lower_is_better"] is not metric.higher_is_better
    text = next(each for name, each in told.items() if "generated_text" in name)
    assert text["score_details"]["details"] == {"num_utterances": "23", "num_failed": "1"}
    assert text["generation_config"]["additional_details"]["soft_label_policy_hash"] == "2222bbbb"
    assert str(tmp_path) not in json.dumps(found)


def test_an_export_of_the_same_run_replaces_the_one_before(run, tmp_path):
    first, second = (export_results(run, tmp_path / "out", "every_eval_ever") for _ in range(2))
    assert first == second


def test_results_for_the_hub_are_read_by_its_own_library(run, tmp_path):
    files = export_results(run, tmp_path, "hf", dataset_id="lab/corpus", cells=["calibration=none"])
    assert len(files) == 2
    assert {file.parent.name for file in files} == {".eval_results"}
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[0].read_text(encoding="utf-8")))
    (row,) = (each for each in RunFolder(run).rows if each["readout"] == "label_likelihood" and not each["fitted_on"])
    assert (entry.dataset_id, entry.task_id) == ("lab/corpus", "js_divergence")
    assert entry.value == row["metrics"]["js_divergence"]
    assert "95 % interval 0.1 to 0.9, speakers resampled" in entry.notes
    assert "lower is better" in entry.notes
    (text,) = parse_eval_result_entries(yaml.safe_load(files[1].read_text(encoding="utf-8")))
    assert "23 clips, 1 without a distribution" in text.notes


def test_a_task_of_a_benchmark_has_the_name_that_it_has_there(run, tmp_path):
    options = {"dataset_id": "lab/corpus", "task_id": "emotion", "metrics": ["wa"]}
    files = export_results(run, tmp_path, "hf", cells=["readout=label_likelihood"], **options)
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[0].read_text(encoding="utf-8")))
    assert entry.task_id == "emotion"
    assert entry.notes.startswith("wa, higher is better")


@pytest.mark.parametrize("form", ["hf", "every_eval_ever"])
def test_a_synthetic_corpus_says_so(form, tmp_path):
    corpus = {"name": "made", "title": "Made corpus", "synthetic": True, "licence": "none"}
    run = make_run(tmp_path / "run", corpus=corpus)
    files = export_results(run, tmp_path / "out", form, dataset_id="lab/corpus")
    assert all("Made corpus (SYNTHETIC)" in file.read_text(encoding="utf-8") for file in files)


@pytest.mark.parametrize(
    ("changes", "options", "field", "words"),
    [
        ({}, {"form": "csv"}, "--format", "unknown export format"),
        ({}, {"form": "hf"}, "--dataset-id", "none is given"),
        ({}, {"dataset_id": "corpus"}, "--dataset-id", "no name of a repository"),
        ({}, {"metrics": ["bleu"]}, "--metric", "no metric 'bleu'"),
        ({}, {"task_id": "emotion"}, "--task-id", "one metric"),
        ({}, {"model_id": "/home/me/model"}, "--model-id", "no name of a repository"),
        ({}, {"cells": ["readout=other"]}, None, "no readout to export"),
        ({}, {"cells": ["calibration=temperature"]}, None, "no readout to export"),
        (
            {"model": {"name": "models/mine", "revision": "b" * 64, "dtype": "float32", "device": "cpu"}},
            {},
            "--model-id",
            "no public name",
        ),
        (
            {"model": {"name": "/data/mine", "revision": "x", "dtype": "float32", "device": "cpu"}},
            {},
            "--model-id",
            "no public name",
        ),
        ({"head": {"name": "linear_probe"}}, {}, "--model-id", "a trained head is not the model"),
        ({"fusion": {"sources": ["/home/a"]}}, {}, "--model-id", "a fusion is not the model"),
        ({"shard": {"part": "1/4", "utterances": 96, "sha256": "0"}}, {}, None, "part 1/4"),
    ],
)
def test_what_would_mislead_is_not_written(changes, options, field, words, tmp_path):
    run = make_run(tmp_path / "run", **changes)
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        export_results(run, tmp_path / "out", **{"form": "every_eval_ever"} | options)
    assert caught.value.field == field
    assert not (tmp_path / "out").exists()


def test_what_was_trained_has_a_name_of_its_own(tmp_path):
    run = make_run(tmp_path / "run", head={"name": "linear_probe", "path": "/home/me/head"})
    found = read_record(export_results(run, tmp_path / "out", "every_eval_ever", model_id="lab/probe"))
    assert found["model_info"]["id"] == "lab/probe"
    assert found["model_info"]["additional_details"]["head"] == "linear_probe"
    assert "/home/me" not in json.dumps(found)


def test_an_unfinished_or_edited_run_is_refused(run, tmp_path):
    table = run / "metrics.json"
    text = json.loads(table.read_text())
    table.unlink()
    with pytest.raises(InputError, match=r"no metrics\.json"):
        export_results(run, tmp_path / "out", "every_eval_ever")
    text["rows"][0]["metrics"]["js_divergence"] = 0.0
    table.write_text(json.dumps(text))
    with pytest.raises(InputError):
        export_results(run, tmp_path / "out", "every_eval_ever")


def test_numbers_that_are_none_are_left_out(tmp_path):
    human = make_human(2)
    run = write_run(tmp_path / "run", human, {PLAIN: np.full((2, 4), 0.25)}, record=record_of())
    found = read_record(export_results(run, tmp_path / "out", "every_eval_ever"))
    assert all(math.isfinite(each["score_details"]["score"]) for each in found["evaluation_results"])


def test_the_command_says_where_the_files_lie(run, capsys):
    assert main([str(run), "--format", "every_eval_ever"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Written: "))
    assert Path(line.removeprefix("Written: ")).is_relative_to(run / "exports" / "every_eval_ever")


def test_the_help_names_every_format(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert " or ".join(EXPORTS) in capsys.readouterr().out
