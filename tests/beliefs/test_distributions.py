"""Several distributions as one, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from emoprobe.beliefs.distributions import Distributions, ensemble
from emoprobe.errors import InputError


def test_ensembles_by_hand():
    members = [
        Distributions(np.log([[0.2, 0.8], [0.5, 0.5]]), ("ok", "ok")),
        Distributions(np.array([np.log([0.6, 0.4]), [np.nan, np.nan]]), ("ok", "undefined")),
    ]
    np.testing.assert_allclose(ensemble(members, "arithmetic").probs[0], [0.4, 0.6])
    root = np.sqrt([0.2 * 0.6, 0.8 * 0.4])
    np.testing.assert_allclose(ensemble(members, "geometric").probs[0], root / root.sum())
    assert ensemble(members, "arithmetic").status == ("ok", "undefined")
    with pytest.raises(InputError, match="unknown ensemble"):
        ensemble(members, "median")
