"""Joint columns: which are chosen, what they hold, and that a server counts them as the trainer did."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.runtime.joint import Recipe
from perennial.runtime.server.counts.tally import Mismatch, Tally
from perennial.runtime.trainer.blocks import Blocks
from perennial.runtime.trainer.joint import joint
from perennial.wire.reference import Joint, Numeric, Reference
from perennial.wire.schema import Feature, Schema


def schema_of(*names: str, flags: tuple[str, ...] = ()) -> Schema:
    features = [Feature(name, "boolean" if name in flags else "numeric") for name in names]
    return Schema("classification", "y", features, "positive")


def rows(n: int, seed: int = 1) -> pd.DataFrame:
    """`a` and `b` go together (0.8), `a` and `wet` less, `c` goes by itself, `rung` is of few values, `same` of one."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    return pd.DataFrame(
        {
            "a": 100 + 20 * a,
            "b": 0.8 * a + 0.6 * rng.normal(size=n),
            "c": rng.exponential(size=n),
            "rung": np.round(rng.normal(size=n)).astype(float),
            "wet": (a + 2 * rng.normal(size=n) > 0).astype(float),
            "same": np.full(n, 7.0),
        }
    )


NAMES = ("a", "b", "c", "rung", "wet", "same")
SCHEMA = schema_of(*NAMES, flags=("wet",))


def made(learned: pd.DataFrame | None = None, held: pd.DataFrame | None = None) -> Joint:
    found = joint(
        SCHEMA, rows(4000) if learned is None else learned, rows(1000, 2) if held is None else held, Blocks(1000)
    )
    assert found is not None
    return found


def test_what_goes_together_most_is_multiplied_and_what_never_changes_is_left_out() -> None:
    found = made()
    assert found.features == ["a", "b", "c", "rung", "wet"]
    names = [column.name for column in found.columns]
    assert names[:5] == ["(component 1)", "(component 2)", "(component 3)", "(reconstruction error)", "a * b"]
    assert names[5] in ("a * wet", "b * wet")
    places = [place for pair in found.pairs for place in pair]
    assert max(places.count(place) for place in places) == 2


def test_components_are_orthonormal_and_the_first_one_is_what_a_and_b_share() -> None:
    weights = np.array(made().components)
    np.testing.assert_allclose(weights @ weights.T, np.eye(3), atol=1e-5)
    assert set(np.argsort(-np.abs(weights[0]))[:2].tolist()) == {0, 1}
    assert weights[0][0] * weights[0][1] > 0


def test_one_outlier_changes_little() -> None:
    plain, spoilt = rows(4000), rows(4000)
    spoilt.loc[17, "a"] = 1e12
    np.testing.assert_allclose(made(spoilt).scale, made(plain).scale, rtol=1e-2)
    np.testing.assert_allclose(made(spoilt).components[0], made(plain).components[0], atol=0.02)


@pytest.mark.parametrize("names", [(), ("a",), ("a", "same")])
def test_one_feature_goes_together_with_nothing(names: tuple[str, ...]) -> None:
    assert joint(schema_of(*names), rows(100), rows(100), Blocks(100)) is None


def test_columns_of_nothing_and_of_infinities_are_left_out() -> None:
    learned = rows(100)
    learned["c"] = np.nan
    learned.loc[::2, "rung"] = np.inf
    learned.loc[1::2, "rung"] = -np.inf
    assert made(learned).features == ["a", "b", "wet"]


def test_values_by_hand() -> None:
    recipe = Recipe(
        Joint(
            features=["x", "y"],
            low=[0.0, -1.0],
            high=[10.0, 1.0],
            mean=[5.0, 0.0],
            scale=[2.0, 1.0],
            components=[[0.6, 0.8]],
            pairs=[(0, 1)],
            columns=[],
        )
    )
    found = recipe(np.array([[7.0, 1e9, np.nan], [1.0, -1.0, 0.5]]))
    component = [0.6 * 1 + 0.8, 0.6 * 2.5 - 0.8, 0.8 * 0.5]
    distance = [
        np.sqrt(x * x + y * y - c * c) for (x, y), c in zip([(1, 1), (2.5, -1), (0, 0.5)], component, strict=True)
    ]
    np.testing.assert_allclose(found, [component, distance, [1.0, -2.5, np.nan]], atol=1e-6)


def reference_of(found: Joint) -> Reference:
    features = [Numeric(name, [0.0], [0, 0, 0]) for name in NAMES]
    return Reference("ab" * 32, "classification", 1000, list(features), Numeric("score", [0.0], [0] * 3), joint=found)


@given(blocks=st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_a_server_counts_held_out_rows_as_the_trainer_did(blocks: list[int]) -> None:
    """However rows come in blocks: `rung`, `wet` and a held-out row's own value lie on the edges."""
    held = rows(sum(blocks), 3)
    held.loc[::7, "a"] = np.nan
    schema = schema_of(*NAMES)
    found = joint(schema, rows(2000), held, Blocks(len(held)))
    assert found is not None
    tally = Tally(reference_of(found), schema)
    table = np.column_stack([held.to_numpy(), np.zeros(len(held))])
    ends = np.cumsum(blocks)[:-1]
    counted = np.sum([tally(block) for block in np.split(table, ends)], axis=0)
    start = 3 * len(NAMES)
    assert counted[start:-3].tolist() == [count for column in found.columns for count in column.counts]
    assert found.columns[-1].counts[-1] == 0 or "a" in found.columns[-1].name


def test_tied_values_stay_in_their_cells_however_many_rows_come() -> None:
    """Of features that are all discrete, every value lies on an edge: sums of weights must not miss it by a bit."""
    held = rows(800, 4).round(0)
    found = joint(schema_of(*NAMES), rows(2000).round(0), held, Blocks(len(held)))
    assert found is not None
    values = held[found.features].to_numpy().T
    together = Recipe(found)(values)
    one_by_one = np.concatenate([Recipe(found)(values[:, [row]]) for row in range(len(held))], axis=1)
    np.testing.assert_array_equal(together, one_by_one)


def test_other_features_than_the_schema_has_are_refused() -> None:
    found = made()
    reference = reference_of(found)
    assert reference.joint is not None
    reference.joint.features[0] = "z"
    with pytest.raises(Mismatch, match="joint"):
        Tally(reference, schema_of(*NAMES))
