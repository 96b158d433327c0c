"""What every reader of a corpus does alike, on the miniature copies in tests/copies.

A new reader needs a copy there; its own tests hold only what is its own.
"""

from __future__ import annotations

import csv
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from copies import Copy, Wrong, all_copies, say
from copies.fuzz import survives
from copies.labels import label_set
from omegaconf import DictConfig

from emoprobe.data.corpora import CORPORA
from emoprobe.data.reading.files import MAX_LINE
from emoprobe.data.split_policy import SplitPolicy
from emoprobe.data.splits import split_items
from emoprobe.data.utterance import Corpus, Utterance
from emoprobe.errors import InputError
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose, plain

ALL = {copy.name + (f"-{copy.variant}" if copy.variant else ""): copy for copy in all_copies()}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def each(condition: Callable[[Copy], object]) -> pytest.MarkDecorator:
    """Tests of the copies that have something."""
    chosen = {name: copy for name, copy in ALL.items() if condition(copy)}
    return pytest.mark.parametrize("copy", chosen.values(), ids=chosen)


def each_file(files: Callable[[Copy], object]) -> pytest.MarkDecorator:
    """Tests of single files of the copies."""
    chosen = {f"{name}-{file}": (copy, file) for name, copy in ALL.items() for file in files(copy)}
    return pytest.mark.parametrize(("copy", "file"), chosen.values(), ids=chosen)


every_copy = each(lambda copy: True)
has_text = each(lambda copy: copy.encoding and copy.label_files)
has_sound = each(lambda copy: copy.sound[0] and not copy.listed_by_sound)


@pytest.fixture(autouse=True)
def sound_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Copy], Path]:
    """The copies, written once, not to be changed."""
    made: dict[int, Path] = {}

    def write(copy: Copy) -> Path:
        if id(copy) not in made:
            made[id(copy)] = root = tmp_path_factory.mktemp("copy")
            copy.write(root)
        return made[id(copy)]

    return write


@pytest.fixture
def whole(copy: Copy, written: Callable[[Copy], Path]) -> Path:
    """A copy, not to be changed."""
    return written(copy)


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy of one's own."""
    return Path(shutil.copytree(whole, tmp_path / "root"))


def refuses(copy: Copy, root: Path, **options: object) -> InputError:
    """What a reader says that must refuse: one line with a remedy."""
    with pytest.raises(InputError) as caught:
        copy.read(root, **options)
    assert caught.value.what
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    return caught.value


def leaves_out(copy: Copy, root: Path, *ids: str) -> Corpus:
    """With on_error=skip, all but some clips are read as they were written, and these are listed."""
    corpus = copy.read(root, on_error="skip")
    assert len(corpus.skipped) == len(ids)
    # A row that could not be read may have an id that says less, or its path instead of one.
    assert all(
        row.id.startswith(name) or name.startswith(row.id) for row, name in zip(corpus.skipped, ids, strict=True)
    )
    assert all(row.reason and row.message for row in corpus.skipped)
    assert [say(utterance) for utterance in corpus.utterances] == [
        line for line in said(copy) if line.split(" | ")[0] not in ids
    ]
    return corpus


def said(copy: Copy) -> list[str]:
    return [line.strip() for line in copy.said.strip().splitlines()]


def edit(root: Path, file: str, change: Callable[[bytes], bytes]) -> Path:
    before = (root / file).read_bytes()
    (root / file).write_bytes(change(before))
    assert (root / file).read_bytes() != before
    return root / file


# -------------------------------------------------------------------------------------------------------- what it gives


def test_every_corpus_has_a_copy():
    assert {copy.name for copy in ALL.values()} == set(CORPORA)


@every_copy
def test_what_was_written_is_read(copy: Copy, whole: Path):
    corpus = copy.read(whole)
    assert [say(utterance) for utterance in corpus.utterances] == said(copy)
    assert corpus.skipped == ()
    assert len({utterance.id for utterance in corpus.utterances}) == len(corpus.utterances)
    for utterance in corpus.utterances:
        assert copy.holds(utterance)
        assert utterance.audio.is_absolute()
        heard = {word for rating in utterance.ratings for word in rating.labels}
        # Of corpora of one's own the words are those that were said.
        assert heard | set(utterance.votes) <= set(corpus.card.words or utterance.votes or heard)
        for numbers in (utterance.means, *(rating.values for rating in utterance.ratings)):
            for dimension, number in numbers.items():
                low, high = utterance.scales[dimension]
                assert low <= number <= high
        counted = sum(utterance.votes.values())
        assert utterance.num_raters is None or utterance.ratings or utterance.num_raters == counted
    assert copy.read(whole) == corpus


@every_copy
def test_every_utterance_says_where_it_stands(copy: Copy, whole: Path):
    for utterance in copy.read(whole).utterances:
        assert utterance.file.is_relative_to(whole)
        assert utterance.file.is_file()
        if utterance.file.relative_to(whole).as_posix() not in copy.label_files:
            assert utterance.file == utterance.audio
        elif copy.encoding and utterance.row is not None:
            lines = utterance.file.read_text(encoding=copy.encoding).split("\n")
            assert copy.key(utterance.id) in lines[utterance.row - 1]


@every_copy
def test_reading_leaves_the_copy_as_it_is(copy: Copy, root: Path):
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    copy.read(root)
    assert {file: file.read_bytes() for file in root.rglob("*") if file.is_file()} == before


@every_copy
def test_the_order_of_the_file_system_does_not_matter(copy: Copy, whole: Path, monkeypatch: pytest.MonkeyPatch):
    expected = copy.read(whole)
    listdir, scandir = os.listdir, os.scandir

    class Turned:
        def __init__(self, *where):
            with scandir(*where) as found:
                self.entries = iter(sorted(found, key=lambda entry: entry.name, reverse=True))

        def __iter__(self) -> Iterator[os.DirEntry]:
            return self.entries

        def __next__(self) -> os.DirEntry:
            return next(self.entries)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        close = __exit__

    monkeypatch.setattr(os, "listdir", lambda *where: sorted(listdir(*where), reverse=True))
    monkeypatch.setattr(os, "scandir", Turned)
    assert copy.read(whole) == expected


@pytest.mark.parametrize("name", list(CORPORA))
def test_the_card_is_complete(name: str):
    source = CORPORA[name]
    card = source.card
    assert all((card.title, card.licence, card.access, card.citation, card.raters, card.splits))
    own = name in ("manifest", "huggingface")
    assert own or (card.words and card.label_sets)
    assert card.synthetic == (name == "demo")
    assert own or card.synthetic or any(sign in card.citation for sign in ("doi:", "arXiv", "aclanthology.org/"))
    assert len(set(card.words)) == len(card.words)
    for labels in card.label_sets:
        assert label_set(labels).name == labels
    totals = [total.what for total in source.totals]
    assert len(set(totals)) == len(totals)
    assert all(total.expected > 0 and total.source for total in source.totals)


@every_copy
def test_published_totals_count_what_is_there(copy: Copy, whole: Path):
    corpus = copy.read(whole)
    for total in CORPORA[copy.name].totals:
        count = total.count(corpus)
        assert count is None or 0 <= count <= total.expected


@pytest.mark.parametrize(
    ("imported", "heavy"),
    [
        ("from emoprobe.data.corpora import CORPORA; list(CORPORA)", ["soundfile"]),
        ("import emoprobe.data.sound.audio, emoprobe.data.prepare, emoprobe.data.votes", []),
    ],
)
def test_reading_needs_no_heavy_library(imported: str, heavy: list[str]):
    heavy = ["torch", "transformers", "pandas", "pyarrow", "scipy", "matplotlib", *heavy]
    code = f"import sys; {imported}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --------------------------------------------------------------------------------------------------- the configuration


@pytest.fixture
def config(copy: Copy, whole: Path) -> DictConfig:
    """What the command line gives."""
    return composed(tuple(copy.command(whole))).copy()


composed = cache(compose)


@every_copy
def test_the_config_reads_and_prepares(copy: Copy, whole: Path, config: DictConfig):
    assert set(config.dataset.reader) - {"_target_"} <= set(inspect.signature(CORPORA[copy.name].read).parameters)
    corpus = read_corpus(read_dataset(config))
    assert corpus.utterances == copy.read(whole).utterances
    sets = CORPORA[copy.name].card.label_sets
    assert config.labels.name in (sets or ("basic6",))
    ids = [utterance.id for utterance in corpus.utterances]
    for name in sets or ["basic6"]:
        if name != config.labels.name:
            config.dataset.soft_label.outside = "drop"
        prepared = prepare_run(read_dataset(config), corpus, label_set(name), missing_audio="ignore")
        assert {row.reason for row in prepared.skipped} <= {"no_votes", "too_few_raters"}
        left = {row.id for row in prepared.skipped}
        assert [item.utterance.id for item in prepared.items] == [name for name in ids if name not in left]
        for item in prepared.items:
            assert item.target.distribution.sum() == pytest.approx(1)
            assert item.target.distribution.min() >= 0


@each(lambda copy: copy is next(one for one in ALL.values() if one.name == copy.name))
def test_the_config_divides_for_training(copy: Copy, whole: Path):
    config = compose([*copy.command(whole), "dataset.partition.folds=3"], "train")
    assert (config.dataset.partition.kind, config.dataset.partition.by) == copy.partition
    dataset = read_dataset(config)
    prepared = prepare_run(dataset, read_corpus(dataset), label_set(config.labels.name), missing_audio="ignore")
    split = split_items(prepared.items, SplitPolicy(**plain(config.dataset.partition), fold=config.dataset.fold))
    parts = [{item.utterance.id for item in part} for part in (split.train, split.development, split.test)]
    assert all(parts)
    assert len(set.union(*parts)) == sum(map(len, parts)) <= len(prepared.items)
    by = [dataset.partition.by] if dataset.partition.allow_overlap else ["speaker", dataset.partition.by]
    for fact in by:
        groups = [
            {each.utterance.speaker if fact == "speaker" else each.utterance.metadata.get(fact) for each in part}
            - {None}
            for part in (split.train, split.development, split.test)
        ]
        assert len(set.union(*groups)) == sum(map(len, groups))


@each(lambda copy: copy.skips)
def test_on_error_is_error_or_skip(copy: Copy, whole: Path, config: DictConfig):
    error = refuses(copy, whole, on_error="ignore")
    assert (error.what, error.field) == ("unknown value 'ignore'", "dataset.on_error")
    assert "Use error or skip" in error.remedy
    config.dataset.on_error = "ignore"
    with pytest.raises(InputError, match=r"'ignore' is not one of error, skip \(field dataset\.on_error\)"):
        read_corpus(read_dataset(config))


# --------------------------------------------------------------------------------------------------------- the folder


@every_copy
@pytest.mark.parametrize("path", ["/nowhere/at/all", "~no-such-user/corpus", "a" * 5_000, "a\0b", __file__])
def test_a_root_that_is_no_copy(copy: Copy, path: str):
    with pytest.raises(InputError) as caught:
        CORPORA[copy.name].read(path, **copy.options)
    assert caught.value.field in ("dataset.root", "dataset.path")
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


@each(lambda copy: copy.absent)
def test_another_folder(copy: Copy, tmp_path: Path):
    for folder in (tmp_path, tmp_path / "none"):
        error = refuses(copy, folder)
        card = CORPORA[copy.name].card
        assert f"this folder is not {card.title}: it has no {copy.absent}" in error.what
        assert card.access in error.remedy
        assert (error.file, error.field) == (folder / copy.absent.split(" or ")[0], "dataset.root")


@every_copy
def test_the_root_may_be_a_link(copy: Copy, whole: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(whole)
    corpus = CORPORA[copy.name].read(str(tmp_path / "link" / copy.at), **copy.options)
    assert [say(utterance) for utterance in corpus.utterances] == said(copy)


# ---------------------------------------------------------------------------------------------------------- label files


@has_text
@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
        lambda text: text + b"\n\n",
    ],
    ids=["byte_order_mark", "windows", "old_mac", "blank_lines"],
)
def test_text_of_other_systems(copy: Copy, root: Path, change: Callable[[bytes], bytes]):
    expected = copy.read(root)
    for file in {*copy.label_files, *(copy.damaged or ())}:
        (root / file).write_bytes(change((root / file).read_bytes()))
    assert copy.read(root) == expected


@each_file(lambda copy: copy.label_files)
def test_a_label_file_that_is_missing(copy: Copy, file: str, root: Path):
    (root / file).unlink()
    if file in copy.needed:
        refuses(copy, root)
        return
    # What other files say of a clip may stand in for it; nothing is taken for said that was not written.
    found = {say(utterance) for utterance in copy.read(root).utterances}
    assert {line.split(" | ")[0] for line in found} <= {line.split(" | ")[0] for line in said(copy)}


DAMAGE = {
    "a_folder": lambda file: (file.unlink(), file.mkdir()),
    "git_lfs": lambda file: file.write_bytes(LFS),
    "encoding": lambda file: file.write_bytes(file.read_bytes() + b"\xff\xfe\n"),
    "utf_16": lambda file: file.write_bytes("annotations of a corpus\n".encode("utf-16")),
    "open_quote": lambda file: file.write_bytes(file.read_bytes() + b'"x'),
    "endless": lambda file: file.write_bytes(file.read_bytes() + b"x" * (MAX_LINE + 1)),
}


def _damages(copy: Copy, file: str) -> list[str]:
    """Not those that it may show."""
    folder = ["a_folder"] if file in copy.needed else []
    text = ["endless"] + (["encoding"] if file not in copy.any_bytes else []) if copy.encoding else []
    quote = ["open_quote"] if file.endswith(".csv") else []
    return ["git_lfs", "utf_16", *folder, *text, *quote]


NONE = {
    f"{name}-{file}-{damage}": (copy, file, damage)
    for name, copy in ALL.items()
    for file in copy.label_files
    for damage in _damages(copy, file)
}


@pytest.mark.parametrize(("copy", "file", "damage"), NONE.values(), ids=NONE)
def test_a_label_file_that_is_none(copy: Copy, file: str, root: Path, damage: str):
    DAMAGE[damage](root / file)
    error = refuses(copy, root)
    if damage == "a_folder":
        return
    assert str(root / file) in str(error)
    if not copy.skips:
        return
    try:
        corpus = copy.read(root, on_error="skip")
    except InputError as error:
        assert str(root / file) in str(error)  # noqa: PT017
        return
    assert str(root / file) in {row.file for row in corpus.skipped}
    words = {line.split(" | ")[0]: line.split(" | ")[-1] for line in said(copy)}
    for utterance in corpus.utterances:
        assert say(utterance).split(" | ")[-1] == words[utterance.id]


def _columns(copy: Copy) -> list[tuple[str, str]]:
    return [(file, column) for file, columns in copy.columns.items() for column in columns]


COLUMNS = {
    f"{name}-{file}-{column}": (copy, file, column) for name, copy in ALL.items() for file, column in _columns(copy)
}
every_column = pytest.mark.parametrize(("copy", "file", "column"), COLUMNS.values(), ids=COLUMNS)


def _change_header(copy: Copy, root: Path, file: str, change: Callable[[list[str]], list[str]]) -> None:
    separator = copy.separator_of(file).decode()

    def changed(text: bytes) -> bytes:
        first, _, rest = text.partition(b"\n")
        header = next(csv.reader([first.decode().rstrip("\r")], delimiter=separator))
        line = io.StringIO()
        csv.writer(line, delimiter=separator, lineterminator="").writerow(change(header))
        return line.getvalue().encode() + b"\n" + rest

    edit(root, file, changed)


@every_column
def test_a_column_that_is_missing(copy: Copy, file: str, column: str, root: Path):
    _change_header(copy, root, file, lambda header: ["x" if name == column else name for name in header])
    error = refuses(copy, root)
    assert f"the column {column!r} is missing" in error.what
    assert (error.file, error.row, error.field) == (root / file, 1, column)


@every_column
def test_a_column_that_is_there_twice(copy: Copy, file: str, column: str, root: Path):
    # The later of the two would silently win.
    _change_header(copy, root, file, lambda header: [*header, column])
    error = refuses(copy, root)
    assert f"the column {column!r} occurs twice" in error.what
    assert (error.file, error.row, error.field) == (root / file, 1, column)


@each_file(lambda copy: [file for file in copy.label_files if copy.encoding and file in copy.needed])
def test_a_label_file_that_is_empty(copy: Copy, file: str, root: Path):
    for content in (b"", b"\n", b"\xef\xbb\xbf"):
        (root / file).write_bytes(content)
        assert str(root / file) in str(refuses(copy, root))


@each(lambda copy: copy.again)
def test_a_clip_that_is_there_twice(copy: Copy, root: Path):
    file, first, last = copy.again
    lines = (root / file).read_bytes().rstrip(b"\n").split(b"\n")
    row = len(lines) + 1 + (last > first)
    block = [b""] * (last > first) + lines[first - 1 : last]
    (root / file).write_bytes(b"\n".join([*lines, *block]) + b"\n")
    error = refuses(copy, root)
    assert "there before" in error.what or "occurs twice" in error.what
    assert (error.file, error.row) == (root / file, row)
    if copy.skips:
        corpus = copy.read(root, on_error="skip")
        assert [say(utterance) for utterance in corpus.utterances] == said(copy)
        assert {(each.reason, each.file, each.row) for each in corpus.skipped} >= {
            ("duplicate_id", str(root / file), row)
        }


WRONG = {
    f"{name}-{number}-{wrong.what}": (copy, wrong)
    for name, copy in ALL.items()
    for number, wrong in enumerate(copy.wrong)
}


@pytest.mark.parametrize(("copy", "wrong"), WRONG.values(), ids=WRONG)
def test_text_that_is_wrong(copy: Copy, wrong: Wrong, root: Path):
    file = root / wrong.file
    before, _, after = file.read_bytes().decode(copy.encoding).partition(wrong.old)
    assert after
    row = wrong.row or before.count("\n") + 1
    file.write_bytes((before + wrong.new + after).encode(copy.encoding))
    for on_error in ("error", "skip") if copy.skips and not wrong.skips else ("error",):
        error = refuses(copy, root, **({"on_error": on_error} if copy.skips else {}))
        assert wrong.what in error.what
        assert (error.file, error.row, error.field) == (file, row, wrong.field)
    if not (copy.skips and wrong.skips):
        return
    assert error.reason == wrong.reason
    assert "leave the " in error.remedy
    assert "out: dataset.on_error=skip" in error.remedy
    corpus = copy.read(root, on_error="skip")
    assert [(each.reason, each.file, each.row) for each in corpus.skipped] == [(wrong.reason, str(file), row)]
    assert wrong.listed in (None, corpus.skipped[0].id)
    lines = []
    for line in said(copy):
        name, *facts, _ = line.split(" | ")
        if name != wrong.clip:
            lines.append(line)
        elif wrong.left is not None:
            lines.append(" | ".join([name, *facts, wrong.left]))
    assert [say(utterance) for utterance in corpus.utterances] == lines


@each(lambda copy: copy.other)
def test_a_word_that_the_corpus_does_not_have(copy: Copy, root: Path, config: DictConfig):
    """It is passed on, and refused by whoever makes soft labels: another release may have it."""
    file, old, new, line = copy.other
    encoding = copy.encoding
    edit(root, file, lambda text: text.decode(encoding).replace(old, new, 1).encode(encoding))
    corpus = copy.read(root)
    name, word = line.split(" | ")[0], re.split(r"[ =+(@]", line.split(" | ")[-1])[0]
    assert [say(utterance) for utterance in corpus.utterances] == [
        line if before.split(" | ")[0] == name else before for before in said(copy)
    ]
    with pytest.raises(InputError, match=f"'{word}' is none of the corpus's emotion words"):
        prepare_run(read_dataset(config), corpus, label_set(config.labels.name), missing_audio="ignore")


@each_file(lambda copy: copy.label_files if copy.damaged is None else copy.damaged)
def test_any_damage(copy: Copy, file: str, root: Path):
    if copy.thin:
        copy.thin(root)
    survives(copy, root, file)


# ---------------------------------------------------------------------------------------------------------------- sound


def find(corpus: Corpus, name: str) -> Utterance:
    return next(utterance for utterance in corpus.utterances if utterance.id == name)


@each(lambda copy: copy.sound_beside and not copy.listed_by_sound)
def test_sound_may_be_missing(copy: Copy, root: Path, config: DictConfig):
    """The reader does not mind; whoever needs sound decides (``dataset.missing_audio``)."""
    expected = copy.read(root)
    assert all(utterance.audio.is_file() for utterance in expected.utterances)
    one = find(expected, copy.sound[0]).audio
    for utterance in expected.utterances:
        if utterance.audio != one:
            utterance.audio.unlink()
    corpus = copy.read(root)
    assert [say(utterance) for utterance in corpus.utterances] == said(copy)
    labels = label_set(config.labels.name)
    config.dataset.missing_audio = "error"  # the default of all but corpora whose releases lack some sound
    voted = prepare_run(read_dataset(config), corpus, labels, missing_audio="ignore").items
    with pytest.raises(InputError, match=f"the sound of {len(voted) - 1} of {len(voted)} utterances is missing"):
        prepare_run(read_dataset(config), corpus, labels)
    prepared = prepare_run(read_dataset(config), corpus, labels, missing_audio="skip")
    assert [item.utterance.id for item in prepared.items] == [copy.sound[0]]
    missing = [row.id for row in prepared.skipped if row.reason == "missing_audio"]
    assert missing == [item.utterance.id for item in voted if item.utterance.id != copy.sound[0]]
    for folder in {utterance.audio.parent for utterance in expected.utterances}:
        shutil.rmtree(folder)
    assert [say(utterance) for utterance in copy.read(root).utterances] == said(copy)


@each(lambda copy: copy.sound[0])
def test_the_case_of_a_suffix_and_links_within(copy: Copy, root: Path):
    name, file = copy.sound
    assert find(copy.read(root), name).audio == root / file
    upper = (root / file).with_suffix(Path(file).suffix.upper())
    (root / file).rename(upper)
    assert find(copy.read(root), name).audio == upper
    elsewhere = upper.with_name("elsewhere.bin")
    upper.rename(elsewhere)
    (root / file).symlink_to(elsewhere)
    found = find(copy.read(root), name)
    assert (found.audio, found.audio.is_file()) == (root / file, True)


@each(lambda copy: copy.sound[0])
def test_a_link_that_leaves_the_root(copy: Copy, root: Path, tmp_path: Path):
    name, file = copy.sound
    where = {root / file} if copy.listed_by_sound else {root / file for file in copy.label_files}
    (root / file).rename(tmp_path / "outside.wav")
    (root / file).symlink_to(tmp_path / "outside.wav")
    error = refuses(copy, root)
    assert "leaves the root" in error.what
    assert error.file in where
    assert error.field == copy.sound_field
    if copy.encoding and error.row and not copy.variant:
        assert copy.key(name) in error.file.read_text(encoding=copy.encoding).split("\n")[error.row - 1]
    assert "dataset.root" in error.remedy
    if copy.skips:
        (row,) = leaves_out(copy, root, name).skipped
        assert (row.reason, row.file, row.row) == ("bad_row", str(error.file), error.row)


@each(lambda copy: copy.path)
@pytest.mark.parametrize("path", ["../../../etc/passwd", "/etc/passwd", "x/../../../y.wav", ".."])
def test_a_path_that_leaves_the_root(copy: Copy, root: Path, path: str):
    file, written = copy.path
    edit(root, file, lambda text: text.replace(written.encode(), path.encode(), 1))
    error = refuses(copy, root)
    assert f"the path {path!r} leaves the root" in error.what
    assert error.file == root / file
    assert (error.row, error.field) == (find_row(root / file, path), copy.sound_field)
    if copy.skips:
        (row,) = copy.read(root, on_error="skip").skipped
        assert (row.reason, row.file, row.row) == ("bad_row", str(root / file), error.row)


def find_row(file: Path, text: str) -> int:
    """The line of a text."""
    return next(row for row, line in enumerate(file.read_text().split("\n"), 1) if text in line)
