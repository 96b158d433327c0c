"""One file per head that can be trained: its options, and what it makes of them."""
