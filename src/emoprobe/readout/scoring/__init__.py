"""The forward passes: prompts to tokens, clips and null inputs to rows of the score table."""
