"""A dictionary of labels and probabilities; indented, it takes 130 tokens."""

from __future__ import annotations

from emoprobe.prompts.answers.formats import register
from emoprobe.prompts.answers.shares import parse_shares
from emoprobe.prompts.answers.writing import write_dictionary

register("probability_dict", max_new_tokens=320, write=write_dictionary, scale="too")(parse_shares)
