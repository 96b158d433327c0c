"""The product with the vocabulary matrix, for the few rows that need it, in float32 and in bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VOCABULARY_ROWS = 256  # how many full-vocabulary rows a CPU holds at once: 53 MB in float32 for Whisper
VOCABULARY_BYTES = 2**30  # what another device holds of them at once, in float32: every further part is more launches


class VocabularyHead:
    """From decoder states to logits.

    Args:
        linear: The output projection.
        cap: Final soft-capping: logits become ``cap * tanh(logits / cap)`` (Gemma).
        scale: Factor of the logits.
    """

    def __init__(self, linear: nn.Linear, *, cap: float | None = None, scale: float = 1.0) -> None:
        self.linear, self.cap, self.scale = linear, cap, scale

    def _finish(self, logits: Tensor) -> Tensor:
        logits = logits.float()
        if self.scale != 1:
            logits = logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def logits(self, states: Tensor) -> Tensor:
        """Raw logits in float32, ``[..., width]`` to ``[..., vocabulary]``."""
        return self._finish(self.linear(states.to(self.linear.weight.device)))

    def log_probabilities(self, states: Tensor, wanted: Tensor) -> Tensor:
        """Log-softmax over the whole vocabulary, in float32, of a few tokens per row.

        Args:
            states: ``[clips, rows, width]``.
            wanted: Token ids ``[rows, tokens]``.

        Returns:
            ``[clips, rows, tokens]`` on the CPU, or with gradients where the states are.
        """
        if not wanted.numel():
            return states.new_zeros(*states.shape[:2], 0)
        if torch.is_grad_enabled():
            logits = self.logits(states)
            return logits.gather(-1, wanted.to(logits.device).expand(*logits.shape[:2], -1)) - logits.logsumexp(
                -1, keepdim=True
            )
        chosen, normalizers = self.token_logits(states, wanted).unbind(1)
        return chosen - normalizers

    @torch.no_grad()
    def token_logits(self, states: Tensor, wanted: Tensor) -> Tensor:
        """Raw logits of a few tokens per row, and of each row the log-sum-exp over the whole vocabulary, in float32.

        Only some rows of the vocabulary exist at a time (`rows_at_once`), in one buffer that is used again: allocating
        and first touching it for every row costs as much as the arithmetic. What is found is sent to the CPU at the
        end, together: nothing waits for the device before.

        Args:
            states: ``[clips, rows, width]``.
            wanted: Token ids ``[rows, tokens]``.

        Returns:
            Logits, then log normalizers, ``[clips, 2, rows, tokens]`` on the CPU.
        """
        clips, size = states.shape[:2]
        if not wanted.numel():
            return torch.zeros(clips, 2, size, 0)
        matrix = self.linear.weight
        flat = states.reshape(-1, states.shape[-1]).to(matrix.device)
        ids = wanted.to(flat.device).repeat(states.shape[0], 1)
        most = rows_at_once(matrix)
        buffer = torch.empty(min(most, len(flat)) * len(matrix), dtype=matrix.dtype, device=flat.device)
        parts = []
        for start in range(0, len(flat), most):
            rows = flat[start : start + most]
            # Vocabulary first: on CPUs the product is nearly twice as fast this way round.
            out = buffer[: len(matrix) * len(rows)].view(len(matrix), len(rows))
            logits = torch.mm(matrix, rows.T, out=out)
            if self.linear.bias is not None:
                logits = logits.add_(self.linear.bias[:, None])
            logits = self._finish(logits)
            chosen = logits.gather(0, ids[start : start + most].T)
            top = logits.amax(0)
            normalizer = logits.sub_(top).exp_().sum(0).log_() + top
            parts.append(torch.stack([chosen, normalizer.expand_as(chosen)]).transpose(1, 2))
        return torch.cat(parts, dim=1).cpu().view(2, clips, size, -1).transpose(0, 1)


def rows_at_once(matrix: Tensor) -> int:
    """How many rows of logits over a whole vocabulary, ``[vocabulary, width]``, are made at once."""
    if matrix.device.type == "cpu":
        return VOCABULARY_ROWS
    return max(VOCABULARY_ROWS, VOCABULARY_BYTES // (4 * len(matrix)))
