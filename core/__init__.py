"""The domain: schema, segments, retention policy, clock, errors. No input or output, and no import of any other room."""
