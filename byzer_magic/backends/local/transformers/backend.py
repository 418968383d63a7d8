"""Models through Hugging Face transformers: folders of weights as they are published, and GGUF files.

Slower than vLLM, but it runs nearly every model on any device. Requests of one worker are batched when their options
agree: https://huggingface.co/docs/transformers/llm_tutorial.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Report, Setup
from byzer_magic.backends.engine import loading
from byzer_magic.backends.engine.adapters import Adapters
from byzer_magic.backends.local.transformers import check as transformers_check, params as transformers_params
from byzer_magic.backends.local.transformers.batch import Batches
from byzer_magic.backends.local.transformers.params import Generation
from byzer_magic.backends.openai import schema as openai_schema
from byzer_magic.capabilities import Capability
from byzer_magic.errors import (
    BadParameter,
    BadRequest,
    ContextTooLong,
    StreamTruncated,
    Unsupported,
)
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models.engine_facts import MB, EngineFacts, EnginePackage, MemoryFacts, as_torch
from byzer_magic.local_models.files import Weights
from byzer_magic.types import ChatChunk, ChatRequest

if TYPE_CHECKING:
    from byzer_magic.backends.local.transformers.engine import Model, Row


class TransformersBackend(Backend):
    """Chat with a causal language model in this process."""

    info: ClassVar[Info] = Info(
        kind="custom/auto (transformers)",
        title="transformers",
        params=transformers_params.PARAMS,
        extra="transformers",
        capabilities=frozenset({Capability.CHAT, Capability.TOOLS}),
        engine=EngineFacts(
            packages=(EnginePackage(module="transformers", companions=("torch",), devices=as_torch),),
            formats=("transformers", "gguf"),
            auto={"transformers": 20},
            memory=MemoryFacts(overhead_bytes=660 * MB, unpacks=True),
            context_param="backend.max_model_len",
        ),
    )
    takes_adapters = True
    packages: ClassVar[str] = "torch and transformers"

    def __init__(self, model: Model, setup: Setup) -> None:
        given = {name: setup.params[name] for name in transformers_params.GENERATION if name in setup.params}
        self._model = model
        self._defaults: Mapping[str, Any] = {**model.defaults, **given}
        self._adapters = Adapters(setup.params, paths.expanded(str(setup.model_path)))
        self._batches = Batches(self.info.title, model.answer, max(1, setup.concurrency))

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check files, parameters and packages, as far as nothing heavy need be imported for it."""
        transformers_check.check(setup)

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Load the model in a thread, so that the event loop stays responsive.

        Raises:
            EngineFailed: transformers cannot load it, or the files do not hold all of it.
            BadParameter: it has no chat template, or its device is not there.
        """
        weights = transformers_check.check(setup)
        threads = loading.prepare_environment(setup.cpus)
        try:
            report(_("importing {packages}", packages=cls.packages), None)
            await asyncio.to_thread(cls._import, threads)
            with loading.watched(report, _("loading {name}", name=weights.path.name), weights.size):
                model = await asyncio.to_thread(cls._load, setup, weights)
            _need_template(model)
            report(_("generating a first token"), None)
            await asyncio.to_thread(model.warm_up)
        except Exception as err:  # the engine's code may raise anything
            raise loading.failed(cls.info.title, weights.path, err) from err
        report(_("model loaded"), 1.0)
        return cls(model, setup)

    @classmethod
    def _import(cls, threads: int) -> None:
        import torch

        importlib.import_module("byzer_magic.backends.local.transformers.load")
        torch.set_num_threads(threads)

    @classmethod
    def _load(cls, setup: Setup, weights: Weights) -> Model:
        from byzer_magic.backends.local.transformers import engine as transformers_engine, load as transformers_load

        return transformers_engine.Model(*transformers_load.load(setup, weights))

    async def close(self) -> None:
        """Stop what runs, then free the model."""
        await self._batches.close()
        del self._model

    def capabilities(self) -> frozenset[Capability]:
        """Return what the model can do: tools when its tokenizer has a template for tool calls."""
        can = getattr(self._model.tokenizer, "response_template", None)
        return frozenset({Capability.CHAT, Capability.TOOLS} if can else {Capability.CHAT})

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the response as it is generated; closing the iterator removes the request from its batch.

        Raises:
            ContextTooLong: the prompt does not fit into the context.
            BadRequest: an option is unknown or invalid, or the chat template rejects the messages.
            Unsupported: the model or transformers does not support the request.
        """
        async with aclosing(self._generate(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _generate(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        generation = transformers_params.generation(self._defaults, request.options)
        with self._batches.preparing():
            adapter = await self._adapters.find(generation.lora) if generation.lora is not None else None
            row = await asyncio.to_thread(self._row, request, generation)
            row.adapter = adapter
        finished = False
        group = (adapter, *generation.group(len(row.prompt)))
        async with aclosing(self._batches.run(row, group)) as chunks:
            async for chunk in chunks:
                finished = finished or chunk.finish is not None
                yield chunk
        if not finished:
            raise StreamTruncated(
                _("{title} stopped before the response was complete.", title=self.info.title),
                _("Send the request again; see %byzer logs."),
            )

    def _row(self, request: ChatRequest, generation: Generation) -> Row:
        from byzer_magic.backends.local.transformers.detokenizer import Detokenizer
        from byzer_magic.backends.local.transformers.engine import Row, tool_reader

        model = self._model
        prompt = _prompt(model, request, generation)
        room = model.context - len(prompt)
        if room < 1:
            raise ContextTooLong(
                _(
                    "The prompt has {count_prompt} tokens, but the context length is {context}.",
                    count_prompt=len(prompt),
                    context=model.context,
                ),
                _("Shorten the conversation, or deploy with a larger max_model_len if the model supports it."),
                prompt_tokens=len(prompt),
                n_ctx=model.context,
            )
        return Row(
            prompt=prompt,
            generation=generation,
            limit=min(generation.limit or room, room),
            text=Detokenizer(model.decode, generation.stops),
            finish=tool_reader(model, prompt, generation) if generation.tools else None,
        )


def _prompt(model: Model, request: ChatRequest, generation: Generation) -> list[int]:
    """Return the tokens of a conversation, formatted by the model's chat template."""
    from jinja2 import TemplateError

    tokenizer = model.tokenizer
    tools = list(generation.tools) or None
    if tools and not getattr(tokenizer, "response_template", None):
        raise Unsupported(
            _("transformers cannot parse tool calls of this model: its tokenizer has no response_template."),
            _("Deploy with response_template=FILE.json, or with --infer_backend vllm or llama_cpp."),
        )
    if tools and "tools" not in tokenizer.get_chat_template(None, tools):
        raise Unsupported(
            _("The model's chat template does not support tools."), _("Use one that does: chat_template=FILE.")
        )
    try:
        found = tokenizer.apply_chat_template(
            _plain(request), tools=tools, add_generation_prompt=True, return_dict=True, **dict(generation.template)
        )
    except (TemplateError, ValueError, TypeError, KeyError) as err:
        reason = " ".join(str(err).split())
        raise BadRequest(
            _("The model's chat template rejected the messages: {reason}", reason=reason),
            _("Change the messages accordingly."),
        ) from err
    prompt: list[int] = list(found["input_ids"])
    return prompt


def _plain(request: ChatRequest) -> list[dict[str, Any]]:
    """Return the messages with their parts joined to one text, as templates of text models expect."""
    return [
        {**turn, "content": _text(turn.get("content"))}
        for turn in map(_checked, openai_schema.messages(request.messages))
    ]


def _checked(turn: dict[str, Any]) -> dict[str, Any]:
    for part in turn["content"] if isinstance(turn.get("content"), list) else []:
        if part.get("type") != "text":
            raise Unsupported(
                _("The transformers engine accepts text only, not images or audio."), _("Send text only.")
            )
    return turn


def _text(content: Any) -> Any:
    return "".join(part["text"] for part in content) if isinstance(content, list) else content or ""


def _need_template(model: Model) -> None:
    if not model.tokenizer.chat_template:
        raise BadParameter(
            _("The model's tokenizer has no chat template, so the model does not support chat."),
            _("Add chat_template=FILE.jinja, or use the instruct version of the model."),
        )


BACKEND = TransformersBackend
