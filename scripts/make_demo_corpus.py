"""Make the bundled demo corpus: 192 synthetic utterances, rater votes and the distributions the votes were drawn from.

    python scripts/make_demo_corpus.py src/emoprobe/data/corpora/demo_corpus

The tables (`make_tables`) need only Python; the sound needs espeak-ng on PATH. The same seed and the same versions of
espeak-ng, soxr and libsndfile give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import math
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

SEED = 20260917
SAMPLE_RATE = 16_000
EMOTIONS = ("anger", "disgust", "fear", "happy", "neutral", "sad")
# Kinds of utterance, with the strength of the portrayal in two variants.
STRENGTHS = {"clear": (1.0, 0.95), "mild": (0.88, 0.65), "conflict": (1.0, 0.85), "blend": (0.7, 0.95)}

# espeak-ng voice, gender and level (factor on the amplitude option: the voices differ in loudness, and full scale must
# not be reached). Genders alternate, with a swap after the sixth, so that every split has both and each of a kind's two
# utterances of an emotion has another gender. espeak-ng 1.51 ignores a variant after "en-gb", hence the other accents.
VOICES = (
    ("en-us+f1", "female", 1.0),
    ("en-us+m1", "male", 1.0),
    ("en-gb-x-rp+f2", "female", 0.8),
    ("en-gb-x-rp+m7", "male", 1.0),
    ("en-us+Annie", "female", 1.2),
    ("en-us+m8", "male", 1.6),
    ("en-gb-scotland+m3", "male", 0.9),
    ("en-gb-scotland+linda", "female", 0.7),
    ("en-us-nyc+klatt2", "male", 0.6),
    ("en-us+steph", "female", 1.0),
    ("en-029+Denis", "male", 1.6),
    ("en-029+aunty", "female", 0.9),
)
SPLITS = ("train",) * 6 + ("development",) * 2 + ("test",) * 4  # by speaker

# What the words say; each sentence is spoken once in a round, and so by several speakers in all.
SENTENCES = {
    "anger": (
        "How dare you go behind my back!",
        "Get out of my house right now!",
        "I have had enough of your lies!",
        "Stop shouting at my children!",
        "You broke it and you blame me!",
        "This is an outrage, give it back!",
        "I am furious about this bill!",
    ),
    "disgust": (
        "This milk smells absolutely rotten.",
        "There is mould all over the bread.",
        "Take that filthy thing off the table.",
        "He spat on the floor, how revolting.",
        "The drain is full of greasy hair.",
        "I feel sick just looking at it.",
    ),
    "fear": (
        "Somebody is standing behind the door.",
        "Please do not leave me alone here.",
        "I heard footsteps in the dark again.",
        "Run, the roof is coming down!",
        "I am scared that he will find us.",
        "The brakes are not working, help!",
        "What if nobody comes to save us?",
    ),
    "happy": (
        "We won the game, I am so glad!",
        "What a wonderful surprise this is!",
        "I love this song, come and dance!",
        "They said yes, we got the house!",
        "It is the best day of my life!",
        "Your baby has such a lovely smile!",
        "I passed every single exam!",
        "Great news, she is coming home!",
    ),
    "neutral": (
        "The meeting starts at half past nine.",
        "The second shelf holds the blue folders.",
        "Turn left after the post office.",
        "The train stops at every station.",
        "There are twelve chairs in the room.",
        "The library closes at six today.",
        "Please print two copies of the page.",
        "The parcel was sent on Tuesday.",
        "The kitchen is next to the hall.",
        "He put the keys on the counter.",
        "The water in the kettle is hot.",
        "The bus to town is number four.",
        "The window faces the street.",
        "She wrote the date on the form.",
    ),
    "sad": (
        "I miss her every single day.",
        "The old dog died in my arms.",
        "Nobody came to say goodbye.",
        "I have lost everything I had.",
        "There is no hope left for us.",
        "He never got to see his son.",
    ),
}

# Which words contradict a voice, and which emotion a voice is blended with; two variants of the contradiction.
CONFLICTS = {
    "anger": ("happy", "fear"),
    "disgust": ("neutral", "happy"),
    "fear": ("neutral", "anger"),
    "happy": ("sad", "disgust"),
    "neutral": ("anger", "fear"),
    "sad": ("happy", "neutral"),
}
BLENDS = {"anger": "disgust", "disgust": "sad", "fear": "sad", "happy": "fear", "neutral": "happy", "sad": "neutral"}

# espeak-ng settings at full strength: pitch (-p), range (SSML, percent), rate (-s, words a minute), amplitude (-a).
PROSODY = {
    "anger": (64.0, 150.0, 195.0, 90.0),
    "disgust": (36.0, 70.0, 135.0, 52.0),
    "fear": (82.0, 45.0, 210.0, 48.0),
    "happy": (74.0, 190.0, 180.0, 70.0),
    "neutral": (50.0, 90.0, 165.0, 50.0),
    "sad": (30.0, 25.0, 125.0, 30.0),
}

# What a portrayal of less than full strength is taken for (rows sum to 1; columns in the order of EMOTIONS).
CONFUSION = {
    "anger": (0.0, 0.50, 0.15, 0.10, 0.20, 0.05),
    "disgust": (0.50, 0.0, 0.05, 0.05, 0.25, 0.15),
    "fear": (0.10, 0.10, 0.0, 0.15, 0.20, 0.45),
    "happy": (0.15, 0.05, 0.15, 0.0, 0.50, 0.15),
    "neutral": (0.10, 0.15, 0.05, 0.20, 0.0, 0.50),
    "sad": (0.05, 0.10, 0.30, 0.05, 0.50, 0.0),
}

NUM_RATERS_IN_POOL = 24
ROUNDS = 4  # 48 utterances each; enough to train a probe on
HABIT = 0.03  # probability that a rater gives the favourite label whatever was said

CARD = """# demo_synthetic: a SYNTHETIC speech emotion corpus for demonstrations and tests

Nothing here was said or heard by a person. The speech is synthesised, the raters are simulated. The corpus shows how
emoprobe works and lets every path of it run without a download. **It says nothing about real speech, about people or
about the quality of any model**; do not report a number measured on it as a result.

Made by `scripts/make_demo_corpus.py`, which is the full description, with
{versions}; seed: {seed}.
The same seed and versions give the same bytes.

## Contents
192 utterances, 12 espeak-ng voices of 16 utterances each (6 female, 6 male, several accents and timbres), 6 emotions,
MP3 16 kHz mono (about 32 kbit/s). Speaker-disjoint splits: train 96 utterances (6 speakers), development 32 (2), test
64 (4); every emotion is intended in every split. There are 48 sentences, each spoken by three to five speakers, so that
splits share sentences. Each speaker says four utterances of each kind:

| kind | voice | words | strength s |
|---|---|---|---|
| clear | one emotion | the same emotion | 1.0 or 0.95 |
| mild | one emotion | the same emotion | 0.88 or 0.65 |
| conflict | one emotion | another emotion | 1.0 or 0.85 |
| blend | 0.65 + 0.35 of two emotions | the first emotion | 0.95 |
| blend | 0.5 + 0.5 of two emotions | neutral | 0.7 |

* `manifest.csv`: one row an utterance: `utterance_id`, `path`, `speaker`, `gender`, `voice` (of espeak-ng), `split`,
  `transcript`, `kind`, `intended_prosody`, `blend_prosody` and `blend_weight` (second emotion of the voice and its
  share; the same emotion and 0 where there is none), `intended_wording`, `strength`, `votes_<emotion>` (counts),
  `true_<emotion>` (probabilities), `num_raters`.
* `ratings.csv`: one row a vote: `utterance_id`, `rater`, `label`.
* `audio/`: the sound.

## Voice
Settings of espeak-ng at full strength; neutral + s (emotion - neutral) at less, linear between two emotions in a blend.
The amplitude is multiplied by a constant of the voice.

| emotion | pitch (0 to 99) | pitch range (percent) | rate (words a minute) | amplitude (0 to 200) |
|---|---|---|---|---|
{settings}

## Rater model
The pool has 24 raters, r = 1..24. One channel (voice or words) that portrays emotion e with strength s is taken for

    d(e, s) = s onehot(e) + (1 - s) C[e]

where C is the confusion table below. An utterance with voice a (blended with b at weight l) and words c appears to
rater r as

    m_r = w_r ((1 - l) d(a, s) + l d(b, s)) + (1 - w_r) d(c, s),        w_r = 0.35 + 0.5 (r - 1) / 23

so that raters differ in how much they trust the voice, and rater r votes with the probabilities

    p_r = (1 - e_r - h) m_r + e_r / 6 + h onehot(f_r),      e_r = 0.01 (1 + (r - 1) mod 4),      h = {habit}

with lapse rate e_r and favourite label f_r, number (r - 1) mod 6 of the emotions in alphabetical order. Each utterance
gets 8 to 12 raters, drawn uniformly without replacement, one vote each. `true_<emotion>` is the exact probability of a
vote of a uniformly drawn rater, the mean of p_r over the pool, lapses and habits included. (The raters of one utterance
are different people of a finite pool, so its votes are very slightly less scattered than independent draws.)

| C: portrayed | {confusion_header} |
|---|---|---|---|---|---|---|
{confusion}

Entropy of the true distributions ({lowest} to {highest} bits):

| bits | utterances |
|---|---|
{histogram}

The numbers of this model were chosen by hand to give clear and ambiguous items. They were not fitted to any listeners.

## Licence
Sound, tables and this card are dedicated to the public domain under CC0 1.0
(https://creativecommons.org/publicdomain/zero/1.0/). espeak-ng itself is free software under GPL-3.0-or-later and is
not included.
"""


@dataclass(frozen=True)
class Design:
    """One utterance as designed: voice emotion `prosody` mixed with `blend` (weight 0..0.5), words of `wording`."""

    id: str
    voice: str
    level: float
    speaker: str
    gender: str
    split: str
    kind: str
    prosody: str
    blend: str
    blend_weight: float
    wording: str
    strength: float
    transcript: str


@dataclass(frozen=True)
class Rater:
    """One rater: weight given to the voice against the words, probability of a random vote, favourite label."""

    id: str
    voice_weight: float
    lapse: float
    favourite: str


def make_design(rounds: int = ROUNDS) -> list[Design]:
    """48 utterances a round: each of the 12 speakers says one of each kind, each kind has every prosody emotion twice.

    In every further round every speaker goes on to the next emotion, and the sentences come again, if possible from
    speakers who have not said them yet.
    """
    sentences = {emotion: list(lines) for emotion, lines in SENTENCES.items()}
    said: set[tuple[str, str]] = set()

    def next_sentence(speaker: str, emotion: str) -> str:
        lines = sentences[emotion]
        line = next((line for line in lines if (speaker, line) not in said), lines[0])
        lines.remove(line)
        lines.append(line)
        said.add((speaker, line))
        return line

    rows = []
    voices = enumerate(zip(VOICES, SPLITS, strict=True))
    for turn, (number, ((voice, gender, level), split)) in itertools.product(range(rounds), voices):
        # The shifts put all six emotions into any even-odd pair of speakers, so that every split has them all; the
        # variant changes every two speakers, so that each emotion occurs in both.
        variant = (number // 2 + turn // 6) % 2
        for kind, shift in zip(STRENGTHS, (0, 2, 4, 1), strict=True):
            prosody = EMOTIONS[(number + shift + turn) % 6]
            blend, blend_weight, wording, strength = prosody, 0.0, prosody, STRENGTHS[kind][variant]
            if kind == "conflict":
                wording = CONFLICTS[prosody][variant]
            elif kind == "blend":
                blend, blend_weight = BLENDS[prosody], (0.5, 0.35)[variant]
                wording = ("neutral", prosody)[variant]
            speaker = f"spk{number + 1:02d}"
            rows.append(
                Design(
                    id=f"{speaker}_{kind}" + (f"_{turn + 1}" if turn else ""),
                    voice=voice,
                    level=level,
                    speaker=speaker,
                    gender=gender,
                    split=split,
                    kind=kind,
                    prosody=prosody,
                    blend=blend,
                    blend_weight=blend_weight,
                    wording=wording,
                    strength=strength,
                    transcript=next_sentence(speaker, wording),
                )
            )
    return rows


def make_raters() -> list[Rater]:
    """The pool: voice weights evenly from 0.35 to 0.85, lapse rates 0.01 to 0.04, each label the favourite of four."""
    return [
        Rater(
            id=f"r{number + 1:02d}",
            voice_weight=0.35 + 0.5 * number / (NUM_RATERS_IN_POOL - 1),
            lapse=0.01 * (1 + number % 4),
            favourite=EMOTIONS[number % 6],
        )
        for number in range(NUM_RATERS_IN_POOL)
    ]


def portrayal(emotion: str, strength: float) -> list[float]:
    """d(e, s) = s onehot(e) + (1 - s) CONFUSION[e]: what one channel is taken for, over EMOTIONS."""
    return [
        strength * (label == emotion) + (1 - strength) * other
        for label, other in zip(EMOTIONS, CONFUSION[emotion], strict=True)
    ]


def rater_distribution(row: Design, rater: Rater) -> list[float]:
    """Probability of each vote of one rater: (1 - lapse - HABIT) m + lapse / 6 + HABIT onehot(favourite)."""
    main, second, words = (portrayal(emotion, row.strength) for emotion in (row.prosody, row.blend, row.wording))
    weight, mix = rater.voice_weight, row.blend_weight
    return [
        (1 - rater.lapse - HABIT) * (weight * ((1 - mix) * a + mix * b) + (1 - weight) * c)
        + rater.lapse / len(EMOTIONS)
        + HABIT * (label == rater.favourite)
        for label, a, b, c in zip(EMOTIONS, main, second, words, strict=True)
    ]


def true_distribution(row: Design) -> list[float]:
    """Probability of each vote of a rater drawn uniformly from the pool: the exact mean over the pool."""
    pool = [rater_distribution(row, rater) for rater in make_raters()]
    return [math.fsum(column) / len(pool) for column in zip(*pool, strict=True)]


def draw_ratings(row: Design, rng: random.Random) -> list[tuple[str, str]]:
    """One vote each of 8 to 12 raters drawn without replacement, as (rater, label).

    Only `rng.random()` is used: Python promises its sequence for a seed across versions, for nothing else.
    """
    shuffled = sorted(make_raters(), key=lambda rater: rng.random())
    chosen = sorted(shuffled[: 8 + int(5 * rng.random())], key=lambda rater: rater.id)
    ratings = []
    for rater in chosen:
        point, cumulated, vote = rng.random(), 0.0, EMOTIONS[-1]
        for label, probability in zip(EMOTIONS, rater_distribution(row, rater), strict=True):
            cumulated += probability
            if point < cumulated:
                vote = label
                break
        ratings.append((rater.id, vote))
    return ratings


def to_csv(rows: list[list[object]]) -> str:
    """The rows as CSV text with plain line ends."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def make_tables(seed: int, rounds: int = ROUNDS) -> dict[str, str]:
    """The text of `manifest.csv` and `ratings.csv`; no sound is needed or made."""
    rng = random.Random(seed)
    manifest: list[list[object]] = [
        ["utterance_id", "path", "speaker", "gender", "voice", "split", "transcript", "kind", "intended_prosody"]
        + ["blend_prosody", "blend_weight", "intended_wording", "strength"]
        + [f"votes_{label}" for label in EMOTIONS]
        + [f"true_{label}" for label in EMOTIONS]
        + ["num_raters"]
    ]
    table: list[list[object]] = [["utterance_id", "rater", "label"]]
    for row in make_design(rounds):
        ratings = draw_ratings(row, rng)
        votes = Counter(label for _, label in ratings)
        manifest.append(
            [row.id, f"audio/{row.id}.mp3", row.speaker, row.gender, row.voice, row.split, row.transcript, row.kind]
            + [row.prosody, row.blend, f"{row.blend_weight:.2f}", row.wording, f"{row.strength:.2f}"]
            + [votes[label] for label in EMOTIONS]
            + [f"{probability:.8f}" for probability in true_distribution(row)]
            + [len(ratings)]
        )
        table += [[row.id, rater, label] for rater, label in ratings]
    return {"manifest.csv": to_csv(manifest), "ratings.csv": to_csv(table)}


def prosody_of(row: Design) -> tuple[float, float, float, float]:
    """Pitch, range, rate, amplitude: neutral + s ((1 - mix) main + mix second - neutral), amplitude times the level."""
    settings = zip(PROSODY["neutral"], PROSODY[row.prosody], PROSODY[row.blend], strict=True)
    pitch, pitch_range, rate, amplitude = (
        base + row.strength * ((1 - row.blend_weight) * main + row.blend_weight * second - base)
        for base, main, second in settings
    )
    return pitch, pitch_range, rate, amplitude * row.level


def write_audio(row: Design, path: Path) -> None:
    """Speak one utterance and write it as MP3, 16 kHz mono, with 50 ms of silence at either end."""
    import numpy as np
    import soundfile
    import soxr

    pitch, pitch_range, rate, amplitude = (round(value) for value in prosody_of(row))
    ssml = f'<speak><prosody range="{pitch_range}%">{escape(row.transcript)}</prosody></speak>'
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        options = ["-v", row.voice, "-p", str(pitch), "-s", str(rate), "-a", str(amplitude), "-m", "-w", str(wav)]
        subprocess.run(["espeak-ng", *options, ssml], check=True, stdin=subprocess.DEVNULL, timeout=60)
        samples, rate_in = soundfile.read(wav, dtype="float64")
    if np.abs(samples).max() > 0.98:
        raise SystemExit(f"{row.id}: espeak-ng reaches full scale; lower the level of {row.voice}.")
    # float64 keeps the resampler's rounding far below one 16-bit step, whatever the processor.
    samples = soxr.resample(samples, rate_in, SAMPLE_RATE, quality="VHQ")
    loud = np.flatnonzero(np.abs(samples) > 0.003)
    silence = np.zeros(SAMPLE_RATE // 20)
    samples = np.concatenate([silence, samples[loud[0] : loud[-1] + 1], silence])
    # MP3 of libsndfile has the same bytes every time and keeps the length, and 192 clips stay below 2 MB.
    samples = np.round(samples * 32767).astype(np.int16)
    how = {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": 0.8, "bitrate_mode": "VARIABLE"}
    soundfile.write(path, samples, SAMPLE_RATE, **how)


def espeak_version() -> str | None:
    """Version of the espeak-ng on PATH, as `1.51`; None if there is none."""
    if shutil.which("espeak-ng") is None:
        return None
    text = subprocess.run(["espeak-ng", "--version"], check=True, capture_output=True, text=True, timeout=60).stdout
    return text.split(":")[1].split()[0]


def check_voices() -> None:
    """Stop if a voice is not installed: espeak-ng would silently speak with its default voice instead."""
    known = {
        name: subprocess.run(["espeak-ng", f"--voices={name}"], check=True, capture_output=True, text=True).stdout
        for name in ("en", "variant")
    }
    for voice, _, _ in VOICES:
        language, variant = voice.split("+")
        if f" {language} " not in known["en"] or f"!v/{variant} " not in known["variant"]:
            raise SystemExit(f"espeak-ng has no voice {voice}; install its full voice data (espeak-ng-data).")


def tool_versions() -> str:
    """The versions that decide the bytes of the sound, as the card records them."""
    import soundfile
    import soxr

    libsndfile = soundfile.__libsndfile_version__
    return f"espeak-ng {espeak_version()}, soxr {soxr.__version__}, libsndfile {libsndfile}"


def entropy(distribution: list[float]) -> float:
    """Shannon entropy in bits."""
    return -sum(p * math.log2(p) for p in distribution if p > 0)


def make_card(seed: int, versions: str) -> str:
    """The text of the corpus's `README.md`; `versions` as from `tool_versions`."""
    edges = (0.0, 0.5, 1.0, 1.5, 1.8, math.log2(6))
    entropies = [entropy(true_distribution(row)) for row in make_design()]
    bins = [sum(low <= h < high for h in entropies) for low, high in itertools.pairwise(edges)]
    histogram = "\n".join(
        f"| {low:.1f} to {high:.1f} | {count} |"
        for (low, high), count in zip(itertools.pairwise(edges), bins, strict=True)
    )
    settings = "\n".join(
        f"| {name} | " + " | ".join(f"{value:g}" for value in PROSODY[name]) + " |" for name in EMOTIONS
    )
    confusion = "\n".join(
        f"| {name} | " + " | ".join(f"{value:.2f}" for value in CONFUSION[name]) + " |" for name in EMOTIONS
    )
    return CARD.format(
        seed=seed,
        versions=versions,
        settings=settings,
        confusion_header=" | ".join(EMOTIONS),
        confusion=confusion,
        histogram=histogram,
        lowest=f"{min(entropies):.2f}",
        highest=f"{max(entropies):.2f}",
        habit=HABIT,
    )


def main() -> None:
    """Write the whole corpus into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="folder to write to; files of the same name are replaced")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="seed of the raters' choice and votes (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="times 48 utterances, for studies of the size (default %(default)s)"
    )
    options = parser.parse_args()
    if espeak_version() is None:
        sys.exit("espeak-ng is not on PATH; install it (for example: apt-get install espeak-ng).")
    check_voices()
    (options.output / "audio").mkdir(parents=True, exist_ok=True)
    for row in make_design(options.rounds):
        write_audio(row, options.output / "audio" / f"{row.id}.mp3")
    for name, text in make_tables(options.seed, options.rounds).items():
        (options.output / name).write_text(text, encoding="utf-8", newline="\n")
    if options.rounds != ROUNDS:
        return  # the card describes the bundled corpus
    card = make_card(options.seed, tool_versions())
    (options.output / "README.md").write_text(card, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
