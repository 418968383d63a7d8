"""The table of commands is complete: each has a function that runs it, in each of its faces."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from byzer_magic import cli
from byzer_magic.commands import registry
from byzer_magic.commands.help import help_text
from byzer_magic.commands.options import Spec, option
from byzer_magic.commands.registry import COMMANDS, REGISTRY, Command, command, command_of
from byzer_magic.commands.spec import DeploySpec, PanelSpec


@pytest.fixture
def planted() -> Iterator[type[Spec]]:
    """A command without a runner, as if declared and not yet implemented."""

    @command("planted", run="byzer_magic.actions.inspect:planted")
    class PlantedSpec(Spec):
        summary = "Count things."
        examples = ("planted",)

        things: str | None = option(None, help="what to count")

    yield PlantedSpec
    del REGISTRY["planted"], COMMANDS["planted"]


def test_registry_every_command_has_a_runner_a_summary_and_an_example() -> None:
    assert list(registry.faults()) == []


def test_registry_reports_a_command_without_a_runner(planted: type[Spec]) -> None:
    assert command_of(planted).name == "planted"
    (fault,) = registry.faults()
    assert fault.startswith("planted: byzer_magic.actions.inspect:planted cannot run it")


@pytest.mark.parametrize("run", ["byzer_magic.actions.inspect:json", "byzer_magic.log:get_logger", "no.such:thing"])
def test_registry_reports_a_runner_of_another_shape(monkeypatch: pytest.MonkeyPatch, run: str) -> None:
    row = Command(name="stat", spec=DeploySpec, run=run)
    monkeypatch.setitem(REGISTRY, "stat", row)
    assert [fault.partition(" ")[0] for fault in registry.faults()] == ["stat:"]


@pytest.mark.parametrize("row", REGISTRY.values(), ids=REGISTRY)
def test_command_is_in_the_help_of_its_faces(row: Command) -> None:
    assert row.name in help_text()
    assert row.faces == (("cell",) if row.name == "%%chat" else ("magic",) if row.notebook_only else ("magic", "shell"))


@pytest.mark.parametrize("row", [row for row in REGISTRY.values() if "shell" not in row.faces and row.notebook_only],
                         ids=lambda row: row.name)  # fmt: skip
def test_command_of_notebooks_names_its_stand_in_in_a_shell(row: Command, capsys: pytest.CaptureFixture[str]) -> None:
    line = row.spec.examples[-1].split()
    assert cli.main(line) == 2
    assert row.notebook_only in capsys.readouterr().err


def test_command_of_finds_the_row_of_a_spec_and_of_its_class() -> None:
    assert command_of(DeploySpec(model="m")).name == command_of(DeploySpec).name == "deploy"
    assert command_of(PanelSpec).faces == ("magic",)


def test_registry_imports_no_runner_before_it_is_needed() -> None:
    code = "import sys; from byzer_magic.commands import spec; print([m for m in sys.modules if '.actions' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
