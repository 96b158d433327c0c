"""The feature cache against the model's own hidden states of single clips."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
import soundfile
import torch

from emoprobe.data.sound.audio import read_audio
from emoprobe.data.sound.limits import AudioError, AudioLimits
from emoprobe.data.utterance import Utterance
from emoprobe.errors import InputError
from emoprobe.models.text import PromptText
from emoprobe.system import stopping
from emoprobe.training import locks, store
from emoprobe.training.feature_spec import FeatureSpec
from emoprobe.training.features import Features, extract
from emoprobe.training.locks import SoundLocks

LIMITS = AudioLimits()
POOLED = FeatureSpec("encoder", (0, 2), ("mean", "std", "max"))
FRAMES = FeatureSpec("encoder", (1, 2), frames=True)
SECONDS = (0.5, 1.3, 0.31, 0.9)


def write_clip(path: Path, seconds: float, seed: int) -> Utterance:
    noise = np.random.default_rng(seed).normal(0, 0.1, round(16_000 * seconds))
    soundfile.write(path, noise, 16_000)
    return Utterance(path.stem, path, {})


@pytest.fixture
def clips(tmp_path) -> list[Utterance]:
    return [write_clip(tmp_path / f"clip{i}.wav", seconds, i) for i, seconds in enumerate(SECONDS)]


@pytest.fixture
def get(tmp_path):
    """`extract` with a cache of its own."""

    def extract_here(sfm, utterances, spec=POOLED, limits=LIMITS, **options) -> Features:
        return extract(sfm, utterances, spec, limits, progress=False, cache_dir=tmp_path / "cache", **options)

    return extract_here


@pytest.fixture
def encoded(tiny_whisper, monkeypatch) -> list[int]:
    """Number of samples of every clip that tiny Whisper encodes."""
    lengths: list[int] = []
    kind = type(tiny_whisper)
    hear = kind.hear

    def count(sfm, waveforms, *args, **options):
        lengths.extend(map(len, waveforms))
        return hear(sfm, waveforms, *args, **options)

    monkeypatch.setattr(kind, "hear", count)  # of the class: a method of its own would go along into every copy
    return lengths


def waveform(utterance: Utterance) -> torch.Tensor:
    return torch.from_numpy(read_audio(utterance.audio).waveform)


def shards(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "features").glob("*/*.safetensors"))


@pytest.mark.parametrize("family", ["whisper", "qwen2_audio"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_pooled_states_are_those_of_each_clip_alone(family, batch_size, request, get, clips):
    sfm = (
        request.getfixturevalue("tiny_whisper") if family == "whisper" else request.getfixturevalue("tiny_llm")(family)
    )
    found = get(sfm, clips, batch_size=batch_size)
    assert (found.ids, found.layers, found.kinds, found.width) == (
        tuple(utterance.id for utterance in clips),
        (0, 2),
        ("mean", "std", "max"),
        32,
    )
    stats = found.stats(found.ids)
    assert stats.shape == (4, 2, 3, 32)
    assert stats.dtype == torch.float32
    for row, utterance in zip(stats, clips, strict=True):
        with torch.no_grad():
            (states,) = sfm.hear([waveform(utterance)], (0, 2)).states
        for found_layer, layer in zip(row, (0, 2), strict=True):
            own = states[layer].numpy()
            expected = torch.from_numpy(np.stack([own.mean(0), own.std(0), own.max(0)]))
            torch.testing.assert_close(found_layer, expected, atol=1e-4, rtol=1e-4)


def test_std_is_that_of_the_population_over_the_clips_own_frames(tiny_whisper, get, clips):
    spec = FeatureSpec("encoder", (2,), ("std",))
    with torch.no_grad():
        mels = tiny_whisper.input_features([waveform(clips[0])])
        states = tiny_whisper.model.model.encoder(mels).last_hidden_state[0, : round(SECONDS[0] * 50)]
    expected = torch.from_numpy(np.std(states.numpy(), axis=0))
    torch.testing.assert_close(get(tiny_whisper, clips, spec).stats(["clip0"])[0, 0, 0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["whisper", "qwen2_audio"])
def test_decoder_states_are_those_at_the_answer_position(family, request, get, clips):
    if family == "whisper":
        sfm, prompt = request.getfixturevalue("tiny_whisper"), PromptText("The voice sounds")
    else:
        sfm, prompt = request.getfixturevalue("tiny_llm")(family), PromptText("I am", instruction="How does it sound?")
    question = sfm.question(prompt, [" happy", " sad"])
    found = get(sfm, clips, FeatureSpec("decoder", (2, 0), question=question), batch_size=3)
    assert found.kinds == ("state",)
    for utterance in clips:
        states = sfm.hidden_states(sfm.encode([waveform(utterance)]), question=question)
        expected = torch.stack([states[2], states[0]], dim=1)[:, :, None]
        torch.testing.assert_close(found.stats([utterance.id]), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["whisper", "qwen2_audio"])
def test_clips_that_are_read_ahead_are_the_same(family, request, get, clips, tmp_path):
    sfm = (
        request.getfixturevalue("tiny_whisper") if family == "whisper" else request.getfixturevalue("tiny_llm")(family)
    )
    shutil.copy(clips[1].audio, tmp_path / "twin.wav")  # the same sound in a batch that is read at the same time
    clips = [*clips, Utterance("twin", tmp_path / "twin.wav", {})]
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    options = {"batch_size": 1, "on_error": "skip"}
    found = get(sfm, [*clips, Utterance("bad", tmp_path / "bad.wav", {})], num_workers=2, **options)
    assert [row.id for row in found.skipped] == ["bad"]
    assert len(stored(tmp_path)) == len(set(stored(tmp_path))) == 4
    alone = extract(sfm, clips, POOLED, LIMITS, progress=False, cache_dir=tmp_path / "alone", **options)
    assert found.ids == alone.ids
    assert torch.equal(found.stats(found.ids), alone.stats(alone.ids))


@pytest.mark.parametrize("family", ["whisper", "qwen2_audio"])
def test_frames_are_the_clips_own(family, request, get, clips):
    sfm = (
        request.getfixturevalue("tiny_whisper") if family == "whisper" else request.getfixturevalue("tiny_llm")(family)
    )
    states, lengths = get(sfm, clips, FRAMES).frames(["clip3", "clip1"])
    assert lengths.tolist() == [45, 65]  # 20 ms each
    assert states.shape == (2, 2, 65, 32)
    assert states.dtype == torch.float32
    assert not states[0, :, 45:].any()
    for row, length, utterance in zip(states, lengths, (clips[3], clips[1]), strict=True):
        with torch.no_grad():
            (own,) = sfm.hear([waveform(utterance)], (1, 2)).states
        for found_layer, layer in zip(row, (1, 2), strict=True):
            # float16 keeps three digits
            assert len(own[layer]) == length
            torch.testing.assert_close(found_layer[:length], own[layer], atol=2e-3, rtol=2e-3)


def test_frames_take_half_precision_and_pooled_states_full(tiny_whisper, get, clips, tmp_path):
    from safetensors.torch import load_file

    get(tiny_whisper, clips, FRAMES)
    assert {tensor.dtype for tensor in load_file(shards(tmp_path)[0]).values()} == {torch.float16}
    shutil.rmtree(tmp_path / "cache")
    get(tiny_whisper, clips)
    assert {tensor.dtype for tensor in load_file(shards(tmp_path)[0]).values()} == {torch.float32}


def test_any_order_and_repetition_of_ids(tiny_whisper, get, clips):
    found = get(tiny_whisper, clips, batch_size=2)
    every = found.stats(found.ids)
    assert torch.equal(found.stats(["clip2", "clip0", "clip2"]), every[[2, 0, 2]])
    assert found.stats([]).shape == (0, 2, 3, 32)
    assert torch.equal(pickle.loads(pickle.dumps(found)).stats(found.ids), every)
    with pytest.raises(InputError, match="no features of utterance other"):
        found.stats(["other"])


def test_reading_holds_no_file_open(tiny_whisper, get, clips):
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    found = get(tiny_whisper, clips, batch_size=1)
    before = len(list(folder.iterdir()))
    found.stats(found.ids)
    assert len(list(folder.iterdir())) == before


def test_pooled_features_are_not_read_as_frames_nor_the_other_way_round(tiny_whisper, get, clips):
    with pytest.raises(InputError, match="pooled"):
        get(tiny_whisper, clips).frames(["clip0"])
    with pytest.raises(InputError, match="are not pooled"):
        get(tiny_whisper, clips, FRAMES).stats(["clip0"])


# Reuse


def test_a_second_extraction_encodes_nothing(tiny_whisper, get, clips, encoded):
    first = get(tiny_whisper, clips)
    assert len(encoded) == 4
    second = get(tiny_whisper, clips[::-1], batch_size=1)
    assert len(encoded) == 4
    assert second.ids == first.ids[::-1]
    assert torch.equal(second.stats(first.ids), first.stats(first.ids))


def test_only_missing_and_changed_clips_are_encoded(tiny_whisper, get, clips, encoded):
    before = get(tiny_whisper, clips[:3]).stats(["clip1"])
    encoded.clear()
    write_clip(clips[1].audio, 0.7, seed=9)
    after = get(tiny_whisper, clips).stats(["clip1"])
    assert sorted(encoded) == [11_200, 14_400]
    assert not torch.allclose(before, after)


def test_the_same_sound_under_other_names_is_encoded_once(tiny_whisper, get, clips, encoded, tmp_path):
    copied = Path(shutil.copy(clips[0].audio, tmp_path / "elsewhere.wav"))
    twins = [clips[0], Utterance("twin", copied, {}), Utterance("again", copied, {})]
    found = get(tiny_whisper, twins, batch_size=2)
    assert len(encoded) == 1
    assert torch.equal(found.stats(["twin"]), found.stats(["clip0"]))
    get(tiny_whisper, twins[1:])
    assert len(encoded) == 1


def test_a_cut_clip_is_another_sound(tiny_whisper, get, clips, encoded):
    half, third = (AudioLimits(max_seconds=seconds, long_audio="truncate") for seconds in (0.5, 0.3))
    whole = get(tiny_whisper, clips).stats(["clip1"])
    encoded.clear()
    cut = get(tiny_whisper, clips, limits=half).stats(["clip1"])
    assert encoded == [8_000, 8_000]  # the two that are longer; the others are heard as before
    get(tiny_whisper, clips, limits=half)
    assert len(encoded) == 2
    shorter = get(tiny_whisper, clips, limits=third).stats(["clip1"])
    assert encoded[2:] == [4_800] * 4
    assert not torch.allclose(whole, cut)
    assert not torch.allclose(shorter, cut)


def test_limits_refuse_cached_clips_too(tiny_whisper, get, clips, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(8_000), 16_000)
    utterances = [*clips, Utterance("silence", tmp_path / "silence.wav", {})]
    get(tiny_whisper, utterances, limits=AudioLimits(allow_silence=True))
    strict = AudioLimits(min_seconds=0.4, max_seconds=1.0)
    found = get(tiny_whisper, utterances, limits=strict, on_error="skip")
    assert found.ids == ("clip0", "clip3")
    assert {(row.id, row.reason) for row in found.skipped} == {
        ("clip1", "too_long"),
        ("clip2", "too_short"),
        ("silence", "bad_audio"),
    }
    with pytest.raises(AudioError, match="at most 1 s"):
        get(tiny_whisper, utterances, limits=strict)


def test_near_silent_clips_are_left_out_of_what_is_cached(tiny_whisper, get, clips, encoded, tmp_path):
    soundfile.write(tmp_path / "hum.wav", 1e-4 * np.sin(np.arange(8_000) / 50), 16_000)
    utterances = [*clips, Utterance("hum", tmp_path / "hum.wav", {})]
    kept = get(tiny_whisper, utterances)
    encoded.clear()
    found = get(tiny_whisper, utterances, limits=AudioLimits(near_silent="skip"))
    assert (found.ids, encoded) == (kept.ids[:-1], [])
    assert [(row.id, row.reason) for row in found.skipped] == [("hum", "near_silent")]
    with pytest.raises(AudioError, match="near-silent"):
        get(tiny_whisper, utterances, limits=AudioLimits(near_silent="error"))


def test_features_of_a_long_clip_are_the_mean_of_its_windows(tiny_whisper, get, clips, encoded, tmp_path):
    wave, _ = soundfile.read(clips[1].audio, dtype="float32")  # 1.3 s
    parts = [wave[len(wave) * i // 3 : len(wave) * (i + 1) // 3] for i in range(3)]
    cut = []
    for i, part in enumerate(parts):
        soundfile.write(tmp_path / f"part{i}.wav", part, 16_000, subtype="FLOAT")
        cut.append(Utterance(f"part{i}", tmp_path / f"part{i}.wav", {}))
    limits = AudioLimits(max_seconds=0.5, long_audio="window")
    question = tiny_whisper.question(PromptText("The voice sounds"), [" happy", " sad"])
    for spec in (POOLED, FeatureSpec("decoder", (1, 2), question=question)):
        encoded.clear()
        found = get(tiny_whisper, clips, spec, limits=limits, batch_size=2)
        assert sorted(encoded) == sorted([8_000, 4_960, 7_200, 7_200, *map(len, parts)])
        apart = get(tiny_whisper, cut, spec).stats([part.id for part in cut])
        torch.testing.assert_close(found.stats(["clip1"])[0], apart.mean(0), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.stats(["clip0"]), get(tiny_whisper, clips[:1], spec).stats(["clip0"]))
        encoded.clear()
        again = get(tiny_whisper, clips, spec, limits=limits, batch_size=1)
        assert (encoded, again.sha256) == ([], found.sha256)
        assert torch.equal(again.stats(again.ids), found.stats(again.ids))
    frames, lengths = get(tiny_whisper, clips, FRAMES, limits=limits).frames(["clip1"])
    apart, own = get(tiny_whisper, cut, FRAMES).frames([part.id for part in cut])
    assert lengths.tolist() == [int(own.sum())]
    joined = torch.cat([part[:, :length] for part, length in zip(apart, own.tolist(), strict=True)], dim=1)
    torch.testing.assert_close(frames[0], joined)
    # Cut off at the same length it is another sound, and whole a third.
    encoded.clear()
    get(tiny_whisper, clips[1:2], limits=AudioLimits(max_seconds=0.5, long_audio="truncate"))
    get(tiny_whisper, clips[1:2])
    assert encoded == [8_000, 20_800]


def test_long_clips_are_skipped_where_that_is_wished(tiny_whisper, get, clips):
    found = get(tiny_whisper, clips, limits=AudioLimits(max_seconds=1.0, long_audio="skip"))
    assert found.ids == ("clip0", "clip2", "clip3")
    assert [(row.id, row.reason) for row in found.skipped] == [("clip1", "too_long")]


def test_bad_clips_are_skipped_or_end_the_run(tiny_whisper, get, clips, tmp_path):
    clips[2].audio.write_bytes(b"no sound")
    gone = Utterance("gone", tmp_path / "gone.wav", {})
    found = get(tiny_whisper, [gone, *clips], on_error="skip")
    assert found.ids == ("clip0", "clip1", "clip3")
    assert {(row.id, row.reason) for row in found.skipped} == {("gone", "missing_audio"), ("clip2", "bad_audio")}
    with pytest.raises(AudioError):
        get(tiny_whisper, [gone, *clips])
    with pytest.raises(InputError, match="none of 1 utterances"):
        get(tiny_whisper, [gone], on_error="skip")


def test_ids_must_be_unique(tiny_whisper, get, clips):
    with pytest.raises(InputError, match="repeat the id"):
        get(tiny_whisper, [clips[0], clips[0]])


# Keys


def test_the_key_tells_apart_all_that_features_depend_on(tiny_whisper):
    def question(text):
        return tiny_whisper.question(PromptText(text))

    specs = [
        POOLED,
        replace(POOLED, layers=(0, 1)),
        replace(POOLED, layers=(2, 0)),
        replace(POOLED, kinds=("mean",)),
        replace(POOLED, dtype="float16"),
        FRAMES,
        FeatureSpec("decoder", (0, 2), question=question("The voice sounds")),
        FeatureSpec("decoder", (0, 2), question=question("The speaker is feeling")),
    ]
    keys = [spec.key(tiny_whisper) for spec in specs]
    for name, value in {"revision": "other", "name": "other", "dtype": "bfloat16", "sampling_rate": 8_000}.items():
        other = copy.copy(tiny_whisper)
        setattr(other, name, value)
        keys.append(POOLED.key(other))
    tuned = tiny_whisper.around(copy.deepcopy(tiny_whisper.model))
    assert POOLED.key(tuned) == keys[0]
    with torch.no_grad():
        tuned.model.model.encoder.layers[1].fc1.weight += 1e-3
    keys.append(POOLED.key(tuned))
    assert len(set(keys)) == len(keys)


def test_the_key_does_not_depend_on_what_a_question_offers(tiny_whisper):
    prompt = PromptText("The voice sounds")
    few, many = (tiny_whisper.question(prompt, labels) for labels in ([" sad"], [" sad", " happy"]))
    specs = [FeatureSpec("decoder", [1], question=question) for question in (few, many)]
    assert specs[0].key(tiny_whisper) == specs[1].key(tiny_whisper)


def test_the_key_is_written_down(tiny_whisper, get, clips, tmp_path):
    get(tiny_whisper, clips)
    folder = tmp_path / "cache" / "features" / POOLED.key(tiny_whisper)
    facts = json.loads((folder / "key.json").read_text())
    assert facts["layers"] == [0, 2]
    assert facts["revision"] == tiny_whisper.revision


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"source": "middle", "layers": (1,)}, "source"),
        ({"source": "encoder", "layers": (), "kinds": ("mean",)}, "layers"),
        ({"source": "encoder", "layers": (1, 1), "kinds": ("mean",)}, "layers"),
        ({"source": "encoder", "layers": (-1,), "kinds": ("mean",)}, "layers"),
        ({"source": "encoder", "layers": (1,), "kinds": ("median",)}, "kinds"),
        ({"source": "encoder", "layers": (1,)}, "kinds"),
        ({"source": "encoder", "layers": (1,), "kinds": ("mean",), "frames": True}, "kinds"),
        ({"source": "decoder", "layers": (1,)}, "question"),
        ({"source": "encoder", "layers": (1,), "kinds": ("mean",), "dtype": "int8"}, "dtype"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, field):
    with pytest.raises(InputError) as caught:
        FeatureSpec(**options)
    assert caught.value.field == field
    assert caught.value.remedy


def test_layers_that_the_model_lacks_are_refused(tiny_whisper, tiny_llm, get, clips):
    assert tiny_whisper.num_encoder_layers == tiny_llm("qwen2_audio").num_encoder_layers == 2
    question = tiny_whisper.question(PromptText("The voice sounds"))
    for spec in (FeatureSpec("encoder", (3,), ("mean",)), FeatureSpec("decoder", (3,), question=question)):
        with pytest.raises(InputError, match=f"no {spec.source} layer 3"):
            get(tiny_whisper, clips, spec)


# What must never get into the cache


def test_a_full_disk_leaves_finished_batches_and_nothing_else(tiny_whisper, get, clips, encoded, tmp_path, monkeypatch):
    write_bytes, count = Path.write_bytes, 0

    def fill(self, content):
        nonlocal count
        count += 1
        if count < 3:  # key.json and the first batch
            return write_bytes(self, content)
        write_bytes(self, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", fill)
        with pytest.raises(InputError, match=r"No space left on device.*EMOPROBE_CACHE") as caught:
            get(tiny_whisper, clips, batch_size=1)
    assert str(tmp_path / "cache") in str(caught.value.file)
    (folder,) = (tmp_path / "cache" / "features").iterdir()
    assert sorted(path.suffix for path in folder.iterdir() if path.name != ".locks") == [".json", ".safetensors"]
    encoded.clear()
    found = get(tiny_whisper, clips, batch_size=1)
    assert len(encoded) == 3
    assert found.stats(found.ids).isfinite().all()


def test_a_cache_folder_that_cannot_be_made_is_named(tiny_whisper, clips, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written.*EMOPROBE_CACHE"):
        extract(tiny_whisper, clips, POOLED, LIMITS, progress=False, cache_dir=tmp_path / "file")


@pytest.mark.parametrize(
    "damage", ["cut", "emptied", "one bit", "other content", "sounds rotated", "silence claimed", "shape", "other key"]
)
def test_a_damaged_file_is_named_and_can_be_deleted(tiny_whisper, get, clips, tmp_path, damage):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    expected = get(tiny_whisper, clips, batch_size=2).stats(["clip0", "clip1", "clip2", "clip3"])
    shard = shards(tmp_path)[0]
    content = bytearray(shard.read_bytes())
    if damage == "one bit":
        content[-5] ^= 1
        shard.write_bytes(content)
    elif damage == "other content":
        save_file({"weight": torch.zeros(2)}, shard)
    elif damage in ("sounds rotated", "silence claimed", "shape", "other key"):
        with safe_open(shard, "pt") as file:
            metadata = file.metadata()
        index, rows = json.loads(metadata["index"]), load_file(shard)
        if damage == "sounds rotated":
            names = [fact["sound"] for fact in index]
            index = [fact | {"sound": name} for fact, name in zip(index, names[1:] + names[:1], strict=True)]
        if damage == "silence claimed":
            index[0]["silent"] = True
        if damage == "shape":
            rows["0"] = rows["0"].transpose(0, 1).reshape(rows["0"].shape[::-1]).contiguous()
        if damage == "other key":
            metadata["key"] = "0" * 32
        save_file(rows, shard, metadata | {"index": json.dumps(index)})
    else:
        shard.write_bytes(content[: len(content) - 10 if damage == "cut" else 0])
    with pytest.raises(InputError, match=r"damaged.*Delete it") as caught:
        found = get(tiny_whisper, clips)
        found.stats(found.ids)
    assert caught.value.file == shard
    shard.unlink()
    found = get(tiny_whisper, clips)
    torch.testing.assert_close(found.stats(found.ids), expected, atol=1e-5, rtol=1e-5)


def test_states_too_large_for_half_precision_are_refused(tiny_whisper, get, clips, tmp_path):
    loud = tiny_whisper.around(copy.deepcopy(tiny_whisper.model))
    with torch.no_grad():
        loud.model.model.encoder.layer_norm.bias += 1e5
    with pytest.raises(InputError, match=r"layer 2 .*float16.*float32") as caught:
        get(loud, clips, FRAMES)
    assert caught.value.file == clips[1].audio  # the longest comes first
    assert not shards(tmp_path)
    get(loud, clips, replace(FRAMES, dtype="float32"))


def test_states_that_are_not_numbers_are_refused(tiny_whisper, get, clips, tmp_path):
    broken = tiny_whisper.around(copy.deepcopy(tiny_whisper.model))
    with torch.no_grad():
        broken.model.model.encoder.layer_norm.bias[3] = torch.nan
    with pytest.raises(InputError, match="layer 2 are not finite"):
        get(broken, clips)
    assert not shards(tmp_path)


def test_a_model_in_training_mode_is_refused(tiny_whisper, get, clips):
    training = tiny_whisper.around(copy.deepcopy(tiny_whisper.model))
    training.model.model.encoder.layers[0].train()
    with pytest.raises(InputError, match="training mode"):
        get(training, clips)


def test_temporary_files_of_dead_processes_go_and_those_of_living_ones_stay(tiny_whisper, get, clips, tmp_path):
    get(tiny_whisper, clips)
    folder = shards(tmp_path)[0].parent
    old, new = folder / ".old.tmp", folder / ".new.tmp"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    get(tiny_whisper, clips)
    assert (old.exists(), new.exists()) == (False, True)


# Several processes


def test_what_another_process_wrote_meanwhile_is_taken_over(tiny_whisper, get, clips, encoded, monkeypatch):
    held, calls = SoundLocks.held, []

    def interrupted(*args):
        if not calls:
            calls.append(1)
            get(tiny_whisper, clips, batch_size=4)
        return held(*args)

    monkeypatch.setattr(SoundLocks, "held", interrupted)
    found = get(tiny_whisper, clips, batch_size=1)
    assert len(encoded) == 4
    assert found.ids == ("clip0", "clip1", "clip2", "clip3")


EXTRACT = """
import sys, time
from pathlib import Path
import torch
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Utterance
from emoprobe.models.load import load_transcriber
from emoprobe.training.feature_spec import FeatureSpec
from emoprobe.training.features import extract
torch.set_num_threads(1)
sfm = load_transcriber("tiny", path=sys.argv[1], device="cpu")
clips = [Utterance(path.stem, path, {}) for path in sorted(Path(sys.argv[2]).glob("*.wav"))]
spec = FeatureSpec("encoder", (0, 2), ("mean", "std", "max"))
hear, seconds, encoded = sfm.hear, float(sys.argv[4]), []
def slowly(waveforms, layers=()):
    print("encoding", flush=True)
    encoded.extend(waveforms)
    time.sleep(seconds)
    return hear(waveforms, layers)
sfm.hear = slowly
print("ready", flush=True)
sys.stdin.readline()
found = extract(sfm, clips, spec, AudioLimits(), batch_size=1, progress=False, cache_dir=sys.argv[3])
assert found.stats(found.ids).isfinite().all()
print(len(found.ids), len(encoded))
"""


@pytest.fixture
def start(tiny_whisper_path, tmp_path):
    """Start processes that extract the features of all clips, each taking so many seconds; all begin at once."""
    started = []

    def begin(number: int, seconds: float) -> list[subprocess.Popen]:
        folders = (tiny_whisper_path, tmp_path, tmp_path / "cache")
        command = [sys.executable, "-c", EXTRACT, *map(str, folders), str(seconds)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.extend(subprocess.Popen(command, **pipes) for _ in range(number))
        for process in started:
            assert process.stdout.readline() == "ready\n"
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        return started

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def stored(tmp_path: Path) -> list[str]:
    """The sounds of all rows of the cache."""
    return [fact["sound"] for shard in shards(tmp_path) for fact in store._read_index(shard)]


@pytest.mark.slow
def test_two_processes_share_the_work(tiny_whisper, start, get, clips, encoded, tmp_path):
    both = start(2, 0.5)
    last = [process.communicate(timeout=120)[0].splitlines()[-1].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [found for found, _ in last] == ["4", "4"]
    own = [int(number) for _, number in last]
    assert sum(own) == 4
    assert min(own) > 0  # neither has waited while the other did it all
    assert len(stored(tmp_path)) == len(set(stored(tmp_path))) == 4
    found = get(tiny_whisper, clips)  # the same key from another process's copy of the model
    assert not encoded
    alone = extract(tiny_whisper, clips, POOLED, LIMITS, batch_size=1, progress=False, cache_dir=tmp_path / "alone")
    assert torch.equal(found.stats(found.ids), alone.stats(alone.ids))
    for utterance in clips:
        with torch.no_grad():
            expected = tiny_whisper.hear([waveform(utterance)], (2,)).states[0][2].mean(0)
        torch.testing.assert_close(found.stats([utterance.id])[0, 1, 0], expected, atol=1e-4, rtol=1e-4)


def test_what_a_killed_process_was_encoding_is_encoded_by_who_waits_for_it(tiny_whisper, start, get, clips, encoded):
    (other,) = start(1, 600)
    assert other.stdout.readline() == "encoding\n"
    Timer(1.5, other.kill).start()
    begin = time.monotonic()
    found = get(tiny_whisper, clips, batch_size=1)
    assert time.monotonic() - begin > 1
    assert len(found.ids) == len(encoded) == 4


def test_waiting_for_another_process_can_be_stopped(tiny_whisper, start, get, clips, encoded):
    (other,) = start(1, 600)
    assert other.stdout.readline() == "encoding\n"
    Timer(2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(stopping.Stopped, match="SIGTERM"), stopping.graceful():
        get(tiny_whisper, clips, batch_size=1)
    assert len(encoded) == 3  # all but the one that is waited for


def test_few_locks_are_held_at_once(tiny_whisper, get, clips, encoded, monkeypatch):
    monkeypatch.setattr(locks, "MOST", 1)
    assert len(get(tiny_whisper, clips, batch_size=4).ids) == len(encoded) == 4


@pytest.mark.parametrize("error", [NotImplementedError, PermissionError, OSError])
def test_a_file_system_without_locks(error, tiny_whisper, get, clips, encoded, monkeypatch):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(locks.FileLock, "acquire", refuse)
    assert len(get(tiny_whisper, clips).ids) == len(encoded) == 4


def test_another_users_lock_file(tiny_whisper, get, clips, encoded, tmp_path, monkeypatch):
    acquire = locks.FileLock.acquire

    def refuse(lock, *args, **options):
        if len(Path(lock.lock_file).name) == locks.BUCKET:
            raise PermissionError(13, "Permission denied")
        return acquire(lock, *args, **options)

    monkeypatch.setattr(locks.FileLock, "acquire", refuse)
    assert len(get(tiny_whisper, clips).ids) == len(encoded) == 4


def test_the_key_sees_any_weight_and_the_configuration(tiny_whisper):
    keys = {POOLED.key(tiny_whisper)}
    copied = tiny_whisper.around(copy.deepcopy(tiny_whisper.model))
    assert POOLED.key(copied) in keys
    flat = copied.model.proj_out.weight.detach().flatten()
    for place in (1, len(flat) // 2 + 3, len(flat) - 2):
        flat[place] += 0.5
        keys.add(POOLED.key(copied))
    other = tiny_whisper.around(copy.deepcopy(tiny_whisper.model))
    other.model.config.encoder_attention_heads = 1
    keys.add(POOLED.key(other))
    assert len(keys) == 5


# Layer norm


def test_normalised_states_are_layer_normed_before_they_are_pooled(tiny_whisper, get, clips):
    spec = FeatureSpec("encoder", (0, 2), ("mean", "max"), normalised=True)
    found = get(tiny_whisper, clips, spec).stats(["clip1"])[0]
    with torch.no_grad():
        (own,) = tiny_whisper.hear([waveform(clips[1])], (0, 2)).states
    for row, layer in zip(found, (0, 2), strict=True):
        states = own[layer].double().numpy()
        normed = (states - states.mean(1, keepdims=True)) / np.sqrt(states.var(1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(row.numpy(), np.stack([normed.mean(0), normed.max(0)]), atol=1e-4)
    assert FeatureSpec("encoder", (0,), ("mean",), normalised=True).key(tiny_whisper) != (
        FeatureSpec("encoder", (0,), ("mean",)).key(tiny_whisper)
    )
    with pytest.raises(InputError, match="only encoder states are normalised"):
        FeatureSpec("sound", normalised=True)


def test_layers_of_different_rates_are_pooled_and_not_stacked(tiny_whisper, get, clips, monkeypatch):
    hear = type(tiny_whisper).hear

    def halved(self, waveforms, layers=()):
        heard = hear(self, waveforms, layers)
        heard.states = [{layer: own[:: 2 if layer == 2 else 1] for layer, own in one.items()} for one in heard.states]
        return heard

    monkeypatch.setattr(type(tiny_whisper), "hear", halved)
    found = get(tiny_whisper, clips, FeatureSpec("encoder", (1, 2), ("mean",))).stats(["clip0"])
    with torch.no_grad():
        (own,) = hear(tiny_whisper, [waveform(clips[0])], (2,)).states
    torch.testing.assert_close(found[0, 1, 0], own[2][::2].mean(0))
    with pytest.raises(InputError, match="layers 1, 2 of tiny have different numbers of frames"):
        get(tiny_whisper, clips, FRAMES)
