"""Speech foundation models: what hears, what answers; they know no emotions."""
