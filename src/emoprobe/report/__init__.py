"""What a person reads: tables, figures, page, trackers."""
