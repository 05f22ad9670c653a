"""What the stages of the main job do; their order is in `trimtab.pipeline`."""

from trimtab.stages.calibration import calibrate
from trimtab.stages.delivery import choose, deliver, export_candidates, measure, write_page
from trimtab.stages.job import Job, Replay
from trimtab.stages.learning import announce, divide, encode, read, train_model

__all__ = [
    "Job",
    "Replay",
    "announce",
    "calibrate",
    "choose",
    "deliver",
    "divide",
    "encode",
    "export_candidates",
    "measure",
    "read",
    "train_model",
    "write_page",
]
