"""Every command of the README runs, on a tiny model and made-up corpora."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import copies.iemocap
import numpy as np
import pytest
import soundfile
from checkout import PROJECT

from emoprobe.settings import compose

README = (PROJECT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("emoprobe ")
]
MAKE_TARGETS = re.findall(r"^make (\w+)", README, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def places(tmp_path_factory, tiny_whisper_path, tiny_path) -> dict[str, str]:
    """What the README's placeholders stand for."""
    from emoprobe.recipes import probe as probing
    from emoprobe.recipes import train as recipe

    root = tmp_path_factory.mktemp("readme")
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
    shared = [
        f"model.path={tiny_whisper_path}",
        "logger=none",
        "trainer.enable_progress_bar=false",
        "analysis.figures=false",
    ]
    probing.run(compose([*shared, "dataset.limit=16", f"output_dir={root / 'run'}"]))
    copies.iemocap.write(root / "iemocap")
    lora = ["head=lora", "fit.max_epochs=1", "dataset.limit=20"]
    recipe.run(compose([*shared, *lora, f"output_dir={root / 'lora'}"], "train"))
    return {
        "CREMAD_DIR": str(root / "cremad"),
        "MANIFEST": str(root / "manifest.csv"),
        "CHECKPOINT_DIR": str(tiny_whisper_path),
        "LLM_DIR": str(tiny_path("qwen2_audio")),
        "RUN_DIR": str(root / "run"),
        "OTHER_RUN": str(root / "lora"),
        "IEMOCAP_DIR": str(root / "iemocap"),
        "HEAD_DIR": str(root / "lora" / "head_fold0"),
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command, places, tiny_whisper_path, tmp_path):
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
            words += ["head.layers=[-1]"] if any(word.startswith("head=mlp") for word in words) else []
            if words[1].startswith("experiment="):
                words += [
                    "compare.seeds=[0]",
                    "dataset.limit=20",
                    'compare.trained.mlp_probe=["head=mlp_probe","head.layers=last"]',
                ]
        else:
            words += ["null_inputs.seconds=0.2"]
            words += ["head.seen=evaluate"] if "head=bundle" in words else []
        if "experiment=token_logits_matter" in words:
            words += ["model=qwen2_audio", f"model.path={places['LLM_DIR']}", "prompt=instruction/single_word"]
        elif sweep:  # 22 jobs
            words += ["readout=label_likelihood", "calibration=none", "null_inputs.kinds=[]"]
        if not any(word.startswith("model.path=") for word in words):
            words.append(f"model.path={tiny_whisper_path}")
    if "export" in words:
        words.append(f"model.path={tiny_whisper_path}")
    done = subprocess.run(
        [sys.executable, "-m", "emoprobe", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # The check of a copy fails here, since the made-up copy lacks nearly all of the corpus.
    assert done.returncode == int("check" in words), done.stdout[-2000:] + done.stderr[-4000:]
    if "experiment=token_logits_matter" in words:
        found = [json.loads(file.read_text())["run"]["corpus"]["name"] for file in tmp_path.rglob("metrics.json")]
        assert sorted(found) == ["cremad", "iemocap"]
    elif sweep:
        jobs = [file.parent for file in tmp_path.rglob("metrics.json")]
        assert len(jobs) == 2 * len(list((PROJECT / "conf" / "prompt").glob("*.yaml")))
    else:
        shown = {"card": "IEMOCAP", "check": "published total: clips: 3 here", "show": "bits"}
        shown |= {
            "compare": "p (Holm)",
            "judge": "strata.csv",
            "report": "index.html",
        }
        shown |= {
            "doctor": "passed",
            "tokens": "Prefix of",
            "export": "wrote",
        }
        shown = next((text for word, text in shown.items() if word in words), "JS")
        assert shown in done.stdout or "--help" in words


def test_there_are_commands_to_run():
    assert len(COMMANDS) >= 26
    assert set(MAKE_TARGETS) == {"probe", "test"}


@pytest.mark.parametrize("target", MAKE_TARGETS)
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE)


def test_the_table_of_audio_llms_is_that_of_the_configs():
    table = README.split("## Audio LLMs")[1].split("\n\n")[1]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`([a-z0-9_]+)`", row.split("|")[1])}
    configs = {file.stem for file in (PROJECT / "conf" / "model").glob("*.yaml") if "whisper" not in file.stem}
    assert named == configs


def test_paths_named_in_the_layout_exist():
    layout = README.split("## Layout")[1]
    inside = re.findall(r"^ +((?:[\w./]+ {1,2})+)", layout, flags=re.MULTILINE)
    names = {name for group in inside for name in group.split() if name.endswith((".py", "/"))}
    assert len(names) > 12
    for name in names:
        candidates = (PROJECT / name, Path(PROJECT) / "src" / "emoprobe" / name)
        assert any(path.exists() for path in candidates), name


def test_the_table_of_corpora_is_that_of_the_configs():
    table = README.split("## Corpora")[1].split("\n\n")[2]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`([a-z0-9_]+)`", row.split("|")[1])}
    configs = {file.stem for file in (PROJECT / "conf" / "dataset").glob("*.yaml") if file.stem[0] != "_"}
    assert named == configs - {"demo"}
