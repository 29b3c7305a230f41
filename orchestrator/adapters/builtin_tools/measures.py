"""Units by the names that people write, and exact conversion between them.

pint knows the units and their prefixes. Its parser of expressions is not used: a name here is
one unit, a length squared or cubed, or a length per time. Importing this takes a third of a
second and making `Measures` as long again.
"""

from __future__ import annotations

import re
from fractions import Fraction

import pint

from orchestrator.adapters.builtin_tools.registry import ToolFailed

MAX_NAME_CHARS = 40

_LENGTH, _TIME = {"[length]": 1}, {"[time]": 1}
_KINDS: tuple[dict[str, int], ...] = (
    _LENGTH,
    _TIME,
    {"[mass]": 1},
    {"[temperature]": 1},
    {"[length]": 2},
    {"[length]": 3},
    {"[length]": 1, "[time]": -1},
    {"bit": 1},  # which has no dimension in pint
)

_NAME = re.compile(r"[^\W\d_](?:[^\W\d_]|[ _-])*")
_DEGREES = re.compile(r"(?:degrees?_|deg_?|°_?)?(c|f|k|celsius|centigrade|fahrenheit|kelvins?)")
_POWER = re.compile(r"(?:(square|sq|cubic|cu)_(.+)|([^\W\d_]+?)([²³23]))", re.IGNORECASE)
_SPEED = re.compile(r"(.+?)(?:_per_|_?/_?)(.+)", re.IGNORECASE)
_POWERS = {"square": 2, "sq": 2, "²": 2, "2": 2, "cubic": 3, "cu": 3, "³": 3, "3": 3}
_TEMPERATURES = {"c": "degree_Celsius", "f": "degree_Fahrenheit", "k": "kelvin"}
_SAME = {
    "KB": "kilobyte",
    "kb": "kilobyte",
    "mb": "megabyte",
    "gb": "gigabyte",
    "tb": "terabyte",
    "Kb": "kilobit",
    "Mb": "megabit",
    "Gb": "gigabit",
    "Tb": "terabit",
    "fl_oz": "fluid_ounce",
    "kmh": "kilometer_per_hour",
    "mcg": "microgram",
}
"""What pint would not know, or take for something else: barns, for one."""

_Unit = pint.util.UnitsContainer


class Measures:
    """Lengths, areas, volumes, masses, times, speeds, temperatures and sizes of data."""

    def __init__(self) -> None:
        self._registry: pint.UnitRegistry[Fraction] = pint.UnitRegistry(
            non_int_type=Fraction, on_redefinition="ignore"
        )
        # Retired in 2023: 640 acres are a square mile, 8 furlongs a mile.
        self._registry.define("survey_foot = 1 * foot")

    def convert(self, amount: Fraction, source: str, target: str) -> Fraction:
        """Raises ToolFailed: there is no such unit, or they measure different things."""
        units = self._unit(source), self._unit(target)
        if self._kind(units[0]) != self._kind(units[1]):
            raise ToolFailed(f"cannot convert {source} to {target}")
        return Fraction(self._registry.convert(amount, *units))

    def _unit(self, name: str) -> _Unit:
        joined = "_".join(name.split())
        if len(name) <= MAX_NAME_CHARS:
            # KM and Miles are read in lower case, but mb is no MB and mg no Mg.
            for written in dict.fromkeys((joined, joined.lower())):
                if found := self._read(written):
                    return found
        raise ToolFailed(
            f"there is no unit {name[:60]!r}; use names such as kilometers, pounds or celsius"
        )

    def _read(self, name: str) -> _Unit | None:
        if degrees := _DEGREES.fullmatch(name.lower()):
            return _Unit({_TEMPERATURES[degrees[1][0]]: 1})
        if power := _POWER.fullmatch(name):
            base = self._of_kind(power[2] or power[3], _LENGTH)
            return base and base ** _POWERS[(power[1] or power[4]).lower()]
        if speed := _SPEED.fullmatch(name):
            way, time = self._of_kind(speed[1], _LENGTH), self._of_kind(speed[2], _TIME)
            return way / time if way and time else None
        return self._single(name)

    def _of_kind(self, name: str, kind: dict[str, int]) -> _Unit | None:
        unit = self._single(name)
        return unit if unit and self._kind(unit) == kind else None

    def _single(self, name: str) -> _Unit | None:
        if not _NAME.fullmatch(name):
            return None
        for written in (name, name.removesuffix("s")):  # pint knows no kgs
            if same := _SAME.get(written):
                return _Unit({same: 1})
            if readings := self._registry.parse_unit_name(written):
                prefix, unit, _ = readings[0]
                found = _Unit({prefix + unit: 1})
                return found if self._kind(found) and not unit.startswith("delta_") else None
        return None

    def _kind(self, unit: _Unit) -> dict[str, int] | None:
        """What it measures; None where that is nothing to convert here."""
        try:
            dimensions = self._registry.get_dimensionality(unit)
            root = self._registry.get_root_units(unit)[1]
        except pint.PintError:  # a prefix that its unit can't have
            return None
        measures = dict(dimensions) or dict(pint.util.to_units_container(root))
        return next((kind for kind in _KINDS if kind == measures), None)
