import asyncio
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.adapters.builtin_tools.converter import Converter, shown
from orchestrator.adapters.builtin_tools.measures import Measures
from orchestrator.adapters.builtin_tools.registry import ToolFailed

MEASURES, CONVERTER = Measures(), Converter()


async def converted(amount: float, source: str, target: str) -> str:
    return await CONVERTER.convert({"amount": amount, "from": source, "to": target})


@pytest.mark.parametrize(
    ("amount", "source", "target", "told"),
    [
        (5, "kilometers", "miles", "3.1069 miles"),
        (5, "kilometres", "mile", "3.1069 mile"),
        (26.2, "mi", "km", "42.1648 km"),
        (1, "inch", "cm", "2.54 cm"),
        (6, "feet", "meters", "1.8288 meters"),
        (2, "nautical miles", "km", "3.704 km"),
        (10, "pounds", "kilograms", "4.5359 kilograms"),
        (5, "kgs", "lbs", "11.0231 lbs"),
        (12, "stone", "kg", "76.2035 kg"),
        (1, "ton", "tonnes", "0.9072 tonnes"),
        (3, "gallons", "liters", "11.3562 liters"),
        (2, "fluid ounces", "ml", "59.1471 ml"),
        (1, "cubic meter", "litres", "1000 litres"),
        (90, "minutes", "hours", "1.5 hours"),
        (90, "mins", "h", "1.5 h"),
        (2, "weeks", "days", "14 days"),
        (60, "mph", "km/h", "96.5606 km/h"),
        (60, "miles per hour", "kilometers per hour", "96.5606 kilometers per hour"),
        (10, "m/s", "knots", "19.4384 knots"),
        (1, "square mile", "acres", "640 acres"),
        (2, "hectares", "square meters", "20000 square meters"),
        (1, "ft²", "cm2", "929.0304 cm2"),
        (12345678901.1, "km", "m", "12345678901100 m"),
        (3, "GB", "MB", "3000 MB"),
        (3, "gb", "mb", "3000 mb"),
        (1, "GiB", "mebibytes", "1024 mebibytes"),
        (100, "Mb", "MB", "12.5 MB"),
    ],
)
async def test_an_amount_is_told_in_the_unit_as_the_caller_wrote_it(
    amount: float, source: str, target: str, told: str
) -> None:
    assert await converted(amount, source, target) == told


@pytest.mark.parametrize(
    ("amount", "source", "target", "told"),
    [
        (100, "celsius", "fahrenheit", "212 fahrenheit"),
        (98.6, "Fahrenheit", "Celsius", "37 Celsius"),
        (37, "C", "F", "98.6 F"),
        (0, "K", "°C", "-273.15 °C"),
        (20, "degrees Celsius", "kelvin", "293.15 kelvin"),
        (-40, "deg C", "degree fahrenheit", "-40 degree fahrenheit"),
    ],
)
async def test_temperatures_have_another_zero(
    amount: float, source: str, target: str, told: str
) -> None:
    assert await converted(amount, source, target) == told


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("KM", "M", "1000 M"),
        ("Miles", "FEET", "5280 FEET"),
        (" nautical   miles ", "\tm ", "1852 m"),
        ("mg", "Mg", "0.000000001 Mg"),
    ],
)
async def test_letters_may_be_of_any_case_where_it_makes_no_difference(
    source: str, target: str, told: str
) -> None:
    assert await converted(1, source, target) == told


@pytest.mark.parametrize(
    "name",
    [
        "parsnips",
        "",
        "5",
        "km*2",
        "m**9**9",
        "kilometer meter",
        "km/h/h",
        "acres per meter",
        "square acres",
        "square square meters",
        "kilocelsius",
        "delta_celsius",
        "joules",
        "radians",
        "dimensionless",
        "kbps",
        "__class__",
        "exec('1')",
        "microastronomical_units per millifortnight",
        "(" * 16_000,
        "kilo" * 4_000,
        "m\x00",
    ],
)
async def test_a_unit_that_there_is_not_is_named(name: str) -> None:
    said = f"there is no unit {name[:60]!r}; use names such as kilometers, pounds or celsius"
    for source, target in ((name, "meters"), ("meters", name)):
        with pytest.raises(ToolFailed) as failed:
            await converted(5, source, target)
        assert str(failed.value) == said


@pytest.mark.parametrize(
    ("source", "target"),
    [("kilometers", "pounds"), ("GB", "hours"), ("Celsius", "KM"), ("liters", "acres")],
)
async def test_units_of_two_kinds_can_not_be_converted(source: str, target: str) -> None:
    with pytest.raises(ToolFailed) as failed:
        await converted(5, source, target)
    assert str(failed.value) == f"cannot convert {source} to {target}"


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (float("nan"), "the amount must be a finite number, not nan"),
        (float("inf"), "the amount must be a finite number, not inf"),
        (float("-inf"), "the amount must be a finite number, not -inf"),
        (1e300, "the amount is too large: it may be up to 1000000000000000000"),
        (-(10**400), "the amount is too large: it may be up to 1000000000000000000"),
    ],
)
async def test_an_amount_that_can_not_be_worked_with_is_refused(amount: float, said: str) -> None:
    with pytest.raises(ToolFailed) as failed:
        await converted(amount, "miles", "km")
    assert str(failed.value) == said


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0", "0"),
        ("-0.0", "0"),
        ("12", "12"),
        ("1e20", "100000000000000000000"),
        ("1.50", "1.5"),
        ("1.99996", "2"),
        ("-1.23456", "-1.2346"),
        ("0.123456", "0.1235"),
        ("0.1", "0.1"),
        ("0.0999999", "0.1"),
        ("0.0123456", "0.01235"),
        ("-0.00001", "-0.00001"),
        ("1.23456e-9", "0.000000001235"),
    ],
)
def test_numbers_have_no_exponent_and_few_digits(value: str, told: str) -> None:
    assert shown(Fraction(value)) == told


@settings(deadline=None)
@given(st.fractions(max_denominator=10**9))
def test_a_number_is_off_by_half_its_last_digit_at_most(value: Fraction) -> None:
    told = shown(value)
    assert "e" not in told.lower()
    off = abs(Fraction(told) - value)
    assert off <= Fraction(1, 20_000)
    assert off <= abs(value) / 1_000


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_name_can_do_more_than_be_unknown(name: str) -> None:
    try:
        MEASURES.convert(Fraction(1), name, "meters")
    except ToolFailed as failed:
        assert str(failed).startswith(("there is no unit", "cannot convert"))  # noqa: PT017


@settings(deadline=None)
@given(
    st.fractions(max_denominator=1000),
    st.sampled_from(["km", "feet", "light years", "nautical miles", "in"]),
    st.sampled_from(["mm", "yards", "furlongs", "micrometers"]),
)
def test_there_and_back_again_is_the_same_number(value: Fraction, source: str, target: str) -> None:
    there = MEASURES.convert(value, source, target)
    assert MEASURES.convert(there, target, source) == value


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    Measures().convert(Fraction(1), "mins", "fortnights")
    assert not caplog.records


async def test_many_first_calls_at_once_share_one_registry() -> None:
    asked = {"amount": 5, "from": "kilometers", "to": "miles"}
    converter = Converter()
    impatient = asyncio.ensure_future(converter.convert(asked))
    waiting = asyncio.gather(*(converter.convert(asked) for _ in range(20)))
    await asyncio.sleep(0)
    impatient.cancel()
    assert set(await waiting) == {"3.1069 miles"}
    assert impatient.cancelled()


def test_the_units_are_read_by_the_first_conversion_and_not_before() -> None:
    script = (
        "import sys\n"
        "import orchestrator.cli, orchestrator.composition, orchestrator.tool_composition\n"
        "from orchestrator.adapters.builtin_tools import builtin_tools\n"
        "assert 'convert_units' in builtin_tools().specs()\n"
        "assert 'pint' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
