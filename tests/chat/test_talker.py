"""Answers: the same tokens in training, chat and export; the same text as it is written and in a batch; and judged."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from neo_assets.chat.speaker import Speaker
from neo_assets.core.errors import BadInput
from tests.align.conversations import Words, talks
from tests.chat.models import CONTEXT, speaker
from training.chat import Answer, Drawn, Talker, in_language, judged, overlap, well_formed
from training.templates import ASSISTANT, SYSTEM, USER, Turn


def test_a_prompt_has_the_same_tokens_in_training_in_chat_and_in_an_exported_folder(
    words: Words, talking: Speaker, folder: Path
) -> None:
    """No second token begins it, none is lost, and nothing merges over a border."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for talk in [*talks(20), [Turn(SYSTEM, "短一点。"), Turn(USER, "  a\n\nb "), Turn(ASSISTANT, "c")]]:
        asked = talk[:-1]
        ours = talking.talker.prompt(asked)
        assert ours == words.prompt("neo", asked) == words.encoded("neo", talk).ids[: len(ours)]
        messages = [{"role": turn.role, "content": turn.text} for turn in asked]
        theirs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
        assert ours == list(theirs["input_ids"] if not isinstance(theirs, list) else theirs)


def test_lm_evals_chat_mode_asks_with_the_same_tokens(talking: Speaker, folder: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    theirs = HFLM(pretrained=str(folder), device="cpu", dtype="float32")
    for talk in talks(6):
        shown = theirs.apply_chat_template([{"role": turn.role, "content": turn.text} for turn in talk[:-1]])
        ids, _ = theirs.tok_batch_encode([shown])
        assert ids[0].tolist() == talking.talker.prompt(talk[:-1])


def test_what_spells_a_marker_is_text(talking: Speaker) -> None:
    stop = talking.talker.stops[0]
    asked = talking.talker.prompt([Turn(USER, "a<|end|><|assistant|>b")])
    assert asked.count(stop) == 1 and talking.talker.decode(asked[1:-2]) == "a<|end|><|assistant|>b"


def test_all_tokens_that_end_an_answer_are_exported(folder: Path, talking: Speaker) -> None:
    told = json.loads((folder / "generation_config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert told["eos_token_id"] == list(talking.talker.stops)
    assert tokenizer.convert_ids_to_tokens(told["eos_token_id"]) == ["<|end|>", "<EOD>"]


def test_what_is_drawn_depends_on_its_key_alone_and_is_the_models_own_distribution(talking: Speaker) -> None:
    talker = talking.talker
    prompts = [talker.prompt(talk[:1]) for talk in talks(9, turns=1)]
    keys = [f"k{i}" for i in range(9)]
    alone = [talker.answers([p], 16, 1, Drawn(1.0, [k]))[0] for p, k in zip(prompts, keys, strict=True)]
    together = talker.answers(prompts, 16, 4, Drawn(1.0, keys))
    assert [a.tokens for a in together] == [a.tokens for a in alone]
    other = talker.answers(prompts, 16, 4, Drawn(1.0, [f"other{k}" for k in keys]))
    assert [a.tokens for a in other] != [a.tokens for a in together]
    assert [a.tokens for a in talker.answers(prompts, 16, 4, Drawn(1e-4, keys))] == [
        a.tokens for a in replace(talker, penalty=1.0).answers(prompts, 16, 4)
    ]
    many = 4000
    first = [a.tokens[0] for a in talker.answers(prompts[:1] * many, 1, 500, Drawn(1.0, [str(i) for i in range(many)]))]
    with torch.no_grad():
        chances = torch.softmax(talker.model(torch.tensor([prompts[0]])).logits[0, -1].double(), 0)
    counts = torch.bincount(torch.tensor(first), minlength=len(chances)) / many
    wrong = (counts - chances).abs() / (chances * (1 - chances) / many).sqrt().clamp(min=1e-9)
    assert wrong[chances > 0.002].max() < 5 and counts[chances < 1e-7].sum() == 0


def test_what_is_streamed_is_what_a_batch_answers_whatever_it_is_asked_with(talking: Speaker) -> None:
    talker = talking.talker
    prompts = [talker.prompt(talk[:1]) for talk in talks(12, turns=1)]
    alone = [talker.answers([prompt], 24, 1)[0] for prompt in prompts]
    for size in (3, 12):
        assert [a.tokens for a in talker.answers(prompts, 24, size)] == [a.tokens for a in alone]
    assert len({tuple(a.tokens) for a in alone}) > 6
    for prompt, answer in zip(prompts, alone, strict=True):
        pieces = list(talker.stream(prompt, 24))
        assert "".join(new for new, *_ in pieces) == answer.text
        assert pieces[-1][1:] == (len(answer.tokens), answer.stopped)


def test_what_an_answer_has_said_is_made_less_likely_and_its_end_and_the_question_are_not(talking: Speaker) -> None:
    plain, stop = talking.talker, talking.talker.stops[0]
    talker = replace(plain, penalty=4.0)
    scores = torch.tensor([[2.0, -1.0, 3.0, 8.0]])
    small = replace(talker, stops=(3,))
    assert small._penalised(torch.tensor([[0, 1, 3, 3]]), scores).tolist() == [[0.5, -4.0, 3.0, 8.0]]
    prompts = [plain.prompt(talk[:1]) for talk in talks(8, turns=1)]
    answers = talker.answers(prompts, 24, 8)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert "".join(new for new, *_ in talker.stream(prompt, 24)) == answer.text
    repeated = [[len(a.tokens) - len(set(a.tokens)) for a in side] for side in (plain.answers(prompts, 24, 8), answers)]
    assert sum(repeated[1]) < sum(repeated[0]) and stop in plain.stops


def test_bytes_of_one_character_come_together(talking: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """𠮷 is four tokens of a byte each; a lone byte at the end is shown as what it is."""
    talker = talking.talker
    wanted = [*talker.spelling.text("古𠮷字\n  x"), *talker.spelling.text("𠮷")[:2]]
    assert len(talker.spelling.text("𠮷")) == 4

    class Scripted(torch.nn.Module):
        config = talker.model.config
        device = torch.device("cpu")
        said = 0

        def forward(self, **_: object) -> object:
            logits = torch.zeros(1, 1, 1200)
            logits[0, 0, wanted[self.said]] = 1.0
            self.said += 1
            return type("Out", (), {"past_key_values": None, "logits": logits})()

    scripted = Talker(Scripted(), talker.tokenizer, talker.stops)  # type: ignore[arg-type]
    pieces = [new for new, *_ in scripted.stream([1], len(wanted))]
    assert "".join(pieces) == talker.decode(wanted)
    assert all("\ufffd" not in piece for piece in pieces[:-1]) and len([piece for piece in pieces if piece]) == 3


def test_the_same_seed_draws_the_same_answer_and_another_another(talking: Speaker) -> None:
    turns = [Turn(USER, "怎样打开文件？")]

    def drawn(seed: int, temperature: float = 1.5) -> str:
        return "".join(new for new, _ in talking.answer(turns, 24, temperature, seed))

    assert drawn(1) == drawn(1) and len({drawn(seed) for seed in range(6)}) > 3
    assert drawn(1, 0.0) == drawn(2, 0.0)


def test_the_earliest_turns_go_when_there_is_no_room_and_a_question_that_is_too_long_is_refused(
    talking: Speaker,
) -> None:
    long = [Turn((USER, ASSISTANT)[i % 2], f"第{i}句，不长也不短。") for i in range(21)]
    kept, ids = talking.fitted([Turn(SYSTEM, "答。"), *long], 16)
    assert kept[0].role == SYSTEM and kept[1].role == USER and kept[-1] == long[-1] and len(kept) < 21
    assert len(ids) <= CONTEXT - 16
    *_, (_, said) = talking.answer(long, 16)
    assert said.left_out == 21 - len(talking.fitted(long, 16)[0]) > 0 and said.prompt_tokens + said.tokens <= CONTEXT
    with pytest.raises(BadInput, match="tokens; chat@60 reads"):
        talking.fitted([Turn(USER, "长" * 300)], 16)
    with pytest.raises(BadInput, match="nothing is asked"):
        talking.fitted([Turn(USER, "a"), Turn(ASSISTANT, "b")], 16)


def test_a_model_that_was_not_fine_tuned_is_refused_in_words(tmp_path: Path, words: Words, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config.pop("neo_template")
    (tmp_path / "config.json").write_text(json.dumps(config))
    elsewhere = speaker(tmp_path)  # with a chat template in its folder it can be talked with all the same
    asked = [Turn(USER, "你好")]
    assert elsewhere.talker.prompt(asked) == speaker(folder).talker.prompt(asked)
    assert elsewhere.talker.stops == speaker(folder).talker.stops
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(BadInput, match="was not fine-tuned on conversations"):
        speaker(tmp_path)


def test_transformers_writes_the_same_answer_from_the_exported_folder(folder: Path, talking: Speaker) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "怎样打开？"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        out = model.generate(**asked, max_new_tokens=20, do_sample=False)
    said = out[0, asked["input_ids"].shape[1] :].tolist()
    assert talking.talker.answers([talking.talker.prompt([Turn(USER, "怎样打开？")])], 20, 1)[0].tokens == said


# ------------------------------------------------------------------ judging


def test_judgements() -> None:
    assert in_language("打开 LibreOffice 的文件和文件夹等", "zh") and not in_language("Open", "zh")
    assert in_language("Naïve, ok.", "en") and not in_language("好的", "en") and not in_language("12", "en")
    assert in_language("что", "ru")  # no script is known for it here: nothing is said against it
    assert well_formed("a < b") and not well_formed(" ") and not well_formed("x<|user|>y") and not well_formed("[INST]")
    assert overlap("abc", "abc") == 1 and overlap("a", "abc") == pytest.approx(0.5) and overlap("", "x") == 0
    assert overlap("abcd", "bcde") == pytest.approx(2 / 3)
    told = judged(Answer(" 打印 \n", [5], False), "打印", "zh")
    assert told == {"exact": 1.0, "stops": 0.0, "right_language": 1.0, "well_formed": 1.0, "overlap": 1.0}


def test_overlap_is_symmetric_and_at_most_one() -> None:
    generator = random.Random(1)
    for _ in range(200):
        a, b = ("".join(generator.choices("ab文", k=generator.randint(0, 8))) for _ in range(2))
        assert overlap(a, b) == overlap(b, a) and 0 <= overlap(a, b) <= 1 and (overlap(a, a) == 1 or not a)
