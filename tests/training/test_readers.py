"""One exported folder, read alike by this transformers, by 4.57 in an environment of its own, and by llama.cpp's
converter. Downloads packages; reads no hub.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import save_file

from neo_assets.core.fingerprint import ROOT
from neo_assets.core.recipe import load
from neo_assets.tokenizer.huggingface import export as export_tokenizer
from neo_assets.tokenizer.probes import PROBES
from neo_assets.tokenizer.train import _train, end_of_document_id
from tests.factory.site import _chinese, _english
from tests.training.folders import SHAPE, run_program, write_spec
from training import export
from training.weights import module_weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

OTHER = ["transformers==4.57.6", f"torch=={torch.__version__.split('+')[0]}", "safetensors"]
"""Another transformers over the same torch: logits can then be asked for to the last bit."""
LLAMA_CPP = "llama-cpp-python==0.3.36"
"""Its source package brings llama.cpp's converter, and the ``gguf`` that belongs to it (the one on PyPI is older).
Nothing of it is built or kept.
"""
PIECES, NEW_TOKENS = 2000, 12
WHITE = (
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    " \n ",
    "\t",
    " \t",
    "\r\n",
    "\u3000",
    "\u00a0",
    "\u2028",
    "\ufeff",
    "\x00",
    "\x7f",
    "\u2581",
)
HARMLESS = (
    "Token indices sequence length is longer",
    "Device set to use cpu",
    "The following generation flags are not valid and may be ignored: ['temperature']",
)
"""A text of the tests is longer than the context; the rest is 4.57's pipeline on its own defaults."""


def texts(special: list[str]) -> list[str]:
    """Probes, every special token's spelling in nine surroundings, odd white space and random
    mixtures: 200 and more.
    """
    generator = random.Random(2)
    found = list(PROBES.values())
    for s in [*special, "<0x0A>", "\u2581", "<|im_start|>", "[INST]"]:
        found += [s, f" {s}", f"{s} ", f"a{s}b", f"a {s} b", f"{s}{s}", f"\n{s}\n", f"The tag {s} ends.", f"文{s}字"]
    found += [
        "",
        "e\u0301",
        "שלום",
        "🙂🙂",
        "𠮷",
        "1234567890",
        "a" * 300,
        " " * 70,
        "if (a < b && c > d) { return </s>; }",
        "<html><s>old</s></html>",
        "x = '<EOD>'  # ends\n\n\n",
    ]
    found += [f"{before}a{after}" for before in WHITE for after in ("", "\n", "  ")] + list(WHITE)
    while len(found) < 200:
        mixed = ["".join(_chinese(generator, 1)), *_english(generator, 1), generator.choice(special), "x=1;\n"]
        found += [
            " ".join(_english(generator, 2)),
            "".join(_chinese(generator, 2)),
            generator.choice(["  ", "\n\t", ""]).join(mixed),
        ]
    return found


@pytest.fixture(scope="module", params=["laptop", "neo-7b"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder, and beside it what is expected of it: ids from SentencePiece, everything else from the engine's own
    weights in the recipe's model.
    """
    torch.set_num_threads(1)
    work = tmp_path_factory.mktemp("readers")
    generator = random.Random(1)
    settings = load(request.param).tokenizer.model_copy(update={"vocab_size": PIECES})
    english = ["\n".join(_english(generator, 20)) for _ in range(60)] + [
        p.read_text(encoding="utf-8") for p in sorted((ROOT / "training").glob("*.py"))
    ]
    proto = _train(settings, {"en": english, "zh": ["".join(_chinese(generator, 20)) for _ in range(60)]})
    export_tokenizer(proto, settings, work / "tokenizer")
    # A rope_theta unlike the library's default, and weights large enough that a wrong one shows.
    shape = SHAPE.model_copy(update={"rope_theta": 500_000.0, "kv_heads": 2, "init_std": 0.25})
    rows = shape.vocab_rows(PIECES + len(settings.special_tokens))
    program = Path(__file__).with_name("one_checkpoint.py")
    subprocess.run(
        [sys.executable, str(program), str(work), shape.model_dump_json(), str(rows), "1-bf16"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    config = {"model": shape.model_dump(), "vocab_rows": rows, "tag": "state", "threads": 1}
    spec = write_spec(
        work / "job", "training.export", config, {"checkpoint": work / "1-bf16", "tokenizer": work / "tokenizer"}
    )
    done = run_program(spec)
    assert done.returncode == 0, done.stderr[-3000:]

    processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
    end = end_of_document_id(settings, PIECES)
    special = {"<unk>": 0, "<s>": 1, "</s>": 2} | {token: PIECES + i for i, token in enumerate(settings.special_tokens)}
    ours = texts(list(special))
    ids = [processor.encode(text) for text in ours]
    model = export.bf16_model(export.ExportConfig.model_validate(config), module_weights(work / "1-bf16" / "state"))
    probe = torch.randint(PIECES, (2, 96), generator=torch.Generator().manual_seed(0))
    tensors = {"ids": probe}
    prompts = ["The model", "语言模型由", "    return x", "a <EOD> b", "the"]
    with torch.no_grad():
        tensors["logits.bfloat16"] = model(input_ids=probe, use_cache=False).logits
        tensors["logits.float32"] = model.float()(input_ids=probe, use_cache=False).logits
        new = [_likeliest(model, processor.encode(prompt), never=end) for prompt in prompts]
    wanted = work / "expected"
    wanted.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, wanted / "expected.safetensors")
    facts = {
        "texts": ours,
        "ids": ids,
        "decoded": [processor.decode(one) for one in ids],
        "special": special,
        "prompts": prompts,
        "new_ids": new,
        "tokenizer": {
            "bos_token_id": 1,
            "eos_token_id": end,
            "pad_token_id": special["<PAD>"],
            "unk_token_id": 0,
            "padding_side": "left",
            "model_max_length": shape.context,
            "model_input_names": ["input_ids", "attention_mask"],
            "length": len(special) + PIECES - 3,
        },
        "config": {
            "vocab_size": rows,
            "max_position_embeddings": shape.context,
            "head_dim": shape.head_dim,
            "num_key_value_heads": shape.kv_heads,
            "rms_norm_eps": shape.norm_eps,
            "bos_token_id": 1,
            "eos_token_id": end,
            "tie_word_embeddings": False,
            "rope_theta": shape.rope_theta,
            "dtype": "bfloat16",
        },
    }
    (wanted / "expected.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    return work / "job" / "out", wanted


def _likeliest(model: torch.nn.Module, ids: list[int], never: int) -> list[int]:
    """The likeliest continuation, computed whole each time: no cache, no padding, no generation code."""
    made = list(ids)
    for _ in range(NEW_TOKENS):
        row = model(input_ids=torch.tensor([made]), use_cache=False).logits[0, -1]
        row[never] = -torch.inf
        made.append(int(row.argmax()))
    return made[len(ids) :]


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with transformers 4.57 and nothing of ours; 1.1 GB, made in
    one to two minutes.
    """
    folder = tmp_path_factory.mktemp("stranger")
    venv.create(folder, with_pip=True)
    subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *OTHER],
        check=True,
        timeout=900,
    )
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """llama.cpp's converter, out of a source package of 77 MB."""
    folder = tmp_path_factory.mktemp("llama")
    ask = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        "llama-cpp-python",
        "--dest",
        str(folder),
        LLAMA_CPP,
    ]
    subprocess.run(ask, check=True, timeout=900)
    (package,) = folder.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        archive.extractall(
            folder,
            filter="data",
            members=[
                m
                for m in archive.getmembers()
                if "/vendor/llama.cpp/c" in m.name or "/vendor/llama.cpp/gguf-py/" in m.name
            ],
        )
    return next(folder.glob("*/vendor/llama.cpp"))


def _nothing_differs(interpreter: Path, exported: tuple[Path, Path], transformers: str) -> None:
    program = Path(__file__).with_name("check_export.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [interpreter, str(program), *map(str, exported)], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["transformers"].startswith(transformers)
    assert told["largest_logit_difference"] == {"float32": 0.0, "bfloat16": 0.0}
    assert [w for w in told["warnings"] if not w.startswith(HARMLESS)] == []
    assert {
        name: value
        for name, value in told.items()
        if value and name not in ("transformers", "torch", "largest_logit_difference", "warnings")
    } == {}


def test_this_transformers_reads_what_was_trained(exported: tuple[Path, Path]) -> None:
    _nothing_differs(Path(sys.executable), exported, "5.")


def test_transformers_4_reads_the_same(exported: tuple[Path, Path], stranger: Path) -> None:
    _nothing_differs(stranger, exported, "4.57")


def test_llama_cpps_converter_makes_the_same_model_and_tokenizer(
    exported: tuple[Path, Path], llama_cpp: Path, tmp_path: Path
) -> None:
    folder, wanted = exported
    expected = json.loads((wanted / "expected.json").read_text(encoding="utf-8"))
    made = tmp_path / "model.gguf"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, llama_cpp / "convert_hf_to_gguf.py", folder, "--outfile", made],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    read = subprocess.run(
        [sys.executable, Path(__file__).with_name("read_gguf.py"), llama_cpp / "gguf-py", made],
        capture_output=True,
        text=True,
        check=True,
    )
    file = json.loads(read.stdout)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    special, config = expected["special"], expected["config"]
    assert (file["general.architecture"], file["tokenizer.ggml.model"]) == (
        "llama",
        "llama",
    )  # tokenized as SentencePiece does, by score
    assert file["llama.rope.freq_base"] == config["rope_theta"]
    assert (file["llama.vocab_size"], file["llama.context_length"]) == (
        config["vocab_size"],
        config["max_position_embeddings"],
    )
    assert (
        file["shapes"]["token_embd.weight"][1] == len(file["tokenizer.ggml.tokens"]) == config["vocab_size"]
    )  # otherwise it does not load
    normal = [i for i in range(PIECES) if i not in special.values()]
    assert [file["tokenizer.ggml.tokens"][i] for i in normal] == [processor.id_to_piece(i) for i in normal]
    assert [file["tokenizer.ggml.scores"][i] for i in normal] == pytest.approx([processor.get_score(i) for i in normal])
    assert {i: file["tokenizer.ggml.tokens"][i] for i in special.values()} == {i: name for name, i in special.items()}
    assert {file["tokenizer.ggml.token_type"][i] for i in special.values()} == {3}  # control: never matched in a text
    assert {file["tokenizer.ggml.token_type"][i] for i in range(PIECES + len(special) - 3, config["vocab_size"])} == {
        5
    }  # unused
    ids = [file[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos", "padding", "unknown")]
    assert ids == [expected["tokenizer"][f"{name}_token_id"] for name in ("bos", "eos", "pad", "unk")]
    assert file["tokenizer.ggml.add_bos_token"] is False
    assert file["tokenizer.ggml.add_space_prefix"] is processor.id_to_piece(processor.encode("a")[0]).startswith(
        "\u2581"
    )
