"""What the rungs of `trimtab compress` are worth on CIFAR-10, beside ONNX Runtime's own quantizer and Torch-Pruning.

    python benchmarks/compression.py --data DIR                     # all parts, 80 minutes
    python benchmarks/compression.py --data DIR --parts formats     # one part; --work keeps networks for the others

DIR/cifar10-train.parquet is unpacked into a folder of 40,000 pictures to learn from and 10,000 that nothing else sees:
every accuracy and every paired difference here is on those. A `cnn` and a `separable_cnn` are trained first, for
`--minutes` each. The parts:

formats     int8, plain and with float layers, beside plain static quantization of the same file
pruning     half the channels cut by several importances, and by Torch-Pruning, then fine-tuned for `--tuning-minutes`;
            and the network with half its weights at zero, not fine-tuned: does that make the file smaller or faster?
students    a network with a quarter of the parameters: alone, taught by the cnn, taught by both networks; 3 seeds
front       `trimtab compress --megabytes 0.1 --milliseconds 1` and a run with these limits; all their rungs, and the
            two peers at the width that was delivered

Files take turns on one thread with one picture, end to end from the encoded file; the ratio to float is that of the
medians of a round, its spread from the tenth to the ninetieth percentile of the rounds. Torch-Pruning is left out
where it is not installed (``pip install torch-pruning``).

Prints tables and writes them, with command, versions and hardware, to benchmarks/results/compression.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from peers import plain_static, torch_pruned

import trimtab
from trimtab.artifact import Artifact
from trimtab.compression.prune import choose_kept, masked, narrower_widths
from trimtab.console import Console
from trimtab.deployment import export_onnx
from trimtab.directory import RunDirectory
from trimtab.evaluation import compare_accuracy, upper_bound_of_drop
from trimtab.machine import describe_machine, package_versions
from trimtab.models import measure_size
from trimtab.models.channels import with_widths
from trimtab.opened import open_run
from trimtab.pipeline import prepare
from trimtab.stages.case import Case, open_case
from trimtab.stages.formats import Files, Judge, Made, predictor_of
from trimtab.stages.smaller import Network, cut, own_teacher, score, teach, train_smaller
from trimtab.storage import write_json
from trimtab.training.stepper import predict_probabilities

RESULTS = Path(__file__).parent / "results" / "compression.json"
FILE = "cifar10-train.parquet"
HELD_ROWS = 10_000
PARTS = ("formats", "pruning", "students", "front")
NETWORKS = ("cnn", "separable_cnn")
IMPORTANCES = ("magnitude", "taylor", "scale")
LIMITS = {"megabytes": 0.1, "milliseconds": 1.0}
STEP = 0.2  # of the fine-tuning, between two steps of pruning
ROUNDS, CALLS = 25, 40  # of timing: files take turns, so many calls each
Probabilities = NDArray[np.float32]


def main() -> None:
    options = parse()
    bench = Bench(options)
    result: dict[str, Any] = json.loads(options.out.read_text()) if options.resume and options.out.exists() else {}
    for part in options.parts:
        if part in result:
            continue
        print(f"---- {part}", flush=True)
        result[part] = getattr(bench, part)()
        names = ("minutes", "tuning_minutes", "ladder_minutes")
        result.setdefault("minutes", {})[part] = {name: getattr(options, name) for name in names}
        result["command"] = " ".join(["python benchmarks/compression.py", *shown(sys.argv[1:])])
        result |= {"machine": describe_machine(), "versions": package_versions() | torch_pruned.installed()}
        write_json(options.out, result)
    print(f"written to {options.out}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"directory with {FILE}")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=8.0, help="of training each network")
    parser.add_argument("--tuning-minutes", type=float, default=2.0, help="of fine-tuning, and of each student")
    parser.add_argument("--ladder-minutes", type=float, default=10.0, help="of `trimtab compress`")
    parser.add_argument("--seeds", type=int, default=3, help="of the students")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "trimtab-compression")
    parser.add_argument("--resume", action="store_true", help="keep the parts that the file of results holds")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not (options.data / FILE).exists():
        parser.error(f"there is no {FILE} in {options.data}")
    return options


def shown(arguments: Sequence[str]) -> list[str]:
    """Return the command's words, without those that say nothing elsewhere."""
    before = ["", *arguments[:-1]]
    words = zip(before, arguments, strict=True)
    paths = ("--data", "--work", "--out")
    return ["DIR" if name in paths else word for name, word in words if word != "--resume"]


@dataclass(frozen=True, kw_only=True)
class Held:
    """Pictures that nothing is trained, calibrated or chosen with: encoded files, and their class numbers."""

    files: list[bytes]
    labels: NDArray[np.int64]


class Bench:
    """Networks that are trained once, pictures that they are judged by, and the parts of the benchmark."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.work = options, options.work
        self._cases: dict[str, Case] = {}

    # ---- what the parts share ----

    @cached_property
    def held(self) -> Held:
        """The pictures to judge by; the others are unpacked into a folder."""
        table = pq.read_table(self.options.data / FILE, columns=["image"]).column("image").to_pylist()
        order = np.random.default_rng(0).permutation(len(table))
        rest = [table[index] for index in order[HELD_ROWS:]]
        if len(list((self.work / "pictures").rglob("*.*"))) != len(rest):
            for picture in rest:
                path = self.work / "pictures" / picture["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture["bytes"])
        names = sorted({Path(picture["path"]).parent.name for picture in rest})
        held = [table[index] for index in order[:HELD_ROWS]]
        labels = [names.index(Path(picture["path"]).parent.name) for picture in held]
        return Held(files=[picture["bytes"] for picture in held], labels=np.array(labels, np.int64))

    def case(self, name: str) -> Case:
        """Return a trained network with its data, trained unless it is there."""
        if name not in self._cases:
            assert len(self.held.labels) == HELD_ROWS  # noqa: S101 - and the folder is unpacked
            out = self.work / "runs" / name
            if not RunDirectory(out).is_finished:
                settings: dict[str, Any] = {"model": name, "minutes": self.options.minutes, "test_time": "none"}
                trimtab.run(self.work / "pictures", out=out, console=Console(), test_fraction=0.02, **settings)
            run = open_run(out)
            source, facts, plan, _ = prepare(run.plan)
            directory = RunDirectory(run.directory)
            self._cases[name] = open_case(directory, plan, facts, source, Console(is_quiet=True))
        return self._cases[name]

    def files(self, case: Case, artifact: Artifact, name: str) -> Files:
        """Return what makes the files of a network, judged by the run's validation rows as `trimtab compress` does."""
        folder = self.work / "files" / name
        base: list[Probabilities] = []

        def loses_too_much(answers: Probabilities) -> bool:
            compared = compare_accuracy(case.features.validation.labels, base[0], answers)
            return 100 * upper_bound_of_drop(compared) > 1

        judge = Judge(
            dataset=case.dataset,
            training_rows=case.split.train,
            validation_rows=case.split.validation,
            threads=case.facts.threads,
            loses_too_much=loses_too_much,
        )
        files = Files(artifact, folder, judge)
        base.append(judge.answers(artifact, files.float_path))
        return files

    def answers(self, artifact: Artifact, path: Path) -> Probabilities:
        """Return a file's answers on the held pictures, made to sum to one: some quantizers round the softmax."""
        case = next(iter(self._cases.values()))
        found = predictor_of(artifact, path, case.facts.threads).predict_proba(self.held.files)
        return np.asarray(found / found.sum(axis=1, keepdims=True), np.float32)

    def figures(self, models: Mapping[str, Made], base: str) -> dict[str, dict[str, Any]]:
        """Return size, accuracy, paired difference to the base, and time of each file, the times taken in turns."""
        answers = {name: self.answers(made.artifact, made.path) for name, made in models.items()}
        times = self.race({name: (made.artifact, made.path) for name, made in models.items()}, base)
        table = {}
        for name, made in models.items():
            size = measure_size(made.artifact.builder, made.artifact.kwargs, made.artifact.input_shape)
            row = {"megabytes": made.path.stat().st_size / 1e6, "parameters": size.parameters, "macs": size.macs}
            row |= {"accuracy": self.accuracy(answers[name]), **times[name], "remark": made.remark}
            table[name] = row if name == base else row | self.drop(answers[base], answers[name])
        show(table, base)
        return table

    def accuracy(self, answers: Probabilities) -> float:
        """Return the share of the held pictures that is right."""
        return float((answers.argmax(axis=1) == self.held.labels).mean())

    def drop(self, base: Probabilities, answers: Probabilities) -> dict[str, float]:
        """Return the points that are lost, with their 95% interval."""
        compared = compare_accuracy(self.held.labels, base, answers)
        return {
            "lost_points": -100 * compared.difference,
            "lost_low": -100 * compared.high,
            "lost_high": -100 * compared.low,
        }

    def race(self, models: Mapping[str, tuple[Artifact, Path]], base: str) -> dict[str, dict[str, Any]]:
        """Return the milliseconds of one picture on one thread, and how many times as fast as the base."""
        predictors = {name: predictor_of(artifact, path, 1) for name, (artifact, path) in models.items()}
        pictures = cycle([[picture] for picture in self.held.files[:64]])
        rounds: dict[str, list[list[float]]] = {name: [] for name in models}
        for number in range(-2, ROUNDS):  # the first two only warm up
            for name, predictor in predictors.items():
                taken = [milliseconds(predictor.predict_proba, next(pictures)) for _ in range(CALLS)]
                if number >= 0:
                    rounds[name].append(taken)
        found = {}
        for name, own in rounds.items():
            pairs = zip(rounds[base], own, strict=True)
            ratios = [statistics.median(theirs) / statistics.median(ours) for theirs, ours in pairs]
            everything = np.concatenate(own)
            found[name] = {
                "p50_ms": float(np.percentile(everything, 50)),
                "p95_ms": float(np.percentile(everything, 95)),
                "times_as_fast": statistics.median(ratios),
                "spread": [float(np.percentile(ratios, 10)), float(np.percentile(ratios, 90))],
            }
        return found

    def plain(self, case: Case, files: Files) -> Made:
        """Return what ONNX Runtime's quantizer makes of a network's float file, of the same calibration rows."""
        path = files.folder / "plain.onnx"
        plain_static.quantize(files.float_path, files.judge.feeds(files.artifact, files.float_path, 512), path)
        return Made(path=path, artifact=files.artifact, probabilities=np.empty(0, np.float32))

    def train(self, case: Case, network: Network, name: str, teacher: Probabilities, minutes: float) -> Artifact:
        """Return a network trained for so long, or the one of an earlier attempt."""
        start, folder = time.monotonic(), self.work / "networks" / name
        print(f"training {name}", flush=True)
        quiet = Console(is_quiet=True)
        left = lambda: 60 * minutes - (time.monotonic() - start)  # noqa: E731 - asked at every step
        return train_smaller(case, network, folder, teacher, quiet, seconds=left)

    def fine_tuned(self, start: Artifact, name: str, teacher: Probabilities, minutes: float) -> Artifact:
        """Return what was cut from the cnn, trained further."""
        network = Network(builder=start.builder, kwargs=start.kwargs, start=lambda: start.arrays)
        return self.train(self.case("cnn"), network, name, teacher, minutes)

    def teacher(self, name: str) -> Probabilities:
        """Return what a trained network says about its training rows."""
        case = self.case(name)
        return teach(case, own_teacher(case), self.work / f"teacher-{name}.npz")

    # ---- the parts ----

    def formats(self) -> dict[str, Any]:
        """Of both networks: float, plain static quantization, ours, ours with float layers."""
        found = {}
        for name in NETWORKS:
            case = self.case(name)
            files = self.files(case, case.artifact, name)
            made = {each: files.make(each) for each in ("float32", "int8", "int8 with float layers")}
            models = {key: value for key, value in made.items() if value is not None}
            found[name] = self.figures({**models, "plain static": self.plain(case, files)}, "float32")
        return found

    def pruning(self) -> dict[str, Any]:
        """Of the cnn: half its channels, cut in several ways, fine-tuned alike."""
        case, teacher = self.case("cnn"), self.teacher("cnn")
        scores = {importance: score(case, case.artifact, importance) for importance in IMPORTANCES}
        widths = narrower_widths(case.artifact.builder, case.artifact.kwargs, 0.5)
        starts = {importance: cut(case.artifact, own, widths) for importance, own in scores.items()}
        if torch_pruned.installed():
            starts["Torch-Pruning"] = torch_pruned.prune(case.artifact, 0.5)
        models = {"float32": self.files(case, case.artifact, "cnn").make("float32")}
        minutes, importance = self.options.tuning_minutes, "magnitude"
        first = self.fine_tuned(starts_at(case, 0.5**0.5, importance), "first-step", teacher, STEP * minutes)
        twice = cut(first, score(case, first, importance), widths)
        for name, start in starts.items():
            trained = self.fine_tuned(start, f"half-{name}", teacher, minutes)
            models[name] = self.files(case, trained, f"half-{name}").make("float32")
        trained = self.fine_tuned(twice, "half-two-steps", teacher, (1 - STEP) * minutes)
        models["magnitude, two steps"] = self.files(case, trained, "half-two-steps").make("float32")
        models["zeros"] = self.files(case, with_zeros(case.artifact), "zeros").make("float32")
        made = {name: each for name, each in models.items() if each is not None}
        off = {name: self.off_from_masked(case, own, widths) for name, own in scores.items()}
        return {
            "table": self.figures(made, "float32"),
            "largest_difference_of_pruned_and_masked": off,
            "largest_difference_in_the_numpy_engine": self.off_in_numpy(made["magnitude"]),
            "accuracy_before_fine_tuning": {
                name: self.accuracy(self.native(start, "torch")) for name, start in starts.items()
            },
        }

    def off_from_masked(self, case: Case, scores: Any, widths: Any) -> float:
        """Return how far the answers of the pruned network are from those of the masked one."""
        kept = choose_kept(case.artifact.builder, case.artifact.kwargs, scores, widths)
        both = [cut(case.artifact, scores, widths), masked(case.artifact, kept)]
        rows = case.features.validation
        small, large = (predict_probabilities(each, rows, engine="torch", threads=2) for each in both)
        return float(np.abs(small - large).max())

    def off_in_numpy(self, made: Made) -> float:
        """Return how far the NumPy engine's answers are from the file's, on 1,000 pictures."""
        case = self.case("cnn")
        rows = case.features.validation.first(1000)
        small = predict_probabilities(made.artifact, rows, engine="numpy", threads=1)
        exact = predict_probabilities(made.artifact, rows, engine="torch", threads=1)
        return float(np.abs(small - exact).max())

    def native(self, artifact: Artifact, engine: str) -> Probabilities:
        """Return answers on the held pictures of a network that is in no file."""
        path = self.work / "files" / "native.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        export_onnx(artifact, path)
        return self.answers(artifact, path)

    def students(self) -> dict[str, Any]:
        """Train a network of half the widths: by labels alone, taught by the cnn, and by both networks together."""
        case, one = self.case("cnn"), self.teacher("cnn")
        both = np.asarray((one + self.teacher("separable_cnn")) / 2, np.float32)
        widths = narrower_widths(case.artifact.builder, case.artifact.kwargs, 0.5)
        kwargs = with_widths("cnn", case.artifact.kwargs, widths)
        found: dict[str, Any] = {"seeds": []}
        for seed in range(self.options.seeds):
            seeded = replace(case, plan=replace(case.plan, seed=seed))
            answers = {}
            for kind, teacher in {"alone": None, "taught by the cnn": one, "taught by both": both}.items():
                network = Network(builder="cnn", kwargs=kwargs, has_teacher=teacher is not None)
                name = f"student-{kind}-{seed}".replace(" ", "-")
                given = one if teacher is None else teacher
                trained = self.train(seeded, network, name, given, self.options.tuning_minutes)
                answers[kind] = self.native(trained, "torch")
            row = {kind: {"accuracy": self.accuracy(own)} for kind, own in answers.items()}
            for kind in ("taught by the cnn", "taught by both"):
                row[kind] |= self.drop(answers["alone"], answers[kind])
            found["seeds"].append(row)
            print(json.dumps(row, indent=1), flush=True)
        kinds = found["seeds"][0]
        found["mean_accuracy"] = {k: statistics.mean(row[k]["accuracy"] for row in found["seeds"]) for k in kinds}
        shape, own = case.artifact.input_shape, case.artifact.kwargs
        found["parameters"] = {
            "cnn": measure_size("cnn", own, shape).parameters,
            "student": measure_size("cnn", kwargs, shape).parameters,
        }
        return found

    def front(self) -> dict[str, Any]:
        """Measure what `trimtab compress` and `run` deliver within the limits, and the peers at the same width."""
        case = self.case("cnn")
        limits = [word for name, limit in LIMITS.items() for word in (f"--{name}", str(limit))]
        said = command("compress", case.directory.path, *limits, "--minutes", self.options.ladder_minutes, "--json")
        ladder = json.loads(said.splitlines()[-1])
        folder = Path(ladder["compression"])
        models = {}
        for rung in ladder["rungs"]:
            place = folder / rung["network"].replace("%", "").replace(",", "").replace(" ", "-")
            place /= rung["number_format"].replace(" ", "-")
            name = f"{rung['network']}, {rung['number_format']}"
            artifact = Artifact.load(place / "artifact")
            models[name] = Made(path=place / "model.onnx", artifact=artifact, probabilities=np.empty(0, np.float32))
        own = self.work / "runs" / "limited"
        if not RunDirectory(own).is_finished:
            command("run", self.work / "pictures", "--out", own, *limits, "--minutes", self.options.ladder_minutes)
        bundle = RunDirectory(own).bundle
        models["run with the limits"] = Made(
            path=bundle / "model.onnx",
            artifact=Artifact.load(bundle / "artifact"),
            probabilities=np.empty(0, np.float32),
        )
        models |= self.peers(ladder, folder)
        return {
            "limits": LIMITS,
            "delivered": ladder["delivered"],
            "is_good_enough": ladder["is_good_enough"],
            "verdict": ladder["verdict"],
            "claims": ladder["claims"],
            "table": self.figures(models, "as trained, float32"),
        }

    def peers(self, ladder: Mapping[str, Any], folder: Path) -> dict[str, Made]:
        """Return what the peers make at the width of the ladder's networks, trained for the same seconds."""
        case, teacher = self.case("cnn"), self.teacher("cnn")
        found = {"as trained, plain static": self.plain(case, self.files(case, case.artifact, "cnn"))}
        pruned = [rung["network"] for rung in ladder["rungs"] if rung["network"].startswith("pruned")]
        if not pruned:
            return found
        place = folder / pruned[0].replace("%", "").replace(" ", "-")
        seconds = json.loads((place / "network.json").read_text())["seconds"]
        share = float(pruned[0].removeprefix("pruned to ").removesuffix("%")) / 100
        same = Artifact.load(place / "model")
        found[f"{pruned[0]}, plain static"] = self.plain(case, self.files(case, same, "pruned"))
        if torch_pruned.installed():
            start = torch_pruned.prune(case.artifact, share)
            trained = self.fine_tuned(start, "torch-pruned", teacher, seconds / 60)
            found["Torch-Pruning, plain static"] = self.plain(case, self.files(case, trained, "torch-pruned"))
        return found


def starts_at(case: Case, share: float, importance: str) -> Artifact:
    """Return the cnn with about this share of its channels."""
    own = case.artifact
    return cut(own, score(case, own, importance), narrower_widths(own.builder, own.kwargs, share))


def with_zeros(artifact: Artifact) -> Artifact:
    """Return the network with the smaller half of each weight at zero: what pruning without structure leaves."""
    arrays = dict(artifact.arrays)
    for key, array in arrays.items():
        if array.ndim > 1:
            arrays[key] = np.where(np.abs(array) < np.median(np.abs(array)), np.float32(0), array)
    return replace(artifact, arrays=arrays)


def command(*words: object) -> str:
    """Run the command line in a fresh process; return what it prints. 3 is a result, too: nothing fits."""
    called = [sys.executable, "-m", "trimtab", *map(str, words)]
    done = subprocess.run(called, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(called)} exited with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def milliseconds(call: Callable[[Any], object], given: object) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call(given)
    return 1000 * (time.perf_counter() - start)


def show(table: Mapping[str, Mapping[str, Any]], base: str) -> None:
    """Print a line per file."""
    width = max(map(len, table))
    print(f"{'':{width}}     MB  M MACs  p50 ms  p95 ms  as fast          accuracy  points lost")
    for name, row in table.items():
        spread = "-".join(f"{each:.2f}" for each in row["spread"])
        lost = "" if name == base else f"{row['lost_points']:+.2f} ({row['lost_low']:+.2f} to {row['lost_high']:+.2f})"
        times = f"{row['p50_ms']:7.3f} {row['p95_ms']:7.3f} {row['times_as_fast']:5.2f}x ({spread})"
        print(f"{name:{width}} {row['megabytes']:6.3f} {row['macs'] / 1e6:7.2f} {times} {row['accuracy']:8.4f}  {lost}")
    print(flush=True)


if __name__ == "__main__":
    main()
