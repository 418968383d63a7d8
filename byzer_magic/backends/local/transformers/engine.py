"""Causal language models in transformers: loading one, and answering several requests in one `generate`.

Imports torch and transformers, so it is imported in workers only.
"""

from __future__ import annotations

import copy
import json
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from byzer_magic.backends.engine.adapters import Adapter
from byzer_magic.backends.local.transformers.adapters import InUse
from byzer_magic.backends.local.transformers.detokenizer import Detokenizer
from byzer_magic.backends.local.transformers.params import Generation
from byzer_magic.types import ChatChunk, Usage

Emit = Callable[["Row", ChatChunk | None], None]
"""Hands a request what it gets; None where it only ends."""
Finish = Callable[[list[int], str], ChatChunk | None]
"""Makes the last chunk of an answer from all of its tokens, where that differs from their text."""


@dataclass(slots=True, eq=False, kw_only=True)
class Row:
    """One request in a batch."""

    prompt: list[int]
    generation: Generation
    limit: int
    text: Detokenizer
    adapter: Adapter | None = None
    """The same for all requests of a batch."""
    finish: Finish | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    tokens: list[int] = field(default_factory=list)
    done: bool = False

    def add(self, token: int, ends: frozenset[int]) -> ChatChunk | None:
        """Take the next token; return what it adds to the answer."""
        if self.stopped.is_set():
            self.done = True
            return None
        self.tokens.append(token)
        text = "" if token in ends else self.text.add(token)
        over = token in ends or self.text.ended
        if over or len(self.tokens) >= self.limit:
            self.done = True
            return self._last(text + self.text.rest(), "stop" if over else "length")
        return ChatChunk(text) if text and not self.finish else None

    def _last(self, text: str, finish: str) -> ChatChunk:
        usage = Usage(len(self.prompt), len(self.tokens))
        made = self.finish(self.tokens, finish) if self.finish else None
        if made is None:
            return ChatChunk(text, finish=finish, usage=usage)
        return ChatChunk(made.text, made.reasoning, made.finish or finish, usage, made.tool_calls)


class Abandoned(Exception):
    """No request waits for the batch any more: leaves the model between two of its layers."""


class Lockstep:
    """Ranks of a model that is split over processes agree here; a model in one process has no other ranks."""

    def begin(self, call: dict[str, Any]) -> dict[str, Any]:
        """Give all ranks the arguments of the next `generate`."""
        return call

    def agree(self, tokens: torch.Tensor, done: torch.Tensor) -> torch.Tensor:
        """Give all ranks the tokens that were chosen (in place), and which rows are done."""
        _ = tokens
        return done

    def lost(self) -> None:
        """Report that this rank failed in the middle of a `generate`."""

    @property
    def alone(self) -> bool:
        """Whether this process may leave a forward pass when it likes."""
        return True


class Model:
    """A model with its tokenizer, ready to answer."""

    def __init__(self, network: Any, tokenizer: Any, context: int, lockstep: Lockstep | None = None) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.context = context
        self.lockstep = lockstep or Lockstep()
        self.ends = _ends(network, tokenizer)
        self.pad = next((n for n in (tokenizer.pad_token_id, tokenizer.eos_token_id, *self.ends) if n is not None), 0)
        self.defaults = _own_defaults(network.generation_config)
        network.generation_config = _without_defaults(network.generation_config, self.pad)
        self.generate = network.generate
        self._adapters = InUse(network)
        self._rows: Sequence[Row] = ()
        self._stopped = threading.Event()
        if self.lockstep.alone:
            for layer in _layers(network):
                layer.register_forward_pre_hook(self._leave)

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def warm_up(self) -> None:
        """Generate a token, so that kernels are loaded and memory is allocated before the first user asks."""
        greedy = Generation(sampling=(("do_sample", False),))
        row = Row(prompt=[self.pad], generation=greedy, limit=1, text=Detokenizer(self.decode, ()))
        self.answer([row], lambda _row, _chunk: None, threading.Event())

    def answer(self, rows: Sequence[Row], emit: Emit, stopped: threading.Event) -> None:
        """Answer requests that agree in their sampling and their adapter, all in one batch.

        Raises:
            BadRequest: the adapter cannot be loaded.
        """
        self._adapters.use(rows[0].adapter)
        self._rows, self._stopped = rows, stopped
        longest = max(len(row.prompt) for row in rows)
        seed = rows[0].generation.seed
        call = {
            "ids": [[self.pad] * (longest - len(row.prompt)) + row.prompt for row in rows],
            "mask": [[0] * (longest - len(row.prompt)) + [1] * len(row.prompt) for row in rows],
            "most": max(row.limit for row in rows),
            "sampling": dict(rows[0].generation.sampling),
            "seed": torch.seed() % 2**63 if seed is None else seed,
        }
        try:
            run(self, self.lockstep.begin(call), _Watch(self, rows, emit, stopped))
        except Abandoned:
            pass
        except Exception:  # whatever it was, the other ranks still wait for this one
            self.lockstep.lost()
            raise
        finally:
            self._rows = ()

    def _leave(self, _layer: Any, _inputs: Any) -> None:
        if self._rows and (self._stopped.is_set() or all(row.done or row.stopped.is_set() for row in self._rows)):
            raise Abandoned


def run(model: Model, call: dict[str, Any], watch: StoppingCriteria) -> None:
    """Run `generate` once; every rank of a model does it with the same arguments."""
    torch.manual_seed(call["seed"])
    device = model.network.device
    sampling = dict(call["sampling"])
    penalties = {name: sampling.pop(f"{name}_penalty", 0.0) for name in ("frequency", "presence")}
    processors = LogitsProcessorList()
    if any(penalties.values()):
        processors.append(_Penalty(len(call["ids"][0]), **penalties))
    config = copy.deepcopy(model.network.generation_config)
    config.update(**sampling, max_new_tokens=call["most"])
    model.generate(
        input_ids=torch.tensor(call["ids"], device=device),
        attention_mask=torch.tensor(call["mask"], device=device),
        generation_config=config,
        logits_processor=processors,
        stopping_criteria=StoppingCriteriaList([watch]),
    )


class _Watch(StoppingCriteria):  # type: ignore[misc]  # transformers publishes no types
    """Hands each row its token, and returns to `generate` which rows are done."""

    def __init__(self, model: Model, rows: Sequence[Row], emit: Emit, stopped: threading.Event) -> None:
        self._model, self._rows, self._emit, self._stopped = model, rows, emit, stopped

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        tokens = input_ids[:, -1]
        for row, token in zip(self._rows, tokens.tolist(), strict=True):
            if row.done:
                continue
            chunk = row.add(token, self._model.ends)
            if chunk or row.done:
                self._emit(row, chunk)
        done = torch.tensor([row.done or self._stopped.is_set() for row in self._rows])
        return self._model.lockstep.agree(tokens, done).to(input_ids.device)


class _Penalty(LogitsProcessor):  # type: ignore[misc]  # transformers publishes no types
    """OpenAI's penalties for words that came in the answer: https://developers.openai.com/api/reference/resources/chat."""

    def __init__(self, prompt: int, frequency: float, presence: float) -> None:
        self._prompt, self._frequency, self._presence = prompt, frequency, presence

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        generated = input_ids[:, self._prompt :]
        counts = torch.zeros_like(scores).scatter_add_(1, generated, torch.ones_like(generated, dtype=scores.dtype))
        return scores - self._frequency * counts - self._presence * (counts > 0)


def _ends(network: Any, tokenizer: Any) -> frozenset[int]:
    found = network.generation_config.eos_token_id
    listed = found if isinstance(found, list) else [found]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None)


def _own_defaults(config: GenerationConfig) -> dict[str, Any]:
    """Return the options that the model recommends in its generation_config.json."""
    names = ["repetition_penalty", "no_repeat_ngram_size"]
    if config.do_sample:
        names += ["do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p"]
    return {name: value for name in names if (value := getattr(config, name, None)) is not None}


def _without_defaults(config: GenerationConfig, pad: int) -> GenerationConfig:
    """Return a configuration that does only what each call specifies: rows end by our own count and end tokens."""
    config = copy.deepcopy(config)
    for name in ("temperature", "top_p", "top_k", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram_size",
                 "do_sample", "max_length", "max_new_tokens", "min_length", "min_new_tokens", "eos_token_id",
                 "stop_strings"):  # fmt: skip
        setattr(config, name, None)
    config.num_beams = config.num_return_sequences = 1
    config.pad_token_id = pad
    return config


def _layers(network: Any) -> Sequence[Any]:
    lists = [module for module in network.modules() if isinstance(module, torch.nn.ModuleList)]
    return max(lists, key=len, default=[network])


def tool_reader(model: Model, prompt: list[int], generation: Generation) -> Finish:
    """Return the parser of tool calls and reasoning in an answer, which is transformers' own."""

    def finish(tokens: list[int], why: str) -> ChatChunk | None:
        kept = [token for token in tokens if token not in model.ends]
        try:
            found = model.tokenizer.parse_response(
                model.tokenizer.decode(kept), prefix=model.tokenizer.decode(prompt), tools=list(generation.tools)
            )
        except (ValueError, TypeError, KeyError):
            return None  # a truncated answer, or one that does not follow the template: its text is the answer
        calls = [_call(number, call) for number, call in enumerate(found.get("tool_calls") or [])]
        reasoning = found.get("reasoning_content") or found.get("thinking") or ""
        return ChatChunk(found.get("content") or "", reasoning, "tool_calls" if calls else why, None, calls or None)

    return finish


def _call(number: int, call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function", call)
    arguments = function.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    named = {"name": function["name"], "arguments": text}
    return {"index": number, "id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": named}
