"""How a comparison is made honest: cells, seeds, selection on validation, one look at the test split, fingerprints."""
