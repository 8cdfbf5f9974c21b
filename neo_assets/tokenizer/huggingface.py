"""A SentencePiece BPE model as a Hugging Face fast tokenizer with the same ids.

transformers' own conversion adds no word mark before text that begins with a space, and so loses it; this one builds the
tokenizer from the model's pieces: merges are all splits of a piece into two pieces, in score order. A text that holds the mark
U+2581 itself comes back with a space instead, here and in SentencePiece.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from neo_assets.core.recipe.model import Tokenizer

if TYPE_CHECKING:
    from tokenizers import decoders, normalizers
    from transformers import PreTrainedTokenizerFast
    from transformers.utils import sentencepiece_model_pb2_new as sentencepiece_proto

_MARK = "▁"
_NORMAL, _UNKNOWN, _CONTROL, _USER, _BYTE = 1, 2, 3, 4, 6


def export(model: bytes, settings: Tokenizer, folder: Path) -> PreTrainedTokenizerFast:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` into ``folder``; returns the tokenizer as read back from there."""
    from tokenizers import AddedToken, Regex, decoders, normalizers, processors
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast
    from transformers.utils import sentencepiece_model_pb2_new as sentencepiece_proto

    proto = sentencepiece_proto.ModelProto.FromString(model)
    vocabulary = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces}
    backend = Backend(BPE(vocabulary, _merges(proto, vocabulary, scores), unk_token=proto.pieces[0].piece, fuse_unk=True, byte_fallback=settings.byte_fallback))
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
    backend.add_special_tokens([AddedToken(p.piece, normalized=False, special=True) for p in proto.pieces if p.type in (_CONTROL, _UNKNOWN)])
    backend.add_tokens([AddedToken(p.piece, normalized=False) for p in proto.pieces if p.type == _USER])
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in settings.special_tokens])
    # No token is put before a text: the stream the model is trained on has no beginning-of-sequence token either.
    backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token=settings.end_of_document,
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.save_pretrained(str(folder))
    config_file = folder / "tokenizer_config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"  # the name that transformers 4 knows as well
    config_file.write_text(json.dumps(config, indent=1, ensure_ascii=False, sort_keys=True), encoding="utf-8")
    return PreTrainedTokenizerFast.from_pretrained(str(folder))


def _merges(proto: sentencepiece_proto.ModelProto, vocabulary: dict[str, int], scores: dict[str, float]) -> list[tuple[str, str]]:
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
