"""Degrees as text."""

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipgeo.places.coordinates import format_degrees

WRITTEN = {
    0.0: "0.0",
    1e-9: "0.0",
    -1e-9: "0.0",
    51.5142: "51.5142",
    -33.0: "-33.0",
    1e-5: "0.00001",
    # Ties are exact in binary: half to even.
    0.5 + 2**-7: "0.507812",
    0.5 + 3 * 2**-7: "0.523438",
    180: "180.0",
    "34.78939": "34.78939",
    "-106": "-106.0",
    "-0": "0.0",
    "+1.": "1.0",
    "0.0000005": "0.0",
    "0.0000015": "0.000002",
    "-0.0000001": "0.0",
    "7.1234565": "7.123456",
}


@pytest.mark.parametrize(("value", "text"), WRITTEN.items())
def test_degrees_are_written_shortest(value: float | str, text: str) -> None:
    assert format_degrees(value, 180) == text


@given(st.floats(-180, 180))
def test_a_double_is_rounded_by_its_exact_value(value: float) -> None:
    exact = Decimal(value).quantize(Decimal("0.000001"), ROUND_HALF_EVEN)
    text = format_degrees(value, 180)
    assert Decimal(text) == exact
    assert "e" not in text
    whole, decimals = text.split(".")
    assert decimals == "0" or not decimals.endswith("0")
    assert len(decimals) <= 6
    assert whole.lstrip("-").isdigit()


@pytest.mark.parametrize(
    "value",
    [90.000001, -91, float("nan"), float("inf"), "90.1", "", "x", "1e1", "nan", "1_0", " 1", "٣"],
)
def test_what_are_no_degrees_is_refused(value: float | str) -> None:
    with pytest.raises(ValueError, match="degrees"):
        format_degrees(value, 90)
