"""Fold many token sequences over one clip into a tree, so that what they share is computed once.

Prompts share their first tokens, labels share their prompt. Every distinct prefix becomes one node; a node attends to
its ancestors only, at the position of its depth. One decoder pass over the nodes gives the same states as one pass per
sequence. Only the nodes that score a token reach the vocabulary matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import torch
from torch import Tensor

from emoprobe.models.answering import Question

FOLDS = 32  # sets of questions whose tensors are remembered, the latest of them


@dataclass(frozen=True)
class TokenTree:
    """Nodes in the order they were first seen, so that a parent always stands before its children.

    Args:
        tokens: Token id of each node.
        parents: Index of each node's parent, -1 at a root.
        depths: Position of each node in its sequence.
        ends: Per question the node of its last prefix token.
        rows: Per question and continuation the nodes whose next-token distribution scores its tokens.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    ends: tuple[int, ...]
    rows: tuple[tuple[tuple[int, ...], ...], ...]

    def ancestors(self) -> Tensor:
        """Whether a node may look at another: ``[nodes, nodes]`` bool, true for itself and its ancestors."""
        seen = torch.eye(len(self.tokens), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen


def build_tree(questions: Sequence[Question]) -> TokenTree:
    """The token tree of all questions; a continuation's last token is only a target and gets no node."""
    tokens: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    index: dict[tuple[int, int], int] = {}

    def add(parent: int, token: int) -> int:
        if (parent, token) not in index:
            index[parent, token] = len(tokens)
            tokens.append(token)
            parents.append(parent)
            depths.append(depths[parent] + 1 if parent >= 0 else 0)
        return index[parent, token]

    ends: list[int] = []
    rows: list[tuple[tuple[int, ...], ...]] = []
    for question in questions:
        end = -1
        for token in question.prefix:
            end = add(end, token)
        ends.append(end)
        continuation_rows = []
        for continuation in question.continuations:
            nodes = [end]
            for token in continuation[:-1]:
                nodes.append(add(nodes[-1], token))
            continuation_rows.append(tuple(nodes))
        rows.append(tuple(continuation_rows))
    return TokenTree(tuple(tokens), tuple(parents), tuple(depths), tuple(ends), tuple(rows))


@dataclass(frozen=True)
class ScoredTokens:
    """The tokens whose log-probability is wanted, by the node that predicts them.

    Args:
        nodes: Nodes that score a token.
        wanted: Token ids asked of each of these nodes, ``[nodes, most tokens of a node]``; unused places hold 0.
        places: Row and column in ``wanted`` of each token of all continuations, one after the other, ``[2, tokens]``.
        sizes: Per question and continuation its number of tokens.
    """

    nodes: tuple[int, ...]
    wanted: Tensor
    places: Tensor
    sizes: tuple[tuple[int, ...], ...]

    def pick(self, values: Tensor) -> list[list[Tensor]]:
        """``[..., nodes, tokens]`` to per question and continuation ``[..., tokens of the continuation]``."""
        row, column = self.places.to(values.device, non_blocking=True)
        parts = iter(values[..., row, column].split([*chain.from_iterable(self.sizes)], dim=-1))
        return [[next(parts) for _ in sizes] for sizes in self.sizes]

    def likelihoods(self, values: Tensor) -> Tensor:
        """Of the only question, summed over the tokens of each continuation: ``[..., continuations]``."""
        (picked,) = self.pick(values)
        return (
            torch.stack([tokens.sum(-1) for tokens in picked], dim=-1) if picked else values.new_zeros(len(values), 0)
        )


def find_scored(questions: Sequence[Question], tree: TokenTree) -> ScoredTokens:
    """Which node scores which tokens; a token that several continuations share is computed once."""
    columns: dict[int, dict[int, int]] = {}
    for question, rows in zip(questions, tree.rows, strict=True):
        for continuation, nodes in zip(question.continuations, rows, strict=True):
            for node, token in zip(nodes, continuation, strict=True):
                columns.setdefault(node, {}).setdefault(token, len(columns[node]))
    row_of = {node: i for i, node in enumerate(columns)}
    wanted = torch.zeros(len(columns), max(map(len, columns.values()), default=0), dtype=torch.long)
    for node, tokens in columns.items():
        wanted[row_of[node], : len(tokens)] = torch.tensor(list(tokens))
    places = [
        (row_of[node], columns[node][token])
        for question, rows in zip(questions, tree.rows, strict=True)
        for continuation, nodes in zip(question.continuations, rows, strict=True)
        for node, token in zip(nodes, continuation, strict=True)
    ]
    sizes = tuple(tuple(map(len, question.continuations)) for question in questions)
    return ScoredTokens(tuple(columns), wanted, torch.tensor(places, dtype=torch.long).reshape(-1, 2).T, sizes)


@dataclass(frozen=True)
class Fold:
    """Questions as a decoder is asked them: their tree, and its tensors on the decoder's device.

    Args:
        tree: All of them.
        scored: The tokens that they want.
        tokens: Token id of each node, ``[nodes]``.
        depths: Position of each node in its sequence, ``[nodes]``.
        visible: `TokenTree.ancestors`.
        ends: Per question the node of its last prefix token, ``[questions]``.
        nodes: Nodes that score a token, ``[scored nodes]``.
        wanted: `ScoredTokens.wanted`.
    """

    tree: TokenTree
    scored: ScoredTokens
    tokens: Tensor
    depths: Tensor
    visible: Tensor
    ends: Tensor
    nodes: Tensor
    wanted: Tensor


def at(states: Tensor, nodes: Tensor) -> Tensor:
    """States of some nodes, of ``[clips, nodes, width]``; a model that lies on several devices has them on its last."""
    return states[:, nodes.to(states.device, non_blocking=True)]


@lru_cache(maxsize=FOLDS)
@torch.inference_mode(False)  # what is remembered of a run without gradients may be used in one with them
def fold(questions: tuple[Question, ...], device: torch.device) -> Fold:
    """Questions as a decoder on a device is asked them, made once for all batches of clips."""
    tree = build_tree(questions)
    scored = find_scored(questions, tree)
    numbers = [torch.tensor(values, dtype=torch.long) for values in (tree.tokens, tree.depths, tree.ends, scored.nodes)]
    tokens, depths, ends, nodes = (values.to(device) for values in numbers)
    return Fold(tree, scored, tokens, depths, tree.ancestors().to(device), ends, nodes, scored.wanted.to(device))


@dataclass(frozen=True)
class Abreast:
    """Each clip's own questions, equally many, as a decoder is asked them in one pass.

    Args:
        tokens: Token id of each node, ``[clips, nodes]``; smaller trees are filled up with nodes that nothing sees.
        depths: Position of each node in its sequence, ``[clips, nodes]``.
        visible: Which nodes each one looks at, ``[clips, nodes, nodes]`` bool.
        ends: Per question the node of its last prefix token, ``[clips, questions]``.
    """

    tokens: Tensor
    depths: Tensor
    visible: Tensor
    ends: Tensor

    @property
    def seen(self) -> Tensor:
        """Which nodes each question's end looks at, ``[clips, questions, nodes]`` bool."""
        return self.visible.gather(1, self.ends[..., None].expand(-1, -1, self.visible.shape[-1]))

    def at_ends(self, states: Tensor) -> Tensor:
        """States of the questions' ends, of ``[clips, nodes, width]``."""
        ends = self.ends.to(states.device, non_blocking=True)
        return states.gather(1, ends[..., None].expand(-1, -1, states.shape[-1]))


def abreast(folds: Sequence[Fold], clips: int) -> Abreast:
    """Trees side by side.

    Args:
        folds: One of each clip, or a single one that is asked of all of them and shared.
        clips: How many clips.
    """
    nodes = max(len(one.tokens) for one in folds)
    alone = torch.eye(nodes, dtype=torch.bool, device=folds[0].visible.device)
    tokens, depths = (
        torch.stack([torch.nn.functional.pad(row, (0, nodes - len(row))) for row in rows])
        for rows in ([one.tokens for one in folds], [one.depths for one in folds])
    )
    visible = alone.repeat(len(folds), 1, 1)
    for row, one in zip(visible, folds, strict=True):
        row[: len(one.tokens), : len(one.tokens)] = one.visible
    made = tokens, depths, visible, torch.stack([one.ends for one in folds])
    return Abreast(*(each.expand(clips, *each.shape[1:]) for each in made))
