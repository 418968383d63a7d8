"""What embedding and reranking models share in sentence-transformers.

Parameters are the engine's own: https://sbert.net/docs/package_reference/sentence_transformer/model.html.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from byzer_magic.backends.base import Param, Report, Setup
from byzer_magic.backends.engine import loading
from byzer_magic.backends.local.transformers.params import DTYPES
from byzer_magic.errors import BadParameter, BadRequest, EngineFailed, suggest
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.local_models import files
from byzer_magic.local_models.files import Weights

T = TypeVar("T")
ENGINE = "sentence-transformers"
PARAMS = (
    Param(name="device", help=_("device, e.g. cpu or cuda:0 (default: a GPU when the worker has one)")),
    Param(name="dtype", help=_("data type (default auto: that of the weights, float32 on CPUs without bfloat16)"),
          default="auto", choices=DTYPES, aliases=("torch_dtype",)),
    Param(name="batch_size", kind="int", default=32, help=_("texts per batch")),
    Param(name="trust_remote_code", kind="bool", default=False, help=_("run code that comes with the model")),
)  # fmt: skip
_NOT_SENT = ("model", "user", "encoding_format", "extra_headers")
"""Fields of OpenAI's clients that have no effect on a local model."""
_OFFSET_POSITIONS = ("xlm-roberta", "roberta", "camembert", "mpnet")
"""Families whose positions start after the padding's."""
_AS_NAMED = ("bert", "xlm-roberta", "roberta", "distilbert", "mpnet")
"""Families whose files use the networks' own names for weights."""
_SPARE = ("pooler.", "position_ids", "token_type_ids")
"""Parts of a network that are not used, or not stored in files."""


def longest(weights: Weights) -> int | None:
    """Return the maximum tokens of a model, according to its configuration."""
    if weights.context and weights.config.get("model_type") in _OFFSET_POSITIONS:
        return weights.context - int(weights.config.get("pad_token_id") or 0) - 1
    return weights.context


def check(setup: Setup, weights: Weights, length: str) -> None:
    """Check the tokenizer and the shared parameters; `length` is the name of the one for the maximum length.

    Raises:
        BadParameter: the tokenizer is missing, or a number is out of range.
    """
    files.need_tokenizer(weights)
    if setup.params["batch_size"] < 1:
        raise BadParameter(
            _("batch_size is {batch_size}, which is not positive.", batch_size=setup.params["batch_size"]),
            _("Use 1 or more; the default is 32."),
        )
    wanted, most = setup.params.get(length), longest(weights)
    if wanted is not None and not 1 < wanted <= (most or wanted):
        if not most:
            raise BadParameter(_("{name} is {value:,}, which is too small.", name=length, value=wanted))
        raise BadParameter(
            _("{name} is {value:,}, but the model supports {most:,} tokens.", name=length, value=wanted, most=most),
            _("Use at most {most}, or leave it out.", most=most),
        )


def prepare(threads: int) -> None:
    """Import what takes long."""
    importlib.import_module("torch").set_num_threads(threads)
    importlib.import_module("transformers").utils.logging.disable_progress_bar()
    importlib.import_module("sentence_transformers")


def settings(setup: Setup, weights: Weights) -> dict[str, Any]:
    """Return the arguments for loading: device, data type, nothing from a hub.

    Raises:
        BadParameter: the device is not available.
        EngineFailed: the worker's GPU cannot be used.
    """
    from byzer_magic.backends.local.transformers import load as transformers_load

    where = transformers_load.placement(setup)["device_map"]
    where = "cuda:0" if where == "auto" else where  # these models fit into one GPU
    return {
        "device": where,
        "trust_remote_code": setup.params["trust_remote_code"],
        "local_files_only": True,
        "model_kwargs": {"dtype": transformers_load.data_type(setup.params, weights, where)},
    }


def limit(model: Any, weights: Weights, wanted: int | None) -> int | None:
    """Set and return the tokens at which texts are truncated; a tokenizer may allow more than the model supports."""
    known = [number for number in (wanted or model.max_seq_length, longest(weights)) if number]
    if not known:
        return None
    model.max_seq_length = min(known)
    return min(known)


def check_complete(weights: Weights, model: Any) -> None:
    """Refuse a model with missing weights: the engine only logs that, and uses random ones.

    Raises:
        EngineFailed: the files lack weights.
    """
    if weights.config.get("model_type") not in _AS_NAMED or weights.files[0].suffix != ".safetensors":
        return
    there = {name.replace("gamma", "weight").replace("beta", "bias")
             for file in weights.files for name in files.safetensors_header(file)}  # fmt: skip
    there |= {name.partition(".")[2] for name in there}  # the network may be within a larger one
    wanted = [name for name in model.transformers_model.state_dict() if not any(part in name for part in _SPARE)]
    if missing := [name for name in wanted if name not in there]:
        raise EngineFailed(
            _(
                "{path} lacks {count_missing} of {count_wanted} weights of a {architecture}, which would be "
                "random: {missing}.",
                path=weights.path,
                architecture=weights.architecture,
                missing=listed(missing[:3]),
                count_missing=len(missing),
                count_wanted=len(wanted),
            ),
            _("Download the model again."),
        )


def lengths(model: Any, *texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text (or pair of texts) before truncation."""
    read = model.tokenizer(*(list(each) for each in texts), truncation=False, padding=False, verbose=False)
    return [len(row) for row in read["input_ids"]]


def asked(options: Mapping[str, Any], known: Collection[str], what: str) -> dict[str, Any]:
    """Return the options that a request gives a value.

    Raises:
        BadRequest: one is unknown; the nearest is in the hint.
    """
    found = {name: value for name, value in options.items() if value is not None and name not in _NOT_SENT}
    found |= found.pop("extra_body", {})
    for name in found:
        if name not in known:
            raise BadRequest(
                _("{what} has no option {name!r}.", what=what, name=name),
                suggest(name, known, _("Options: {known}.", known=listed(known))),
            )
    return found


def number(options: Mapping[str, Any], name: str, most: int | None = None) -> int | None:
    """Return an option that is a positive integer.

    Raises:
        BadRequest: it is something else, or more than `most`.
    """
    value = options.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadRequest(_("{name} is {value!r}, which is not a positive integer.", name=name, value=value), "")
    if most is not None and value > most:
        raise BadRequest(
            _("{name} is {value}, but the maximum is {most}.", name=name, value=value, most=most),
            _("Use at most {most}, or leave it out.", most=most),
        )
    return value


def choice(name: str, value: Any, known: Sequence[str]) -> str:
    """Return the value of an option that is one of `known`.

    Raises:
        BadRequest: it is not; the nearest is in the hint.
    """
    if value in known:
        return str(value)
    hint = suggest(str(value), known, _("Use one of: {names}.", names=listed(known)))
    raise BadRequest(_("{name} is {value!r}, which is not supported.", name=name, value=value), hint)


async def loaded(setup: Setup, weights: Weights, report: Report, load: Callable[[], T]) -> T:
    """Return what `load` returns, from a thread, and report the progress.

    Raises:
        EngineFailed: sentence-transformers cannot load the files, or they are incomplete.
    """
    threads = loading.prepare_environment(setup.cpus)
    try:
        report(_("importing {engine}", engine=ENGINE), None)
        await asyncio.to_thread(prepare, threads)
        with loading.watched(report, _("loading {name}", name=weights.path.name), weights.size):
            return await asyncio.to_thread(load)
    except Exception as err:  # the engine's code may raise anything
        raise loading.failed(ENGINE, weights.path, err) from err
