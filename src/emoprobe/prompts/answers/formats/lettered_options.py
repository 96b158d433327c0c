"""The letter of an option, such as ``B``; the prompt writes the letters before the labels."""

from __future__ import annotations

from emoprobe.prompts.answers.formats import register
from emoprobe.prompts.answers.one_label import parse_label

register("lettered_options", max_new_tokens=32)(parse_label)
