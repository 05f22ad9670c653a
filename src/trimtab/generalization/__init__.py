"""Does it generalize, and what would help: cross-validation, ensembles, audits of data, diagnosis."""
