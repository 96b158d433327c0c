"""Speech encoders: every layer's states are those of a plain pass of the true class, whatever else is heard."""

from __future__ import annotations

import json
import math
import shutil
from functools import cache

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.encoders import EMOTIONS, KINDS, available, write
from emoprobe.errors import InputError, WeightsError
from emoprobe.models.load_encoder import load_encoder

CLASSES = available()
CLASSIFIERS = [name for name in CLASSES if "Classification" in KINDS[name].model]
# Where the encoder is in its class, and its blocks in the encoder.
PLACES = {
    "Moonshine": ("model.encoder", "layers"),
    "Speech2Text": ("model.encoder", "layers"),
    "SpeechT5": ("speecht5.encoder", "wrapped_encoder.layers"),
    "Seamless": ("speech_encoder", "encoder.layers"),
    "Whisper": ("encoder", "layers"),
    "ASTFor": ("audio_spectrogram_transformer", "layers"),
    "SEWD": ("", "encoder.encoder.layer"),
}
PLACES |= dict.fromkeys(("Parakeet", "Lasr", "GraniteSpeech5", "Nemotron"), ("encoder", "layers"))
WINDOW = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory, spectra):
    """Folder of a tiny encoder, written once."""
    root = tmp_path_factory.mktemp("encoders")

    @cache
    def written(name):
        kind = KINDS[name]
        if name not in CLASSES:
            pytest.skip(
                f"this transformers lacks {name}, or its feature extractor needs a library that is not installed"
            )
        return write(kind, root / name)

    return written


@pytest.fixture(scope="module")
def encoder(folder):
    return cache(lambda name: load_encoder(f"tiny/{name}", path=folder(name), device="cpu"))


@pytest.fixture(scope="module")
def clips(voices):
    return [voice[:40_000] for voice in voices]  # AST takes 2.5 s


@pytest.fixture(scope="module")
def plain(folder):
    """The true class, its encoder, the encoder's blocks and the feature extractor, by transformers alone."""

    def load(name):
        kind = KINDS[name]
        model = getattr(transformers, kind.model).from_pretrained(folder(name)).eval()
        place = next((place for start, place in PLACES.items() if kind.model.startswith(start)), None)
        place = ("", "layers") if kind.model.endswith("Encoder") else place
        prefix, blocks = place or (
            model.base_model_prefix if hasattr(model, model.base_model_prefix) else "",
            "encoder.layers",
        )
        part = model.get_submodule(prefix)
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder(name))
        return model, part, part.get_submodule(blocks), extractor

    return cache(load)


def inputs_of(extractor, name, clip):
    options = {"padding": True, "pad_to_multiple_of": 80} if name.startswith("moonshine_streaming") else {}
    made = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt", **options)
    return {key: made[key] for key in ("input_values", "input_features", "attention_mask") if key in made}


def own_frames(name, samples, blocks):
    """Frames that hold sound, by layer, where feature extractors pad a single clip; None where they do not."""
    spectra = max(0, 1 + (samples - 400) // 160)
    if name.startswith("whisper"):
        return [math.ceil(samples / 320)] * (blocks + 1)
    if name.startswith("wav2vec2-bert"):  # spectra are stacked in pairs
        return [spectra // 2] * (blocks + 1)
    if name.startswith("seamless"):  # and its adapter has a stride of 8
        return [spectra // 2] * blocks + [(spectra // 2) // 8 + 1 if spectra > 1 else 0]
    if name.startswith("parakeet"):  # the spectrum centred at the end holds half a window; three strides of 2
        return [math.ceil(math.ceil(math.ceil(samples // 160 / 2) / 2) / 2)] * (blocks + 1)
    if name.startswith("nemotron"):  # likewise, but causal: each stride begins with a frame of its own
        frames = samples // 160
        for _ in range(3):
            frames = frames // 2 + 1
        return [frames] * (blocks + 1)
    if name.startswith("granite_speech5"):  # spectra are stacked in pairs, and halved by the first block
        frames = math.ceil(samples // 160 / 2)
        return [frames] + [frames // 2] * blocks
    return [None] * (blocks + 1)


@torch.no_grad()
def plain_states(plain, name, clip):
    """What goes into the first block, what comes out of each other than the last, and what the encoder hands on."""
    _, part, blocks, extractor = plain(name)
    seen = []
    hooks = [blocks[0].register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))]
    hooks += [
        block.register_forward_hook(
            lambda module, given, out: seen.append((out[0] if isinstance(out, tuple) else out).clone())
        )
        for block in blocks[:-1]
    ]
    try:
        out = part(**inputs_of(extractor, name, clip))
    finally:
        for hook in hooks:
            hook.remove()
    *before, last = own_frames(name, len(clip), len(blocks))
    return [states[0, :frames] for states, frames in zip((*seen, out.last_hidden_state), (*before, last), strict=True)]


def gap(ours, theirs):
    assert [states.shape for states in ours] == [states.shape for states in theirs]
    return max((a - b).abs().max().item() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", CLASSES)
def test_states_are_those_of_a_plain_pass_alone_and_among_others(encoder, plain, clips, name):
    sfm = encoder(name)
    layers = range(sfm.num_encoder_layers + 1)
    with torch.no_grad():
        among = sfm.hear(clips, layers)
        alone = [sfm.hear([clip], layers).states[0] for clip in clips]
    assert among.sounds == among.tokens == []
    for clip, states, single in zip(clips, among.states, alone, strict=True):
        assert list(states) == list(layers)
        assert gap(list(states.values()), plain_states(plain, name, clip)) <= 1e-5
        assert all(torch.equal(states[layer], single[layer]) for layer in layers)
    assert (
        gap(
            list(among.states[1].values()),
            [a[: len(b)] for a, b in zip(among.states[0].values(), among.states[1].values(), strict=True)],
        )
        > 0.1
    )


@pytest.mark.parametrize("name", CLASSES)
def test_transformers_counts_the_layers_alike(plain, clips, name):
    _, part, blocks, extractor = plain(name)
    with torch.no_grad():
        states = part(**inputs_of(extractor, name, clips[1]), output_hidden_states=True).hidden_states
    assert len(states) == len(blocks) + 1
    ours = plain_states(plain, name, clips[1])
    assert all(torch.equal(a[0, : len(b)], b) for a, b in zip(states[:-1], ours[:-1], strict=True))


@pytest.mark.parametrize(
    "name", ["sew", "sew-d", "seamless_m4t (encoder)", "seamless_m4t_v2 (encoder)", "granite_speech5_ctc"]
)
def test_layers_have_frames_of_their_own(encoder, clips, name):
    sfm = encoder(name)
    first, *_, last = (
        len(states) for states in sfm.hear(clips[:1], range(sfm.num_encoder_layers + 1)).states[0].values()
    )
    assert first != last


def frames_of(plain, name, samples):
    """Frames of the layer that has fewest of a clip, by the plain class; 0 where it makes nothing of it."""
    try:
        states = plain_states(plain, name, torch.randn(samples, generator=torch.Generator().manual_seed(samples)) * 0.1)
    except (RuntimeError, ValueError, IndexError, AssertionError, ZeroDivisionError):
        return 0
    return min(len(layer) if layer.isfinite().all() else 0 for layer in states)


@pytest.mark.parametrize("name", CLASSES)
def test_the_shortest_clip_gives_a_frame_and_one_sample_less_none(encoder, plain, name):
    sfm = encoder(name)
    shortest = sfm.min_samples
    assert shortest >= WINDOW
    assert all(frames_of(plain, name, samples) for samples in range(shortest, shortest + 700, 50))
    if shortest > WINDOW:
        assert not any(frames_of(plain, name, samples) for samples in range(shortest - 1, WINDOW, -37))
    noise = torch.randn(shortest, generator=torch.Generator().manual_seed(0)) * 0.1
    assert all(len(states) for states in sfm.hear([noise], [0, sfm.num_encoder_layers]).states[0].values())
    with pytest.raises(InputError, match=f"has {shortest - 1} samples and tiny/.* needs {shortest} to hear it"):
        sfm.hear([noise, noise[:-1]])


def test_shortest_clips_that_are_known(encoder):
    # 20 ms frames of a receptive field of 25 ms; SEW halves them; LASR's convolutions take 13 spectra of 25 ms.
    known = {
        "wav2vec2": 400,
        "hubert": 400,
        "wavlm": 400,
        "sew": 720,
        "lasr_ctc": 400 + 12 * 160,
        "moonshine (encoder)": 895,
    }
    assert {name: encoder(name).min_samples for name in known} == known


@pytest.mark.parametrize("name", ["audio-spectrogram-transformer", "whisper (classifier)"])
def test_clips_longer_than_a_fixed_window_are_refused(encoder, name):
    sfm = encoder(name)
    assert sfm.max_seconds == pytest.approx({"whisper (classifier)": 30.0}.get(name, 2.575))
    with pytest.raises(InputError, match="longer than the"):
        sfm.hear([torch.zeros(round(sfm.max_seconds * 16_000) + 2)])
    assert encoder("wavlm").max_seconds == math.inf


def copied(source, target, **changes):
    """A copy of a checkpoint with other values in its files: ``config={...}``, ``preprocessor_config={...}``."""
    shutil.copytree(source, target)
    for file, values in changes.items():
        path = target / f"{file}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return target


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("name", ["wav2vec2", "wavlm", "wav2vec2 (layer norm)"])
def test_whether_sound_is_normalised_stands_in_the_file(folder, plain, clips, tmp_path, name, normalised):
    path = copied(folder(name), tmp_path / "model", preprocessor_config={"do_normalize": normalised})
    sfm = load_encoder("tiny", path=path, device="cpu")
    clip = clips[0]
    with torch.no_grad():
        (states,) = sfm.hear([clip], [sfm.num_encoder_layers]).states
        _, part, *_ = plain(name)
        scaled = (clip - clip.mean()) / (clip.var(correction=0) + 1e-7).sqrt() if normalised else clip
        expected = part(scaled[None]).last_hidden_state[0]
    assert gap(list(states.values()), [expected]) <= 1e-4


@pytest.mark.parametrize("masked", [True, False])
def test_whether_there_is_a_mask_stands_in_the_file(folder, tmp_path, clips, masked):
    path = copied(folder("wav2vec2"), tmp_path / "model", preprocessor_config={"return_attention_mask": masked})
    assert ("attention_mask" in load_encoder("tiny", path=path, device="cpu").inputs(clips[0])) == masked


def test_without_a_preprocessor_file_nothing_is_guessed(folder, tmp_path):
    path = copied(folder("wavlm"), tmp_path / "model")
    (path / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"no preprocessor file.*preprocessor_config\.json.*Copy it"):
        load_encoder("tiny", path=path, device="cpu")
    (path / "processor_config.json").write_text(json.dumps({"processor_class": "Wav2Vec2Processor"}))
    with pytest.raises(InputError, match="no preprocessor file"):
        load_encoder("tiny", path=path, device="cpu")


def test_the_preprocessor_may_stand_in_the_processor_file(folder, tmp_path, clips, encoder):
    path = copied(folder("wavlm"), tmp_path / "model")
    settings = json.loads((path / "preprocessor_config.json").read_text())
    (path / "preprocessor_config.json").unlink()
    (path / "processor_config.json").write_text(json.dumps({"feature_extractor": settings}))
    ours = load_encoder("tiny", path=path, device="cpu").hear(clips[:1], [2]).states[0][2]
    assert torch.equal(ours, encoder("wavlm").hear(clips[:1], [2]).states[0][2])


def still(model):
    """A model in training mode without its dropout, and with batch norms as training leaves them."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
        if isinstance(module, nn.Dropout) or type(module).__name__ == "StableDropout":
            (setattr(module, "p", 0.0) if hasattr(module, "p") else setattr(module, "drop_prob", 0.0))
        for name in ("dropout", "attention_dropout", "activation_dropout", "dropout_p", "dropout_positions"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model


@pytest.mark.parametrize("name", CLASSES)
def test_gradients_flow_and_training_drops_no_layer_and_masks_no_frame(folder, clips, name):
    sfm = load_encoder("tiny", path=folder(name), device="cpu")
    last = sfm.num_encoder_layers
    with torch.no_grad():
        expected = sfm.hear(clips[1:2], range(last + 1)).states[0]
    still(sfm.model)
    sfm.model.requires_grad_(True)
    for _ in range(5):
        states = sfm.hear(clips[1:2], range(last + 1)).states[0]
        assert gap(list(states.values()), list(expected.values())) <= 1e-5
    states[last].square().mean().backward()
    trained = {
        key.partition("layer")[2]
        for key, value in sfm.encoder.named_parameters()
        if value.grad is not None and value.grad.any()
    }
    assert any(key.startswith(("s.0.", ".0.")) for key in trained)
    assert any(key.startswith(("s.1.", ".1.")) for key in trained)


def test_a_clip_shorter_than_a_mask_can_be_trained_on(folder):
    sfm = load_encoder("tiny", path=folder("wavlm"), device="cpu")
    sfm.model.train()
    assert len(sfm.hear([torch.randn(sfm.min_samples)], [2]).states[0][2]) == 1


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classes_are_those_of_the_class_itself(encoder, plain, clips, name):
    sfm = encoder(name)
    model, *_, extractor = plain(name)
    assert sfm.classes == EMOTIONS
    with torch.no_grad():
        expected = torch.cat([model(**inputs_of(extractor, name, clip)).logits for clip in clips]).log_softmax(-1)
    found = sfm.classify(clips)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() <= 1e-5
    assert torch.equal(torch.cat([sfm.classify([clip]) for clip in clips]), found)
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_who_has_no_classes_is_refused(encoder, clips):
    assert encoder("wavlm").classes == ()
    with pytest.raises(InputError, match="was not trained to tell classes apart"):
        encoder("wavlm").classify(clips)


@pytest.mark.parametrize("kind", ["regression", "multi_label_classification"])
def test_outputs_that_are_no_distribution_are_refused(folder, tmp_path, clips, kind):
    path = copied(folder("wav2vec2 (classifier)"), tmp_path / "model", config={"problem_type": kind})
    sfm = load_encoder("tiny", path=path, device="cpu")
    for given in ([], clips):
        with pytest.raises(InputError, match=f"was trained for {kind}, so it gives no distribution"):
            sfm.classify(given)
    assert len(sfm.hear(clips, [1]).states) == 3


def change_weights(path, change):
    file = path / "model.safetensors"
    values = load_file(file)
    change(values)
    save_file(values, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "name", ["wav2vec2", "wav2vec2 (layer norm)", "parakeet_tdt", "seamless_m4t_v2 (encoder)", "moonshine (encoder)"]
)
def test_missing_and_unexpected_weights_of_the_encoder_are_named(folder, tmp_path, name):
    some = next(
        key for key in load_file(folder(name) / "model.safetensors") if ".layers.1." in key and "decoder" not in key
    )
    path = copied(folder(name), tmp_path / "missing")
    change_weights(path, lambda values: values.pop(some))
    with pytest.raises(InputError, match=r"missing_keys.*layers\.1\."):
        load_encoder("tiny", path=path, device="cpu")
    path = copied(folder(name), tmp_path / "unexpected")
    change_weights(path, lambda values: values.update({f"{some}_lora_A": torch.zeros(2, 2)}))
    with pytest.raises(InputError, match=r"unexpected_keys.*layers\.1\..*_lora_A"):
        load_encoder("tiny", path=path, device="cpu")
    path = copied(folder(name), tmp_path / "mismatched")
    change_weights(path, lambda values: values.update({some: torch.zeros(3, 5)}))
    with pytest.raises(InputError):
        load_encoder("tiny", path=path, device="cpu")


def test_a_missing_vector_of_masks_is_no_reason_to_refuse(folder, tmp_path, clips, encoder):
    from emoprobe.models.identity import sample_of_weights

    path = copied(folder("wavlm"), tmp_path / "model")
    change_weights(path, lambda values: values.pop("masked_spec_embed"))
    first, second = (load_encoder("tiny", path=path, device="cpu") for _ in range(2))
    assert sample_of_weights(first.model) == sample_of_weights(second.model)
    assert torch.equal(first.hear(clips[:1], [2]).states[0][2], encoder("wavlm").hear(clips[:1], [2]).states[0][2])


def test_a_missing_classifier_is_refused(folder, tmp_path):
    path = copied(folder("wavlm (classifier)"), tmp_path / "model")
    change_weights(path, lambda values: values.pop("classifier.weight"))
    with pytest.raises(InputError, match=r"missing_keys.*classifier\.weight"):
        load_encoder("tiny", path=path, device="cpu")


def test_a_head_that_transformers_does_not_know_leaves_the_encoder(folder, tmp_path, clips, encoder):
    path = copied(folder("wav2vec2 (classifier)"), tmp_path / "model", config={"architectures": ["EmotionModel"]})

    def rename(values):
        for key in [key for key in values if key.startswith(("classifier", "projector"))]:
            values[f"classifier.dense.{key.rpartition('.')[2]}"] = values.pop(key)

    change_weights(path, rename)
    sfm = load_encoder("tiny", path=path, device="cpu")
    assert sfm.classes == ()
    ours, theirs = (one.hear(clips[:1], [2]).states[0][2] for one in (sfm, encoder("wav2vec2 (classifier)")))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("wav2vec2", "Wav2Vec2ForPreTraining"),
        ("wav2vec2", "Wav2Vec2ForXVector"),
        ("wav2vec2", "Wav2Vec2ForAudioFrameClassification"),
        ("moonshine (encoder)", "MoonshineModel"),
        ("parakeet_ctc", "ParakeetEncoder"),
        ("speech_to_text", "Speech2TextModel"),
        ("seamless_m4t_v2 (encoder)", "SeamlessM4Tv2ForSpeechToSpeech"),
    ],
)
def test_other_heads_of_a_class_have_the_same_encoder(folder, tmp_path, clips, name, other):
    known = getattr(transformers, other)
    values = KINDS[name].values
    small = {"codevector_dim": 8, "proj_codevector_dim": 8, "num_codevectors_per_group": 4, "tdnn_dim": (16,) * 5}
    unit = {"t2u_encoder_layers": 1, "t2u_decoder_layers": 1, "upsample_initial_channel": 64, "t2u_vocab_size": 40}
    unit |= {f"t2u_{part}coder_{what}": 2 for part in ("en", "de") for what in ("attention_heads", "ffn_dim")}
    values = values.get("encoder_config", values) if other == "ParakeetEncoder" else values
    model = known(known.config_class(**values | (small if name == "wav2vec2" else unit if "Seamless" in other else {})))
    model.eval().save_pretrained(tmp_path)
    shutil.copy(folder(name) / "preprocessor_config.json", tmp_path)
    sfm = load_encoder("tiny", path=tmp_path, device="cpu")
    prefix = {"Mo": "encoder", "Sp": "encoder", "Se": "speech_encoder", "Pa": ""}.get(other[:2], "wav2vec2")
    with torch.no_grad():
        expected = model.get_submodule(prefix)(**sfm.inputs(clips[1])).last_hidden_state[0]
        assert gap([sfm.hear(clips[1:2], [2]).states[0][2]], [expected]) <= 1e-5


@pytest.mark.parametrize(
    ("kind", "place", "seconds"),
    [
        ("canary", "model.encoder", math.inf),
        ("cohere_asr", "model.encoder", 35),
        ("moonshine", "model.encoder", math.inf),
    ],
)
def test_the_encoder_of_a_model_that_transcribes(tmp_path, clips, kind, place, seconds):
    try:
        TINY[kind](tmp_path)
    except ImportError as error:
        pytest.skip(str(error))
    sfm = load_encoder("tiny", path=tmp_path, device="cpu")
    whole = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path).eval().get_submodule(place)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert sfm.max_seconds == seconds
    with torch.no_grad():
        for clip, states in zip(clips, sfm.hear(clips, [0, 2]).states, strict=True):
            expected = whole(**inputs_of(extractor, kind, clip), output_hidden_states=True)
            plain = [expected.hidden_states[0][0], expected.last_hidden_state[0]]
            assert 0 <= len(plain[0]) - len(states[0]) <= 1
            assert gap(list(states.values()), [each[: len(states[0])] for each in plain]) <= 1e-5


def test_the_encoder_of_a_pair(folder, tmp_path, clips, encoder):
    inner = transformers.Wav2Vec2Model.from_pretrained(folder("wav2vec2"))
    sizes = {"d_model": 32, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 40}
    text = transformers.BartForCausalLM(transformers.BartConfig(**sizes, is_decoder=True, add_cross_attention=True))
    transformers.SpeechEncoderDecoderModel(encoder=inner, decoder=text).save_pretrained(tmp_path)
    shutil.copy(folder("wav2vec2") / "preprocessor_config.json", tmp_path)
    ours = load_encoder("tiny", path=tmp_path, device="cpu").hear(clips[:1], [2]).states[0][2]
    assert torch.equal(ours, encoder("wav2vec2").hear(clips[:1], [2]).states[0][2])


def test_who_has_no_speech_encoder_is_refused(tiny_whisper_path, tiny_path, tiny_chat_path, folder, tmp_path):
    speech = copied(folder("speecht5"), tmp_path / "tts", config={"architectures": ["SpeechT5ForTextToSpeech"]})
    for path in (tiny_whisper_path, tiny_path("qwen2_audio"), tiny_chat_path("llama"), speech):
        with pytest.raises(
            InputError, match=r"has no speech encoder that is known by itself .*config\.json.*model=whisper"
        ):
            load_encoder("other", path=path, device="cpu")


def test_a_folder_with_only_an_adapter_says_so(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "microsoft/wavlm-base"}))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"only an adapter of microsoft/wavlm-base, .*merge_and_unload"):
        load_encoder("mine", path=tmp_path, device="cpu")


def test_an_adapter_beside_an_encoder_is_refused(folder, tmp_path):
    path = copied(folder("wavlm"), tmp_path / "model")
    (path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="adapter beside it"):
        load_encoder("mine", path=path, device="cpu")


def test_pickled_weights_and_wrong_options_are_refused(folder, tmp_path):
    path = copied(folder("wavlm"), tmp_path / "model")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="Pickled weights are not loaded"):
        load_encoder("mine", path=path, device="cpu")
    for options, field in (({"dtype": "float16"}, "dtype"), ({"attention": "flash"}, "attention")):
        with pytest.raises(InputError, match=rf"model\.{field}"):
            load_encoder("mine", path=folder("wavlm"), device="cpu", **options)


def test_another_precision_and_another_attention_are_close(folder, encoder, clips):
    from copy import deepcopy

    sfm = encoder("wav2vec2")
    expected = sfm.hear(clips[:1], [2]).states[0][2]
    half = sfm.around(deepcopy(sfm.model).to(torch.bfloat16))
    assert (half.dtype, sfm.dtype) == ("bfloat16", "float32")
    assert gap([half.hear(clips[:1], [2]).states[0][2].float()], [expected]) < 0.3
    eager = load_encoder("tiny", path=folder("wav2vec2"), device="cpu", attention="eager")
    assert gap([eager.hear(clips[:1], [2]).states[0][2]], [expected]) <= 1e-5


def test_the_feature_extractor_is_saved_beside_a_model(encoder, folder, tmp_path):
    encoder("wavlm").save_processor(tmp_path)
    saved, known = (json.loads((path / "preprocessor_config.json").read_text()) for path in (tmp_path, folder("wavlm")))
    assert saved == known


@pytest.mark.parametrize("name", CLASSES)
def test_an_encoder_that_is_saved_by_itself_is_loaded_again(encoder, clips, tmp_path, name):
    sfm = encoder(name)
    sfm.model.save_pretrained(tmp_path)
    sfm.save_processor(tmp_path)
    again = load_encoder("tiny", path=tmp_path, device="cpu")
    assert type(again.model) is type(sfm.model)
    assert again.classes == sfm.classes
    last = sfm.num_encoder_layers
    assert torch.equal(*(one.hear(clips[1:2], [last]).states[0][last] for one in (sfm, again)))


def test_there_is_no_layer_beyond_the_last(encoder, clips):
    with pytest.raises(InputError, match="has no encoder layer 3"):
        encoder("wavlm").hear(clips, [1, 3])


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2 (layer norm)", "wavlm", "sew", "speecht5"])
def test_older_names_of_weights_are_known(folder, tmp_path, clips, encoder, name):
    path = copied(folder(name), tmp_path / "model")

    def rename(values):
        old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
        for key in [key for key in values if key.endswith(tuple(old))]:
            start, _, end = key.rpartition(".parametrizations.")
            values[f"{start}.{old[f'parametrizations.{end}']}"] = values.pop(key)

    change_weights(path, rename)
    assert any(key.endswith(".weight_g") for key in load_file(path / "model.safetensors"))
    ours = load_encoder("tiny", path=path, device="cpu").hear(clips[:1], [2]).states[0][2]
    assert torch.equal(ours, encoder(name).hear(clips[:1], [2]).states[0][2])


def test_a_long_clip_is_heard_whole(encoder):
    clip = torch.randn(60 * 16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    for name in ("parakeet_ctc", "moonshine (encoder)", "speech_to_text", "wav2vec2"):
        states = encoder(name).hear([clip], [0, 2]).states[0]
        assert all(states[layer].isfinite().all() and len(states[layer]) > 700 for layer in states)
