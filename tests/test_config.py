"""Every shipped configuration composes and means what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkout import PROJECT

from emoprobe.data.corpora import CORPORA
from emoprobe.data.utterance import Rating, Utterance
from emoprobe.data.votes import soft_label
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.options import check
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.logit_readings import AVERAGED_LOGITS
from emoprobe.recipes.inputs import read_corpus
from emoprobe.recipes.settings import read_analysis, read_dataset, read_labels, read_probe, read_train
from emoprobe.settings import compose, plain

CONF = PROJECT / "conf"
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name not in ("hydra",))
OPTIONS = [
    (group, file.relative_to(CONF / group).with_suffix("").as_posix())
    for group in GROUPS
    for file in sorted((CONF / group).rglob("*.yaml"))
    if not file.stem.startswith("_")
]


WITHOUT_ROOT = ("demo", "huggingface", "manifest")
NEEDED = {(g, name): ["dataset.root=DIR"] for g, name in OPTIONS if g == "dataset" and name not in WITHOUT_ROOT}
NEEDED["dataset", "emobox"].append("dataset.corpus=cremad")
NEEDED["dataset", "manifest"] = ["dataset.path=FILE"]
NEEDED |= {("model", name): ["model.path=DIR"] for name in ("audio_llm", "encoder", "transcriber", "whisper")}
for group, name in OPTIONS:
    if group == "model" and "load_encoder" in (CONF / group / f"{name}.yaml").read_text(encoding="utf-8"):
        NEEDED.setdefault((group, name), []).append("readout=classifier")  # it hears and does not answer
NEEDED["head", "bundle"] = ["head.path=DIR"]
SCALES = [
    name
    for group, name in OPTIONS
    if group == "labels" and "\nscale:" in (CONF / "labels" / f"{name}.yaml").read_text()
]
NEEDED |= {("labels", name): ["prompt=scale/all"] for name in SCALES}
NEEDED |= {
    (group, name): ["labels=arousal7"]
    for group, name in OPTIONS
    if group == "prompt" and (name.startswith("scale/") or "/scale_" in name)
}
NEEDED["loss", "emd"] = ["labels=valence5"]
NEEDED["loss", "ccc"] = ["labels=intensity5"]
NEEDED["experiment", "token_logits_matter"] = ["dataset=iemocap", "model=qwen2_audio", "roots.iemocap=DIR"]
FOR_TRAINING = ("answers", "head", "loss", "callbacks", "experiment")
FOR_PROBING = ("bundle", "demo_study", "text_against_tokens", "token_logits_matter")


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes(group, option, tiny_whisper, tiny_llm):
    overrides = [f"{group}={option}", "output_dir=out", *NEEDED.get((group, option), [])]
    if group in FOR_TRAINING and option not in FOR_PROBING:
        instructed = option == "small_audio_llm"
        _check_training(
            read_train(compose(overrides, "train")), tiny_llm("qwen2_audio") if instructed else tiny_whisper
        )
        return
    read_probe(compose(overrides))


def test_a_scale_is_asked_for_a_number():
    assert {"valence5", "arousal5", "dominance5", "valence7", "arousal7", "dominance7", "intensity5"} <= set(SCALES)
    for name in SCALES:
        with pytest.raises(InputError, match=r"'speaker_feeling' asks for an emotion, and .*prompt=scale/all"):
            read_probe(compose([f"labels={name}", "output_dir=out"]))


def _check_training(settings, sfm):
    from emoprobe.training.methods.base import make_method

    head = settings.composed["head"]
    head = head | ({"layers": [-1]} if "layers" in head else {})  # the tiny model has two
    answers = settings.answers if sfm.instructed else None
    make_method(sfm, head, settings.labels, settings.prompts, settings.loss, answers)


def test_there_are_options_to_test():
    assert {"model", "dataset", "labels", "prompt", "readout", "calibration", "logger", "trainer"} <= set(GROUPS)
    assert len([1 for group, _ in OPTIONS if group == "prompt"]) >= 9


def prompts_of(*overrides):
    config = compose(overrides)
    return make_prompts(plain(config.prompt), check(LabelSet, plain(config.labels)))


@pytest.mark.parametrize("labels", ["basic4", "basic6", "ravdess8"])
def test_the_instruction_formats_take_every_label_set(labels):
    names = {prompt.base for prompt in prompts_of("prompt=instruction/all_formats", f"labels={labels}")}
    assert names >= {"single_word", "lettered_options", "probability_dict", "chain_of_thought", "open_description"}
    orders = prompts_of("prompt=instruction/lettered_options_permuted", f"labels={labels}")
    assert len(orders) == int(labels[-1])


def test_whisper_all_holds_every_single_prompt():
    singles = {file.stem for file in (CONF / "prompt").glob("*.yaml")} - {"whisper_all", "completion_all"}
    prompts = prompts_of("prompt=whisper_all")
    assert {prompt.name for prompt in prompts} == singles
    assert len({prompt.hash for prompt in prompts}) == len(singles)
    assert prompts_of("prompt=completion_all") == [prompt for prompt in prompts if not prompt.context]


def test_a_prompt_is_the_same_alone_and_in_a_set():
    alone = prompts_of("prompt=voice_sounds")[0]
    together = prompts_of("prompt=whisper_all")
    assert alone in together


def test_policies_by_name_go_before_those_of_a_corpus():
    rating = Rating("a", ("anger",), ("sad",))
    clip = Utterance("a", Path("a.wav"), ratings=(rating, Rating("a", ("sad",)), Rating("b", ("sad",))))

    def votes(*overrides: str) -> dict[str, float]:
        for name in ("probe", "train"):
            config = compose(["dataset=cremad", "dataset.root=x", *overrides], name)
            policy, labels = read_dataset(config).soft_label, read_labels(config)
            counted = soft_label(clip, labels, policy).votes
        return {label: round(vote, 4) for label, vote in zip(labels.labels, counted, strict=True) if vote}

    assert votes() == {"anger": 1, "sad": 2}  # CREMA-D's own: every answer
    assert votes("policy=first_rating_per_rater") == {"anger": 1, "sad": 1}
    assert votes("policy=[first_rating_per_rater,primary+secondary]") == {"anger": 0.6667, "sad": 1.3333}
    assert votes("policy=primary+secondary", "dataset.soft_label.secondary=0") == votes("policy=primary") == votes()


def test_groups_take_lists():
    config = compose(["prompt=[voice_sounds,bare_label]", "readout=[label_likelihood,averaged_logits]"])
    assert list(config.prompt) == ["voice_sounds", "bare_label"]
    assert list(config.readout) == ["label_likelihood", "averaged_logits"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=whispr"], "no model 'whispr'.*Did you mean whisper"),
        (["prompt=nothing_like_it"], "no prompt 'nothing_like_it'"),
        (["batch_sise=3"], "batch_sise"),
    ],
)
def test_what_does_not_exist_is_named(overrides, message):
    with pytest.raises(InputError, match=message):
        compose(overrides)


def test_a_value_that_must_be_given_is_named():
    config = compose(["dataset=cremad"])
    with pytest.raises(InputError, match=r"dataset\.root"):
        read_corpus(read_dataset(config))


def test_unknown_readings_of_the_averaged_logits_are_named():
    with pytest.raises(InputError, match=r"'nope' is not one of raw_logit_ratio, .*field analysis.averaged_logits"):
        read_analysis(compose(["analysis.averaged_logits=[nope]"]))
    with pytest.raises(InputError, match=r"'nope' is not a list of some of .*answer_softmax, or all \(field analysis"):
        read_analysis(compose(["analysis.averaged_logits=nope"]))


@pytest.mark.parametrize("override", ["analysis.averaged_logits=all", "experiment=token_logits_matter"])
def test_all_readings_of_the_averaged_logits_can_be_asked_for(override):
    readings = read_analysis(compose([override, "dataset=demo"])).readouts["averaged_logits"].variants
    assert readings == tuple(AVERAGED_LOGITS)


def test_every_corpus_has_a_reader_a_card_and_a_config():
    from hydra.utils import get_method

    readers = {
        get_method(compose([f"dataset={option}"]).dataset.reader._target_) for g, option in OPTIONS if g == "dataset"
    }
    assert readers == {source.read for source in CORPORA.values()}
    sets = {option for group, option in OPTIONS if group == "labels"}
    for name, source in CORPORA.items():
        card = source.card
        assert source.read is get_method(f"emoprobe.data.corpora.{name}.read_{name}")
        assert name in (card.name, card.name.removesuffix("_synthetic"))
        assert set(card.label_sets) <= sets
        assert all((card.title, card.licence, card.access, card.citation, card.raters))


def test_a_corpus_brings_its_label_set_unless_another_is_asked_for():
    asked = {
        "iemocap": "iemocap4",
        "iemocap4": "iemocap4",
        "msp_podcast": "msp8",
        "ravdess": "ravdess8",
        "demo": "basic6",
    }
    for name in ("probe", "train"):
        for corpus, labels in asked.items():
            assert compose([f"dataset={corpus}"], name).labels.name == labels
        assert compose(["dataset=iemocap", "labels=iemocap9"], name).labels.name == "iemocap9"


def test_the_published_design_is_one_sweep_over_models_and_corpora():
    config = compose(["experiment=token_logits_matter", "dataset=cremad", "roots.cremad=DIR"])
    assert (config.dataset.root, config.labels.name) == ("DIR", "basic6")
    assert {"label_likelihood", "averaged_logits", "generated_text"} == set(config.readout)
    assert len(config.prompt) == 5
    readings = compose(["experiment=demo_study"]).analysis.averaged_logits
    every = {variant.positions for variant in AVERAGED_LOGITS.values()}
    assert {AVERAGED_LOGITS[name].positions for name in readings} == every - {"answer", "forced_to_end"}
    import hydra

    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        whole = hydra.compose("probe", overrides=["experiment=token_logits_matter"], return_hydra_config=True)
    swept = dict(whole.hydra.sweeper.params)
    models = {file.stem for file in (CONF / "model").glob("*.yaml")}
    corpora = {file.stem for file in (CONF / "dataset").glob("*.yaml")}
    assert set(swept["model"].split(",")) <= models
    assert set(swept["dataset"].split(",")) <= corpora & set(config.roots)
