"""Decisions before anything is spent: the plan that fits the data and the budget, with reasons."""

from trimtab.planning.resolve import Facts, resolve

__all__ = ["Facts", "resolve"]
