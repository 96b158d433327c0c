"""One word that names a label; a sentence that names it takes 8 tokens."""

from __future__ import annotations

from emoprobe.prompts.answers.formats import register
from emoprobe.prompts.answers.one_label import parse_label
from emoprobe.prompts.answers.writing import write_word

register("single_word", max_new_tokens=32, write=write_word)(parse_label)
