"""Fold many token sequences over one clip into a tree, so that what they share is computed once.

Prompts share their first tokens, labels share their prompt. Every distinct prefix becomes one node; a node attends to
its ancestors only, at the position of its depth. One decoder pass over the nodes gives the same states as one pass per
sequence. Only the nodes that score a token reach the vocabulary matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emoprobe.models.answering import Question


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
        places: Per question and continuation, ``(row, column)`` in ``wanted`` of each of its tokens.
    """

    nodes: tuple[int, ...]
    wanted: Tensor
    places: tuple[tuple[tuple[tuple[int, int], ...], ...], ...]

    def pick(self, values: Tensor) -> list[list[Tensor]]:
        """``[..., nodes, tokens]`` to per question and continuation ``[..., tokens of the continuation]``."""
        picked = []
        for question in self.places:
            columns = [torch.tensor(places).T for places in question]
            picked.append([values[..., row, column] for row, column in columns])
        return picked

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
    places = tuple(
        tuple(
            tuple((row_of[node], columns[node][token]) for node, token in zip(nodes, continuation, strict=True))
            for continuation, nodes in zip(question.continuations, rows, strict=True)
        )
        for question, rows in zip(questions, tree.rows, strict=True)
    )
    return ScoredTokens(tuple(columns), wanted, places)
