"""An FSMN voice activity detector of 20,000 weights that tells speech from a quiet room; trained in seconds.

The folder is laid out as the published one: https://huggingface.co/funasr/fsmn-vad.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.models import cached, sensevoice

ROUNDS = 60
LOUD = 0.001
"""Root mean square above which a frame is speech."""

FRONTEND = {"fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "dither": 0.0,
            "lfr_m": 5, "lfr_n": 1}  # fmt: skip
ENCODER = {
    "input_dim": 400, "input_affine_dim": 32, "fsmn_layers": 2, "linear_dim": 48, "proj_dim": 24, "lorder": 10,
    "rorder": 0, "lstride": 1, "rstride": 0, "output_affine_dim": 32, "output_dim": 4,
}  # fmt: skip
MODEL = {
    "sample_rate": 16000, "detect_mode": 1, "snr_mode": 0, "max_end_silence_time": 800, "max_start_silence_time": 3000,
    "do_start_point_detection": True, "do_end_point_detection": True, "window_size_ms": 200,
    "sil_to_speech_time_thres": 150, "speech_to_sil_time_thres": 150, "speech_2_noise_ratio": 1.0, "do_extend": 1,
    "lookback_time_start_point": 200, "lookahead_time_end_point": 100, "max_single_segment_time": 60000,
    "snr_thres": -100.0, "noise_frame_num_used_for_snr": 100, "decibel_thres": -100.0, "speech_noise_thres": 0.6,
    "fe_prior_thres": 0.0001, "silence_pdf_num": 1, "sil_pdf_ids": [0], "speech_noise_thresh_low": -0.1,
    "speech_noise_thresh_high": 0.3, "output_frame_probs": False, "frame_in_ms": 10, "frame_length_ms": 25,
}  # fmt: skip


def fsmn_vad() -> Path:
    """Return a folder that FunASR loads as any other fsmn-vad."""
    return cached("fsmn-vad", _make)


def _make(folder: Path) -> None:
    import numpy as np
    import torch
    import yaml
    from funasr.frontends.wav_frontend import WavFrontend

    parts = []
    for number, name in enumerate(sensevoice.PHRASES):
        clip = sensevoice.samples(name)
        parts += [sensevoice.noise(1, number), clip + sensevoice.noise(len(clip) / sensevoice.RATE, number)]
    clip = np.concatenate(parts)
    frontend = WavFrontend(cmvn_file=None, **FRONTEND)
    features = frontend(torch.from_numpy(clip)[None], torch.tensor([len(clip)]))[0][0]
    loudness = [float(np.sqrt((clip[start : start + 400] ** 2).mean())) for start in range(0, 160 * len(features), 160)]
    speech = torch.tensor([int(level > LOUD) for level in loudness])
    sensevoice.write_cmvn(folder / "am.mvn", features)
    config = {
        "frontend": "WavFrontendOnline", "frontend_conf": FRONTEND, "model": "FsmnVADStreaming", "model_conf": MODEL,
        "encoder": "FSMN", "encoder_conf": ENCODER,
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    weights = _trained((features - features.mean(0)) / (features.std(0) + 1e-5), speech)
    torch.save({f"encoder.{name}": value for name, value in weights.items()}, folder / "model.pt")


def _trained(features: Any, speech: Any) -> dict[str, Any]:
    """Return the weights of a network whose first output is how sure it is of silence."""
    import torch
    from funasr.models.fsmn_vad_streaming.encoder import FSMN

    torch.manual_seed(0)
    network = FSMN(**ENCODER)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    wanted = torch.full((len(speech), ENCODER["output_dim"]), 0.01)
    wanted[torch.arange(len(speech)), speech] = 0.97
    for _ in range(ROUNDS):
        found = network(features[None], {})[0]
        loss = -(wanted * (found + 1e-8).log()).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = (found.argmax(-1) == speech).float().mean().item()
    print(f"fsmn-vad: {right:.1%} of {len(speech)} frames are right")
    with torch.no_grad():  # a network this sure of itself gives zeros, whose logarithm FunASR takes
        network.out_linear2.linear.weight.mul_(0.3)
        network.out_linear2.linear.bias.mul_(0.3)
    return dict(network.state_dict())
