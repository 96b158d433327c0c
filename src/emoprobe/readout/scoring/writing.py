"""What a progress bar says while answers are written: the time that is left, how fast tokens come, how many ended."""

from __future__ import annotations

import time

from tqdm import tqdm

from emoprobe.models.progress import Step


class WritingNote:
    """Notes in a bar how far the answers of a batch are, from their first token on.

    The time left is an estimate: every answer that has not ended is taken to come to its limit, at the pace since the
    batch began. There is none where no bound is known or it is passed, as where a batch is done again in smaller parts.

    Args:
        bar: Shows it.
        items: Of the bar, in the batch.
        most: Tokens that may be written about them.
    """

    def __init__(self, bar: tqdm, items: int, most: int) -> None:
        self.bar, self.items, self.most = bar, items, most
        self.asked = self.ended = self.tokens = self.settled = 0
        self.start = self.first = time.monotonic()
        self.shown = 0.0

    def __call__(self, step: Step) -> None:
        """Take in a step and show it, as often as the bar is drawn."""
        now = time.monotonic()
        if not self.asked:
            self.first = now
        self.asked += step.asked
        self.ended += step.ended
        self.tokens += step.tokens
        self.settled += step.settled
        if step.tokens and now - self.shown >= self.bar.mininterval:
            self.shown = now
            self.bar.set_postfix_str(self.text(now))

    def text(self, now: float) -> str:
        """The note at a time of ``time.monotonic``."""
        words = []
        share = self.settled / self.most if self.most else 1.0
        if 0 < share < 1:
            batch = (now - self.start) * (1 - share) / share
            done = (self.bar.n + self.items * share) / self.bar.total
            whole = self.bar.format_dict["elapsed"] * (1 - done) / done
            words.append(f"about {_clock(batch)} left of this batch, {_clock(whole)} of all")
        if now > self.first:
            words.append(f"{self.tokens / (now - self.first):.0f} tokens/s")
        words.append(f"{self.ended} of {self.asked} answers ended")
        return ", ".join(words)


def _clock(seconds: float) -> str:
    return tqdm.format_interval(round(seconds))
