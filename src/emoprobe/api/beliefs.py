"""What a model believes about clips, for the eye and for pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emoprobe.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes

    from emoprobe.beliefs.belief import Belief
    from emoprobe.run.cell import Cell


@dataclass(frozen=True)
class Beliefs:
    """What a model believes about one clip, or several, in every way that it was asked.

    Args:
        labels: The labels, in the order of every distribution.
        clips: Names of the clips.
        found: One per cell (prompt, readout, variant, calibration).
    """

    labels: tuple[str, ...]
    clips: tuple[str, ...]
    found: Sequence[Belief]

    @property
    def distributions(self) -> Mapping[Cell, np.ndarray]:
        """Cell -> distribution ``[labels]``, of several clips ``[clips, labels]``; NaN where a readout has none."""
        return {belief.cell: self._one(belief.distributions.probs) for belief in self.found}

    @property
    def label_mass(self) -> Mapping[Cell, Any]:
        """Cell -> probability that the answer is one of the labels at all, where the readout tells."""
        masses = {belief.cell: belief.label_mass for belief in self.found}
        return {cell: self._one(mass) for cell, mass in masses.items() if mass is not None}

    @property
    def text(self) -> Mapping[Cell, Any]:
        """Cell -> what the model wrote, where it writes; of several clips a list."""
        texts = {belief.cell: belief.generated_text for belief in self.found}
        return {cell: self._one(text) for cell, text in texts.items() if text is not None}

    def __getitem__(self, name: str) -> np.ndarray:
        """The distribution of a readout, or of one of its variants by ``readout/variant``.

        Raises:
            KeyError: Nothing, or more than one cell, has this name.
        """
        found = [cell for cell in self.distributions if name in (cell.readout, f"{cell.readout}/{cell.variant}")]
        if len(found) != 1:
            known = ", ".join(sorted({f"{cell.readout}/{cell.variant}" for cell in self.distributions}))
            raise KeyError(f"{len(found)} distributions are called {name!r}; there are {known}")
        return self.distributions[found[0]]

    def to_frame(self) -> pd.DataFrame:
        """One row per clip and cell: the cell's names, status, label mass, text, and ``p_LABEL`` columns."""
        import pandas as pd

        rows = []
        for belief in self.found:
            for i, clip in enumerate(self.clips):
                row: dict[str, Any] = {"clip": clip, **belief.cell._asdict()}
                row["status"] = belief.distributions.status[i]
                row["label_mass"] = None if belief.label_mass is None else float(belief.label_mass[i])
                row["text"] = None if belief.generated_text is None else belief.generated_text[i]
                probs = belief.distributions.probs[i]
                rows.append(row | {f"p_{label}": float(p) for label, p in zip(self.labels, probs, strict=True)})
        return pd.DataFrame(rows)

    def plot(self, clip: int | str = 0, ax: Axes | None = None) -> Axes:
        """Bars of every distribution about a clip, side by side; single layers are left out.

        Args:
            clip: Its name or its place.
            ax: Where to draw; a new figure by default.

        Raises:
            InputError: There is no such clip.
        """
        import matplotlib.pyplot as plt

        from emoprobe.readout.base import names_of

        names = dict(enumerate(self.clips)) | {name: name for name in self.clips}
        if clip not in names:
            raise InputError(f"there is no clip {clip!r}", remedy=f"There are {', '.join(self.clips)}.")
        frame = self.to_frame()
        frame = frame[(frame["clip"] == names[clip]) & ~frame["readout"].isin(names_of("layers"))]
        telling = [name for name in ("prompt", "readout", "variant", "calibration") if frame[name].nunique() > 1]
        frame.index = frame[telling or ["readout"]].agg(", ".join, axis=1)
        table = frame[[f"p_{label}" for label in self.labels]].dropna()
        table.columns = list(self.labels)
        ax = plt.figure(figsize=(7, 3.2), layout="constrained").subplots() if ax is None else ax
        table.T.plot.bar(ax=ax, rot=0, width=0.8)
        ax.set(ylabel="probability", ylim=(0, 1), title=str(names[clip]))
        ax.legend(fontsize="small", frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
        return ax

    def __str__(self) -> str:
        frame = self.to_frame()
        kept = [
            name for name in frame if name == "readout" or frame[name].nunique(dropna=False) > 1 or name[:2] == "p_"
        ]
        return frame[kept].to_string(index=False, float_format="{:.3f}".format, max_colwidth=40)

    def _repr_html_(self) -> str:
        return self.to_frame()._repr_html_()  # pandas escapes what the model wrote

    def _one(self, values: Any) -> Any:
        return values[0] if len(self.clips) == 1 else values
