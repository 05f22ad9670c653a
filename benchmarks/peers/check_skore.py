"""skore's checks of one estimator on one data set after the other; needs skore and scikit-learn, not trimtab.

    python check_skore.py FOLDER

Reads each CASE.npz of the folder (X_train, y_train, X_test, y_test, and `settings` as JSON) that has no CASE.json yet,
fits a scikit-learn network of the same widths, steps, batch size and learning rate as the run had, and writes every
check's section and explanation. scikit-learn has no dropout, its `alpha` is an L2 penalty where the run decays weights,
and it keeps the last weights where the run keeps those that validated best: its own early stopping would count the rows
that it holds out as training rows, and hide what was learned by heart.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skore import EstimatorReport


def network(settings: dict[str, Any], rows: int) -> Any:
    """Return the estimator that is to be checked."""
    epochs = max(1, round(settings["steps"] * settings["batch_size"] / rows))
    model = MLPClassifier(
        hidden_layer_sizes=tuple(settings["hidden"]),
        alpha=settings["weight_decay"],
        learning_rate_init=settings["learning_rate"],
        batch_size=min(settings["batch_size"], rows),
        max_iter=epochs,
        n_iter_no_change=epochs,
        random_state=settings["seed"],
    )
    return make_pipeline(StandardScaler(), model)


def check(path: Path) -> dict[str, Any]:
    """Return each check's section and explanation by its code, and the seconds that all of it took."""
    started, given = time.process_time(), np.load(path)
    settings = json.loads(str(given["settings"]))
    X_train, X_test, y_train, y_test = (given[name] for name in ("X_train", "X_test", "y_train", "y_test"))
    estimator = network(settings, len(y_train))
    report = EstimatorReport(estimator, X_train=X_train, y_train=y_train, X_test=X_test, y_test=y_test)
    frame = report.checks.summarize(ignore=settings["ignore"]).frame()
    found = {
        row["code"]: {"section": row["section"], "explanation": str(row["explanation"])[:300]}
        for row in frame.to_dict("records")
    }
    return {"checks": found, "cpu_seconds": round(time.process_time() - started, 2)}


def main() -> None:
    warnings.simplefilter("ignore")
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        out = path.with_suffix(".json")
        if not out.exists():
            out.write_text(json.dumps(check(path)))
            print(path.stem, flush=True)


if __name__ == "__main__":
    main()
