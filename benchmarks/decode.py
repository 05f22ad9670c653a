"""Seconds until a picture data set is ready: the first time (decoding) and the second (from the cache).

    python benchmarks/decode.py DATA [--image-size 32] [--repeat 3]

Every repeat starts with an empty cache in a temporary directory; each measurement is a fresh process, imports
included. Prints a table and writes it, with command and hardware, to benchmarks/results/decode.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trimtab.machine import describe_machine
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "decode.json"

CODE = """
import sys
from trimtab.data import open_source
print(open_source(sys.argv[1]).load(image_size=int(sys.argv[2])).images.shape)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    times: dict[str, list[float]] = {"first": [], "second": []}
    for _ in range(options.repeat):
        with tempfile.TemporaryDirectory() as cache:
            for name in times:
                started = time.perf_counter()
                command = [sys.executable, "-c", CODE, options.data, str(options.image_size)]
                subprocess.run(command, check=True, env={**os.environ, "TRIMTAB_CACHE": cache})
                times[name].append(time.perf_counter() - started)
    machine = describe_machine()
    write_json(
        RESULTS, {"command": f"python benchmarks/decode.py {Path(options.data).name}", "machine": machine, **times}
    )
    print(machine)
    for name, values in times.items():
        print(f"{name:<7} median {statistics.median(values):.2f} s, {min(values):.2f} to {max(values):.2f}")


if __name__ == "__main__":
    main()
