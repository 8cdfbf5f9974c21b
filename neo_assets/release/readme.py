"""The first page of a release: what it is, and how to check it without any of our code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neo_assets.release.layout import MODEL_SIGNATURE, PUBLIC, SIGNATURE, SUMS

_TEXT = """# {run}@{step}

The model in `weights/` was trained by the recipe in `recipe/recipe.yaml` on text drawn from {documents:,} documents,
which `ledger/documents.parquet` lists with address (of a file, its name; of one that was withdrawn, none) and licence.
`release.json` says which artifacts these are.

## Check it

```
sha256sum --check --strict {sums}
openssl dgst -sha256 -verify {public} -signature {signature} {sums}
model_signing verify key . --signature {model} --public_key {public} --no-ignore-git-paths
```

No file is another than it was; who holds the key said so; and the same, as OpenSSF's tool has it.
`sha256sum` does not see a file that was added: every file but the signatures has a line in `{sums}`.
`{public}` lies beside what it proves: compare it with the key that its owner publishes elsewhere. A key proves neither
a time nor a name. With NeoFoundry installed, `neo verify-release .` does all of this, follows every manifest to its
inputs, recomputes what can be recomputed, and says of each claim whether it is proven, reproducible or only claimed.

## Documents

| source | licence | documents | text may be passed on |
|---|---|---|---|
{rows}

Their texts are not in this bundle.
"""


def by_licence(source: str, licence: str, documents: int, passed_on: bool) -> dict[str, int | str | bool]:
    """A row of the table of documents."""
    return {"source": source, "licence": licence, "documents": documents, "text may be passed on": passed_on}


def readme(told: Mapping[str, object], documents: Sequence[Mapping[str, object]]) -> str:
    rows = "\n".join(
        f"| {row['source']} | {row['licence']} | {row['documents']:,} |"
        f" {'yes' if row['text may be passed on'] else 'no'} |"
        for row in documents
    )
    return _TEXT.format(
        run=told["run"],
        step=told["step"],
        documents=sum(int(str(row["documents"])) for row in documents),
        rows=rows,
        sums=SUMS,
        signature=SIGNATURE,
        public=PUBLIC,
        model=MODEL_SIGNATURE,
    )
