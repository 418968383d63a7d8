"""The time of each word, from the cross-attention of Whisper's decoder: for transformers.

The path through the attention of the heads that follow the speech (`alignment_heads` of the folder's
generation_config.json) is found by dynamic time warping. faster-whisper has this built in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from byzer_magic.backends.custom.whisper.params import UNSPACED
from byzer_magic.backends.custom.whisper.windows import TICK_SECONDS, Word
from byzer_magic.backends.engine.audio import RATE

SMOOTHED_FRAMES = 7
UNFINISHED = "\ufffd"
"""What the tokenizer returns for an incomplete character."""


def times(model: Any, heads: Sequence[Sequence[int]] | None, encoded: Any, tokens: Sequence[int], first: int,
          samples: int) -> list[float]:  # fmt: skip
    """Return when each token from `first` on begins, in seconds of the window, and when the last one ends.

    `tokens` are what the decoder started with, what it wrote without timestamps, and the end token.
    """
    import torch

    if model.config._attn_implementation != "eager":
        model.set_attn_implementation("eager")
    ids = torch.tensor([list(tokens)], device=encoded.device)
    output = model(encoder_outputs=(encoded,), decoder_input_ids=ids, output_attentions=True, use_cache=False)
    layers = output.cross_attentions
    chosen = heads or [(layer, head) for layer in range(len(layers) // 2, len(layers))
                       for head in range(layers[0].shape[1])]  # fmt: skip
    frames = max(1, round(samples / RATE / TICK_SECONDS))
    weights = torch.stack([layers[layer][0, head, :, :frames] for layer, head in chosen]).float()
    weights = (weights - weights.mean(1, keepdim=True)) / weights.std(1, keepdim=True, correction=0).clamp_min(1e-9)
    matrix = _smoothed(weights).mean(0)[first - 1 : -1]  # a row attends to the token after it
    return [frame * TICK_SECONDS for frame in _starts(-matrix.cpu().numpy())]


def _smoothed(weights: Any) -> Any:
    """Return the median of each frame and its neighbours."""
    from torch.nn.functional import pad

    side = SMOOTHED_FRAMES // 2
    if weights.shape[-1] <= side:
        return weights
    return pad(weights, (side, side), mode="reflect").unfold(-1, SMOOTHED_FRAMES, 1).median(-1)[0]


def _starts(cost: Any) -> list[int]:
    """Return the frame at which each row begins on the cheapest path from the first corner to the last."""
    import numpy as np

    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    for row in range(1, rows + 1):
        above, line = total[row - 1], total[row]
        before = np.minimum(above[:-1], above[1:])
        for column in range(1, columns + 1):
            line[column] = cost[row - 1, column - 1] + min(before[column - 1], line[column - 1])
    starts = [0] * rows
    row, column = rows, columns
    while row > 0:
        starts[row - 1] = column - 1
        ways = (total[row - 1, column - 1], total[row - 1, column], total[row, column - 1])
        best = ways.index(min(ways))
        row -= best != 2
        column -= best != 1
    return starts


def words(decode: Callable[[Sequence[int]], str], tokens: Sequence[int], starts: Sequence[float], offset: float,
          language: str | None) -> tuple[Word, ...]:  # fmt: skip
    """Return the words that tokens make; `starts` has one more than there are tokens: the end of the last."""
    found: list[tuple[int, str]] = []
    begin = 0
    for end in range(1, len(tokens) + 1):
        text = decode(tokens[begin:end])
        if text.endswith(UNFINISHED) and end < len(tokens):
            continue
        fresh = text.strip().isalnum() if language in UNSPACED else text.startswith(" ")
        if fresh or not found:
            found.append((begin, text))
        else:
            found[-1] = (found[-1][0], found[-1][1] + text)
        begin = end
    ends = [at for at, _ in found[1:]] + [len(tokens)]
    return tuple(
        Word(offset + starts[at], offset + starts[end], text) for (at, text), end in zip(found, ends, strict=True)
    )
