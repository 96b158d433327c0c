"""A wrong value of any option is one line that names it, and comes before anything heavy is imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from checkout import PROJECT
from settings_sweep import HEAVY, READ

from emoprobe.errors import InputError
from emoprobe.settings import compose

BOTH = [
    ("batch_size=big", "'big' is not a whole number of at least 1 (field batch_size)"),
    ("batch_size=0", "0 is not a whole number of at least 1 (field batch_size)"),
    ("batch_size=null", "null is not a whole number of at least 1 (field batch_size)"),
    ("batch_size=8.0", "8.0 is not a whole number of at least 1 (field batch_size)"),
    ("num_workers=-1", "-1 is not a whole number of at least 0 or null (field num_workers)"),
    ("num_workers=true", "true is not a whole number of at least 0 or null (field num_workers)"),
    ("seed=abc", "'abc' is not a whole number from 0 to 4294967295 (field seed)"),
    ("seed=-1", "-1 is not a whole number from 0 to 4294967295 (field seed)"),
    ("dataset.split=[test]", "['test'] is not the name of a split, or all (field dataset.split)"),
    ("dataset.limit=0", "0 is not a whole number of at least 1 or null (field dataset.limit)"),
    ("dataset.keep=[anger]", "[anger] is not a mapping (field dataset.keep)"),
    ("dataset.on_error=ignore", "'ignore' is not one of error, skip (field dataset.on_error)"),
    ("dataset.fold=first", "'first' is not a whole number of at least 0, or all (field dataset.fold)"),
    ("dataset.audio.min_seconds=40", "min_seconds 40 must be less than max_seconds 30.0 (field dataset.audio.min_s"),
    ("dataset.soft_label.smoothing=1", "1 is not a number from 0 to below 1 (field dataset.soft_label.smoothing)"),
    ("dataset.partition.by=[speaker]", "['speaker'] is not the name of a fact, such as speaker or session (field "),
    ("+dataset.partition.fold=1", "there is no option 'fold' (field dataset.partition.fold). Did you mean folds?"),
    ("prompt=[]", "no prompt was chosen (field prompt). Give one, for example prompt=voice_sounds"),
    ("labels.words.happy=null", "null is not a mapping from kinds of word, such as adjective, to surface forms (fiel"),
    (
        "labels.labels=[1,2,3]",
        "1 is not a text (field labels.labels). YAML reads no, yes, on, off, null and numbers a",
    ),
    ("labels.labels=[true,false]", "true is not a text (field labels.labels). YAML reads no, yes, on, off, null and"),
    ("labels.labels=[happy]", "['happy'] is not a list of at least two labels (field labels.labels)"),
    ("labels=3", "3 is not one of aesdd5, arousal5, "),
    ("labels=basic7", "there is no labels 'basic7' (field labels). Did you mean basic6?"),
    ("analysis.resamples=-1", "-1 is not a whole number of at least 0 (field analysis.resamples)"),
    ("analysis.failures=hide", "'hide' is not one of exclude, uniform (field analysis.failures)"),
    ("analysis.figures=maybe", "'maybe' is not true or false (field analysis.figures)"),
    (
        "trainer.accelerator=quantum",
        "'quantum' is not one of auto, cpu, gpu, cuda, mps, tpu (field trainer.",
    ),
    ("trainer.precision=8", "8 is not one of 32-true, 16-mixed, bf16-mixed, "),
    ("trainer.enable_progress_bar=null", "null is not true or false (field trainer.enable_progress_bar)"),
    (
        "trainer.max_epoch=3",
        "Lightning's trainer has no such argument (field trainer.max_epoch). Did you mean trai",
    ),
    (
        "+trainer.logger=true",
        "the tracker is a group of its own (field trainer.logger). Use logger=wandb, csv, te",
    ),
    ("trainer.strategy=nonsense", "'nonsense' is not one of auto, ddp, "),
    ("model.dtype=float16", "'float16' is not float32 or bfloat16 (float16 overflows) (field model.dtype)"),
    ("model.dtyp=float32", "there is no option 'dtyp' (field model.dtyp). Did you mean dtype?"),
    ("+model.dtyp=float32", "there is no option 'dtyp' (field model.dtyp). Did you mean dtype?"),
    ("model._target_=nowhere.at.all", "there is no package of 'nowhere.at.all' (field model._target_)"),
    ("logger.offline=soon", "'soon' is not true or false (field logger.offline)"),
    ("+callbacks.mine=3", "this is no callback of Lightning (field callbacks.mine). Give a _target_ that na"),
    ("dataset=_common", "there is no dataset '_common' (field dataset). There are biic_podcast, cremad, demo, "),
    ("batchsize=3", "there is no option 'batchsize' (field batchsize). Did you mean batch_size?"),
    ("+batchsize=3", "there is no option 'batchsize' (field batchsize). Did you mean batch_size?"),
    (
        "dataset.audio.max_second=3",
        "there is no option 'max_second' (field dataset.audio.max_second). Did you mean max",
    ),
    ("+dataset.rot=3", "there is no option 'rot' (field dataset.rot). There are name, reader, split, "),
    ("dataset=cremad", "a value must be given (field dataset.root). Add dataset.root=VALUE to the command line"),
]
PROBE = [
    ("null_inputs.seconds=nan", "nan is not a number above 0 (field null_inputs.seconds)"),
    ("null_inputs.kinds=[hum]", "'hum' is not one of silence, noise, no_audio (field null_inputs.kinds)"),
    ("null_inputs=null", "null is not a mapping of kinds, seconds, noise_draws, noise_rms (field null_inputs)"),
    ("calibration=[]", "no calibration was chosen (field calibration). Give one, for example calibration=none"),
    ("++calibration.none.kind=magic", "'magic' is not one of contextual, matrix, none, "),
    ("readout=[]", "no readout was chosen (field readout). There are averaged_logits, "),
    ("analysis.averaged_logits=raw_logit_ratio", "'raw_logit_ratio' is not a list of some of raw_logit_ratio, "),
    ("analysis.averaged_logits=[raw]", "'raw' is not one of raw_logit_ratio, "),
    ("analysis.ensembles=[mean]", "'mean' is not one of arithmetic, geometric (field analysis.ensembles)"),
    ("report=1", "1 is not true or false (field report)"),
    ("trainer.max_epochs=3", "scoring fits nothing (field trainer.max_epochs). Leave it out; emoprobe train takes it"),
    ("trainer.precision=bf16-mixed", "Lightning's precision is for training (field trainer.precision)"),
    ("callbacks=early_stopping", "scoring fits nothing for this callback (field callbacks.early_stopping)"),
    (
        "head=lora",
        "emoprobe probe trains nothing, and 'lora' is a head to be trained (field head). Use emoprobe",
    ),
    ("fit.learning_rate=fast", "there is no option 'fit' (field fit). There are "),
    ("experiment=finetuning_study", "finetuning_study is an experiment of emoprobe train (field experiment)"),
    ("experiment=text_against_tokens study.cells=[xy]", "'xy' is no choice of cells (field study.cells)"),
    ("experiment=text_against_tokens +study.parts.a=1", "1 is not a list of "),
    ("experiment=text_against_tokens study.part=1", "there is no option 'part' (field study.part). Did you mean parts"),
]
TRAIN = [
    ("fit.learning_rate=fast", "'fast' is not a number above 0 (field fit.learning_rate)"),
    ("fit.learning_rate=0", "0 is not a number above 0 (field fit.learning_rate)"),
    ("fit.schedule=cosin", "'cosin' is not one of cosine, linear, constant (field fit.schedule). Did you mean cosine?"),
    ("fit.monitor=js_divergense", "'js_divergense' is not 'loss' or one of "),
    ("head.name=linear_prob", "unknown head 'linear_prob' (field head.name). Did you mean linear_probe?"),
    ("loss.name=soft_k", "unknown loss 'soft_k' (field loss.name). Did you mean soft_kl?"),
    (
        "callbacks.early_stoping.patience=3",
        "this is no callback of Lightning (field callbacks.early_stoping). Did you mean callbacks.early_stopping?",
    ),
    ("fit.monitor=accuracy", "'accuracy' is not 'loss' or one of kl_target_pred, "),
    ("trainer.max_epochs=0", "0 is not a whole number of at least 1 (field trainer.max_epochs)"),
    (
        "callbacks.early_stopping.patience=long",
        "'long' is not a whole number (field callbacks.early_stopping.pa",
    ),
    ("eval_batch_size=none", "'none' is not a whole number of at least 1 (field eval_batch_size)"),
    (
        "dataset.split=test",
        "training takes a corpus as a whole and divides it itself, not the split 'test' (field",
    ),
    ("head=bundle head.path=x", "unknown head 'bundle' (field head.name). Use one of linear_probe, "),
    ("head.layers=[deep]", "['deep'] is not all, a layer, or a list of layers"),
    ("head=lora head.rank=0", "0 is not a whole number of at least 1 (field head.rank)"),
    ("head=lora head.target_modules='('", "'(' is no regular expression: "),
    ("loss=emd", "the earth mover's distance needs labels in a meaningful order (field loss.name)"),
    ("loss=ccc", "the concordance correlation is one of numbers, and the labels of basic6 are none (field loss.name)"),
    (
        "loss=ccc labels=valence5 fit.batch_size=1",
        "the ccc loss is one of several clips, and one alone teaches nothing",
    ),
    ("fit.monitor=ccc", "'ccc' is no metric of the labels of basic6 (field fit.monitor). Use one of loss, kl"),
    (
        "head=lora labels=valence5",
        "prompt 'speaker_feeling' asks for an emotion, and the labels of valence5 are points",
    ),
    ("loss=null", "null is not one of ccc, dirichlet, emd, "),
    ("calibration=[]", "there is no option 'calibration' (field calibration). There are "),
    (
        "analysis.averaged_logits=[raw_logit_ratio]",
        "there is no option 'averaged_logits' (field analysis.aver",
    ),
    ("experiment=demo_study", "demo_study is an experiment of emoprobe probe (field experiment). Use emop"),
    ("experiment=text_against_tokens", "text_against_tokens is an experiment of emoprobe probe (field experiment)"),
    ("experiment=finetuning_study study.seeds=[0,0]", "0 is given twice (field study.seeds)"),
]
CASES = [(name, *case) for name in READ for case in BOTH] + [
    *(("probe", *case) for case in PROBE),
    *(("train", *case) for case in TRAIN),
]


def refused(name: str, *overrides: str) -> str:
    with pytest.raises(InputError) as error:
        READ[name](compose([*overrides, "output_dir=out"], name))
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("name", "overrides", "message"), CASES)
def test_a_wrong_value_is_refused_in_one_line_with_option_value_and_what_is_right(name, overrides, message):
    assert refused(name, *overrides.split()).startswith(message)


COMMANDS = [
    ("probe", "batch_size=big"),
    ("probe", "trainer.accelerator=quantum"),
    ("probe", "model.dtyp=float32"),
    ("probe", "labels=3"),
    ("probe", "experiment=finetuning_study"),
    ("train", "fit.learning_rate=fast"),
    ("train", "dataset=_common"),
    ("floors", "dataset.limit=no"),
    ("doctor", "model.dtype=float16"),
    ("tokens", "labels.labels=[yes,no]"),
    ("analyse", "analysis.resamples=-1"),
]
ENTRY = """
import contextlib, io, json, sys
from emoprobe.cli import main
said = []
for command in json.loads(sys.argv[2]):
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            status = main(command)
        except SystemExit as ended:
            status = ended.code
    said.append((status, errors.getvalue()))
print(json.dumps([said, sorted(set(sys.argv[1].split(",")) & set(sys.modules))]))
"""


def test_a_command_ends_in_that_line_and_status_2_before_anything_heavy_is_imported(tmp_path):
    command = [sys.executable, "-c", ENTRY, ",".join(HEAVY), json.dumps(COMMANDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=True)
    said, loaded = json.loads(done.stdout)
    assert loaded == []
    for (_, override), (status, error) in zip(COMMANDS, said, strict=True):
        assert (status, error.count("\n")) == (2, 1), override
        assert error.startswith("error: ")
        assert override.partition("=")[0].partition(".")[2] in error


def test_any_value_of_any_option_is_taken_or_refused_by_its_name():
    command = [sys.executable, str(PROJECT / "tests" / "settings_sweep.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout.splitlines() == ["loaded:"], done.stdout[-5000:] + done.stderr[-2000:]
