"""Hot day files, the Iceberg archive, object deletion, the control database, keys and the ledger."""
