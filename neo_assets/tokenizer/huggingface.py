"""A SentencePiece BPE model as a Hugging Face fast tokenizer with the same ids.

transformers' own conversion adds no word mark before text that begins with a space, and so loses it; this one builds
the tokenizer from the model's pieces: merges are all splits of a piece into two pieces, in score order. A text that
holds the mark U+2581 itself comes back with a space instead, here and in SentencePiece.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from neo_assets.core.recipe.model import Tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, normalizers
    from transformers import PreTrainedTokenizerFast
    from transformers.utils import sentencepiece_model_pb2_new as sentencepiece_proto

PADDING = "<PAD>"
"""The padding token, where a recipe has it among its special tokens; otherwise the end of a document pads."""
_MARK = "▁"
_NORMAL, _UNKNOWN, _CONTROL, _USER, _BYTE = 1, 2, 3, 4, 6


def export(model: bytes, settings: Tokenizer, folder: Path) -> PreTrainedTokenizerFast:
    """Write ``tokenizer.json``, ``tokenizer_config.json`` and ``tokenizer.model`` into ``folder``; returns the
    tokenizer as read back from there.

    ``tokenizer.model`` costs a copy. llama.cpp needs it: without the pieces' scores its converter makes a file that
    does not load, or tokenizes otherwise.
    """
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model)
    _backend(model, settings).save(str(folder / "tokenizer.json"))
    config = _config(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"], settings)
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, indent=1, ensure_ascii=False, sort_keys=True), encoding="utf-8"
    )
    return PreTrainedTokenizerFast.from_pretrained(str(folder))


def _backend(model: bytes, settings: Tokenizer) -> Backend:
    from tokenizers import AddedToken, Regex, decoders, normalizers, processors
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import BPE
    from transformers.utils import sentencepiece_model_pb2_new as sentencepiece_proto

    proto = sentencepiece_proto.ModelProto.FromString(model)
    vocabulary = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces}
    backend = Backend(
        BPE(
            vocabulary,
            _merges(proto, vocabulary, scores),
            unk_token=proto.pieces[0].piece,
            fuse_unk=True,
            byte_fallback=settings.byte_fallback,
        )
    )
    steps: list[normalizers.Normalizer] = []
    if proto.normalizer_spec.precompiled_charsmap:  # SentencePiece's own table of its NFKC variant; empty for identity
        steps.append(normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap))
    if settings.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if settings.add_dummy_prefix:
        steps.append(normalizers.Prepend(_MARK))
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", _MARK)])
    parts: list[decoders.Decoder] = [decoders.Replace(_MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    if settings.add_dummy_prefix:
        parts.append(decoders.Strip(" ", 1, 0))
    backend.decoder = decoders.Sequence(parts)
    backend.add_special_tokens(
        [AddedToken(p.piece, normalized=False, special=True) for p in proto.pieces if p.type in (_CONTROL, _UNKNOWN)]
    )
    backend.add_tokens([AddedToken(p.piece, normalized=False) for p in proto.pieces if p.type == _USER])
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in settings.special_tokens])
    # No token is put before a text: the stream the model is trained on has no beginning-of-sequence token either.
    backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
    return backend


def _config(added: list[dict[str, object]], settings: Tokenizer) -> dict[str, object]:
    """What transformers 4.57, transformers 5 and llama.cpp's converter each have to be told; none of them reads all of
    it.

    ``split_special_tokens``: text that spells ``<EOD>`` is text, as in training. It costs the template of a chat model
    its role markers (they would be split as well), so a folder with a template must say false. Padding stands on the
    left, where a batch can be continued; who trains on padded rows sets it right.
    """
    return {
        "tokenizer_class": (
            "PreTrainedTokenizerFast"
        ),  # transformers 5's own name for it is an error in 4.57; LlamaTokenizer asks 4.57 for protobuf
        "bos_token": "<s>",
        "eos_token": settings.end_of_document,
        "unk_token": "<unk>",
        "pad_token": PADDING if PADDING in settings.special_tokens else settings.end_of_document,
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
        "model_input_names": ["input_ids", "attention_mask"],  # 4.57 adds token_type_ids, which a Llama refuses
        # llama.cpp takes true for both of these where nothing is said, and knows of no token beyond tokenizer.model
        # that is not listed here.
        "add_bos_token": False,
        "add_prefix_space": settings.add_dummy_prefix,
        "added_tokens_decoder": {
            str(token["id"]): {name: value for name, value in token.items() if name != "id"} for token in added
        },
    }


def _merges(
    proto: sentencepiece_proto.ModelProto, vocabulary: dict[str, int], scores: dict[str, float]
) -> list[tuple[str, str]]:
    """All (left, right) whose union is a normal piece, best score first, as SentencePiece would merge them."""
    found = []
    for piece in proto.pieces:
        if piece.type != _NORMAL:
            continue
        for cut in range(1, len(piece.piece)):
            left, right = piece.piece[:cut], piece.piece[cut:]
            if left in vocabulary and right in vocabulary:
                found.append((-scores[piece.piece], vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]
