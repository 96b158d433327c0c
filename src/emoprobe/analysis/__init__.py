"""Beliefs and votes become a judgement. Needs no model."""
