from __future__ import annotations

import pickle

import msgspec
import pytest

from byzer_magic import errors
from byzer_magic.errors import KINDS, ByzerError, from_wire, to_wire


def example(kind: type[ByzerError]) -> ByzerError:
    return kind(
        "It happened. 出错了。", "Do this next.", status=429, retry_after=1.5, request_id="r-1", nested={"a": [1]}
    )


def assert_same(copy: ByzerError, original: ByzerError) -> None:
    assert type(copy) is type(original)
    assert (copy.message, copy.hint, copy.details) == (original.message, original.hint, original.details)
    assert (str(copy), copy.code, copy.args) == (str(original), original.code, original.args)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_error_keeps_everything_through_pickle(kind: type[ByzerError]) -> None:
    original = example(kind)
    assert_same(pickle.loads(pickle.dumps(original)), original)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_to_wire_and_from_wire_keep_everything(kind: type[ByzerError]) -> None:
    original = example(kind)
    assert_same(from_wire(msgspec.msgpack.decode(msgspec.msgpack.encode(to_wire(original)))), original)


def test_kinds_has_every_class_of_the_module() -> None:
    classes = {
        name: item for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, ByzerError)
    }
    assert classes == KINDS


def documented_tree() -> dict[str, str]:
    """Read the module's docstring: each class is on one line, indented by two below its base."""
    bases: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.split("(")[0].split()[:1]
        if name and name[0] in KINDS:
            depth = (len(line) - len(line.lstrip()) - 4) // 2
            above[depth:] = name
            bases[name[0]] = above[depth - 1] if depth else "Exception"
    return bases


def test_module_docstring_names_every_class() -> None:
    assert documented_tree().keys() == KINDS.keys()


def test_module_docstring_draws_each_class_below_its_base() -> None:
    assert documented_tree() == {name: kind.__bases__[0].__name__ for name, kind in KINDS.items()}


def test_str_is_the_message_then_the_hint() -> None:
    assert str(ByzerError("What.", "Next.")) == "What.\nNext."
    assert str(ByzerError("What.")) == "What."


def test_from_wire_of_an_unknown_code_is_a_plain_error() -> None:
    error = from_wire({"code": "FromTheFuture", "message": "What."})
    assert type(error) is ByzerError
    assert (error.message, error.hint, error.details) == ("What.", "", {})


def test_base_class_catches_its_branch() -> None:
    with pytest.raises(errors.RequestError):
        raise errors.ContextTooLong("Too long.")
