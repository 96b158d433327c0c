"""What a table of predictions says beyond its means: by stratum, across prompts, between text and token channels."""
