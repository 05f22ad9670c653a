"""What the stages of the main job do; their order is in `trimtab.pipeline`."""

from trimtab.stages.calibration import calibrate, judge_on_validation
from trimtab.stages.delivery import deliver, measure, write_page
from trimtab.stages.job import Job, Replay
from trimtab.stages.learning import announce, divide, encode, read, train_model
from trimtab.stages.page import draw_curves
from trimtab.stages.remedying import remedy
from trimtab.stages.shrinking import shrink
from trimtab.stages.sweeping import sweep
from trimtab.stages.teaching import teach

__all__ = [
    "Job",
    "Replay",
    "announce",
    "calibrate",
    "deliver",
    "divide",
    "draw_curves",
    "encode",
    "judge_on_validation",
    "measure",
    "read",
    "remedy",
    "shrink",
    "sweep",
    "teach",
    "train_model",
    "write_page",
]
