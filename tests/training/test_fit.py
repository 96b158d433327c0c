"""The fitting loop against a loop written out in plain PyTorch."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal

import lightning as L
import pytest
import torch
from fitting import fit, loss_of, make_head
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.nn import functional

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.system import stopping
from emoprobe.training.batches import Clips, EpochBatches
from emoprobe.training.development import DevelopmentMetrics
from emoprobe.training.options import FitOptions

SIZE, WIDTH, LABELS = 22, 6, 4


@pytest.fixture
def clips():
    generator = torch.Generator().manual_seed(0)
    stats = torch.randn(SIZE, 2, 1, WIDTH, generator=generator) * 3 + 1
    target = torch.randn(SIZE, LABELS, generator=generator).softmax(-1)
    return Clips(
        [f"u{i}" for i in range(SIZE)], lambda ids: {"stats": stats[[int(i[1:]) for i in ids]]}, target, target * 10
    )


def head_of(clips, seed=0):
    torch.manual_seed(seed)
    head = make_head({"name": "linear_probe"}, layers=2, kinds=1, width=WIDTH, num_labels=LABELS)
    head.fit(clips.in_order(5))
    return head


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_is_a_plain_loop(clips, schedule, accumulate, tmp_path):
    options = FitOptions(
        max_epochs=3,
        batch_size=5,
        learning_rate=0.05,
        weight_decay=0.1,
        l2=0.02,
        schedule=schedule,
        warmup=0.25,
        gradient_clip=0.5,
        accumulate=accumulate,
        patience=9,
    )
    head = head_of(clips)
    module = fit(head, loss_of(), clips, options, tmp_path, seed=3)

    stats = clips.inputs(clips.ids)["stats"].flatten(1)
    features = (stats - stats.mean(0)) / stats.std(0, correction=0)
    start = head_of(clips).body
    weight, bias = (value.detach().clone().requires_grad_() for value in (start.weight, start.bias))
    optimizer = torch.optim.AdamW([weight, bias], lr=0.05, weight_decay=0.1)
    steps = 3 * math.ceil(5 / accumulate)
    best, scores, step = None, [], 0
    for epoch in range(3):
        batches = list(EpochBatches(SIZE, 5, 3, lambda epoch=epoch: epoch))
        for number, batch in enumerate(batches):
            rows = [i for i, _ in batch]
            log_probs = functional.linear(features[rows], weight, bias).log_softmax(-1)
            loss = functional.kl_div(log_probs, clips.target[rows], reduction="batchmean")
            ((loss + 0.01 * weight.square().sum()) / accumulate).backward()
            if (number + 1) % accumulate and number + 1 < len(batches):
                continue
            torch.nn.utils.clip_grad_norm_([weight, bias], 0.5)
            rise = 0.25 * steps
            done = (step - rise) / (steps - rise)
            factor = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}[schedule]
            optimizer.param_groups[0]["lr"] = 0.05 * ((step + 1) / (rise + 1) if step < rise else factor)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
        p = functional.linear(features, weight, bias).detach().softmax(-1).double()
        middle, target = (p + clips.target) / 2, clips.target.double()
        scores.append(float(((p * (p / middle).log2() + target * (target / middle).log2()).sum(-1) / 2).mean()))
        if scores[-1] == min(scores):
            best = weight.detach().clone(), bias.detach().clone()
    assert step == steps
    assert [row["js_divergence"] for row in module.curve] == pytest.approx(scores, abs=1e-6)
    torch.testing.assert_close(head.body.weight.detach(), best[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(head.body.bias.detach(), best[1], atol=1e-5, rtol=1e-4)


def test_it_stops_early_and_keeps_the_best_epoch(clips, tmp_path):
    options = FitOptions(max_epochs=50, batch_size=5, learning_rate=5.0, patience=3, schedule="constant")
    module = fit(head_of(clips), loss_of(), clips, options, tmp_path, seed=0)
    scores = [row["js_divergence"] for row in module.curve]
    assert len(scores) < 50
    assert len(scores) - 1 - scores.index(min(scores)) == 3


def test_a_loss_that_is_not_a_number_names_the_batch(clips, tmp_path):
    head = head_of(clips)
    with torch.no_grad():
        head.body.bias += torch.nan
    with pytest.raises(EmoprobeError, match=r"the loss is nan in epoch 0; the batch held u\d+, u"):
        fit(head, loss_of(), clips, FitOptions(), tmp_path, seed=0)


@pytest.mark.parametrize("options", [{"warmup": 1.0}, {"l2": -1.0}, {"accumulate": 0}, {"schedule": "steps"}])
def test_options_out_of_range(options):
    with pytest.raises(InputError, match="fit"):
        FitOptions(**options)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_fit_stopped_at_any_batch_goes_on_to_the_same_numbers(clips, tmp_path, accumulate):
    """Five batches an epoch, three epochs; the second stop of a fit comes two batches after the first."""
    options = FitOptions(max_epochs=3, batch_size=5, learning_rate=0.05, accumulate=accumulate, patience=9)

    class Stop(L.Callback):
        """Sends a signal after so many batches."""

        def __init__(self, after: int | None) -> None:
            self.after, self.steps = after, 0

        def on_train_batch_end(self, *_) -> None:
            self.steps += 1
            if self.steps == self.after:
                os.kill(os.getpid(), signal.SIGTERM)

    def run(folder, stop_after=None):
        torch.manual_seed(1)
        config = {"name": "mlp_probe", "hidden": 8, "dropout": 0.5}
        head = make_head(config, layers=2, kinds=1, width=WIDTH, num_labels=LABELS)
        head.fit(clips.in_order(5))
        stop = Stop(stop_after)
        with stopping.graceful():
            module = fit(head, loss_of(), clips, options, folder, [stop], seed=3, resume=folder)
        return head.state_dict(), module.curve, stop.steps

    expected, curve, all_steps = run(tmp_path / "whole")
    for stop_after in (1, 2, 3, 4, 5, 6, all_steps):
        folder = tmp_path / f"stop{stop_after}"
        folder.mkdir()
        for stop in (stop_after, 2):
            with contextlib.suppress(stopping.Stopped):
                run(folder, stop)
        weights, again, steps = run(folder)
        assert again == curve
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        if accumulate == 1 and stop_after < 3:
            assert steps == all_steps - stop_after - 2  # nothing was done twice


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(clips, tmp_path, monkeypatch):
    """The disk is full at the second checkpoint: half of its bytes are there."""
    whole, saved = TorchCheckpointIO.save_checkpoint, []

    def save(self, checkpoint, path, storage_options=None):
        whole(self, checkpoint, path, storage_options)
        if "last" in path.name:
            saved.append(path.read_bytes())
            if len(saved) == 2:
                path.write_bytes(saved[1][: len(saved[1]) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", save)
    head = make_head({"name": "linear_probe"}, layers=2, kinds=1, width=WIDTH, num_labels=LABELS)
    options = FitOptions(max_epochs=3, batch_size=5, checkpoint_seconds=0)
    with pytest.raises(OSError, match="No space"):
        fit(head, loss_of(), clips, options, tmp_path, seed=3)
    assert (tmp_path / "last.ckpt").read_bytes() == saved[0]


def test_a_fit_goes_on_in_another_folder_and_remembers_the_best_epoch(clips, tmp_path):
    """The learning rate is so high that the first epoch is the best, and the stop comes after it."""
    options = FitOptions(max_epochs=6, batch_size=5, learning_rate=5.0, schedule="constant", checkpoint_seconds=0)

    class Stop(L.Callback):
        def on_train_batch_end(self, trainer, *_) -> None:
            if trainer.global_step == 22:
                os.kill(os.getpid(), signal.SIGTERM)

    expected = fit(whole := head_of(clips), loss_of(), clips, options, tmp_path / "whole", seed=0)
    scores = [row["js_divergence"] for row in expected.curve]
    assert scores.index(min(scores)) < 4
    with pytest.raises(stopping.Stopped), stopping.graceful():
        fit(head_of(clips), loss_of(), clips, options, tmp_path / "first", [Stop()], seed=0)
    (tmp_path / "first").rename(tmp_path / "moved")
    again = fit(head := head_of(clips), loss_of(), clips, options, tmp_path / "then", seed=0, resume=tmp_path / "moved")
    assert again.curve == expected.curve
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in head.state_dict().items())


def test_a_checkpoint_holds_the_trained_parameters_alone(clips, tmp_path):
    head = head_of(clips)
    head.features.requires_grad_(False)
    fit(head, loss_of(), clips, FitOptions(max_epochs=2, batch_size=5, checkpoint_seconds=0), tmp_path, seed=0)
    for name in ("last.ckpt", "best.ckpt"):
        state = torch.load(tmp_path / name, weights_only=True)["state_dict"]
        assert set(state) == {"reader.body.weight", "reader.body.bias"}


def test_development_scores_lie_where_processes_gather_them():
    """An SFM gives log-probabilities on the CPU, a GPU's batch lies on the GPU: what is gathered lies on one device."""
    scores = DevelopmentMetrics().to("meta")
    scores.update(torch.arange(2), torch.zeros(2, 3), torch.ones(2, 3), torch.ones(2, 3), torch.zeros(2))
    for name in ("clips", "log_probs", "target", "votes", "losses"):
        assert [state.device.type for state in getattr(scores, name)] == ["meta"], name
