"""Remote SQL by DuckDB's own protocol: a process that listens for DuckDB clients, and processes that answer them."""
