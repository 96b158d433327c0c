"""Speech encoders beside their plain transformers pass, in one run: clips per second, and whether the states are equal.

    python benchmarks/encoders.py [--clips 6] [--classes wavlm hubert]
    python benchmarks/encoders.py --full --classes wav2vec2 "wav2vec2 (layer norm)" wavlm sew
    python benchmarks/encoders.py --checkpoint FOLDER --device cuda

Random weights of the true classes, with their own feature extractors, on real speech (the demo corpus); ``--full``
gives them the sizes of their class's default configuration, ``--checkpoint`` takes a real one. The plain pass is what
transformers' documentation shows; both ways give every layer. They take turns clip by clip, and of each clip the best
of a few times counts, so that what else the machine does strikes neither.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from torch import Tensor

from emoprobe.checks.tiny.encoders import KINDS, write
from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.sound.audio import read_audio
from emoprobe.models.encoder import OPTIONS, Encoder
from emoprobe.models.load_encoder import load_encoder

KEPT = ("feat_extract_norm", "do_stable_layer_norm", "conv_bias", "id2label", "label2id")  # of a class's full size


def synchronise() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@torch.no_grad()
def plain(sfm: Encoder, wave: Tensor) -> list[Tensor]:
    """Every layer's states, ``[frames, width]``, by feature extractor and class alone."""
    settings = OPTIONS.get(sfm.encoder.config.model_type, {})
    made = sfm.extractor(wave.numpy(), sampling_rate=sfm.sampling_rate, return_tensors="pt", **settings)
    out = sfm.encoder(**made.to(sfm.model.device), output_hidden_states=True)
    return [states[0] for states in (*out.hidden_states[:-1], out.last_hidden_state)]


@torch.no_grad()
def ours(sfm: Encoder, waves: list[Tensor]) -> list[list[Tensor]]:
    """The same by `hear`."""
    return [list(states.values()) for states in sfm.hear(waves, range(sfm.num_encoder_layers + 1)).states]


def gap(found: list[list[Tensor]], expected: list[list[Tensor]]) -> float:
    """Largest difference between the frames that hold sound."""
    pairs = ((a, b[: len(a)]) for clip in zip(found, expected, strict=True) for a, b in zip(*clip, strict=True))
    return max((a - b).abs().max().item() for a, b in pairs)


def seconds(work: Callable[[], object]) -> float:
    """What it takes, with the device's work done."""
    synchronise()
    start = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - start


def measure(name: str, sfm: Encoder, waves: list[Tensor], repeats: int) -> None:
    """Print a class's row."""
    ours(sfm, waves[:1])  # warm-up; what is found out once per model is found out here
    plain(sfm, waves[0])
    spent = [0.0, 0.0]
    for wave in waves:
        ways = (lambda wave=wave: ours(sfm, [wave]), lambda wave=wave: plain(sfm, wave))
        turns = [[seconds(way) for way in ways] for _ in range(repeats)]
        spent = [total + min(times) for total, times in zip(spent, zip(*turns, strict=True), strict=True)]
    expected = [plain(sfm, wave) for wave in waves]
    alone = gap([ours(sfm, [wave])[0] for wave in waves], expected)
    among = gap(ours(sfm, waves), expected)
    rates = [len(waves) / total for total in spent]
    print(
        f"{name}: ours {rates[0]:.1f} clips/s, plain {rates[1]:.1f} clips/s, ratio {rates[0] / rates[1]:.2f}; "
        f"largest difference alone {alone:.1e}, among others {among:.1e}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--classes", nargs="+", choices=KINDS, default=list(KINDS), metavar="CLASS")
    parser.add_argument("--full", action="store_true", help="sizes of the class's default configuration")
    parser.add_argument("--checkpoint", help="folder of an encoder, in place of random weights")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    waves = [torch.from_numpy(read_audio(utterance.audio).waveform) for utterance in read_demo().utterances]
    waves = waves[: options.clips]
    sound = sum(map(len, waves)) / 16_000
    print(f"{len(waves)} clips, {sound:.1f} s of sound, {torch.get_num_threads()} threads, {options.device}")
    with tempfile.TemporaryDirectory() as root:
        for number, name in enumerate([options.checkpoint] if options.checkpoint else options.classes):
            folder = Path(options.checkpoint or f"{root}/{number}")
            if not options.checkpoint:
                kind = KINDS[name]
                if options.full:
                    kept = {key: value for key, value in kind.values.items() if key in KEPT}
                    kind = dataclasses.replace(kind, values=kept)
                write(kind, folder)
            sfm = load_encoder(name, path=folder, device=options.device)
            if name.startswith("audio-spectrogram"):
                measure(name, sfm, [wave[: int(sfm.max_seconds * 16_000)] for wave in waves], options.repeats)
            else:
                measure(name, sfm, waves, options.repeats)


if __name__ == "__main__":
    main()
