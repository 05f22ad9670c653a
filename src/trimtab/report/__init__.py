"""What people look at: the page about a run, and pictures beside it."""

from trimtab.report.page import write_report
from trimtab.report.pictures import save_grid, save_picture

__all__ = ["save_grid", "save_picture", "write_report"]
