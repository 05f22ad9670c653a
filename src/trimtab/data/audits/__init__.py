"""Copies among the rows of a data set, exact and near: which rows must not be divided between training and test."""

from trimtab.data.audits.copies import Copies, find_copies

__all__ = ["Copies", "find_copies"]
