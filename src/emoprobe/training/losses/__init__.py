"""One file per loss: its formula, its options, and what it compares."""
