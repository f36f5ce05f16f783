"""The reference zoo "fixed": 2,000 nets of one architecture on four image sets, and the figures of the paper that they can show.

    python recipes/reference_fixed.py zoo/reference_fixed figures/reference_fixed [quick|full]

15 GB of disk: 2,000 nets x 20 snapshots x 92,868 weights in float32.
Minutes: 79 on two cores that others were using (2 h 33 min of one core, Zen 3, AVX2), by the native engine; torch takes three to
four times as long. The figures come on top: docs/reproduce.md, figure by figure.
Expected (2026-11-21): 49% to 64% of an image set's nets converge; whole nets tell initialization 99%, activation 96%, optimizer
90%, image set 71%. Ctrl-C stops it at any moment, the same command goes on.
"""

import sys
from pathlib import Path

from nws import FIXED, Zoo, gallery, report, sample, terminal, threads

SETS = ("mnist", "fashion", "kmnist", "cifar10")
NETS, SEED = 2000, 1
LIMIT, LIMIT_TEST, EPOCHS = 1000, 500, 20  # the paper: 45,000 to 73,257 images, until early stopping


def main(path: str, out: str, budget: str = "quick") -> None:
    space = FIXED.with_(dataset=SETS)
    settings = {"seed": SEED, "epochs": EPOCHS, "limit": LIMIT, "limit_test": LIMIT_TEST, "space": space}
    done = len(Zoo(path)) if Path(path, "zoo.json").exists() else 0
    with terminal.SamplingBar(NETS, done) as bar:
        zoo = sample(path, space.sample(NETS, SEED), images=SETS, on_progress=bar, **settings)
    with terminal.progress() as on_progress:
        made = gallery.make(zoo, out, budget=budget, on_progress=on_progress, workers=threads.cores())
    terminal.out.print(terminal.gallery(made, str(path)))
    report.write(zoo, Path(out, "report.html"), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
