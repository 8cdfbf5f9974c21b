"""With what: the store, the compute backend and the ledger, as Dagster resources (`dagster_resources.py`)."""
