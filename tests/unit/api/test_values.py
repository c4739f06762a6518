"""Durations and percentages: what people write is what is meant, and stays as it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.api.duration import Duration
from perennial.api.percent import Percent


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("28d", 28 * 86400), ("2m", 120), ("1h30m", 5400), ("90d", 7_776_000), ("1w1d", 691_200), ("45s", 45)],
)
def test_a_duration_in_seconds(text: str, seconds: int) -> None:
    assert Duration(text).seconds == seconds
    assert Duration(text).timedelta.total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "0s", "1h0m", "5", "m", "30m1h", "1.5h", "-1h", "1 h", "1h\n", "1M", "1111111s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        Duration(text)


@given(st.integers(1, 999_999), st.sampled_from("wdhms"))
def test_any_number_of_any_unit_is_a_duration(number: int, unit: str) -> None:
    duration = Duration(f"{number}{unit}")
    assert duration == f"{number}{unit}"
    assert duration.seconds % number == 0


@pytest.mark.parametrize(
    ("text", "fraction"), [("1%", 0.01), ("0%", 0.0), ("0.5%", 0.005), ("100%", 1.0), ("7%", 0.07)]
)
def test_a_percentage_as_a_fraction(text: str, fraction: float) -> None:
    assert Percent(text).fraction == fraction


@pytest.mark.parametrize("text", ["", "1", "0.01", "101%", "100.5%", "-1%", "1 %", "%", "1%\n", "1.%"])
def test_what_is_no_percentage(text: str) -> None:
    with pytest.raises(ValueError, match=r"percentage|characters"):
        Percent(text)
