"""Every benchmark runs to its end on a tiny shape, and prints the rows of its table."""

from __future__ import annotations

import re
import runpy
import sys

import pytest
import torch
from checkout import PROJECT

NUMBER = r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?%?"
# By benchmark: arguments, and the lines that it prints with # for every number.
TABLES = {
    "corpora": (
        "--utterances 40 --clips 6 --every 0.02 --checkpoint WHISPER",
        """\
Reading metadata (# raters per clip of MSP-Podcast)
msp_podcast # utterances: read in # s (# s of one CPU), soft labels in # s, peak memory + # MiB (# KiB each)
msp_podcast # utterances: read in # s (# s of one CPU), soft labels in # s, peak memory + # MiB (# KiB each)
msp_podcast # utterances: read in # s (# s of one CPU), soft labels in # s, peak memory + # MiB (# KiB each)
manifest # utterances: read in # s (# s of one CPU), soft labels in # s, peak memory + # MiB (# KiB each)
manifest # utterances: read in # s (# s of one CPU), soft labels in # s, peak memory + # MiB (# KiB each)
manifest # utterances: read in # s (# s of one CPU), soft labels in # s, peak memory + # MiB (# KiB each)
ratings # utterances: read in # s (# s of one CPU), soft labels in # s, peak memory + # MiB (# KiB each)
ratings # utterances: read in # s (# s of one CPU), soft labels in # s, peak memory + # MiB (# KiB each)
ratings # utterances: read in # s (# s of one CPU), soft labels in # s, peak memory + # MiB (# KiB each)
A run over # clips (one prompt, # worker): # s
peak of each tenth, MiB: #, #, #, #, #, #, #, #, #, #
last tenth beside the second: #
largest process: # MiB""",
    ),
    "context": (
        "--clips 2 --repeats 1 --checkpoint WHISPER",
        """\
WHISPER, # threads, cpu; # clips, # s
# s window # clips/s
clip context # clips/s # times faster
zero-shot distributions move by JS # on average, at most #""",
    ),
    "coverage": (
        "--clips 24 --raters 3 --repeats 1 --resamples 40 --population 2000",
        """\
js_divergence: # kinds of raters, # corpora of each
# raters # clips # speakers floor # (#) ceiling # (#) share # (#) error # bounded # width # doubted #""",
    ),
    "encoders": (
        "--clips 2 --repeats 1 --classes hubert wav2vec2-bert",
        """\
# clips, # s of sound, # threads, cpu
hubert: ours # clips/s, plain # clips/s, ratio #; largest difference alone #, among others #
wav#vec#-bert: ours # clips/s, plain # clips/s, ratio #; largest difference alone #, among others #""",
    ),
    "feature_cache": (
        "--clips 4 --batch-size 2 --checkpoint WHISPER",
        """\
WHISPER, float#, # threads; # clips, # steps of #
epoch, every clip encoded again # s
epoch from the cache # s # times faster
filling the cache, once # s
finding it filled, once per run # s
loss of the last step: # and #; largest difference of a step # nats
an empty cache, processes: # # s # clips encoded, # sounds kept
an empty cache, processes: # # s # + # clips encoded, # sounds kept""",
    ),
    "generation": (
        "--shape tiny --clips 2 --prompts 2 --tokens 6 --checkpoint WHISPER",
        """\
Qwen#-Audio, tiny: # M parameters, float#, cpu; # clips x # prompts = # rows, # tokens
(a) ours # ms/token # tokens/s peak # MiB
(b) generate # ms/token # tokens/s peak # MiB
(a) takes # times as long as (b) for a token
sound, prompts and first tokens: (a) # s, (b) # s
in all: (a) # s, (b) # s
answers that end, after # to # tokens, # on average:
in all: (a) # s, (b) # s; for a token # times
equal greedy answers: # of #, and # of # that end""",
    ),
    "intervals": (
        "--utterances 200 --speakers 7 --resamples 20 --naive-resamples 2",
        """\
# utterances, # clusters, # resamples, # metrics
(a) bootstrap_intervals # s # MiB more memory
(b) evaluate on resampled data # s # times (from # resamples)
largest difference of the values on the same resamples: #""",
    ),
    "launchers": (
        "--cells 2 --at-once 2 --limit 4 --checkpoint WHISPER",
        """\
# cells of # clips, a thread per process, # cores
(a) one after the other # s
(b) joblib, # at once # s # times as fast
equal score tables: # of #""",
    ),
    "kills": (
        "--kills 1 --clips 24 --jobs 1",
        """\
undisturbed: probe # s, train # s
# kills, then the same command each time: # s
probe: # jobs differ, largest difference # nats
train: # jobs differ, largest difference # nats
clips: # undisturbed, # of them done again, # a kill
batches: # undisturbed, # of them done again, # a kill""",
    ),
    "memory": (
        "--clips 8 16 --parts 2 --checkpoint WHISPER",
        """\
# parts; peak of # and # clips
scoring # # MiB, # bytes per further clip; ms per clip: # #
of it, in batches # # MiB, # bytes per further clip; ms per clip: # #
taking over # # MiB, # bytes per further clip; ms per clip: # #
merging # # MiB, # bytes per further clip; ms per clip: # #
analysing # # MiB, # bytes per further clip; ms per clip: # #""",
    ),
    "prefix": (
        "--shape tiny --clips 2 --batch-size 1 --prompts 1 --checkpoint WHISPER",
        """\
Qwen#-Audio, tiny: # M parameters, float#, cpu; # prompts, # continuations per clip
(a) ours # s/clip # clips/s
(b) forward per prompt, label # s/clip # times
(c) forward per prompt # s/clip # times
largest difference: (a)-(b) #, (a)-(c) # nats
in sequence # s/clip: processor # s (#), encoder # s (#), questions # s (#); (a) reads and prepares in # processes
a batch of #: # encoder passes of # clips, # decoder passes of # and # positions, # operations handed over
peak memory: # MiB with # prompt, # with #, # with #
# G operations per clip in products with weights: # of the matrix throughput""",
    ),
    "score_cache": (
        "--clips 2 --prompts 2 --batch-size 2 --repeats 1 --checkpoint WHISPER",
        """\
WHISPER, # threads; # clips, # prompts
without a cache # s
with a cold one # s # of it
with a warm one # s # of it
one prompt more, none # s
one prompt more, warm # s # of it; asked # of # cells
hash of the weights # s # M parameters
bytes of a cell #
equal rows: cold True, warm True, with one prompt more True
largest difference from all prompts at once # nats""",
    ),
    "scoring": (
        "--clips 2 --batch-size 2 --naive-clips 1 --prompts 2 --max-new-tokens 2 --checkpoint WHISPER",
        """\
WHISPER, float#, # threads; # prompts, # continuations per clip
(a) ours # s/clip # clips in batches of #
(b) forward per cell # s/clip # times ours
(c) generate per prompt # s/clip # times ours
largest difference (a)-(b) # nats
of (a): encoder #, features #, cross-attention and decoder #
peak memory of (a): # MiB after one batch, # MiB after # clips""",
    ),
}


def test_every_benchmark_is_run():
    assert {file.stem for file in (PROJECT / "benchmarks").glob("*.py")} == set(TABLES)


SLOW = ("kills", "memory")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in TABLES])
def test_its_table_has_its_rows(name, tiny_whisper_path, capfd, monkeypatch):
    arguments, table = TABLES[name]
    file = str(PROJECT / "benchmarks" / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [file, *arguments.replace("WHISPER", str(tiny_whisper_path)).split()])
    monkeypatch.chdir(PROJECT)
    monkeypatch.syspath_prepend(PROJECT / "benchmarks")  # as where the file itself is run
    threads = torch.get_num_threads()
    runpy.run_path(file, run_name="__main__")
    torch.set_num_threads(threads)  # one of them sets it
    printed = capfd.readouterr().out.replace(str(tiny_whisper_path), "WHISPER")
    lines = [" ".join(re.sub(NUMBER, " # ", line).split()) for line in printed.splitlines()]
    assert lines == [" ".join(row.replace("#", " # ").split()) for row in table.splitlines()]
    for line in printed.splitlines():  # ours and the plain way agree
        if line.startswith("largest difference") or "; largest difference" in line:
            gaps = re.findall(r"\d\.\d+e[+-]\d+", line)
            assert gaps
            assert all(float(gap) < 1e-3 for gap in gaps)
        if line.startswith("equal greedy answers"):
            found = re.findall(r"(\d+) of (\d+)", line)
            assert found
            assert all(equal == rows for equal, rows in found)
