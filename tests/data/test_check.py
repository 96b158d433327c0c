"""``emoprobe data``: cards, the check of a copy, and what the raters said."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from copies import all_copies
from copies.sound import sound_bytes, write_sound

from emoprobe.cli.data import main
from emoprobe.data.check import check_corpus
from emoprobe.data.check.findings import Finding
from emoprobe.data.check.sound import inspect
from emoprobe.data.corpora import CORPORA
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import prepare
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Corpus, CorpusCard, Rating, Skipped, Total, Utterance
from emoprobe.labels import LabelSet
from emoprobe.report.corpus import agreement_between_raters

CARD = CorpusCard("toy", "Toy", True, "CC0", "none", "none", "none")
WHERE = {"demo": "dataset.reader.root={}", "manifest": "dataset.path={}/manifest.csv", "huggingface": "dataset.path={}"}
MORE = {"emobox": ["dataset.corpus=cremad"], "cremad": ["labels=basic6"]}


def overrides(name: str, root: Path) -> list[str]:
    return [f"dataset={name}", WHERE.get(name, "dataset.root={}").format(root), *MORE.get(name, [])]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def toy(tmp_path: Path):
    """Makes a corpus of clips: id -> (sound or None, votes, further facts)."""

    def make(clips: dict, **options) -> Corpus:
        utterances = []
        for name, (content, votes, facts) in clips.items():
            file = tmp_path / "toy" / f"{name}.wav"
            file.parent.mkdir(exist_ok=True)
            if content is not None:
                file.write_bytes(content)
            utterances.append(Utterance(name, file, votes, num_raters=int(sum(votes.values())), **facts))
        return Corpus(replace(CARD, **options), tuple(utterances))

    return make


def look(corpus: Corpus, six: LabelSet, policy: SoftLabelPolicy | None = None, **options) -> list[Finding]:
    policy = policy or SoftLabelPolicy(no_votes="skip")
    prepared = prepare(corpus, six, policy, missing_audio="ignore", on_error="skip")
    return check_corpus(corpus, prepared, six, progress=False, **options)


def told(findings: list[Finding], subject: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(f.level, f.what, f.items) for f in findings if f.subject == subject]


# ------------------------------------------------------------------------------------------------------------- sound


def test_one_stored_sound_under_two_ids(tmp_path: Path, six: LabelSet):
    write_sound(tmp_path / "a.wav")
    clips = [Utterance(name, tmp_path / "a.wav", {"sad": 1}, num_raters=1) for name in ("u1", "u2")]
    # An official layout may judge one clip in two ways; a table of one's own counts it twice.
    for words, expected in (((), [("problem", "the same bytes: u1 = u2", ("u1", "u2"))]), (("sad",), [])):
        findings = look(Corpus(replace(CARD, words=words), tuple(clips)), six)
        assert told(findings, "identical files") == expected


def test_inspecting_sound(tmp_path: Path):
    file = tmp_path / "a.wav"
    write_sound(file)
    sound = inspect(file)
    assert (sound.seconds, sound.rate, sound.channels, sound.problem) == (0.2, 16_000, 1, "")
    assert sound.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, (4_410, 2)), 44_100)
    assert (inspect(file).seconds, inspect(file).rate, inspect(file).channels) == (0.1, 44_100, 2)
    soundfile.write(file, np.zeros(16_000), 16_000)
    assert "silent" in inspect(file).problem
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git-lfs pointer" in inspect(file).problem
    file.write_bytes(b"RIFF")
    assert "cannot decode" in inspect(file).problem
    assert inspect(tmp_path / "b.wav").reason == "missing_audio"


def test_missing_sound_is_a_problem_unless_allowed(toy, six: LabelSet):
    corpus = toy({"a": (sound_bytes("a"), {"anger": 2}, {}), "b": (None, {"sad": 2}, {}), "c": (None, {"sad": 1}, {})})
    for missing, level in (("error", "problem"), ("skip", "note")):
        found = look(corpus, six, missing_audio=missing)
        assert told(found, "sound files") == [(level, "1 of 3 files are there, 2 missing", ("b", "c"))]
    assert not told(look(corpus, six, sound=False), "sound files")


def test_rates_channels_durations_and_bad_files(toy, six: LabelSet, tmp_path: Path):
    corpus = toy({name: (sound_bytes(name), {"anger": 2}, {}) for name in "abcd"})
    soundfile.write(corpus.utterances[1].audio, np.random.default_rng(0).normal(0, 0.1, (3_200, 2)), 8_000)
    corpus.utterances[2].audio.write_bytes(b"nothing")
    soundfile.write(corpus.utterances[3].audio, np.zeros(3_200), 16_000)
    found = look(corpus, six, limits=AudioLimits(min_seconds=0.1, max_seconds=0.3))
    assert told(found, "durations")[0][1].startswith("0.20 to 0.40 s, mean 0.27 s")
    assert told(found, "sampling rates") == [("note", "16,000 Hz: 2, 8,000 Hz: 1", ())]
    assert told(found, "channels") == [("note", "1 channel: 2, 2 channels: 1", ())]
    levels = {items: level for level, _, items in told(found, "sound")}
    assert levels == {("b",): "problem", ("c",): "problem", ("d",): "problem"}
    known = look(replace(corpus, card=replace(CARD, defects={"d": "silent"})), six)
    assert ("note", ("d",)) in [(level, items) for level, _, items in told(known, "sound")]


def test_clips_that_sound_wrong_or_are_long_are_listed(toy, six: LabelSet):
    corpus = toy({name: (sound_bytes(name), {"anger": 2}, {}) for name in "abcde"})
    voice, _ = soundfile.read(io.BytesIO(sound_bytes("v")))
    noise = np.random.default_rng(0).integers(-1, 2, len(voice)) / 32768
    made = {"b": voice / 4 + 0.1, "c": np.stack([voice, noise - voice], 1), "d": np.stack([voice, noise], 1)}
    for utterance in corpus.utterances:
        if utterance.id in made:
            soundfile.write(utterance.audio, made[utterance.id], 16_000)
    soundfile.write(corpus.utterances[4].audio, np.clip(3 * np.sin(np.arange(6_400) / 20), -1, 1), 16_000)
    limits = AudioLimits(max_seconds=0.3, long_audio="window")
    found = {items: (level, what) for level, what, items in told(look(corpus, six, limits=limits), "sound")}
    assert found.pop(("b",)) == ("problem", "1: offset: a constant offset of 1 % of full scale or more")
    assert found.pop(("c",))[0] == "problem"
    assert found.pop(("d",))[0] == "note"
    assert found == {("e",): ("note", "1: clipping: 0.1 % of the samples or more in flat tops at full scale")}
    long = ("note", "1: longer than 0.3 s (dataset.audio.long_audio=window; or truncate, skip)", ("e",))
    assert long in told(look(corpus, six, limits=limits), "sound")
    left_out = AudioLimits(leave_out=("offset", "antiphase"), near_silent="skip")
    assert {level for level, _, _ in told(look(corpus, six, limits=left_out), "sound")} == {"note"}
    refused = told(look(corpus, six, limits=AudioLimits(max_seconds=0.3)), "sound")
    what = "1: longer than 0.3 s (dataset.audio.long_audio=refuse; or truncate, window, skip)"
    assert ("problem", what, ("e",)) in refused
    short = told(look(corpus, six, limits=AudioLimits(min_seconds=0.3)), "sound")
    assert ("problem", "4: shorter than 0.3 s (dataset.audio.min_seconds)", ("a", "b", "c", "d")) in short


def test_near_silent_clips_are_listed(toy, six: LabelSet):
    corpus = toy({name: (sound_bytes(name), {"anger": 2}, {}) for name in "abc"})
    for utterance in corpus.utterances[1:]:
        soundfile.write(utterance.audio, 1e-4 * np.sin(np.arange(3_200) / (50 + len(utterance.id))), 16_000)
    corpus.utterances[2].audio.write_bytes(corpus.utterances[2].audio.read_bytes() + b"LIST\4\0\0\0INFO")
    what = "2: near-silent, below -70 dBFS (dataset.audio.near_silent)"
    assert told(look(corpus, six), "sound") == [("problem", what, ("b", "c"))]
    assert told(look(corpus, six, limits=AudioLimits(near_silent="skip")), "sound") == [("note", what, ("b", "c"))]
    assert told(look(corpus, six, limits=AudioLimits(near_silent_dbfs=-90.0)), "sound") == []
    known = look(replace(corpus, card=replace(CARD, defects={"b": "hum", "c": "hum"})), six)
    assert told(known, "sound") == [("note", f"{what} (a published defect)", ("b", "c"))]


def test_headers_that_lie_are_told_of_together_and_still_compared(toy, six: LabelSet, tmp_path: Path):
    corpus = toy({name: (sound_bytes(name), {"anger": 2}, {}) for name in "abc"})
    for utterance, cut in zip(corpus.utterances, (100, 200, 0), strict=True):
        content = utterance.audio.read_bytes()
        utterance.audio.write_bytes(content[: len(content) - cut])
    (tmp_path / "toy" / "SHA256SUMS").write_text(
        "".join(f"{hashlib.sha256(sound_bytes(name)).hexdigest()}  {name}.wav\n" for name in "abc")
    )
    found = look(corpus, six, root=tmp_path / "toy")
    ((level, what, items),) = told(found, "sound")
    assert (level, items) == ("problem", ("a", "b"))
    assert what.startswith("2: the file is truncated: its header promises 6400 bytes of sound, and 6300 are there")
    assert told(found, "SHA256SUMS")[0][1] == "3 sound files compared, 2 differ"
    assert told(found, "durations")[0][1].startswith("0.20 to 0.20 s")


def test_mp3_files_that_hold_more_than_they_say(toy, six: LabelSet):
    corpus = toy({name: (sound_bytes(name), {"anger": 2}, {}) for name in "abc"})
    for i, utterance in enumerate(corpus.utterances):
        buffer = io.BytesIO()
        samples = np.random.default_rng(i).normal(0, 0.1, 16_000)
        soundfile.write(buffer, samples, 16_000, format="MP3", subtype="MPEG_LAYER_III")
        content = bytearray(buffer.getvalue())
        if i == 1:
            place = next(content.find(mark) for mark in (b"Xing", b"Info") if mark in content) + 8
            content[place : place + 4] = (3).to_bytes(4)
        utterance.audio.write_bytes(content + content if i == 2 else content)
    notes = told(look(corpus, six), "sound")
    assert {(level, items) for level, _, items in notes} == {("note", ("b",)), ("note", ("c",))}
    assert "joined" in dict((items, what) for _, what, items in notes)[("c",)]
    assert inspect(corpus.utterances[2].audio).seconds == pytest.approx(2.0)


def test_identical_files_and_published_defects(toy, six: LabelSet):
    clips = {name: (sound_bytes("x" if name in "ab" else name), {"anger": 2}, {}) for name in "abc"}
    assert told(look(toy(clips), six), "identical files") == [("problem", "the same bytes: a = b", ("a", "b"))]
    known = look(toy(clips, defects={"a": "same sound as b", "b": "same sound as a"}), six)
    assert told(known, "identical files") == [("note", "the same bytes: a = b (a published defect)", ("a", "b"))]


def test_checksums(toy, six: LabelSet, tmp_path: Path):
    corpus = toy({name: (sound_bytes(name), {"anger": 2}, {}) for name in "ab"})
    root = tmp_path / "toy"
    sums = {
        "SHA256SUMS": f"{hashlib.sha256(sound_bytes('a')).hexdigest()}  a.wav\n{'0' * 64} *b.wav\n{'0' * 64}  c.txt\n",
        "MD5SUMS": "".join(f"{hashlib.md5(sound_bytes(name)).hexdigest().upper()}  {name}.wav\r\n" for name in "ab"),
    }
    for name, text in sums.items():
        (root / name).write_text(text)
    asked = []

    def official(folder: Path, hashes: dict[str, str]) -> list[str]:
        asked.append((folder, hashes))
        return ["speaker x differs"]

    found = look(corpus, six, root=root, check_sound=official)
    assert told(found, "SHA256SUMS") == [("problem", "2 sound files compared, 1 differ", ("b.wav",))]
    assert told(found, "MD5SUMS") == [("ok", "2 sound files compared, 0 differ", ())]
    assert told(found, "published checksums")[0][::2] == ("problem", ("speaker x differs",))
    assert asked == [(root, {name: hashlib.sha256(sound_bytes(name)).hexdigest() for name in "ab"})]


def test_lengths_that_the_tables_promise(toy, six: LabelSet):
    facts = {"a": 3_200.0, "b": 3_201.0}
    corpus = toy({n: (sound_bytes(n), {"sad": 1}, {"metadata": {"expected_frames": k}}) for n, k in facts.items()})
    assert told(look(corpus, six), "lengths")[0][::2] == ("problem", ("b",))


# ----------------------------------------------------------------------------------------------------- rows and votes


def test_votes_labels_and_ambiguity(toy, six: LabelSet):
    votes = {"a": {"anger": 3}, "b": {"anger": 1, "sad": 1}, "c": {"sad": 3, "fear": 1}, "d": {"bored": 2}, "e": {}}
    found = look(toy({name: (None, counts, {}) for name, counts in votes.items()}), six, sound=False)
    assert told(found, "raters") == [("ok", "2 to 4 per clip, mean 3.00; 9 votes", ())]
    ((_, labels, _),) = told(found, "labels")
    assert labels.split("; ")[0] == "anger 4 votes, top of 1"
    assert labels.split("; ")[-1] == "sad 4 votes, top of 1"
    assert told(found, "ambiguity") == [("ok", "mean entropy 0.604 bits, 1 tied for the top, 1 unanimous", ())]
    levels = {items: level for level, _, items in told(found, "soft labels")}
    assert levels == {("d",): "problem", ("e",): "note"}


def test_rows_that_could_not_be_read(toy, six: LabelSet):
    corpus = replace(toy({"a": (None, {"sad": 1}, {})}), skipped=(Skipped("x", "bad_row", "row 3 is bad", "f", 3),))
    ((level, what, items),) = told(look(corpus, six, sound=False), "label files")
    assert (level, items) == ("problem", ("x",))
    assert "1 bad_row; the first: row 3 is bad" in what


def test_speakers_and_their_overlap(toy, six: LabelSet):
    facts = [("a", "s1", "train"), ("b", "s1", "test"), ("c", "s2", "test"), ("d", None, "train"), ("e", "s2", "test2")]
    corpus = toy({name: (None, {"sad": 1}, {"speaker": who, "split": split}) for name, who, split in facts})
    found = look(corpus, six, sound=False)
    in_all = "2 in all; test: 2 clips of 2; test2: 1 clips of 1; train: 2 clips of 1"
    assert told(found, "speakers") == [("ok", in_all, ()), ("note", "1 clips of unknown speakers", ())]
    assert told(found, "speaker overlap") == [
        ("problem", "1 speakers are in more than one split", ("s1: test, train",))
    ]


def test_published_totals(toy, six: LabelSet):
    corpus = toy({"a": (None, {"sad": 1}, {})})
    totals = [
        Total("clips", 1, lambda read: len(read.utterances), "the paper"),
        Total("turns", 7, lambda read: len(read.utterances)),
        Total("votes of faces", 3, lambda read: None),
    ]
    assert told(look(corpus, six, sound=False, totals=totals), "published total") == [
        ("ok", "clips: 1 (the paper)", ()),
        ("problem", "turns: 1 here, 7 published", ()),
    ]


# --------------------------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize("name", list(CORPORA))
def test_check_and_show_every_corpus(name: str, tmp_path: Path, capsys):
    """A small copy has all but the published totals; rows that tests of readers need may be bad on purpose."""
    copy = next(copy for copy in all_copies() if copy.name == name)
    root = tmp_path / "copy"
    root.mkdir()
    copy.write(root)
    status = main(["check", *overrides(name, root), "-o", str(tmp_path / "out")])
    findings = json.loads((tmp_path / "out" / "check.json").read_text())
    problems = {finding["subject"] for finding in findings if finding["level"] == "problem"}
    assert status == (1 if problems else 0)
    allowed = {"published total", "sound files", "soft labels", "published checksums", "sound", "label files"}
    # EmoBox's fold of CREMA-D and the splits of ESD and MELD share speakers; MELD's made-up clips sound alike.
    own = {"emobox": {"speaker overlap"}, "esd": {"speaker overlap"}, "meld": {"speaker overlap", "identical files"}}
    assert problems <= allowed | own.get(name, set())
    subjects = {finding["subject"] for finding in findings}
    assert {"label files", "sound files", "durations", "raters", "labels", "ambiguity", "speakers"} <= subjects
    listed = pd.read_csv(tmp_path / "out" / "check.csv", keep_default_na=False)
    assert len(listed) == sum(len(finding["items"]) or 1 for finding in findings)
    assert f"{len([f for f in findings if f['level'] == 'problem'])} problem" in capsys.readouterr().out

    show = ["show", *overrides(name, root), "dataset.on_error=skip", "-n", "3", "-o", str(tmp_path / "show")]
    assert main(show) == 0
    frame = pd.read_parquet(tmp_path / "show" / "utterances.parquet")
    out = capsys.readouterr().out
    assert f"of {len(frame):,} utterances" in out
    assert "relative frequency" in out
    assert (tmp_path / "show" / "ambiguity.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "show" / "ambiguity.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", list(CORPORA))
def test_every_card_is_printed(name: str, capsys):
    assert main(["card", name]) == 0
    out = capsys.readouterr().out
    assert f"dataset={name}" in out
    assert all(word in out for word in ("licence", "access", "citation", "raters"))


def test_mistakes_end_in_one_line(capsys, tmp_path: Path):
    for arguments, what in (
        (["card", "nothing"], "unknown corpus 'nothing'"),
        (["check", "dataset=cremad", f"dataset.root={tmp_path}"], "this folder is not CREMA-D"),
        (["show", "dataset=iemocap"], "a value must be given"),
    ):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert what in captured.err
        assert len(captured.err.strip().splitlines()) == 1


def test_all_corpora_are_listed(capsys):
    assert main(["card"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(CORPORA)


def test_overrides_stand_on_both_sides_of_an_option(tmp_path: Path, capsys):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("defaults: [demo]\nname: mine\n")
    for verb in ("check", "show", "raters"):
        more = ["--no-sound"] if verb == "check" else ["-n", "2"]
        assert main([verb, "dataset=mine", "--config-dir", str(tmp_path), *more, "labels=basic6"]) == 0
        assert "label set basic6" in capsys.readouterr().out
    for wrong in (["show", "dataset=demo", "--wrong", "labels=basic6"], ["card", "demo", "labels=basic6"]):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2
        assert "unrecognized arguments" in capsys.readouterr().err


def test_raters_are_told_apart(tmp_path: Path, capsys):
    assert main(["raters", "dataset=demo", "-n", "3", "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "24 raters, 1,920 ratings; two raters of a clip say the same with a chance of 0.568" in shown
    assert "3 of 24 raters" in shown
    table = pd.read_csv(tmp_path / "raters.csv")
    assert table["num_ratings"].sum() == 1920
    assert table["num_ratings"].is_monotonic_decreasing
    bias = table[[name for name in table if name.startswith("bias_")]]
    np.testing.assert_allclose(bias.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(table["total_bias"], bias.abs().sum(axis=1) / 2)
    assert "mean_difference" not in table


def test_raters_of_counts_are_unknown(tmp_path: Path, capsys):
    (tmp_path / "m.csv").write_text("path,votes_anger,votes_sad\na.wav,1,2\n")
    assert main(["raters", "dataset=manifest", f"dataset.path={tmp_path / 'm.csv'}"]) == 2
    assert "does not tell who said what" in capsys.readouterr().err
    (tmp_path / "m.csv").write_text("path,ratings\na.wav,anger;sad\nb.wav,sad\n")
    assert main(["raters", "dataset=manifest", f"dataset.path={tmp_path / 'm.csv'}"]) == 0
    assert "nobody knows which ratings are of one person" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------------ raters


def test_agreement_between_raters_by_hand(six: LabelSet):
    """Clip 1: anger, anger, sad: of its six ordered pairs two are (anger, anger). Clip 2: counts of sad and fear."""
    ratings = tuple(Rating(f"r{i}", (word,)) for i, word in enumerate(("anger", "anger", "sad")))
    clips = (
        Utterance("a", Path("a.wav"), ratings=ratings),
        Utterance("b", Path("b.wav"), {"sad": 1, "fear": 1}, num_raters=2),
        Utterance("c", Path("c.wav"), {"happy": 1}, num_raters=1),  # one rater agrees with nobody
        Utterance("d", Path("d.wav"), {"neutral": 0.5, "happy": 0.5}),  # shares: two draws
    )
    policy = SoftLabelPolicy()
    items = prepare(Corpus(CARD, clips), six, policy, missing_audio="ignore").items
    together = agreement_between_raters(items, six, policy)
    anger, disgust, fear, happy, neutral, sad = range(6)
    # Ordered pairs, each clip's shares of them: anger-anger 1/3, anger-sad 1/3, sad-anger 1/3; sad-fear, fear-sad 1/2.
    np.testing.assert_allclose(together[anger, [anger, sad]], [0.5, 0.5])
    np.testing.assert_allclose(together[sad, [anger, fear]], [2 / 5, 3 / 5])
    np.testing.assert_allclose(together[fear, sad], 1)
    np.testing.assert_allclose(together[happy, [happy, neutral]], [0.5, 0.5])
    assert np.isnan(together[disgust]).all()


def test_means_and_spreads_of_a_scale_are_shown(tmp_path: Path, capsys):
    file = tmp_path / "m.csv"
    file.write_text("path,rater,valence\n" + "".join(f"a.wav,r{i},{value}\n" for i, value in enumerate((1, 3, 5))))
    own = ["dataset=manifest", f"dataset.path={file}", "dataset.scales={valence: [1,5]}", "labels=valence5"]
    assert main(["show", *own]) == 0
    cells = capsys.readouterr().out.splitlines()[2].split()
    assert cells[:4] == ["a", "?", "3", "1"]
    assert cells[-3:-1] == ["3.00", "1.63"]
    assert main(["show", "dataset=demo", "-n", "1"]) == 0
    assert "spread" not in capsys.readouterr().out


def test_agreement_of_counts_is_that_of_the_ratings_behind_them(toy, six: LabelSet):
    votes = {"a": {"sad": 2, "fear": 1}, "b": {"happy": 3}, "c": {"sad": 1, "happy": 1}}
    counted = toy({name: (None, given, {}) for name, given in votes.items()})
    single = replace(
        counted,
        utterances=tuple(
            replace(
                each,
                votes={},
                num_raters=None,
                ratings=tuple(
                    Rating(f"r{i}", (word,))
                    for i, word in enumerate(word for word, many in each.votes.items() for _ in range(int(many)))
                ),
            )
            for each in counted.utterances
        ),
    )
    (told_by_counts,), (told_by_ratings,) = (
        told(look(each, six, sound=False), "agreement") for each in (counted, single)
    )
    assert told_by_counts == told_by_ratings
    # By hand: 4 of 8 ratings' worth of disagreement where (8^2 - 3^2 - 1 - 4^2) / 7 is expected.
    assert f"a chance of 0.500; Krippendorff's alpha {1 - 4 / (38 / 7):.3f}" in told_by_counts[1]
    shares = replace(counted, utterances=tuple(replace(each, num_raters=None) for each in counted.utterances))
    assert told(look(shares, six, sound=False), "agreement") == []
