"""Points of a scale are trained on as emotions are, by losses that know their order."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from copies.labels import label_set
from fitting import fit, loss_of, make_head

from emoprobe.data.sound.audio import AudioLimits
from emoprobe.data.utterance import Utterance
from emoprobe.metrics.functional import metrics_of
from emoprobe.prompts.prompt import make_prompts
from emoprobe.settings import compose, plain
from emoprobe.training.batches import Clips, EpochBatches
from emoprobe.training.fit import predict
from emoprobe.training.methods.base import make_method
from emoprobe.training.options import FitOptions

SIZE, WIDTH = 40, 6
FIVE = label_set("valence5")
POINTS = torch.tensor(FIVE.points)


def make_clips(size=SIZE):
    """States whose first number tells the valence, and votes spread about it."""
    generator = torch.Generator().manual_seed(0)
    stats = torch.randn(size, 1, 1, WIDTH, generator=generator)
    target = (-((POINTS - 3 - 1.2 * stats[:, 0, 0, :1]) ** 2)).softmax(-1)
    ids = [f"u{i}" for i in range(size)]
    return Clips(ids, lambda chosen: {"stats": stats[[int(i[1:]) for i in chosen]]}, target, target * 10)


def head_of(clips, name="linear_probe"):
    torch.manual_seed(0)
    head = make_head({"name": name}, layers=1, kinds=1, width=WIDTH, num_labels=5)
    head.fit(clips.in_order(SIZE))
    return head


def one_minus_ccc(log_probs, target):
    """By covariance, as Lin writes it."""
    x, y = log_probs.exp() @ POINTS, target @ POINTS
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    return 1 - 2 * covariance / (x.var(correction=0) + y.var(correction=0) + (x.mean() - y.mean()) ** 2)


def test_fitting_by_ccc_is_a_plain_loop(tmp_path):
    clips = make_clips()
    options = FitOptions(max_epochs=2, batch_size=16, learning_rate=0.05, weight_decay=0, gradient_clip=0)
    loss = loss_of("ccc", distribution_weight=0.25).of(FIVE)
    module = fit(head_of(clips), loss, clips, options, tmp_path, seed=3)

    head = head_of(clips)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.05, weight_decay=0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: options.factor(step, 6))
    scores = []
    for epoch in range(2):
        head.train()
        for batch in EpochBatches(SIZE, 16, 3, lambda epoch=epoch: epoch):
            rows = [i for i, _ in batch]
            log_probs = head(clips.inputs([clips.ids[i] for i in rows]))
            beside = torch.nn.functional.kl_div(log_probs, clips.target[rows], reduction="batchmean")
            optimizer.zero_grad()
            (one_minus_ccc(log_probs, clips.target[rows]) + 0.25 * beside).backward()
            optimizer.step()
            schedule.step()
        head.eval()
        with torch.no_grad():
            log_probs = head(clips.inputs(clips.ids))
            beside = torch.nn.functional.kl_div(log_probs, clips.target, reduction="batchmean")
            scores.append(float(one_minus_ccc(log_probs, clips.target) + 0.25 * beside))
    torch.testing.assert_close(module.reader.body.weight, head.body.weight, rtol=1e-4, atol=1e-6)
    assert [row["dev_loss"] for row in module.curve] == pytest.approx(scores, abs=1e-5)


def test_the_development_loss_does_not_depend_on_how_clips_are_cut(tmp_path):
    clips, loss = make_clips(), loss_of("ccc").of(FIVE)
    options = FitOptions(max_epochs=1, batch_size=16)
    curves = [
        fit(head_of(clips), loss, clips, options, tmp_path / str(size), seed=0, eval_batch_size=size).curve
        for size in (1, 7, 64)
    ]
    for (row,), (other,) in pairwise(curves):
        assert row == pytest.approx(other, abs=1e-6)


def test_probes_learn_a_scale_by_each_of_its_losses(tmp_path):
    clips = make_clips(120)
    for name, head in (("emd", "linear_probe"), ("ccc", "mlp_probe")):
        options = FitOptions(max_epochs=20, batch_size=40, learning_rate=0.1, patience=20, monitor="ccc")
        own = head_of(clips, head)
        fit(own, loss_of(name).of(FIVE), clips, options, tmp_path / name, seed=0, metrics=metrics_of(FIVE))
        log_probs = predict([own], clips).float()
        assert 1 - one_minus_ccc(log_probs, clips.target) > 0.95, name
        assert (log_probs.exp() - clips.target).abs().sum(-1).mean() < 0.35, name


def test_adapters_learn_a_scale_by_ccc(tiny_whisper, tmp_path, monkeypatch):
    """Tiny Whisper, asked for a number, learns which of two tones is the more positive."""
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    found = plain(
        compose(["output_dir=unused", "head=lora", "labels=valence5", "prompt=scale/scale_bracketed"], "train")
    )
    own = tiny_whisper.around(copy.deepcopy(tiny_whisper.model))
    loss = loss_of("ccc").of(FIVE)
    method = make_method(own, found["head"], FIVE, make_prompts(found["prompt"], FIVE), loss)
    utterances = []
    for i in range(8):
        soundfile.write(tmp_path / f"{i}.wav", 0.5 * np.sin(np.arange(8000) * (0.05 + 0.5 * (i % 2))), 16_000)
        utterances.append(Utterance(f"u{i}", tmp_path / f"{i}.wav"))
    method.prepare(utterances, AudioLimits(), batch_size=8, progress=False)
    target = torch.eye(5)[[1 if i % 2 else 3 for i in range(8)]] * 0.8 + 0.04
    clips = Clips([each.id for each in utterances], method.inputs, target, target * 10)
    torch.manual_seed(0)
    reader = method.new(clips)
    options = FitOptions(max_epochs=12, batch_size=8, learning_rate=2e-2, patience=20, monitor="loss")
    module = fit(reader, loss, clips, options, tmp_path / "fit", seed=0)
    losses = [row["dev_loss"] for row in module.curve]
    assert min(losses) < losses[0] - 0.2
    assert 1 - one_minus_ccc(predict([reader], clips).float(), target) > 0.3
