"""Whether a model generalizes, and what would help: cross-validation, ensembles, diagnosis.

Importing this room loads no library; its modules are imported by name.
"""
