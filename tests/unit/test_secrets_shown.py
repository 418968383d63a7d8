"""Whatever takes a secret shows it nowhere: a table of all settings of all providers, however the secret is given."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.base import Param
from byzer_magic.commands import completion, parser
from byzer_magic.commands.secrets import known_here
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.log import RedactingFilter, redact
from byzer_magic.magics import tooltip
from byzer_magic.plan import Plan, resolve
from byzer_magic.widgets.form import values as form_values
from byzer_magic.widgets.form.values import PARAM

KEY = "plantedQ7w8E9r0T1y2U3"
OTHERS = {
    "saas.model": "x",
    "saas.api_key": "another-key-0123",
    "saas.region_name": "us-east-1",
    "saas.service_region": "eastus",
    "saas.base_url": "https://gw.example",
    "saas.azure_endpoint": "https://gw.example",
    "saas.aws_access_key_id": "AKIAEXAMPLE",
    "saas.aws_secret_access_key": "another-secret-0123",
}
"""What some provider requires."""
PUT = {
    "saas.extra_headers": json.dumps({"X-Api-Key": KEY}),
    "saas.extra_body": json.dumps({"nested": [{"api_key": KEY}]}),
    "saas.proxy": f"http://me:{KEY}@proxy.example:1",
    "saas.base_url": f"https://me:{KEY}@gw.example/v1",
}
"""Values that have a secret in them; of other settings, it is the value."""
KINDS = (
    "saas/openai", "saas/claude", "saas/aws_bedrock", "saas/azure", "saas/azure_openai", "saas/qianwen",
    "saas/qianwen_vl", "saas/volcengine", "saas/ollama", "saas/deepseek",
)  # fmt: skip
"""One of each kind of client."""


def texts_of(plan: Plan, *, secret: bool) -> Iterator[str]:
    """Return what faces, Ray and logs get to see of a plan."""
    yield from (repr(plan), repr(plan.setup), repr(plan.setup.network), f"{plan} {plan.spec}", *map(str, plan.notes))
    if secret:
        record = logging.makeLogRecord({"msg": "sent %r", "args": (KEY,)})
        RedactingFilter(plan.hidden).filter(record)
        yield record.getMessage()


def texts(kind: str, param: Param, typed: str, value: str) -> Iterator[str]:
    info = registry.find(kind).info
    required = {name: text for name, text in OTHERS.items() if name in {each.name for each in info.params}}
    params = required | {param.name: typed}
    spec = DeploySpec(model="m", pretrained_model_type=kind, infer_params=params)
    yield repr(spec)
    yield parser.line(spec, masked=True)
    try:
        yield from texts_of(resolve(spec, {}, {"PLANTED": value}), secret=param.secret or param.name in PUT)
    except errors.ByzerError as err:
        shown = "".join(traceback.format_exception(err)) + repr(err) + repr(err.details) + repr(errors.to_wire(err))
        hidden = known_here(parser.line(spec), {"PLANTED_KEY": value})  # as faces do with each error
        yield redact(shown, hidden) if typed == value else shown
    if typed == value and param.secret:
        values = {"model": "m", "pretrained_model_type": kind} | {
            f"{PARAM}{name}": text for name, text in params.items()
        }
        yield form_values.yaml_of(values, (), info)
        yield str(form_values.apart(values, info)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_no_setting_shows_its_secret(kind: str) -> None:
    for param in registry.find(kind).info.params:
        value = PUT.get(param.name, KEY)
        ways = ["${PLANTED}", "env:PLANTED", *([value] if param.secret or param.name in PUT else [])]
        for typed in ways:
            for text in texts(kind, param, typed, value):
                assert KEY not in text, (param.name, typed)


def test_neither_completion_nor_tooltip_shows_what_was_typed() -> None:
    names = [f"{param.name}=" for param in registry.find("saas/openai").info.params]
    line = f"deploy --model m --pretrained_model_type saas/openai --infer_params saas.api_key={KEY} "
    assert KEY not in str(completion.complete(line, params=lambda *_: names))
    assert KEY not in str(tooltip.help_at(f"%byzer {line}", len(line)))
