"""Answers by vLLM, which pins a torch of its own and so lives in an environment of its own: run there as a file.

    ‹python with vllm› training/vllm_answers.py ‹requests.json› ‹answers.json›

It imports nothing of this project. Every request has a seed of its own. With other kernels, another card or another
batch vLLM may draw other tokens from the same seed: nothing here is exact to the bit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(requests: Path, answers: Path) -> None:
    import vllm

    told = json.loads(requests.read_text(encoding="utf-8"))
    # Tokens go in and come out, so that no tokenizer but ours reads what somebody wrote.
    model = vllm.LLM(
        model=told["model"],
        skip_tokenizer_init=True,
        dtype=told["dtype"],
        max_model_len=told["room"],
        seed=told["seed"],
    )
    asked = [{"prompt_token_ids": request["ids"]} for request in told["requests"]]
    how = [
        vllm.SamplingParams(
            temperature=told["temperature"],
            seed=request["seed"],
            max_tokens=request["most"],
            stop_token_ids=told["stops"],
            detokenize=False,
        )
        for request in told["requests"]
    ]
    drawn = [output.outputs[0] for output in model.generate(asked, how)]
    said = [{"ids": list(one.token_ids), "stopped": one.finish_reason == "stop"} for one in drawn]
    answers.write_text(json.dumps({"vllm": vllm.__version__, "answers": said}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
