"""The bundled demo corpus: the committed files, their reader, and the script that made them."""

from __future__ import annotations

import csv
import importlib.util
import math
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import soundfile
from copies import demo as made

from emoprobe.data.corpora import demo
from emoprobe.data.corpora.demo import CARD, WORDS, read_demo, true_distributions
from emoprobe.data.utterance import Corpus, Rating, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

FOLDER = Path(demo.__file__).parent / "demo_corpus"
SCRIPT = Path(__file__).parents[3] / "scripts" / "make_demo_corpus.py"
SIX = LabelSet("six", WORDS, {word: {"noun": (word,)} for word in WORDS})


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return read_demo()


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_demo_corpus", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tables that a test may damage."""
    for name in ("manifest.csv", "ratings.csv"):
        shutil.copy(FOLDER / name, tmp_path / name)
    return tmp_path


def counts(corpus: Corpus) -> np.ndarray:
    return np.array([[utterance.votes[word] for word in WORDS] for utterance in corpus.utterances])


# ---------------------------------------------------------------------------------------------------------- contents


def test_the_folder_is_small_and_holds_nothing_unlisted(corpus: Corpus):
    files = {path for path in FOLDER.rglob("*") if path.is_file()}
    assert sum(path.stat().st_size for path in files) <= 2_000_000
    tables = {FOLDER / name for name in ("manifest.csv", "ratings.csv", "README.md")}
    assert files == tables | {utterance.audio for utterance in corpus.utterances}


def test_size_of_the_corpus(corpus: Corpus):
    assert len(corpus.utterances) == 192
    assert len({utterance.id for utterance in corpus.utterances}) == 192
    assert len({utterance.transcript for utterance in corpus.utterances}) == 48
    # The same words in the same voice could be the same sound under two labels.
    assert len({(utterance.speaker, utterance.transcript) for utterance in corpus.utterances}) == 192
    assert len({utterance.audio.read_bytes() for utterance in corpus.utterances}) == 192
    assert len({utterance.speaker for utterance in corpus.utterances}) >= 8
    assert len({utterance.metadata["voice"] for utterance in corpus.utterances}) >= 8
    assert {utterance.metadata["gender"] for utterance in corpus.utterances} == {"female", "male"}
    assert {utterance.metadata["intended_prosody"] for utterance in corpus.utterances} == set(WORDS)
    assert {utterance.metadata["intended_wording"] for utterance in corpus.utterances} == set(WORDS)
    assert corpus.skipped == ()


def test_sound_is_16_khz_mono_and_neither_clipped_nor_silent(corpus: Corpus):
    for utterance in corpus.utterances:
        info = soundfile.info(utterance.audio)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("MP3", "MPEG_LAYER_III", 16_000, 1)
        samples, _ = soundfile.read(utterance.audio, dtype="float64")
        assert 1.0 <= len(samples) / 16_000 <= 4.0, utterance.id
        assert 0.1 < np.abs(samples).max() < 0.98, utterance.id
        assert 20 * math.log10(samples.std()) > -40, utterance.id


def test_prosody_follows_the_intended_emotion(corpus: Corpus):
    """Anger is louder than sadness, and fear is faster than sadness, by a margin no wording explains."""

    def mean_of(emotion: str, measure) -> float:
        chosen = [u for u in corpus.utterances if u.metadata["intended_prosody"] == emotion and "clear" in u.id]
        assert len(chosen) == 8
        return float(np.mean([measure(u, soundfile.read(u.audio)[0]) for u in chosen]))

    def level(_: Utterance, samples: np.ndarray) -> float:
        return 20 * math.log10(samples.std())

    def rate(utterance: Utterance, samples: np.ndarray) -> float:
        return len(utterance.transcript.replace(" ", "")) / (len(samples) / 16_000)

    assert mean_of("anger", level) > mean_of("sad", level) + 5
    assert mean_of("fear", rate) > 1.3 * mean_of("sad", rate)


def test_splits_are_speaker_disjoint_and_hold_every_emotion_and_both_genders(corpus: Corpus):
    by_speaker: dict[str, set[str]] = {}
    for utterance in corpus.utterances:
        by_speaker.setdefault(utterance.speaker, set()).add(utterance.split)
    assert all(len(splits) == 1 for splits in by_speaker.values())
    for split in ("train", "development", "test"):
        chosen = [utterance for utterance in corpus.utterances if utterance.split == split]
        assert {utterance.metadata["intended_prosody"] for utterance in chosen} == set(WORDS)
        assert {utterance.metadata["gender"] for utterance in chosen} == {"female", "male"}
    assert Counter(u.split for u in corpus.utterances) == {"train": 96, "development": 32, "test": 64}


def test_gender_does_not_tell_the_emotion(corpus: Corpus):
    for kind in ("clear", "mild", "conflict", "blend"):
        pairs = Counter(
            (u.metadata["intended_prosody"], u.metadata["gender"])
            for u in corpus.utterances
            if u.metadata["kind"] == kind
        )
        assert set(pairs.values()) == {4}
        assert len(pairs) == 12


def test_it_is_called_synthetic_wherever_it_is_named(corpus: Corpus):
    assert corpus.card is CARD
    assert CARD.synthetic is True
    assert "synthetic" in CARD.name
    assert "synthetic" in CARD.title.lower()
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "SYNTHETIC" in readme.splitlines()[0]
    assert "says nothing about real speech" in " ".join(readme.split())
    assert "CC0" in readme
    assert "CC0" in CARD.licence


# --------------------------------------------------------------------------------------------- votes and rater model


def test_votes_agree_with_the_ratings_table(corpus: Corpus):
    with open(FOLDER / "ratings.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    raters: dict[str, list[str]] = {}
    tally: Counter[tuple[str, str]] = Counter()
    for row in rows:
        raters.setdefault(row["utterance_id"], []).append(row["rater"])
        tally[row["utterance_id"], row["label"]] += 1
    assert len({row["rater"] for row in rows}) == 24
    for utterance in corpus.utterances:
        assert tuple(utterance.votes) == WORDS
        assert all(utterance.votes[word] == tally[utterance.id, word] for word in WORDS)
        assert sum(utterance.votes.values()) == utterance.num_raters == len(utterance.ratings)
        assert [rating.rater for rating in utterance.ratings] == raters[utterance.id]
        assert all(len(rating.labels) == 1 and not rating.secondary for rating in utterance.ratings)
        assert len(set(raters[utterance.id])) == len(raters[utterance.id])
        assert 8 <= utterance.num_raters <= 12


def test_true_distributions_sum_to_one_and_span_clear_to_ambiguous(corpus: Corpus):
    truth = true_distributions(corpus, SIX)
    assert truth.shape == (192, 6)
    assert truth.min() > 0
    np.testing.assert_allclose(truth.sum(axis=1), 1, atol=1e-12)
    entropy = scipy.stats.entropy(truth, base=2, axis=1)
    assert np.sum(entropy < 0.5) >= 4
    assert np.sum(entropy > 1.8) >= 4


def log_likelihood_z(votes: np.ndarray, truth: np.ndarray) -> float:
    """Standardised log-likelihood of votes `[N, K]`, with its exact mean and variance for independent draws."""
    log, raters = np.log(truth), votes.sum(axis=1)
    mean = (truth * log).sum(axis=1)
    variance = (truth * log**2).sum(axis=1) - mean**2
    return float(((votes * log).sum() - (raters * mean).sum()) / math.sqrt((raters * variance).sum()))


def pooled_chi_square_p(votes: np.ndarray, truth: np.ndarray) -> float:
    """P value of the corpus totals per emotion, with their exact covariance (K - 1 degrees of freedom)."""
    raters = votes.sum(axis=1)
    residual = (votes.sum(axis=0) - raters @ truth)[:-1]
    covariance = sum(n * (np.diag(p) - np.outer(p, p)) for n, p in zip(raters, truth, strict=True))[:-1, :-1]
    return float(scipy.stats.chi2.sf(residual @ np.linalg.solve(covariance, residual), len(residual)))


# Fixed in advance: |z| < 3 and p > 0.003 keep 99.7% of the vote tables that the model makes. (Votes of a clip are drawn
# without replacement from the pool, which makes both tests slightly more lenient than that.)
def test_votes_are_compatible_with_the_true_distributions(corpus: Corpus):
    votes, truth = counts(corpus), true_distributions(corpus, SIX)
    assert abs(log_likelihood_z(votes, truth)) < 3
    assert pooled_chi_square_p(votes, truth) > 0.003


def test_the_compatibility_tests_reject_wrong_tables(corpus: Corpus):
    votes, truth = counts(corpus), true_distributions(corpus, SIX)
    shuffled = truth[np.random.default_rng(0).permutation(len(truth))]
    assert log_likelihood_z(votes, shuffled) < -10
    sharpened = truth**2 / (truth**2).sum(axis=1, keepdims=True)
    assert log_likelihood_z(votes, sharpened) < -3
    flattened = np.sqrt(truth) / np.sqrt(truth).sum(axis=1, keepdims=True)
    assert log_likelihood_z(votes, flattened) > 3
    assert pooled_chi_square_p(votes, np.full_like(truth, 1 / 6) * 0.5 + 0.5 * np.eye(6)[0]) < 0.003


# ------------------------------------------------------------------------------------------------------------ script


def committed_versions() -> tuple[str, int]:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    found = re.search(r"(espeak-ng \S+, soxr \S+, libsndfile [^\s;]+); seed: (\d+)", readme)
    assert found, "the card does not record versions and seed"
    return found[1], int(found[2])


def test_the_script_makes_the_committed_tables_and_card(script):
    versions, seed = committed_versions()
    tables = script.make_tables(seed)
    assert set(tables) == {"manifest.csv", "ratings.csv"}
    for name, text in tables.items():
        assert (FOLDER / name).read_bytes() == text.encode()
    assert (FOLDER / "README.md").read_bytes() == script.make_card(seed, versions).encode()
    assert script.make_tables(seed + 1)["ratings.csv"] != tables["ratings.csv"]


def test_further_rounds_move_every_speaker_on(script):
    once, thrice = script.make_design(1), script.make_design(3)
    assert thrice[:48] == once
    assert len({row.id for row in thrice}) == 144
    for kind in script.STRENGTHS:
        assert len({row.prosody for row in thrice if row.speaker == "spk01" and row.kind == kind}) == 3
    assert len(script.make_tables(1, rounds=3)["manifest.csv"].splitlines()) == 145


def test_a_true_distribution_worked_by_hand(script):
    """A conflict at full strength: neutral voice, angry words, two raters' parameters written out from the card."""
    row = next(row for row in script.make_design() if row.id == "spk01_conflict")
    assert (row.prosody, row.blend, row.wording, row.strength) == ("neutral", "neutral", "anger", 1.0)
    first, last = script.make_raters()[0], script.make_raters()[-1]
    # Rater 1: w = .35, e = .01, favourite anger. .96 (.65 anger + .35 neutral) + .01 / 6 + .03 anger.
    expected = [0.624 + 0.01 / 6 + 0.03, *[0.01 / 6] * 3, 0.336 + 0.01 / 6, 0.01 / 6]
    assert script.rater_distribution(row, first) == pytest.approx(expected, abs=1e-12)
    # Rater 24: w = .85, e = .04, favourite sad. .93 (.15 anger + .85 neutral) + .04 / 6 + .03 sad.
    expected = [0.1395 + 0.04 / 6, *[0.04 / 6] * 3, 0.7905 + 0.04 / 6, 0.04 / 6 + 0.03]
    assert script.rater_distribution(row, last) == pytest.approx(expected, abs=1e-12)
    # Pool: every label is the favourite of 4 of 24, so disgust gets mean lapse .025 / 6 + .03 / 6.
    truth = script.true_distribution(row)
    assert truth[1] == pytest.approx(0.055 / 6, abs=1e-12)
    assert sum(truth) == pytest.approx(1, abs=1e-12)


def test_the_true_distribution_is_the_marginal_of_the_drawn_votes(script):
    """Many draws of the whole procedure (choice of raters included) for one blend reproduce its true distribution."""
    row = next(row for row in script.make_design() if row.id == "spk01_blend")
    rng = script.random.Random(1)
    votes = Counter(label for _ in range(2000) for _, label in script.draw_ratings(row, rng))
    observed = np.array([votes[label] for label in WORDS])
    expected = observed.sum() * np.array(script.true_distribution(row))
    assert scipy.stats.chisquare(observed, expected).pvalue > 0.003
    assert scipy.stats.chisquare(observed, expected[::-1]).pvalue < 1e-6


def test_tables_need_no_sound_libraries():
    code = (
        "import runpy, sys; make = runpy.run_path(sys.argv[1])['make_tables']; make(1); "
        "sys.exit(any(name in sys.modules for name in ('numpy', 'soundfile', 'soxr')))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(SCRIPT)], timeout=60).returncode == 0


def test_a_clip_is_made_again_byte_for_byte(script, tmp_path: Path):
    recorded, _ = committed_versions()
    if script.espeak_version() is None:
        pytest.skip("espeak-ng is not on PATH")
    if script.tool_versions() != recorded:
        pytest.skip(f"the bytes are those of {recorded}; here is {script.tool_versions()}")
    row = script.make_design()[0]
    script.write_audio(row, tmp_path / "clip.mp3")
    assert (tmp_path / "clip.mp3").read_bytes() == (FOLDER / "audio" / f"{row.id}.mp3").read_bytes()


# ------------------------------------------------------------------------------------------------------------ reader


def test_read_demo_returns_what_the_manifest_says(corpus: Corpus):
    first = corpus.utterances[0]
    with open(FOLDER / "manifest.csv", encoding="utf-8", newline="") as file:
        cells = next(csv.DictReader(file))
    assert (first.id, first.speaker, first.split) == (cells["utterance_id"], cells["speaker"], cells["split"])
    assert first.transcript == cells["transcript"]
    assert first.audio.is_absolute()
    assert first.audio == FOLDER / cells["path"]
    assert (first.file, first.row) == (FOLDER / "manifest.csv", 2)
    assert first.metadata["intended_wording"] == cells["intended_wording"]
    assert first.metadata["true_anger"] == float(cells["true_anger"])


def test_another_root_is_read(copy: Path, corpus: Corpus):
    assert [u.id for u in read_demo(copy).utterances] == [u.id for u in corpus.utterances]
    assert read_demo(copy).utterances[0].audio.is_relative_to(copy.resolve())


def test_true_distributions_follow_the_label_set(corpus: Corpus):
    """Another order, another spelling, two words merged into one label, and a label nobody uses."""
    labels = LabelSet(
        "merged",
        ("surprise", "happy", "angry", "low", "neutral"),
        {label: {"noun": (label,)} for label in ("surprise", "happy", "angry", "low", "neutral")},
        aliases={"anger": "angry", "disgust": "angry", "fear": "low", "sad": "low"},
    )
    six, merged = true_distributions(corpus, SIX), true_distributions(corpus, labels)
    anger, disgust, fear, happy, neutral, sad = six.T
    expected = np.stack([np.zeros_like(happy), happy, anger + disgust, fear + sad, neutral], axis=1)
    np.testing.assert_allclose(merged, expected, atol=1e-12)


def test_a_label_set_that_lacks_a_word_is_refused(corpus: Corpus):
    four = LabelSet("four", WORDS[2:], {word: {"noun": (word,)} for word in WORDS[2:]})
    with pytest.raises(InputError, match=r"no label for anger, disgust"):
        true_distributions(corpus, four)


def test_utterances_of_another_corpus_have_no_true_distribution():
    other = Corpus(CARD, (Utterance(id="x", audio=Path("/x.wav"), votes={"anger": 1}),))
    with pytest.raises(InputError, match=r"'x' has no true distribution"):
        true_distributions(other, SIX)


def test_an_empty_manifest_is_refused(copy: Path):
    header = (copy / "manifest.csv").read_text().splitlines()[0]
    (copy / "manifest.csv").write_text(header + "\n")
    with pytest.raises(InputError, match="no usable utterance"):
        read_demo(copy)


@pytest.mark.parametrize(
    ("name", "old", "new", "row", "field"),
    [
        ("manifest.csv", ",votes_anger,", ",anger,", 1, "votes_anger"),
        ("manifest.csv", ",0.95416667,", ",much,", 2, "true_anger"),
        ("manifest.csv", ",0.95416667,", ",nan,", 2, "true_anger"),
        ("manifest.csv", ",anger,1.00,9,", ",anger,inf,9,", 2, "strength"),
        ("manifest.csv", ",audio/spk01_clear.mp3,", ",../spk01_clear.mp3,", 2, "path"),
        ("manifest.csv", ",0.95416667,", ",0.85416667,", 2, "true_anger"),
        ("manifest.csv", "\nspk01_mild,", "\nspk01_clear,", 3, "utterance_id"),
        ("manifest.csv", "\nspk01_mild,", "\n,", 3, "utterance_id"),
        ("manifest.csv", "\nspk01_mild,", "\nspk01_mild,extra,", 3, None),
        (
            "manifest.csv",
            ",clear,anger,anger,0.00,anger,1.00,9,",
            ",clear,anger,anger,0.00,anger,1.00,8,",
            2,
            "votes_anger",
        ),
        ("manifest.csv", ",0.00916667,10\n", ",0.00916667,11\n", 2, "num_raters"),
        ("ratings.csv", "spk01_clear,r05,anger\n", "spk01_clear,r05,rage\n", 2, "label"),
        ("ratings.csv", "spk01_clear,r06,", "spk01_clear,r05,", 3, "rater"),
        ("ratings.csv", "spk01_clear,r05,anger\n", "spk01_clear,r05\n", 2, None),
        (
            "ratings.csv",
            "spk01_clear,r05,anger\n",
            "spk01_clear,r05,anger\nspk99_clear,r05,anger\n",
            None,
            "utterance_id",
        ),
    ],
)
def test_a_damaged_row_is_named(copy: Path, name: str, old: str, new: str, row: int | None, field: str | None):
    text = (copy / name).read_text(encoding="utf-8")
    assert old in text
    (copy / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_demo(copy)
    assert (caught.value.file, caught.value.row, caught.value.field) == (copy.resolve() / name, row, field)
    assert caught.value.remedy


# ------------------------------------------------------------------------------------------------- a small made-up copy


@pytest.fixture
def small(tmp_path: Path) -> Path:
    made.write(tmp_path)
    return tmp_path


def test_a_made_up_copy(small: Path):
    corpus = read_demo(small)
    second = corpus.utterances[1]
    assert second.votes == {"anger": 0, "disgust": 0, "fear": 0, "happy": 0, "neutral": 1, "sad": 1}
    assert second.ratings == (Rating("r01", ("sad",)), Rating("r02", ("neutral",)))
    assert (second.num_raters, second.split, second.transcript) == (2, "train", 'She said: "Go", and went.')
    assert (second.metadata["blend_weight"], second.metadata["true_anger"]) == (0.25, 0.5)
    assert all(utterance.audio.exists() for utterance in corpus.utterances)
