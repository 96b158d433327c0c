"""Parsing of text answers: what counts, and that a failure is never a label."""

from __future__ import annotations

import pytest

from emoprobe.answers import STATUSES, parse_answer

LABELS = ("anger", "happy", "sad")
WORDS = (("anger", "angry"), ("happy", "happy"), ("sad", "sad"), ("sad", "sadness"))


@pytest.mark.parametrize(
    ("text", "status", "shares"),
    [
        ('{"anger": 0.5, "happy": 0.3, "sad": 0.2}', "ok", (0.5, 0.3, 0.2)),
        ("```json\n{'angry': .5, 'happy': .3, 'sadness': .2}\n```", "ok", (0.5, 0.3, 0.2)),
        ("Anger: 50%, happy: 30 %, sad: 20%", "ok", (0.5, 0.3, 0.2)),
        ("anger: 50\nhappy: 30\nsad: 20", "ok", (0.5, 0.3, 0.2)),
        ("anger: 0.33, happy: 0.33, sad: 0.33", "ok", (1 / 3, 1 / 3, 1 / 3)),
        ("anger = 0.5, happy = 0.5, sad = 0.6", "renormalised", (0.3125, 0.3125, 0.375)),
        ("anger: 0.8, happy: 0.2", "partial", (0.8, 0.2, 0.0)),
        ("anger: 0.4, happy: 0.3, sad: 0.1, surprise: 0.2", "partial", (0.5, 0.375, 0.125)),
        (" Angry.", "single_label", (1.0, 0.0, 0.0)),
        ("[sadness]", "single_label", (0.0, 0.0, 1.0)),
        ("I'm so angry!", "unparsed", None),
        ("angry and sad", "unparsed", None),
        ("Kids are talking by the door.", "unparsed", None),
        ("anger: 0.5, anger: 0.7", "unparsed", None),
        ("anger: 0, happy: 0, sad: 0", "unparsed", None),
        ("dinner: 7", "unparsed", None),
        ("", "unparsed", None),
        ("I cannot determine emotions from audio.", "refused", None),
        ("As an AI, I only read text.", "refused", None),
    ],
)
def test_answers(text, status, shares):
    parsed = parse_answer(text, LABELS, WORDS)
    assert parsed.status == status
    assert parsed.status in STATUSES
    assert parsed.shares == (None if shares is None else pytest.approx(shares))
