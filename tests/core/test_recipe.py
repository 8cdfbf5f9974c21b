"""Recipes: the shipped ones load, and a mistake is named with its line."""

from pathlib import Path

import pytest

from neo_assets.core.errors import RecipeError
from neo_assets.core.recipe import identity, json_schema, load
from neo_assets.core.recipe.load import RECIPES, names


@pytest.mark.parametrize("name", names())
def test_every_shipped_recipe_loads(name: str) -> None:
    assert load(name).runs


def test_the_7b_recipe_has_the_papers_numbers() -> None:
    recipe = load("neo-7b")
    run = recipe.runs["main"]
    rows = run.model.vocab_rows(recipe.tokenizer.vocab_size + len(recipe.tokenizer.special_tokens))
    assert rows == 64256
    assert run.model.parameters(rows) == 7_793_716_224
    assert run.tokens_per_step == 8_388_608
    assert run.nodes * run.ranks_per_node == 512


def write(tmp_path: Path, text: str, name: str = "mine") -> str:
    path = tmp_path / f"{name}.yaml"
    path.write_text(f"extends: laptop\nname: mine\n{text}")
    (tmp_path / "laptop.yaml").write_text((RECIPES / "laptop.yaml").read_text())
    return str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clean:\n  en:\n    min_wordz: 3\n", r"mine\.yaml:5: clean\.en\.min_wordz: there is no such field"),
        ("clean:\n  en: {min_words: fifty}\n", r"mine\.yaml:4: clean\.en\.min_words: .*given: 'fifty'"),
        (
            "runs:\n  main:\n    global_batch: 15\n",
            r"global_batch \(15\) must be a multiple of data-parallel ranks x micro_batch",
        ),
        (
            "runs:\n  main:\n    phase: nowhere\n",
            r"mine\.yaml:5: recipe: runs\.main\.phase is 'nowhere', which is not in mixture",
        ),
        (
            "evaluation:\n  suites:\n    smoke:\n      - general_en\n      - genral_zh\n",
            r"mine\.yaml:7: .*names 'genral_zh'\. Did you mean general_zh\b",
        ),
        (
            "evaluation:\n  gates:\n    sanity: {tasks: [general_en, general_xx_30]}\n",
            r"mine\.yaml:5: .*gates\.sanity\.tasks\[1\] names 'general_xx'",
        ),
        (
            "evaluation:\n  suites:\n    smoke: [genral_en]\n",
            (
                r"mine\.yaml:5: .*suites\.smoke\[0\] names 'genral_en'\. Did you mean general_en\b.* No benchmark is"
                r" called that"
            ),
        ),
        (
            "sources:\n  web: {kind: crawl, licence: x, snapshot: a, seeds: []}\n",
            r"mine\.yaml:4: sources\.web\.allowed_domains: is missing",
        ),
        (
            "compute: {time_limit: 24:00:00}\n",
            r'mine\.yaml:3: compute\.time_limit: .*as a number, here 86400: put it in quotes, "24:00:00"',
        ),
        ("compute: {time_limit: tomorrow}\n", r"mine\.yaml:3: compute\.time_limit: .*'tomorrow' is no time of Slurm's"),
        ("owner: a\nowner: b\n", r"mine\.yaml:4: 'owner' is given twice"),
        ("description: ${NO_SUCH_VARIABLE}\n", r"mine\.yaml:3: \$\{NO_SUCH_VARIABLE\} is not set"),
        ("languages: [en, zh, fr]\n", "languages lists 'fr', for which there are no rules"),
        (
            "sources:\n  handbook: {kind: crawl, seeds: [http://a.example/], allowed_domains: [a.example]}\n",
            r"mine\.yaml:4: sources\.handbook\.licence: is missing",
        ),
        (
            "sources:\n  handbook:\n    kind: ftp\n",
            r"mine\.yaml:4: sources\.handbook: kind 'ftp' is none of 'crawl', 'html_folder', 'warc', 'wet'",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load(write(tmp_path, text))


@pytest.mark.parametrize("limit", ["90", "24:00:00", "7-00:00:00", "2-12", "UNLIMITED", "30:00"])
def test_times_as_slurm_takes_them(tmp_path: Path, limit: str) -> None:
    assert load(write(tmp_path, f'compute: {{time_limit: "{limit}"}}\n')).compute.time_limit == limit


def test_a_mapping_is_taken_over_by_yamls_own_merge_key(tmp_path: Path) -> None:
    text = "pii_masked:\n  en: &masks {placeholders: {email: E}}\n  zh:\n    <<: *masks\n    placeholders: {phone: P}\n"
    recipe = load(write(tmp_path, text))
    assert recipe.pii_masked["zh"].placeholders["phone"] == "P"
    with pytest.raises(RecipeError, match=r"mine\.yaml:5: pii_masked\.zh\.wrong: there is no such field"):
        load(write(tmp_path, "pii_masked:\n  en: &masks {placeholders: {email: E}}\n  zh: {<<: *masks, wrong: 1}\n"))


def test_null_takes_out_what_is_inherited(tmp_path: Path) -> None:
    text = (
        "languages: [en]\nsources: {help_en: null, help_zh: null, guides: null}\nmixture: {fundamental: {rounds: {zh:"
        " null}}, decay: null}\nruns: {decay: null}\n"
        "evaluation: {benchmarks: {mmlu: null}, suites: {base-en: null}}\n"
    )
    recipe = load(write(tmp_path, text))
    assert list(recipe.sources) == ["handbook"]
    assert recipe.mixture["fundamental"].rounds == {"en": 0.9}
    assert "mmlu" not in recipe.evaluation.benchmarks and "base-en" not in recipe.evaluation.suites
    assert list(recipe.asked()) == [
        "bits_per_byte_en_30",
        "next_sentence_en_100",
        "general_en",
    ]  # what is asked in other languages is left out
    assert list(recipe.runs) == ["main"] and recipe.released == "main"
    assert load("laptop").released == load("chat").released == "decay"


def test_a_run_like_another_takes_its_values_over_but_not_where_it_starts_from(tmp_path: Path) -> None:
    runs = load(
        write(tmp_path, "runs:\n  main: {seed: 9, model: {layers: 3}}\n  longer: {like: decay, steps: 30}\n")
    ).runs
    assert (runs["decay"].seed, runs["decay"].model.layers, runs["decay"].phase) == (
        9,
        3,
        "decay",
    )  # as changed here, not as in the file it is from
    assert (
        runs["longer"].parent is None
        and runs["longer"].schedule == runs["decay"].schedule
        and runs["longer"].steps == 30
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("runs:\n  a: {like: b}\n", r"mine\.yaml:4: like 'b', but there is no such run"),
        (
            "runs:\n  a: {like: b}\n  b: {like: a}\n",
            r"mine\.yaml:5: runs that are like each other in a circle \(a -> b -> a\)",
        ),
        ("runs:\n  decay: {parent: {run: nobody}}\n", "names run 'nobody', which is not in runs"),
        ("release: {run: nobody}\n", r"release\.run names run 'nobody', which is not in runs"),
        ("runs:\n  decay: {parent: {step: 33}}\n", "'main' has checkpoints at 0, 70, 140, 210, 280, 350"),
        ("runs:\n  decay: {parent: {take: everything}}\n", "needs its step"),
        (
            "runs:\n  decay: {parent: {take: everything, step: 140}}\n",
            "would end at step 120, but it starts from its parent's step 140",
        ),
        ("runs:\n  decay: {model: {layers: 2}}\n", "its model has another shape"),
        ("runs:\n  main: {parent: {run: decay}}\n", r"go in a circle"),
        (
            "runs:\n  decay: {schedule: {half_life_steps: soon}}\n",
            r"mine\.yaml:4: runs\.decay\.schedule\.half_life_steps",
        ),
        ("runs:\n  main: {skip_samples: [[5, 9], [8, 12]]}\n", "ascending half-open ranges"),
    ],
)
def test_a_mistake_in_a_run_is_explained(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        load(write(tmp_path, text))


def test_a_fine_tuned_run_is_no_release_yet(tmp_path: Path) -> None:
    for base in ("chat", "laptop"):
        (tmp_path / f"{base}.yaml").write_text((RECIPES / f"{base}.yaml").read_text())
    (tmp_path / "mine.yaml").write_text("extends: chat\nname: mine\nrelease: {run: chat}\n")
    with pytest.raises(RecipeError, match=r"release\.run names run 'chat', which is fine-tuned"):
        load(str(tmp_path / "mine.yaml"))


def test_branches_lie_over_the_runs_and_hold_nothing_else(tmp_path: Path) -> None:
    recipe = write(tmp_path, "runs: {main: {seed: 9}}\n")
    branches = tmp_path / "mine.branches.yaml"
    branches.write_text(
        "runs:\n  main: {seed: 10}\n  main_b: {like: main, parent: {run: main, step: 140, take: everything}}\n"
    )
    runs = load(recipe).runs
    assert (runs["main"].seed, runs["main_b"].seed, runs["main_b"].first_step) == (10, 10, 140)
    assert runs["main_b"].checkpoint_steps() == [140, 210, 280, 350]
    branches.write_text("name: other\n")
    with pytest.raises(RecipeError, match="holds runs, and nothing else"):
        load(recipe)


def test_early_checkpoints_are_powers_of_two(tmp_path: Path) -> None:
    run = load(write(tmp_path, "runs: {main: {early_checkpoints: 20}}\n")).runs["main"]
    assert run.checkpoint_steps() == [0, 1, 2, 4, 8, 16, 70, 140, 210, 280, 350]


def test_null_in_place_of_a_mapping_takes_out_all_of_it(tmp_path: Path) -> None:
    recipe = load(
        write(
            tmp_path,
            "mixture: {decay: {rounds: null, recalled_rounds: null, script_rounds: null, target_tokens: 9,"
            " weights: {en: 1}, bytes_per_token: {en: 3}}}\n",
        )
    )
    assert recipe.mixture["decay"].rounds == {} and recipe.mixture["decay"].target_tokens == 9
    with pytest.raises(RecipeError, match="`rounds: null` takes out inherited rounds"):
        load(write(tmp_path, "mixture: {decay: {target_tokens: 9}}\n"))


def test_a_recipe_makes_the_steps_it_lists(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, "steps: {en: [clean_docs, exact_dedup]}\n"))
    assert [
        n
        for n in ("clean_docs/en", "exact_dedup/en", "near_dedup/en", "near_dedup/zh", "near_dedup/fr", "matrix")
        if recipe.makes(n)
    ] == [
        "clean_docs/en",
        "exact_dedup/en",
        "near_dedup/zh",
        "matrix",
    ]


def test_a_recipe_is_called_what_its_file_is_called(tmp_path: Path) -> None:
    write(tmp_path, "")
    (tmp_path / "my-own.yaml").write_text("extends: laptop\n")
    recipe = load(str(tmp_path / "my-own.yaml"))
    assert (recipe.name, recipe.description) == ("my_own", "my-own, on top of laptop")
    (tmp_path / "my-own.yaml").write_text("extends: laptop\nname: laptop\n")
    with pytest.raises(
        RecipeError, match=r"my-own\.yaml:2: name is 'laptop', but the file is my-own\.yaml: call it 'my_own'"
    ):
        load(str(tmp_path / "my-own.yaml"))


def test_a_recipe_that_extends_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b\n")
    (tmp_path / "b.yaml").write_text("extends: a\n")
    with pytest.raises(RecipeError, match="cannot extend itself"):
        load(str(tmp_path / "a.yaml"))


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="laptop"):
        load("nothing")


def test_paths_workers_and_politeness_are_no_part_of_an_identity(tmp_path: Path) -> None:
    text = "sources:\n  handbook:\n    path: /elsewhere\n    politeness: {delay_s: 9}\ncompute: {workers: 7}\n"
    a, b = load("laptop"), load(write(tmp_path, text))
    assert identity(a.sources["handbook"]) == identity(b.sources["handbook"])
    changed = load(write(tmp_path, "sources:\n  handbook: {snapshot: later}\n"))
    assert identity(a.sources["handbook"]) != identity(changed.sources["handbook"])


def test_the_schema_knows_every_section() -> None:
    properties = json_schema()["properties"]
    assert isinstance(properties, dict)
    assert {"extends", "sources", "clean", "runs", "evaluation"} <= properties.keys()
