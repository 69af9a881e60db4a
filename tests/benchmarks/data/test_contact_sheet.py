"""Contact sheets: every subject is on one, with the outline of its foreground."""

from __future__ import annotations

import numpy as np
from support.federations import site

from fedsynth.benchmarks.data.contact_sheet import OUTLINE, TILE, outlined, pages, sheet


def test_every_subject_is_on_a_sheet_with_its_outline() -> None:
    own = site("north", train=120, val=1, test=5, slices=2, size=(28, 28))
    found = list(pages(own))
    assert len(found) == 2
    one = np.asarray(sheet(own, own.subjects[:1]))
    assert one.shape[1] < 5 * (TILE + 10)
    square = np.zeros((28, 28), bool)
    square[7:21, 7:21] = True
    tile = np.asarray(outlined(np.where(square, 1.0, -1.0), square))
    edge = (tile == OUTLINE).all(-1)
    assert tile.shape == (TILE, TILE, 3)
    assert np.argwhere(edge).min() == TILE // 4
    assert np.argwhere(edge).max() == 3 * TILE // 4 - 1
    assert edge.sum() == 4 * (TILE // 2 - 1)
    assert (tile[TILE // 2, TILE // 2] == 255).all()
    assert (tile[0, 0] == 0).all()
