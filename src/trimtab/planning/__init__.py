"""Decisions before anything is spent: the plan that fits the data and the budget, with reasons."""

from trimtab.planning.facts import Facts
from trimtab.planning.resolve import model_kwargs, resolve

__all__ = ["Facts", "model_kwargs", "resolve"]
