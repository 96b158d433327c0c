"""EMO-SUPERB's tables and the corpora themselves: the same votes under one policy, or a line that says otherwise."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from copies import emosuperb as copy
from copies import iemocap
from copies.labels import label_set

from emoprobe.data.corpora import CORPORA as CORPORA_READ
from emoprobe.data.corpora.emosuperb import read_emosuperb
from emoprobe.data.corpora.iemocap import read_iemocap
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import prepare
from emoprobe.data.utterance import Corpus
from emoprobe.data.votes import Target
from emoprobe.errors import InputError
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose

FOUR = ("angry", "sad", "neutral", "happy")
TEN = ("depressed", "frustrated", "angry", "sad", "disgust", "excited", "fear", "neutral", "surprise", "happy")
EIGHT = ("angry", "sad", "disgust", "contempt", "fear", "neutral", "surprise", "happy")
SIXTEEN = ("angry", "frustrated", "annoyed", "disappointed", "sad", "disgust", "depressed", "contempt", "confused")
SIXTEEN += ("concerned", "fear", "neutral", "surprise", "amused", "excited", "happy")
# Main word, words beside it, activation, valence, dominance; each as one rater's. Nobody said the same twice.
RATED = {
    "0": (("happy", ("happy", "excited"), 4, 5, 3), ("neutral", (), 3, 3, 3), ("happy", ("surprise",), 5, 4, 3)),
    "1": (("sad", ("sad", "depressed"), 1, 2, 1), ("angry", ("sad", "frustrated", "angry"), 4, 1, 4)),
    "2": (("other", ("neutral",), 2, 3, 3), ("neutral", ("neutral",), 2, 3, 3), ("sad", ("sad", "fear"), 2, 2, 2)),
}
SPELT = {"depressed": "Depressed", "frustrated": "Frustrated", "other": "Other-hm"}


def counted(classes: Sequence[str], every: bool) -> Iterable[tuple[str, list[int]]]:
    """How often each class was said of each clip: as the main word, or as any."""
    for clip, ratings in RATED.items():
        said = [{main, *beside} if every else {main} for main, beside, *_ in ratings]
        yield clip, [sum(word in words for words in said) for word in classes]


def table(root: Path, folder: str, classes: Sequence[str], every: bool, name: Callable[[str], str]) -> None:
    """One table of EMO-SUPERB, with its config."""
    place = root / "data" / folder
    place.mkdir(parents=True)
    (place / "config.json").write_text(copy.config(classes, ""))
    text = copy.line("FileName", *classes, "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
    for clip, counts in counted(classes, every):
        means = [sum(rating[place] for rating in RATED[clip]) / len(RATED[clip]) for place in (2, 3, 4)]
        split = {"0": "Train", "1": "Development", "2": "Test"}[clip]
        text += copy.line(f"{name(clip)}.wav", *copy.smoothed(counts), *means, "01", "Female", split)
    (place / "labels_consensus_1.csv").write_text(text)


def spelt(word: str) -> str:
    return SPELT.get(word, word.capitalize())


def improv(root: Path) -> None:
    """MSP-IMPROV with the same ratings; its file's activation runs the other way."""
    text = ""
    for clip, ratings in RATED.items():
        text += f"UTD-IMPROV-S01A-F01-S-FM0{clip}.avi; X; A:3.0; V:3.0; D:3.0 ; N:4.0;\n"
        for number, (main, beside, *given) in enumerate(ratings):
            numbers = f"A:{6 - given[0]}; V:{given[1]}; D:{given[2]}; N:4;"
            text += f"W{number}; {spelt(main)}; {','.join(map(spelt, beside))}; {numbers}\n"
        text += "\n"
    root.mkdir()
    (root / "Evalution.txt").write_text(text)


def podcast(prefix: str) -> Callable[[Path], None]:
    """MSP-Podcast, or BIIC-Podcast, with the same ratings."""

    def write(root: Path) -> None:
        root.mkdir()
        listing = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
        rows = "FileName,WorkerID,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\n"
        for clip, ratings in RATED.items():
            listing += f"{prefix}{clip}.wav,X,3,3,3,7,Female,Train\n"
            for number, (main, beside, *given) in enumerate(ratings):
                numbers = ",".join(map(str, given))
                rows += f'{prefix}{clip}.wav,W{number},{spelt(main)},"{",".join(map(spelt, beside))}",{numbers}\n'
        (root / "labels_consensus.csv").write_text(listing)
        (root / "labels_detailed.csv").write_text(rows)

    return write


CORPORA = {
    "IMPROV": ("msp_improv", lambda clip: f"MSP-IMPROV-S01A-F01-S-FM0{clip}", improv, (FOUR, TEN)),
    "PODCAST": ("msp_podcast", lambda clip: f"MSP-PODCAST_{clip}", podcast("MSP-PODCAST_"), (EIGHT, SIXTEEN)),
    "BIIC_PODCAST": ("biic_podcast", lambda clip: f"BIIC-PODCAST_{clip}", podcast("BIIC-PODCAST_"), (EIGHT, SIXTEEN)),
}
POLICIES = [
    {"several": several, "secondary": secondary}
    for several, secondary in itertools.product(("split", "each"), (0.0, 0.5, 1.0))
]
EVERY_WORD = {"several": "each", "secondary": 1.0}
Both = tuple[str, Path, Path]


@pytest.fixture(params=list(CORPORA))
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Both:
    """A corpus's name, EMO-SUPERB with its two tables, and the corpus itself."""
    _, name, write, classes = CORPORA[request.param]
    for kind, words in zip(("Primary", "Secondary"), classes, strict=True):
        table(tmp_path / "superb", f"{request.param}/{kind}", words, kind == "Secondary", name)
    write(tmp_path / "own")
    return request.param, tmp_path / "superb", tmp_path / "own"


def targets(corpus: Corpus, policy: Mapping[str, object], labels: str = "basic4") -> dict[str, Target]:
    """Soft labels by clip."""
    policy = SoftLabelPolicy(**{"outside": "drop", "no_votes": "skip", **policy})
    items = prepare(corpus, label_set(labels), policy, missing_audio="ignore").items
    return {item.utterance.id: item.target for item in items}


def itself(corpus: str, root: Path) -> Corpus:
    return CORPORA_READ[CORPORA[corpus][0]].read(root)


def same(one: dict[str, Target], other: dict[str, Target], atol: float) -> None:
    assert set(one) == set(other)
    for name, target in one.items():
        np.testing.assert_allclose(target.distribution, other[name].distribution, atol=atol)


@pytest.mark.parametrize("emotions", ["Primary", "Secondary"])
def test_with_the_corpus_itself_every_policy_gives_its_votes(both: Both, emotions: str, capsys):
    corpus, superb, own = both
    here, there = read_emosuperb(superb, corpus, emotions, ratings_root=own), itself(corpus, own)
    for policy in POLICIES:
        same(targets(here, policy), targets(there, policy), 0)
        raters = [[target.num_raters for target in targets(each, policy).values()] for each in (here, there)]
        assert raters[0] == raters[1]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("emotions", ["Primary", "Secondary"])
def test_without_it_the_tables_own_policy_agrees_and_any_other_is_refused(both: Both, emotions: str):
    corpus, superb, own = both
    here, there = read_emosuperb(superb, corpus, emotions), itself(corpus, own)
    agreed = refused = 0
    for policy in POLICIES:
        if policy["secondary"] == 0 if emotions == "Primary" else policy == EVERY_WORD:
            same(targets(here, policy), targets(there, policy), 1e-5)
            agreed += 1
            continue
        with pytest.raises(InputError, match=r"these votes were counted with .*, which cannot be undone") as caught:
            targets(here, policy)
        assert "\n" not in str(caught.value)
        assert "dataset.soft_label.secondary=" in caught.value.remedy
        refused += 1
    assert (agreed, refused) == ((2, 4) if emotions == "Primary" else (1, 5))


def test_the_policies_names(both: Both):
    corpus, superb, own = both
    for emotions, policy in (("Primary", "primary"), ("Secondary", "every_word")):
        table_of = ["dataset=emosuperb", f"dataset.root={superb}", f"dataset.corpus={corpus}"]
        table_of += [f"dataset.emotions={emotions}", "dataset.soft_label.outside=drop"]
        pair = []
        for overrides in (table_of, [f"dataset={CORPORA[corpus][0]}", f"dataset.root={own}"]):
            dataset = read_dataset(compose([*overrides, f"policy={policy}", "labels=basic4"]))
            items = prepare_run(dataset, read_corpus(dataset), label_set("basic4"), missing_audio="ignore").items
            pair.append({item.utterance.id: item.target for item in items})
        same(*pair, 1e-5)


def test_dimensions_agree(both: Both):
    corpus, superb, own = both
    points = 5 if corpus == "IMPROV" else 7
    for config in superb.rglob("config.json"):  # those of the copies say 1 to 5
        config.write_text(config.read_text().replace('"max_score": 5', f'"max_score": {points}'))
    primary, secondary = (read_emosuperb(superb, corpus, emotions) for emotions in ("Primary", "Secondary"))
    beside, there = read_emosuperb(superb, corpus, ratings_root=own), itself(corpus, own)
    for dimension in ("arousal", "valence", "dominance"):
        labels = f"{dimension}{points}"
        one, other = targets(primary, {}, labels), targets(there, {}, labels)
        same(targets(secondary, {}, labels), one, 0)  # what words weigh is nothing to numbers
        same(targets(beside, {}, labels), other, 0)
        assert set(one) == set(other)
        for name, target in one.items():
            means = [each.distribution @ np.arange(1, points + 1) for each in (target, other[name])]
            assert means[0] == pytest.approx(means[1], abs=1e-6)


@pytest.mark.parametrize("emotions", ["Primary", "Secondary"])
def test_other_is_not_in_the_tables(both: Both, emotions: str):
    corpus, superb, own = both
    here, there = read_emosuperb(superb, corpus, emotions), itself(corpus, own)
    beside = read_emosuperb(superb, corpus, emotions, ratings_root=own)
    policy = EVERY_WORD if emotions == "Secondary" else {}
    match = "votes for 'other' were left out before these shares were published"
    for more, field in (
        ({"outside": "drop_clip"}, "dataset.soft_label.outside"),
        ({"merge": {"other": "sad"}}, "labels"),
    ):
        with pytest.raises(InputError, match=match) as caught:
            targets(here, policy | more)
        assert caught.value.field == field
        assert "dataset.soft_label.outside=drop" in caught.value.remedy
        if "merge" in more or emotions == "Primary":  # words of no label are in all clips of the others
            same(targets(beside, policy | more), targets(there, policy | more), 0)
    for labels in ("msp9", "iemocap10"):
        with pytest.raises(InputError, match=f"{match}, so there are none for the label 'other'"):
            targets(here, policy, labels)
        same(targets(beside, policy, labels), targets(there, policy, labels), 0)


def test_a_table_that_was_counted_otherwise_is_named_in_one_line(both: Both, capsys):
    corpus, superb, own = both
    file = superb / "data" / corpus / "Primary" / "labels_consensus_1.csv"
    lines = file.read_text().split("\n")
    first, second = lines[1].split(","), lines[2].split(",")
    count = len(CORPORA[corpus][3][0])
    first[1 : 1 + count] = second[1 : 1 + count]
    file.write_text("\n".join([lines[0], ",".join(first), *lines[2:]]))
    read_emosuperb(superb, corpus, "Primary", ratings_root=own)
    (note,) = capsys.readouterr().err.strip().split("\n")
    name = CORPORA[corpus][1]("0")
    assert note.startswith(f"note: EMO-SUPERB {corpus}: of 1 of 3 clips, the first {name}, ")


# ------------------------------------------------------------------------------------------------------------- IEMOCAP


@pytest.fixture
def sessions(tmp_path: Path) -> tuple[Path, Path]:
    """EMO-SUPERB with the copy's shares of three turns, and IEMOCAP."""
    iemocap.write(tmp_path / "own")
    copy.write(tmp_path / "superb")
    text = copy.line("FileName", *copy.NINE, "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
    # Three neutral and the actor's happiness; then eight labels of three raters and the actor.
    for turn, said in (
        ("Ses01F_impro01_F000", {"neutral": 3, "happy": 1}),
        ("Ses01F_impro01_M000", {"neutral": 2, "frustrated": 2, "angry": 1, "sad": 1, "excited": 1, "surprise": 1}),
        ("Ses01F_impro01_M001", {"frustrated": 2}),
    ):
        shares = copy.smoothed([said.get(word, 0) for word in copy.NINE])
        text += copy.line(f"{turn}.wav", *shares, 3, 3, 3, "01", "Female", "Train")
    (tmp_path / "superb" / copy.IEMOCAP).write_text(text)
    return tmp_path / "superb", tmp_path / "own"


def test_iemocap_under_every_policy(sessions: tuple[Path, Path], capsys):
    superb, own = sessions
    published = read_emosuperb(superb, "IEMOCAP")
    beside, corpus = read_emosuperb(superb, "IEMOCAP", ratings_root=own), read_iemocap(own, 0)
    agreed = 0
    for several, reports, repeated in itertools.product(("split", "each"), (False, True), ("first", "last", "all")):
        policy = {"several": several, "self_reports": reports, "repeated_raters": repeated}
        here, there = targets(beside, policy, "iemocap9"), targets(corpus, policy, "iemocap9")
        assert len(here) == 3
        same(here, {name: there[name] for name in here}, 0)
        if several == "each" and reports:
            same(targets(published, policy, "iemocap9"), here, 1e-5)
            agreed += 1
        else:
            with pytest.raises(InputError, match=r"with self_reports=true, several=each, which cannot be undone"):
                targets(published, policy, "iemocap9")
    assert agreed == 3
    assert capsys.readouterr().err == ""


def test_the_name_of_iemocaps_policy(sessions: tuple[Path, Path]):
    superb, own = sessions
    overrides = ["dataset=emosuperb", f"dataset.root={superb}", "dataset.corpus=IEMOCAP", "policy=with_self_reports"]
    dataset = read_dataset(compose([*overrides, "labels=iemocap9"]))
    items = prepare_run(dataset, read_corpus(dataset), label_set("iemocap9"), missing_audio="ignore").items
    there = targets(read_iemocap(own), {"several": "each", "self_reports": True}, "iemocap9")
    here = {item.utterance.id: item.target for item in items}
    same(here, {name: there[name] for name in here}, 1e-5)


def test_numbers_of_iemocap_and_their_policy(sessions: tuple[Path, Path]):
    superb, own = sessions
    published = read_emosuperb(superb, "IEMOCAP")
    with pytest.raises(InputError, match=r"counted with self_reports=true"):
        targets(published, {}, "valence5")
    first = targets(published, {"self_reports": True}, "valence5")["Ses01F_impro01_F000"]
    assert first.distribution.tolist() == [0, 0, 1, 0, 0]
    raters = targets(read_emosuperb(superb, "IEMOCAP", ratings_root=own), {}, "valence5")["Ses01F_impro01_F000"]
    assert raters.votes.tolist() == [0, 1, 1, 0, 0]


def test_a_scale_that_the_config_does_not_say(sessions: tuple[Path, Path]):
    superb, _ = sessions
    assert read_emosuperb(superb, "IEMOCAP").utterances[0].scales["valence"] == (1, 5)
    config = superb / "data/NNIME/Secondary/config.json"
    config.write_text(config.read_text().replace('"max_score": 5', '"max_score": 1'))
    with pytest.raises(InputError, match=r"min_score is not below max_score"):
        read_emosuperb(superb, "NNIME")
