"""A sentence in the model's own words that names one label."""

from __future__ import annotations

from emoprobe.prompts.answers.formats import register
from emoprobe.prompts.answers.one_label import parse_label

register("open_description", max_new_tokens=96)(parse_label)
