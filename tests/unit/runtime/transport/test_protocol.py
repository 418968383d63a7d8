"""Values that cross a socket arrive as they were sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.runtime.transport import protocol
from byzer_magic.stat import ModelStat
from byzer_magic.types import Loading, Routed


def sent(method: str, value: object) -> object:
    return protocol.item_of(method, protocol.Item(1, protocol.pack(value)))


def test_loading_stage_crosses_the_socket_with_its_template_and_values() -> None:
    arrived = sent("watch", Loading(_("waiting for {n} requests", n=3), detail=_("worker {n}", n=1)))
    assert isinstance(arrived, Loading)
    assert isinstance(arrived.stage, Text)
    assert isinstance(arrived.detail, Text)
    assert (arrived.stage, arrived.stage.template) == ("waiting for 3 requests", "waiting for {n} requests")
    assert arrived.detail.values == {"n": 1}


def test_plain_stage_crosses_the_socket_as_a_string() -> None:
    assert sent("watch", Loading("compiling {kernels}")) == Loading("compiling {kernels}")


def test_model_stat_error_crosses_the_socket_with_its_template() -> None:
    known = ModelStat(
        model="m", kind="saas/openai", strategy="lru", capabilities=[], workers=[], concurrency=1,
        error=_("{file} does not exist", file="a.gguf"),
    )  # fmt: skip
    arrived = sent("stat", known)
    assert isinstance(arrived, ModelStat)
    assert isinstance(arrived.error, Text)
    assert arrived.error.template == "{file} does not exist"
    assert arrived == known


def test_reasons_of_a_route_cross_the_socket_as_texts() -> None:
    arrived = sent("chat", Routed("b", [("a", _("{alias} is not deployed.", alias="a")), ("c", "plain")]))
    assert isinstance(arrived, Routed)
    assert [(name, str(why)) for name, why in arrived.skipped] == [("a", "a is not deployed."), ("c", "plain")]


def structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """Yield the structs in a type."""
    for found in msgspec.inspect.multi_type_info([kind]) if kind is not None else []:
        pending = [found]
        while pending:
            one = pending.pop()
            pending += [*getattr(one, "types", ()), *filter(None, [getattr(one, "item_type", None)])]
            if isinstance(one, msgspec.inspect.StructType):
                yield one.cls


@pytest.mark.parametrize("method", protocol.METHODS)
def test_structs_that_have_texts_unpack_them(method: str) -> None:
    for kind in structs(protocol.METHODS[method][1]):
        if any("Localizable" in str(annotation) for annotation in kind.__annotations__.values()):
            assert hasattr(kind, "__post_init__"), f"{kind.__name__} shows packed texts"
