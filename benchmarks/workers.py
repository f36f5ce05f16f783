"""How much sooner is `nws classify` with more workers? Alternating runs of the command, a JSON row each.

    python benchmarks/workers.py ZOO [ROUNDS] > rows.jsonl        (ZOO: any zoo with four properties, such as nws-demo/zoo)

A row has wall and CPU seconds of the command and all its workers, and the load of the machine before it began.
"""

import json
import os
import resource
import subprocess
import sys
import time

PROPERTIES = "optimizer,activation,initialization,augmentation"
METAS = "svm-linear-16,svm-rbf-16,svm-linear-480"


def timed(zoo: str, rounds: int, workers: int) -> dict[str, float | int]:
    load, before, started = os.getloadavg()[0], resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [
        "classify",
        zoo,
        "--property",
        PROPERTIES,
        "--meta",
        METAS,
        "--rounds",
        str(rounds),
        "--workers",
        str(workers),
        "--json",
    ]
    subprocess.run([sys.executable, "-m", "nws", *command], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"workers": workers, "rounds": rounds, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "load_before": load}


def main(zoo: str, rounds: str = "10", times: str = "3") -> None:
    for _ in range(int(times)):
        for workers in (1, 2):
            print(json.dumps(timed(zoo, int(rounds), workers)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
