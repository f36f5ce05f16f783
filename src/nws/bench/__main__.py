"""python -m nws.bench NAME [--quick]: one suite in this process, a JSON row a line. `suites.run` starts it with threads pinned."""

from __future__ import annotations

import argparse
import importlib
import json

from nws.bench.rows import Row, machine
from nws.bench.suites import SUITES


def main() -> None:
    parser = argparse.ArgumentParser(prog="nws.bench", description="Run one suite of benchmarks; print one JSON row a line.")
    parser.add_argument("name", choices=SUITES)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: fewer rounds, less work")
    options = parser.parse_args()
    for row in importlib.import_module(f"nws.bench.{options.name}").rows(quick=options.quick):
        print(json.dumps(Row.of({**row, **machine()}).to_dict()), flush=True)


if __name__ == "__main__":  # workers that a suite spawns import this file, too
    main()
