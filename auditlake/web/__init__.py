"""The server's HTTP: ingest, query, health, metrics."""
