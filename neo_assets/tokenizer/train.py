"""``tokenizer``: SentencePiece BPE on the training pool, exported to a Hugging Face tokenizer with identical ids."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import sentencepiece

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.fingerprint import digest_file, digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.store import Artifact, Check, Outcome, Workspace
from neo_assets.tokenizer.huggingface import export
from neo_assets.tokenizer.probes import PROBES

_PROBE_DOCUMENTS = 200


class TokenizerInput(Section):
    languages: list[str]
    tokenizer: Tokenizer
    imported: str | None = None  # digest of the model that is taken over


def model_file(settings: Tokenizer) -> Path:
    """The SentencePiece model that a recipe takes over. Raises BadInput when it is not there."""
    path = Path(str(settings.from_model))
    path = path / "tokenizer.model" if path.is_dir() else path
    if not path.is_file():
        raise BadInput(
            f"tokenizer.from_model: {path} is not there; it names a SentencePiece .model file, or a folder with"
            " tokenizer.model"
        )
    return path


def train_tokenizer(config: TokenizerInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """One SentencePiece BPE model for both languages, trained on the training pool alone (or taken over as it is), and
    the same tokenizer for Hugging Face.

    Both give identical ids. Whether decode(encode(text)) returns the text, for English, Chinese, code and odd white
    space, is checked on probes and on real documents; the recipe says whether a loss stops the build.
    """
    settings = config.tokenizer
    budget = settings.sample_bytes // len(config.languages)
    by_lang = {lang: _sample(inputs["train_pool"], lang, budget) for lang in config.languages}
    proto = model_file(settings).read_bytes() if settings.from_model else _train(settings, by_lang)
    (out.path / "tokenizer.model").write_bytes(proto)
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
    except RuntimeError as error:
        raise BadInput(f"{settings.from_model}: not a SentencePiece model ({error})") from error
    if processor.vocab_size() != settings.vocab_size:
        raise BadInput(
            f"the SentencePiece model has {processor.vocab_size():,} pieces, tokenizer.vocab_size is"
            f" {settings.vocab_size:,}"
        )
    hf = export(proto, settings, out.path / "hf")
    documents = [text for texts in by_lang.values() for text in texts[:_PROBE_DOCUMENTS]]
    differing, lossy = [], []
    for name, text in [*PROBES.items(), *((f"document {i}", t) for i, t in enumerate(documents))]:
        ids = processor.encode(text)
        if hf.encode(text, add_special_tokens=False) != ids:
            differing.append(name)
        if processor.decode(ids) != text or hf.decode(ids) != text:
            lossy.append(name)
    total = len(PROBES) + len(documents)
    sizes = {"pieces": processor.vocab_size(), "ids": processor.vocab_size() + len(settings.special_tokens)}
    return Outcome(
        digest=digest_json({"model": digest_file(out.path / "tokenizer.model"), "special": settings.special_tokens}),
        numbers={
            **sizes,
            "end_of_document_id": end_of_document_id(settings, processor.vocab_size()),
            "training_bytes": sum(len(t.encode()) for ts in by_lang.values() for t in ts),
        },
        checks=[
            Check(
                name="same_ids",
                passed=not differing,
                detail=_tell(differing, total, "have other ids in the Hugging Face tokenizer"),
            ),
            Check(
                name="lossless",
                passed=not lossy,
                detail=_tell(lossy, total, "do not survive decode(encode(text))"),
                blocking=settings.must_be_lossless,
            ),
        ],
    )


def _train(settings: Tokenizer, by_lang: Mapping[str, list[str]]) -> bytes:
    """A SentencePiece model trained on these texts. Raises BadInput with SentencePiece's reason."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_lines(by_lang, settings.max_sentence_length),
            model_writer=model,
            model_type="bpe",
            vocab_size=settings.vocab_size,
            character_coverage=settings.character_coverage,
            normalization_rule_name=settings.normalization_rule_name,
            remove_extra_whitespaces=settings.remove_extra_whitespaces,
            add_dummy_prefix=settings.add_dummy_prefix,
            split_digits=settings.split_digits,
            byte_fallback=settings.byte_fallback,
            max_sentencepiece_length=settings.max_sentencepiece_length,
            max_sentence_length=settings.max_sentence_length,
            shuffle_input_sentence=False,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise BadInput(
            f"SentencePiece could not train on this pool: {error}. A smaller tokenizer.vocab_size often helps with"
            " little text."
        ) from error
    return model.getvalue()


def end_of_document_id(settings: Tokenizer, pieces: int) -> int:
    """Id of the token that ends a document. Raises BadInput when the recipe's list does not hold it."""
    if settings.end_of_document not in settings.special_tokens:
        raise BadInput(
            f"tokenizer.end_of_document is {settings.end_of_document!r}, which is not in tokenizer.special_tokens"
            f" {settings.special_tokens}"
        )
    return pieces + settings.special_tokens.index(settings.end_of_document)


def load_processor(artifact: Artifact) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(artifact.file("tokenizer.model")))


def hf_folder(artifact: Artifact) -> Path:
    return artifact.path / "hf"


def _sample(pool: Artifact, lang: str, budget: int) -> list[str]:
    """Whole documents of a language in id order, until its byte budget is used."""
    texts: list[str] = []
    used = 0
    for path in pool.files(f"{records.PART}{lang}-"):
        for text in records.read_table(path, records.DOCUMENT, ["text"]).column("text").to_pylist():
            if used >= budget:
                return texts
            used += len(text.encode())
            texts.append(text)
    return texts


def _lines(by_lang: Mapping[str, list[str]], longest: int) -> Iterator[str]:
    """Training lines, cut at ``longest`` bytes."""
    for texts in by_lang.values():
        for text in texts:
            for line in text.split("\n"):
                for i in range(0, len(line), longest // 4):
                    yield line[i : i + longest // 4]


def _tell(names: list[str], total: int, what: str) -> str:
    return f"{len(names)} of {total} texts {what}" + (f": {', '.join(names[:5])}" if names else "")
