"""The limits of tokens hold a full answer of ten labels, and the configurations leave them alone."""

from __future__ import annotations

from importlib.resources import files

import pytest

from emoprobe.labels import LabelSet
from emoprobe.options import check
from emoprobe.prompts.answers import FORMATS
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.base import make_readouts
from emoprobe.settings import compose, plain

ENGLISH = "angry contemptuous disgusted excited fearful frustrated happy neutral sad surprised"
RUSSIAN = "злость презрение отвращение возбуждение страх досада радость нейтральность грусть удивление"
CHINESE = "愤怒 轻蔑 厌恶 兴奋 恐惧 沮丧 快乐 中性 悲伤 惊讶"
ROWS = {
    "probability_dict": ("```json\n{{\n{rows}\n}}\n```", '  "{w}": 0.05,'),
    "percentages": ("Here are the percentages:\n\n{rows}", "- **{w}**: 12.5%"),
    "ranked_list": ("{rows}", "{i}. **{w}** - a remark on the voice"),
    "single_word": ("The speaker sounds {w}.", ""),
    "lettered_options": ("Option B: {w}", ""),
}


def longest(form, words):
    frame, row = ROWS[form]
    return frame.format(rows="\n".join(row.format(i=i, w=w) for i, w in enumerate(words, 1)), w=max(words, key=len))


@pytest.mark.parametrize("words", [ENGLISH, RUSSIAN, CHINESE])
@pytest.mark.parametrize("form", ROWS)
def test_ten_labels_fit_into_two_thirds_of_the_limit(form, words):
    tekken = pytest.importorskip("mistral_common.tokens.tokenizers.tekken")
    tokenizer = tekken.Tekkenizer.from_file(str(files("mistral_common") / "data" / "tekken_240911.json"))
    count = len(tokenizer.encode(longest(form, words.split()), bos=False, eos=True))
    assert 4 < count <= FORMATS[form].max_new_tokens * 2 / 3


def test_the_studys_text_is_read_under_the_limits_of_its_formats():
    config = compose(["experiment=token_logits_matter", "labels=iemocap4"])
    labels = check(LabelSet, plain(config.labels))
    readouts = {readout.name: readout for readout in make_readouts(plain(config.readout))}
    prompts = make_prompts(plain(config.prompt), labels)
    assert {prompt.answer_format for prompt in prompts} >= {"probability_dict", "percentages", "ranked_list"}
    for prompt in prompts:
        assert readouts["generated_text"].limit(prompt) == FORMATS[prompt.answer_format].max_new_tokens
        assert readouts["averaged_logits"].limit(prompt) == 16
