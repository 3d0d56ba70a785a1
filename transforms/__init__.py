"""Pure enrichers: a record batch in, the same rows in the same order out, with more or safer columns."""
