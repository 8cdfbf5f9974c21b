"""Starting from somebody else's weights: a Hugging Face folder with a Llama in safetensors. Nothing in it is executed or unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_bytes, digest_file, digest_json
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
        raise BadInput(f"from_model: {folder} has no *.safetensors; weights in other forms are not read, since those can run code")
    return files


def quick_digest(folder: Path) -> str:
    """What tells two model folders apart without reading gigabytes: the configuration, and each file's name, size and header (names, shapes, offsets)."""
    parts: list[object] = [digest_file(folder / "config.json") if (folder / "config.json").is_file() else None]
    for file in weight_files(folder):
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            parts.append([file.name, file.stat().st_size, digest_bytes(stream.read(min(length, 1 << 24)))])
    return digest_json(parts)


def content_digest(folder: Path) -> str:
    """Digest of the configuration and of every byte of the weights."""
    return digest_json([digest_file(folder / "config.json"), [[f.name, digest_file(f)] for f in weight_files(folder)]])


def shape_differences(folder: Path, model: Model, rows: int) -> list[str]:
    """What of the folder's configuration is not the recipe's model, in words."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads = config.get("num_attention_heads")
    there = {
        "model_type": config.get("model_type"),
        "layers": config.get("num_hidden_layers"),
        "hidden": config.get("hidden_size"),
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads", heads),
        "head_dim": config.get("head_dim") or (config.get("hidden_size", 0) // heads if heads else None),
        "ffn": config.get("intermediate_size"),
        "vocabulary rows": config.get("vocab_size"),
        "rope_theta": float((config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta", 10_000)),
        "norm_eps": config.get("rms_norm_eps"),
        "tied embeddings": bool(config.get("tie_word_embeddings", False)),
    }
    wanted = {"model_type": "llama", "vocabulary rows": rows, "tied embeddings": False}
    wanted |= {name: getattr(model, name) for name in ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "rope_theta", "norm_eps")}
    return [f"{name} is {there[name]!r} there, {value!r} in the recipe" for name, value in wanted.items() if there[name] != value]


def foreign_weights(folder: Path) -> dict[str, torch.Tensor]:
    """fp32 weights by name."""
    from safetensors.torch import load_file

    return {name: tensor.float() for file in weight_files(folder) for name, tensor in load_file(file).items()}
