from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.adapters.python_tools import ToolLoadError, from_entry_points, from_reference
from orchestrator.domain.tools import Effect

MODULE = """
from orchestrator.adapters.python_tools import tool
from orchestrator.domain.tools import Effect

@tool(effect=Effect.PURE)
def greet(name: str) -> str:
    "Greet somebody."
    return f"Hello {name}"

class Desk:
    @staticmethod
    def refund(order: str) -> str:
        "Refund an order."
        return order

def silent() -> None: ...
number = 7
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, with a module `greetings`."""
    (tmp_path / "greetings_of_a_test.py").write_text(MODULE)
    (tmp_path / "broken_of_a_test.py").write_text("import no_such_module_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("greetings_of_a_test", "broken_of_a_test"):
        sys.modules.pop(name, None)


def install(packages: Path, entry_points: str) -> None:
    folder = packages / "greetings-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: greetings\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[agent_fleet.tools]\n{entry_points}\n")


def test_installed_packages_offer_tools_by_entry_point(packages: Path) -> None:
    install(packages, "hello = greetings_of_a_test:greet")
    (found,) = [each for each in from_entry_points() if each.spec.schema.name == "hello"]
    assert found.spec.schema.description == "Greet somebody."
    assert found.spec.effect is Effect.PURE


def test_an_entry_point_that_can_not_be_imported_names_its_package(packages: Path) -> None:
    install(packages, "hello = broken_of_a_test:greet")
    with pytest.raises(ToolLoadError, match="'hello' of package greetings: broken_of_a_test can't"):
        from_entry_points()


def test_a_function_is_found_by_module_and_name(packages: Path) -> None:
    found = from_reference("greetings_of_a_test:Desk.refund", name="pay_back")
    assert found.spec.schema.name == "pay_back"
    assert found.spec.effect is Effect.AT_MOST_ONCE


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("greetings_of_a_test", "must be written module:function"),
        ("greetings_of_a_test:none", "greetings_of_a_test has no 'none'"),
        ("greetings_of_a_test:number", "is a int, not a function"),
        ("greetings_of_a_test:silent", "has no docstring"),
        ("no_such_module_anywhere:f", "can't be imported: ModuleNotFoundError"),
    ],
)
def test_a_wrong_reference_is_refused_with_a_sentence(
    packages: Path, reference: str, why: str
) -> None:
    with pytest.raises(ToolLoadError, match=why):
        from_reference(reference, name="odd")
