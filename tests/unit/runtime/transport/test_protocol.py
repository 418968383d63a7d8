"""Values that cross a socket arrive as they were sent."""

from __future__ import annotations

from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.runtime.transport import protocol
from byzer_magic.stat import ModelStat
from byzer_magic.types import Loading


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
