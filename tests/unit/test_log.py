from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from byzer_magic.log import ROOT, RedactingFilter, get_logger, redact

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "key",
    ["sk-abcdef123456", "sk-proj-a_b-c123", "Bearer eyJhbGciOi.J9~x", "AKIAIOSFODNN7EXAMPLE"],
)
def test_what_looks_like_a_key_is_hidden(key: str) -> None:
    assert redact(f"got {key}, status 401") == "got ***, status 401"


@pytest.mark.parametrize("text", ["task-1234567890 is done", "the bearer of news", "a plain line", "", "sk-1"])
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


def test_known_secrets_are_hidden_everywhere() -> None:
    assert redact(f"{SECRET}:{SECRET} x", ("other", SECRET)) == "***:*** x"


def test_very_short_secrets_are_left_alone() -> None:
    assert redact("the cat", ("a", "cat", "")) == "the cat"


def test_a_secret_that_begins_with_another_is_hidden_whole() -> None:
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


def test_message_and_arguments_are_redacted(output: io.StringIO) -> None:
    get_logger("test_log").warning("key %s and %s, %d%%", SECRET, "sk-abcdef123456", 5)
    assert output.getvalue() == "WARNING key *** and ***, 5%\n"


def test_tracebacks_are_redacted(output: io.StringIO) -> None:
    try:
        raise ValueError(f"provider said: bad key {SECRET}")
    except ValueError:
        get_logger("test_log").exception("request failed")
    text = output.getvalue()
    assert SECRET not in text
    assert "ValueError: provider said: bad key ***" in text
    assert "Traceback" in text


@pytest.mark.parametrize("field", ["stack_info", "exc_text"])
def test_text_that_a_record_brings_along_is_redacted(field: str, output: io.StringIO) -> None:
    logger = get_logger("test_log")
    record = logger.makeRecord(logger.name, logging.WARNING, __file__, 1, "failed", (), None)
    setattr(record, field, f"at key {SECRET}")
    logger.handle(record)
    assert SECRET not in output.getvalue()


def test_percent_signs_in_a_redacted_message_are_no_format(output: io.StringIO) -> None:
    get_logger("test_log").warning("%s", "100%s done")
    assert output.getvalue() == "WARNING 100%s done\n"


def test_loggers_are_the_applications_to_configure() -> None:
    logger = get_logger("runtime.pool")
    assert logger.name == f"{ROOT}.runtime.pool"
    assert (logger.level, logger.handlers, logger.propagate) == (logging.NOTSET, [], True)
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger(ROOT).handlers)
