"""The reference zoo "main": 1,500 nets of random architectures, four image sets, and the figures of the paper that they can show.

    python recipes/reference_main.py zoo/reference_main figures/reference_main [quick|full]

15 GB of disk: 1,500 nets x 20 snapshots x 127,645 weights on average in float32.
Minutes: 54 on two quiet cores (Zen 3, AVX2; 940 of the nets took 34), by the native engine. The figures come on top:
docs/reproduce.md, figure by figure. Ctrl-C stops it at any moment, the same command goes on.
Expected (2026-11-21): 31% to 54% of an image set's nets converge; 16 statistics of whole nets tell initialization 91%, activation
59%, optimizer 44% of three; of slices of 1,000 conv weights the filter size is told 50% of three.
"""

import sys
from pathlib import Path

from nws import MAIN, Zoo, gallery, report, sample, terminal, threads

SETS = ("mnist", "fashion", "kmnist", "cifar10")
NETS, SEED = 1500, 2
LIMIT, LIMIT_TEST, EPOCHS = 1000, 500, 20  # the paper: 45,000 to 73,257 images, until early stopping


def main(path: str, out: str, budget: str = "quick") -> None:
    space = MAIN.with_(dataset=SETS)
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
