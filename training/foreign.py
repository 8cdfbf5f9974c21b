"""Starting from somebody else's weights: a Hugging Face folder with a Llama in safetensors. Nothing in it is executed
or unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.recipe.run import Model

if TYPE_CHECKING:
    import torch


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files, in name order.

    Raises:
        BadInput: no folder, no configuration, or weights in another form.
    """
    if not (folder / "config.json").is_file():
        raise BadInput(f"from_model: {folder} is no Hugging Face folder: it has no config.json")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadInput(
            f"from_model: {folder} has no *.safetensors; weights in other forms are not read, since those can run code"
        )
    return files


def content_digest(folder: Path, digest: Callable[[Path], str] = digest_file) -> str:
    """Digest of the configuration and of every byte of the weights: 1 s a gigabyte, unless ``digest`` remembers."""
    return digest_json([digest(folder / "config.json"), [[f.name, digest(f)] for f in weight_files(folder)]])


def shape_differences(folder: Path, model: Model, rows: int) -> list[str]:
    """What of the folder's configuration is not the recipe's model, in words. What this model cannot compute at all is
    among it: rotary scaling, biases, another activation.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads = config.get("num_attention_heads")
    rope = config.get("rope_parameters") or {}
    there = {
        "model_type": config.get("model_type"),
        "layers": config.get("num_hidden_layers"),
        "hidden": config.get("hidden_size"),
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads", heads),
        "head_dim": config.get("head_dim") or (config.get("hidden_size", 0) // heads if heads else None),
        "ffn": config.get("intermediate_size"),
        "vocabulary rows": config.get("vocab_size"),
        "rope_theta": float(rope.get("rope_theta") or config.get("rope_theta") or 10_000),
        "rotary scaling": _rotary_scaling(rope) or _rotary_scaling(config.get("rope_scaling") or {}),
        "share of a head that is rotated": float(
            rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1
        ),
        "norm_eps": config.get("rms_norm_eps"),
        "activation": config.get("hidden_act", "silu"),
        "attention bias": bool(config.get("attention_bias", False)),
        "bias in the feed-forward layers": bool(config.get("mlp_bias", False)),
        "tied embeddings": bool(config.get("tie_word_embeddings", False)),
    }
    wanted = {
        "model_type": "llama",
        "vocabulary rows": rows,
        "rotary scaling": None,
        "share of a head that is rotated": 1.0,
        "activation": "silu",
    }
    wanted |= {
        "attention bias": False,
        "bias in the feed-forward layers": False,
        "tied embeddings": model.tied_embeddings,
    }
    wanted |= {
        name: getattr(model, name)
        for name in ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "rope_theta", "norm_eps")
    }
    return [
        f"{name} is {there[name]!r} there, {value!r} in the recipe"
        for name, value in wanted.items()
        if there[name] != value
    ]


def _rotary_scaling(settings: dict[str, object]) -> str | None:
    """The kind of scaling that a configuration asks for (llama3, yarn, linear …), if any; older
    ones call it ``type``.
    """
    kind = settings.get("rope_type") or settings.get("type")
    return None if kind in (None, "default") else str(kind)


def foreign_weights(folder: Path) -> dict[str, torch.Tensor]:
    """fp32 weights by name."""
    from safetensors.torch import load_file

    return {name: tensor.float() for file in weight_files(folder) for name, tensor in load_file(file).items()}
