"""Numbers are written for people in one way."""

from __future__ import annotations

import pytest

from neo_assets.core.words import age, amount, at, counted, size, spoken, titled


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (12345.67, "12,345.7"),
        (3.2e21, "3.2e+21"),
        (0.00001234, "1.23e-05"),
        (2.0, "2"),
        (float("nan"), "nan"),
        (True, "True"),
        (None, "None"),
        ("main@60", "main@60"),
    ],
)
def test_a_value_is_spoken(value: object, said: str) -> None:
    assert spoken(value) == said


def test_amounts_sizes_times_and_counts() -> None:
    assert (amount(3_140_000), amount(950)) == ("3.14 million", "950")
    assert (size(1_500_000_000), size(12)) == ("1.5 GB", "12 bytes")
    assert (age(42), age(186), age(18_000)) == ("42 s", "3.1 min", "5.0 h")
    assert (counted(1, "artifact"), counted(2_000, "folder or file")) == ("1 artifact", "2,000 folders or files")


def test_checkpoints_and_jobs_of_them_are_called_by_run_and_step() -> None:
    assert at("main", "0000350-6697871b") == "main@350" and at("gpt2", "folder-of-mine") == "gpt2 folder-of-mine"
    assert titled("eval_scores/main 0000350-6697871b") == "eval_scores/main@350"
    assert titled("pretraining/main") == "pretraining/main" and titled("eval_scores/gpt2 abc") == "eval_scores/gpt2 abc"
