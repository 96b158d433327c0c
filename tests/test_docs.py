"""Every command and every line of Python in the pages runs, on tiny models; what the pages name is there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import copies.iemocap
import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
from checkout import PROJECT
from classes import write_classifier
from reporting.runs import write_sweep
from serving import TinyServer, serving

import emoprobe
from emoprobe.api.choices import configuration
from emoprobe.checks.tiny import TINY
from emoprobe.cli import VERBS
from emoprobe.prompts.answers.result import FAILED
from emoprobe.readout.logit_readings import AVERAGED_LOGITS
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.run.job import begin_job, held
from emoprobe.run.score_cache import ScoreCache
from emoprobe.settings import compose
from emoprobe.system.digest import digest_of

PAGES = {
    str(file.relative_to(PROJECT)): file.read_text(encoding="utf-8")
    for file in (PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md")))
}
README = PAGES["README.md"]


def blocks(text: str, language: str) -> list[str]:
    """The code of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def files(text: str) -> dict[str, str]:
    """The files that a page shows, by their name behind the language."""
    return dict(re.findall(r"```(?:python|yaml) (\S+)\n(.*?)```", text, flags=re.DOTALL))


COMMANDS = list(
    dict.fromkeys(
        shlex.join(shlex.split(line, comments=True))
        for text in PAGES.values()
        for block in blocks(text, "bash")
        for line in block.splitlines()
        if line.startswith("emoprobe ")
    )
)
MAKE_TARGETS = sorted(
    {name for text in PAGES.values() for name in re.findall(r"^make (\w+)", text, flags=re.MULTILINE)}
)


@pytest.fixture(scope="module")
def server_url(tiny_path) -> Iterator[str]:
    with serving(TinyServer(tiny_path("qwen2_audio"))) as url:
        yield url


@pytest.fixture(scope="module")
def places(tmp_path_factory, tiny_whisper_path, tiny_path, tiny_chat_path, server_url) -> dict[str, str]:
    """What the placeholders of the pages stand for."""
    from emoprobe.recipes import probe as probing
    from emoprobe.recipes import train as recipe

    root = tmp_path_factory.mktemp("pages")
    rng = np.random.default_rng(0)
    names = ["1001_IEO_ANG_HI", "1002_IEO_SAD_LO", "1003_DFA_NEU_XX"]
    (root / "cremad" / "AudioWAV").mkdir(parents=True)
    (root / "cremad" / "processedResults").mkdir()
    header = '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"\n'
    rows = [f'"10000{i}",{i},1,0,0,4,{3 - i},"{name}",{8},0.5,"N"\n' for i, name in enumerate(names)]
    (root / "cremad" / "processedResults" / "tabulatedVotes.csv").write_text(header + "".join(rows))
    for name in names:
        soundfile.write(root / "cremad" / "AudioWAV" / f"{name}.wav", rng.normal(0, 0.1, 16_000), 16_000)
    lines = [f"cremad/AudioWAV/{name}.wav,3,2" for name in names]
    (root / "manifest.csv").write_text("path,votes_anger,votes_sad\n" + "\n".join(lines) + "\n")
    (root / "clips.csv").write_text(
        "path,speaker\n" + "".join(f"cremad/AudioWAV/{name}.wav,{name[:4]}\n" for name in names)
    )
    said = [
        f"cremad/AudioWAV/{name}.wav,r{rater},{('anger', 'sad')[rater % 2]},{3 + rater}"
        for name in names
        for rater in range(3)
    ]
    (root / "ratings.csv").write_text("path,rater,label,valence\n" + "\n".join(said) + "\n")
    valences = ["path,speaker,valence"]
    for i in range(10):
        soundfile.write(root / f"v{i}.wav", rng.normal(0, 0.1, 8_000), 16_000)
        valences.append(f"v{i}.wav,s{i // 2},{1 + i % 4 * 2}")
    (root / "valences.csv").write_text("\n".join(valences) + "\n")
    shared = [
        f"model.path={tiny_whisper_path}",
        "logger=none",
        "trainer.enable_progress_bar=false",
        "analysis.figures=false",
    ]
    probing.run(read_probe(compose([*shared, "dataset.limit=16", f"output_dir={root / 'run'}"])))
    done = write_sweep(root / "sweep", ["seed=0"], {"0": ["seed=0"]}) / "0"
    shutil.copytree(root / "run", done, dirs_exist_ok=True)
    with held(done):
        begin_job(done, "probe", {"seed": 0}, overrides=("seed=0",), number=0).end("done")
    cache = ScoreCache(root / "scores", {}, {"model": "tiny"})
    cache.put({digest_of({}): {"prompt_hash": "p", "readout": "label_likelihood"}})
    cache.flush()
    for number in (1, 2):
        part = [f"dataset.shard={number}/2", "dataset.limit=8", f"output_dir={root / 'shards' / str(number)}"]
        probing.run(read_probe(compose([*shared, "readout=label_likelihood", *part])))
    copies.iemocap.write(root / "iemocap")
    lora = ["head=lora", "fit.max_epochs=1", "dataset.limit=20"]
    recipe.run(read_train(compose([*shared, *lora, f"output_dir={root / 'lora'}"], "train")))
    for name, text in files(PAGES["docs/models.md"]).items():
        (root / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "mine" / name).write_text(text)
    return {
        "MY_FOLDER": str(root / "mine"),
        "CREMAD_DIR": str(root / "cremad"),
        "MANIFEST": str(root / "manifest.csv"),
        "VALENCES": str(root / "valences.csv"),
        "CLIPS": str(root / "clips.csv"),
        "RATINGS": str(root / "ratings.csv"),
        "CHECKPOINT_DIR": str(tiny_whisper_path),
        "CHAT_DIR": str(tiny_chat_path("llama")),
        "LLM_DIR": str(tiny_path("qwen2_audio")),
        "ENCODER_DIR": str(TINY["wavlm"](root / "encoder")),
        "CLASSIFIER_DIR": str(
            write_classifier(root / "classifier", ["angry", "disgust", "fear", "happy", "neutral", "sad", "calm"])
        ),
        "RUN_DIR": str(root / "run"),
        "SWEEP_DIR": str(root / "sweep"),
        "CACHE_DIR": str(root / "scores"),
        "SERVER_URL": server_url,
        "SHARDS_DIR": str(root / "shards"),
        "OTHER_RUN": str(root / "lora"),
        "IEMOCAP_DIR": str(root / "iemocap"),
        "HEAD_DIR": str(root / "lora" / "head_fold0"),
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command, places, tiny_whisper_path, tmp_path, console, monkeypatch):
    words = shlex.split(command)[1:]
    for name, value in {**places, "NEW_DIR": str(tmp_path / "new")}.items():
        words = [re.sub(rf"\b{name}\b", value, word) for word in words]
    sweep = words[:2] == ["probe", "-m"]
    if words[0] in ("probe", "train") and "--help" not in words:
        where = "hydra.sweep.dir" if sweep else "hydra.run.dir"
        words += [
            f"{where}={tmp_path}",
            "dataset.limit=1",
            "logger=none",
            "analysis.figures=false",
            "analysis.resamples=50",
        ]
        words.append("trainer.enable_progress_bar=false")
        if words[0] == "train":
            words = [word for word in words if word != "dataset.limit=1"] + ["fit.max_epochs=2"]
            heads = [word for word in words if word.startswith(("head=", "experiment="))] or ["head=linear_probe"]
            words += ["head.layers=[-1]"] if heads[0] in ("head=linear_probe", "head=mlp_probe") else []
            if "experiment=finetuning_study" in words:
                words += [
                    "study.seeds=[0]",
                    "dataset.limit=20",
                    "dataset.partition.folds=3",
                    'study.trained.mlp_probe=["head=mlp_probe","head.layers=last"]',
                ]
            if "experiment=few_shot" in words:
                words += ["study.seeds=[0]", "dataset.limit=20", "dataset.partition.folds=3", "head.layers=[-1]"]
                words += [f"~study.trained.linear_probe_{number}" for number in (32, 128, 512)]
            if "experiment=best_probe" in words:
                words += ["head.members=2", "dataset.partition.folds=3"]
            if "experiment=small_audio_llm" in words:
                words += [f"model.path={places['LLM_DIR']}", "dataset.limit=20"]
        else:
            words += ["null_inputs.seconds=0.2"]
            words += ["head.seen=evaluate"] if "head=bundle" in words else []
        if "experiment=token_logits_matter" in words:
            words += ["model=qwen2_audio", f"model.path={places['LLM_DIR']}", "prompt=instruction/single_word"]
        elif sweep:  # 22 jobs
            words += ["readout=label_likelihood", "calibration=none", "null_inputs.kinds=[]"]
        if "experiment=text_against_tokens" in words:
            asked = "prompt=[instruction/probability_dict,instruction/single_word]"
            words += [
                f'study.parts.emoprobe_small=["model=qwen2_audio","model.path={places["LLM_DIR"]}","{asked}"]',
                f'study.parts.whisper_base=["model=whisper","model.path={tiny_whisper_path}","prompt=speaker_feeling"]',
            ]
        elif "model=vllm" not in words and not any(word.startswith("model.path=") for word in words):
            words.append(f"model.path={tiny_whisper_path}")
    if words[0] in ("analyse", "floors"):
        words.append("analysis.resamples=50")
    if words[0] in ("judge", "controls"):
        words += ["--resamples", "50"]
    if words[0] in ("export", "drift"):
        words.append(f"model.path={tiny_whisper_path}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(places["MY_FOLDER"])
    done = console(*words)
    # The check of a copy fails here, since the made-up copy lacks nearly all of the corpus.
    own = "dataset=manifest" in words
    assert done.status == int("check" in words and not own), done.out[-2000:] + done.err[-4000:]
    if "experiment=token_logits_matter" in words:
        found = [json.loads(file.read_text())["run"]["corpus"]["name"] for file in tmp_path.rglob("metrics.json")]
        assert sorted(found) == ["cremad", "iemocap"]
    elif sweep:
        jobs = [file.parent for file in tmp_path.rglob("metrics.json")]
        prompts = len(list((PROJECT / "conf" / "prompt").glob("*.yaml")))
        assert len(jobs) == (3 if "labels.forms=" in command else 2 * prompts)
    else:
        shown = {"card": "IEMOCAP", "check": "0 problems" if own else "published total: clips: 3 here", "show": "bits"}
        shown |= {
            "compare": "p (Holm)",
            "judge": "strata.csv",
            "patch": "a clip put into itself",
            "drift": "CKA",
            "report": "index.html",
            "raters": "Krippendorff's alpha",
        }
        shown |= {
            "doctor": "passed",
            "tokens": "Prefix of",
            "sweep": "1 done",
            "cache": " files",
            "export": "wrote",
            "export-results": "Written:",
            "experiment=text_against_tokens": "index.html",
        }
        of_scale = any(word.startswith(("labels=valence", "labels=arousal", "labels=dominance")) for word in words)
        shown = next((text for word, text in shown.items() if word in words), "CCC" if of_scale else "JS")
        assert shown in done.out or "--help" in words


def test_there_are_commands_to_run():
    assert len(COMMANDS) >= 26
    verbs = {name for verbs in VERBS.values() for name in verbs}
    assert {shlex.split(command)[1] for command in COMMANDS} == verbs
    assert {"probe", "test"} <= set(MAKE_TARGETS)


@pytest.mark.parametrize("target", MAKE_TARGETS)
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text, "python")])
def test_python_runs(page, tiny_whisper_path, tmp_path, monkeypatch, capsys):
    real_model, real_corpus = emoprobe.load_model, emoprobe.load_corpus
    monkeypatch.setattr(emoprobe, "load_model", lambda name: real_model("whisper", path=tiny_whisper_path))
    monkeypatch.setattr(emoprobe, "load_corpus", lambda name: real_corpus(name, limit=20))
    monkeypatch.setattr("emoprobe.api.runs.configuration", partial(_in_short, configuration))
    monkeypatch.chdir(tmp_path)
    soundfile.write("clip.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    names: dict[str, object] = {}
    for block in blocks(PAGES[page], "python"):
        exec(compile(block, page, "exec"), names)
    assert isinstance(names["beliefs"], emoprobe.Beliefs)
    assert (names["run"].folder / "report" / "index.html").is_file()
    assert "uniform" in capsys.readouterr().out
    plt.close("all")


def _in_short(real, name, groups, values, overrides=()):
    quick = ["logger=none", "trainer.enable_progress_bar=false", "analysis.figures=false", "analysis.resamples=20"]
    quick += ["head.layers=[-1]"] if name == "train" else []
    return real(name, groups, values, [*overrides, *quick])


def test_the_readme_is_short():
    assert len(README.splitlines()) < 150


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", PAGES[page]):
        assert target.startswith("https://") or (PROJECT / page).parent.joinpath(target).exists(), target


def test_every_page_is_named_in_the_list_of_pages():
    named = set(re.findall(r"\]\(([\w-]+\.md)\)", PAGES["docs/README.md"]))
    assert named == {Path(page).name for page in PAGES if page.startswith("docs/")} - {"README.md"}


def _first_column(page: str, heading: str) -> set[str]:
    table = PAGES[page].split(heading)[1].split("\n\n")[0]
    return {name for row in table.splitlines()[1:] for name in re.findall(r"`([\w./]+)`", row.split("|")[1])}


def test_the_table_of_models_is_that_of_the_configs():
    configs = {file.stem for file in (PROJECT / "conf" / "model").glob("*.yaml")}
    assert _first_column("docs/models.md", "| `model=` | class in transformers | needs |") == configs


def test_the_table_of_corpora_is_that_of_the_configs():
    configs = {file.stem for file in (PROJECT / "conf" / "dataset").glob("*.yaml") if file.stem[0] != "_"}
    assert _first_column("docs/corpora.md", "| `dataset=` | what | labels (default) |") == configs - {"demo"}


def test_the_table_of_readouts_is_that_of_the_configs():
    configs = {file.stem for file in (PROJECT / "conf" / "readout").glob("*.yaml")} - {"all"}
    assert _first_column("docs/sweep-prompts.md", "| `readout=` | what is read |") == configs


def test_the_table_of_readings_is_that_of_the_code():
    rows = re.findall(
        r"^\| `(\w+)` \| (.+) \|$", PAGES["docs/sweep-prompts.md"].partition("### Readings")[2], re.MULTILINE
    )
    assert dict(rows) == {name: variant.definition for name, variant in AVERAGED_LOGITS.items()}


def test_the_rooms_are_those_of_the_package():
    house = Path(emoprobe.__file__).parent
    there = {f"{each.name}/" for each in house.iterdir() if each.is_dir() and each.name != "__pycache__"}
    there |= {each.name for each in house.glob("*.py")} - {"__main__.py"}
    assert _first_column("docs/architecture.md", "| room | what it holds |") == there


def test_the_errors_of_the_page_are_those_of_the_code():
    rows = PAGES["docs/errors.md"].split("| the line says | cause | what to do |")[1].split("\n\n")[0]
    phrases = re.findall(r"`([^`]+)`", " ".join(row.split("|")[1] for row in rows.splitlines()[2:]))
    code = " ".join(file.read_text(encoding="utf-8") for file in Path(emoprobe.__file__).parent.rglob("*.py"))
    assert len(phrases) >= 10
    assert [phrase for phrase in phrases if phrase not in code] == []


def test_the_statuses_of_the_page_are_those_of_the_code():
    named = _first_column("docs/errors.md", "| status | meaning |")
    assert named == {*FAILED, "too_few_parsed", "undefined"}
