"""Options of requests as settings of transformers."""

from __future__ import annotations

from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.local.transformers.params import GENERATION, generation


def sampling(options: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    return dict(generation(defaults, options).sampling)


def test_generation_samples_when_temperature_is_above_zero() -> None:
    assert sampling({}) == {"do_sample": False}
    assert sampling({"temperature": 0}, top_p=0.5) == {"do_sample": False}
    assert sampling({"temperature": 1}) == {"do_sample": True, "temperature": 1.0}
    assert sampling({"temperature": 1}, do_sample=False)["do_sample"] is True
    assert sampling({"top_p": 0.5}) == {"do_sample": True, "top_p": 0.5}
    assert sampling({"top_k": -1, "temperature": 2})["top_k"] == 0
    assert sampling({}, do_sample=True, temperature=0.6) == {"do_sample": True, "temperature": 0.6}


def test_generation_leaves_neutral_values_out() -> None:
    assert sampling({"repetition_penalty": 1, "presence_penalty": 0}, repetition_penalty=1.1) == {"do_sample": False}


def test_generation_accepts_names_of_openai_and_transformers() -> None:
    for name in ("max_tokens", "max_completion_tokens", "max_new_tokens"):
        assert generation({"max_tokens": 9}, {name: 5}).limit == 5
    assert generation({"stop": '["a", "b"]'}, {}).stops == ("a", "b")
    assert generation({"stop": "a"}, {"stop_strings": ["b"]}).stops == ("b",)
    assert generation({}, {"extra_body": {"top_k": 3}}).sampling == (("do_sample", True), ("top_k", 3))
    assert generation({}, {"max_tokens": None}).limit is None
    assert generation({}, {"chat_template_kwargs": {"enable_thinking": False}}).template == (
        ("enable_thinking", False),
    )
    with pytest.raises(errors.BadRequest) as caught:
        generation({}, {"xyz": 1})
    assert all(name in caught.value.hint for name in GENERATION)


def test_generation_group_decides_who_shares_a_batch() -> None:
    def together(first: dict[str, Any], second: dict[str, Any], lengths: tuple[int, int] = (5, 9)) -> bool:
        return generation({}, first).group(lengths[0]) == generation({}, second).group(lengths[1])

    assert together({"max_tokens": 1}, {"stop": "x"})
    assert together({"temperature": 1}, {"temperature": 1.0})
    assert together({"seed": 1}, {"seed": 2}), "no chance, no seed"
    assert not together({"temperature": 1}, {"temperature": 0.9})
    assert not together({"temperature": 1, "seed": 1}, {"temperature": 1, "seed": 1}), "others change what comes"
    assert not together({"repetition_penalty": 1.1}, {"repetition_penalty": 1.1}), "padding would count as prompt"
    assert together({"repetition_penalty": 1.1}, {"repetition_penalty": 1.1}, (5, 5))
