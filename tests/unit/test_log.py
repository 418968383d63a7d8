from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from byzer_magic.i18n import lazy_gettext, localized
from byzer_magic.log import ROOT, RedactingFilter, get_logger, redact

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "key",
    ["sk-abcdef123456", "sk-proj-a_b-c123", "Bearer eyJhbGciOi.J9~x", "AKIAIOSFODNN7EXAMPLE"],
)
def test_redact_hides_what_looks_like_a_key(key: str) -> None:
    assert redact(f"got {key}, status 401") == "got ***, status 401"


@pytest.mark.parametrize("text", ["task-1234567890 is done", "the bearer of news", "a plain line", "", "sk-1"])
def test_redact_leaves_ordinary_text(text: str) -> None:
    assert redact(text) == text


def test_redact_hides_known_secrets_everywhere() -> None:
    assert redact(f"{SECRET}:{SECRET} x", ("other", SECRET)) == "***:*** x"


def test_redact_keeps_a_text_translatable() -> None:
    text = redact(lazy_gettext("Unknown command {name}.", name=f"{SECRET} sk-abcdef123456"), (SECRET,))
    assert text == "Unknown command *** ***."
    assert localized(text, "zh") == "未知命令 *** ***。"


def test_redact_leaves_very_short_secrets() -> None:
    assert redact("the cat", ("a", "cat", "")) == "the cat"


def test_redact_hides_the_longer_of_two_secrets_completely() -> None:
    assert redact("key abcdefgh", ("abcd", "abcdefgh")) == "key ***"


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter((SECRET,)))
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = get_logger("test_log")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_filter_redacts_message_and_arguments(output: io.StringIO) -> None:
    get_logger("test_log").warning("key %s and %s, %d%%", SECRET, "sk-abcdef123456", 5)
    assert output.getvalue() == "WARNING key *** and ***, 5%\n"


def test_filter_redacts_tracebacks(output: io.StringIO) -> None:
    try:
        raise ValueError(f"provider said: bad key {SECRET}")
    except ValueError:
        get_logger("test_log").exception("request failed")
    text = output.getvalue()
    assert SECRET not in text
    assert "ValueError: provider said: bad key ***" in text
    assert "Traceback" in text


@pytest.mark.parametrize("field", ["stack_info", "exc_text"])
def test_filter_redacts_the_other_texts_of_a_record(field: str, output: io.StringIO) -> None:
    logger = get_logger("test_log")
    record = logger.makeRecord(logger.name, logging.WARNING, __file__, 1, "failed", (), None)
    setattr(record, field, f"at key {SECRET}")
    logger.handle(record)
    assert SECRET not in output.getvalue()


def test_filter_keeps_percent_signs(output: io.StringIO) -> None:
    get_logger("test_log").warning("%s", "100%s done")
    assert output.getvalue() == "WARNING 100%s done\n"


def test_get_logger_leaves_configuration_to_the_application() -> None:
    logger = get_logger("runtime.pool")
    assert logger.name == f"{ROOT}.runtime.pool"
    assert (logger.level, logger.handlers, logger.propagate) == (logging.NOTSET, [], True)
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger(ROOT).handlers)
