"""Sources -> lines -> formats -> batches, and the reasons of what could not be read. Knows nothing of stores."""
