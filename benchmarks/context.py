"""Whisper's encoder on 30 s and on a clip's own frames and half a second: clips per second, and how beliefs move.

    python benchmarks/context.py [--clips 16] [--checkpoint FOLDER] [--device cuda]

Real Whisper base and the demo corpus. The spectrogram is computed anew in both ways; each clip is encoded a few times,
of which the best counts.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.sound.audio import read_audio
from emoprobe.models.encoder_decoder import EncoderDecoder
from emoprobe.models.load import load_transcriber
from emoprobe.models.text import PromptText

WORDS = ("angry", "disgusted", "fearful", "happy", "neutral", "sad")


@torch.no_grad()
def seconds(sfm: EncoderDecoder, waves: list[Tensor], repeats: int) -> float:
    """Of encoding all clips one by one, the best time of each."""
    total = 0.0
    for wave in waves:
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            sfm.hear([wave])
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
        total += min(taken)
    return total


def beliefs(sfm: EncoderDecoder, waves: list[Tensor]) -> Tensor:
    """Zero-shot distributions by label likelihood, ``[clips, words]``."""
    question = sfm.question(PromptText("The speaker is feeling"), [f" {word}" for word in WORDS])
    scores = [sfm.score(sfm.encode([wave]), [question])[0] for wave in waves]
    return torch.stack([torch.stack([form.sum() for form in forms]) for forms in scores]).double().softmax(-1)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon, base 2, ``[clips]``."""
    middle = (p + q) / 2
    return ((p * (p / middle).log2()).sum(-1) + (q * (q / middle).log2()).sum(-1)) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--checkpoint", help="folder of a Whisper, in place of Whisper base")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()

    named = {"name": options.checkpoint or "openai/whisper-base", "path": options.checkpoint, "device": options.device}
    window, clip = (load_transcriber(**named, context=context) for context in ("window", "clip"))
    utterances = read_demo().utterances[:: max(1, len(read_demo().utterances) // options.clips)][: options.clips]
    waves = [torch.from_numpy(read_audio(utterance.audio).waveform) for utterance in utterances]
    heard = sum(map(len, waves)) / window.sampling_rate
    print(
        f"{options.checkpoint or 'Whisper base'}, {torch.get_num_threads()} threads, {window.model.device.type}; "
        f"{len(waves)} clips, {heard:.1f} s"
    )
    whole, short = (seconds(sfm, waves, options.repeats) for sfm in (window, clip))
    print(f"30 s window  {len(waves) / whole:.2f} clips/s")
    print(f"clip context {len(waves) / short:.2f} clips/s  {whole / short:.1f} times faster")
    moved = divergence(beliefs(window, waves), beliefs(clip, waves))
    print(f"zero-shot distributions move by JS {moved.mean():.3f} on average, at most {moved.max():.3f}")


if __name__ == "__main__":
    main()
