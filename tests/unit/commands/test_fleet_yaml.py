"""Several deployments in one file, and the durations in it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, strategies as st

from byzer_magic.commands import durations, fleet_yaml
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import CommandError
from tests.property.test_command_roundtrip import PLACEHOLDER


def is_kept(text: str) -> bool:
    """Return whether a file keeps a text as it is: not its spaces, and a guide's placeholder is refused."""
    return text.strip() == text and not PLACEHOLDER.fullmatch(text)


names = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=12)
deployments = st.builds(
    DeploySpec,
    model=names,
    pretrained_model_type=st.just("saas/openai"),
    num_workers=st.integers(1, 99),
    min_workers=st.one_of(st.none(), st.integers(0, 9)),
    max_workers=st.one_of(st.none(), st.integers(1, 99)),
    idle=st.one_of(st.none(), st.floats(0, 1e6)),
    infer_params=st.dictionaries(
        names.map("saas.{}".format), st.text(string.printable, min_size=1).filter(is_kept), max_size=4
    ),
)


@given(st.lists(deployments, max_size=5, unique_by=lambda item: item.model))
def test_what_is_written_is_read_again(specs: list[DeploySpec]) -> None:
    assert fleet_yaml.read(fleet_yaml.write(specs), "fleet.yaml") == sorted(specs, key=lambda item: item.model)


def test_order_does_not_matter() -> None:
    one, two = DeploySpec(model="a", model_path="/m"), DeploySpec(model="b", model_path="/m")
    assert fleet_yaml.write([one, two]) == fleet_yaml.write([two, one])


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n---\n---\n"])
def test_file_may_be_empty(text: str) -> None:
    assert fleet_yaml.read(text, "fleet.yaml") == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model: a\n---\nmodel: a\n", "defines a more than once"),
        ("model: a\n---\nmodel: b\nnum_workers: many\n", "num_workers in fleet.yaml is 'many'"),
        ("model: a\n---\nmodel: [b\n", "not valid YAML on line 3"),
        ("num_workers: 2\n", "deploy needs --model"),
        ("model: a\nnum_worker: 2\n", "Unknown option 'num_worker'"),
        ("model: <alias>\n", "placeholder <alias>"),
        ("model: a\nidle: soon\n", "a duration such as 90s"),
    ],
)
def test_bad_file_is_one_error_that_names_the_place(text: str, problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        fleet_yaml.read(text, "fleet.yaml")


@given(st.integers(0, 10**9))
def test_durations_are_read_as_they_are_written(seconds: int) -> None:
    assert durations.seconds_in(durations.written(float(seconds))) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10 m", "m", "1m1h", "nan", "inf", "10x", "-5m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        durations.seconds_in(text)
