"""Export a checkpoint as a Hugging Face folder: a job's program, one process.

The published weights are the fp32 master weights rounded to bf16. For a bf16 run these are, bit for bit, the weights
the engine computed with. The parity test does not assume that: it reads the engine's own weights by another way, builds
the model from the recipe, and asks for the same logits, to the last bit, from the folder as a stranger would load it.
Rounding costs an fp32 run some precision; how much is in ``parity.json``. No GPU is used; the model has to fit into
memory twice.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from neo_assets.core import records
from neo_assets.core.jobs import Reporter, RunningJob
from neo_assets.core.recipe.run import Model
from training.chat import Talker
from training.document_start import DOCUMENT_START, NOTHING
from training.templates import PENALTY, TEMPLATE, TEMPLATES
from training.weights import master_weights, module_weights

if TYPE_CHECKING:
    import torch
    from transformers import (
        GenerationConfig,
        LlamaForCausalLM,
        LlamaForSequenceClassification,
        PreTrainedTokenizerBase,
    )

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "chat_template.jinja",
)
PARITY_SEQUENCES, PARITY_TOKENS = 2, 256
"""How much the parity test reads; more finds no more, each weight is used by every token."""


class ExportConfig(BaseModel):
    """What ``training.export`` needs besides its input folders ``checkpoint`` (holds ``‹tag›/``) and ``tokenizer``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Model
    vocab_rows: int
    tag: str  # folder of DeepSpeed's files inside the checkpoint
    threads: int
    template: str | None = None  # of conversations, where it was fine-tuned on them
    repetition_penalty: float = 1.0  # of answers
    scored: bool = False  # a reward model


def export(job: RunningJob) -> None:
    """Write the folder, then prove it. Exits with a message when the tokenizer does not fit or parity fails."""
    import torch
    import transformers

    spec = job.spec
    config = ExportConfig.model_validate(spec.config)
    checkpoint, tokenizer_folder, out = Path(spec.inputs["checkpoint"]), Path(spec.inputs["tokenizer"]), Path(spec.out)
    torch.set_num_threads(config.threads)
    reporter = Reporter(job.folder.path)
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)

    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder)
    if len(tokenizer) > config.vocab_rows:
        raise SystemExit(
            f"the tokenizer in {tokenizer_folder} has {len(tokenizer)} tokens, the model {config.vocab_rows} embedding"
            " rows: they do not belong together"
        )
    masters = master_weights(checkpoint, config.tag)
    model = bf16_model(config, masters, tokenizer.bos_token_id, tokenizer.eos_token_id)
    if config.template is not None:
        setattr(model.config, TEMPLATE, config.template)
    if config.scored:
        model.config.pad_token_id = padding_of_rewards(tokenizer)
    else:
        model.generation_config = generation_config(tokenizer)
        if config.template is not None:
            setattr(model.config, PENALTY, config.repetition_penalty)
            stops = Talker.of(model, tokenizer, config.template).stops
            model.generation_config.eos_token_id = list(stops)
    model.save_pretrained(out)
    for name in TOKENIZER_FILES:
        if (tokenizer_folder / name).is_file():
            shutil.copyfile(tokenizer_folder / name, out / name)
    tell_every_reader(out, config.model.context)
    if config.template is not None:
        tell_who_chats(out, config.template)
    size = sum(p.stat().st_size for p in out.glob("*.safetensors"))
    print(f"wrote {size:,} bytes of weights in {time.monotonic() - began:.1f} s", flush=True)
    reporter.send("note", text="weights written", bytes=size)

    parity = measure_parity(config, checkpoint, masters, out)
    records.write_text(out / "parity.json", json.dumps(parity, indent=1))
    if parity["max_abs_logit_difference"] != 0 or parity["tensors_differing"] != 0:
        raise SystemExit(
            "parity failed: logits of the exported folder differ from the checkpoint's by up to"
            f" {parity['max_abs_logit_difference']} ({parity['tensors_differing']} of {parity['tensors']} weights"
            f" differ, first: {parity['first_differing']}). The folder {out} is not the trained model."
        )
    print(
        f"parity: {parity['tensors']} weights and {parity['tokens']} tokens' logits are equal to the last bit",
        flush=True,
    )
    reporter.send("done", **parity)


def generation_config(tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """How the model generates unless it is asked otherwise: with the cache, which training needs off in the
    configuration, and padding without being told how.
    """
    from transformers import GenerationConfig

    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )


def padding_of_rewards(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """transformers reads a reward at the last token that is no padding: a token that ends answers must not be it. None
    where the tokenizer has no other; then transformers takes one answer at a time.
    """
    pad: int | None = tokenizer.pad_token_id
    return None if pad == tokenizer.eos_token_id else pad


def tell_every_reader(out: Path, context: int) -> None:
    """Add what transformers 5 does not write and others read: without a word transformers 4.57 takes 10,000 for a
    ``rope_theta`` that is not at the top.

    ``torch_dtype`` is ``dtype``'s name before 4.56. With ``model_max_length`` truncating works, at the price of a
    warning for every first text that is longer.
    """
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    _rewrite(out / "config.json", rope_theta=config["rope_parameters"]["rope_theta"], torch_dtype=config["dtype"])
    _rewrite(out / "tokenizer_config.json", model_max_length=context)


def tell_who_chats(out: Path, template: str) -> None:
    """The template of conversations, as transformers, vLLM and llama.cpp's converter look for it.

    Markers stand in its text, so special tokens must not be split there: text that spells one becomes one, in whatever
    renders this template. `neo chat` and `neo eval` encode piece by piece and do not have that hole.
    """
    records.write_text(out / "chat_template.jinja", TEMPLATES[template].jinja())
    _rewrite(out / "tokenizer_config.json", split_special_tokens=False)


def _rewrite(file: Path, **changes: object) -> None:
    content = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def bf16_model(
    config: ExportConfig, weights: dict[str, torch.Tensor], bos: int | None = None, eos: int | None = None
) -> LlamaForCausalLM | LlamaForSequenceClassification:
    """The recipe's model with these weights in bf16; its configuration says that documents begin with nothing."""
    import torch
    from transformers import LlamaForCausalLM, LlamaForSequenceClassification

    from training.model import llama_config, load_weights, round_to_bf16, scored_config

    told = llama_config(config.model, config.vocab_rows, bos_token_id=bos, eos_token_id=eos)
    model = LlamaForSequenceClassification(scored_config(told)) if config.scored else LlamaForCausalLM(told)
    load_weights(model, weights)
    round_to_bf16(model)
    model.config.dtype = torch.bfloat16
    setattr(model.config, DOCUMENT_START, NOTHING)
    return model.eval()


def measure_parity(
    config: ExportConfig, checkpoint: Path, masters: dict[str, torch.Tensor], out: Path
) -> dict[str, object]:
    """Compare the folder, loaded as anybody would, with the engine's own weights in the recipe's model.

    ZeRO stage 3 keeps no whole module in the checkpoint; there the reference is the rounded master weights.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    from training.model import load_weights

    folder = checkpoint / config.tag
    own = module_weights(folder)
    reference_is = "engine's module weights" if own else "master weights rounded to bf16"
    reference = bf16_model(config, own or masters)
    reader = AutoModelForSequenceClassification if config.scored else AutoModelForCausalLM
    exported = reader.from_pretrained(out, dtype=torch.bfloat16).eval()
    reference.config.pad_token_id = exported.config.pad_token_id
    apart = config.scored and exported.config.pad_token_id is None

    def said(model: torch.nn.Module) -> torch.Tensor:
        """Logits, or rewards; transformers takes answers one at a time where no token is padding."""
        asked = ids[:, None] if apart else [ids]
        return torch.cat([model(input_ids=rows, use_cache=False).logits for rows in asked])

    length = min(PARITY_TOKENS, config.model.context)
    ids = torch.randint(config.vocab_rows, (PARITY_SEQUENCES, length), generator=torch.Generator().manual_seed(0))
    wanted, got = dict(reference.named_parameters()), dict(exported.named_parameters())
    differing = [name for name, weight in wanted.items() if name not in got or not torch.equal(weight, got[name])]
    with torch.no_grad():
        expected = said(reference).float()
        difference = (expected - said(exported).float()).abs().max().item()
        del exported
        load_weights(reference.float(), masters)
        in_fp32 = said(reference)
    return {
        "max_abs_logit_difference": difference,
        "tensors": len(wanted),
        "tensors_differing": len(differing),
        "first_differing": differing[0] if differing else None,
        "tokens": ids.numel(),
        "reference": reference_is,
        "max_abs_logit_difference_to_fp32_master": (expected - in_fp32).abs().max().item(),
    }


def main(job: RunningJob) -> None:
    os.environ["DS_ACCELERATOR"] = "cpu"  # read when DeepSpeed is imported
    export(job)
