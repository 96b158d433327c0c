"""One file per way to calibrate: what it needs, its options, and what it makes of a distribution."""
