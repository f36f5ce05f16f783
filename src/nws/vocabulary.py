"""Names that a user may write, known before what they stand for is imported: a wrong one is refused at once.

tests/test_refusals.py holds them equal to what there is.
"""

WORKERS_NEED = ("nws.meta", "nws.tasks.rounds")  # modules, imported before a worker starts
STEPPED = ("dmc", "graph", "probes", "deepsets", "set-transformer")  # those of nws.meta.METAS that learn step by step
META_CLASSIFIERS = (
    *("svm-linear-16", "svm-rbf-16", "svm-linear-480", "svm-rbf-480"),
    *("tensors", "slices", "slice-net", *STEPPED),
)  # nws.meta.METAS
EDGE_READERS = ("norm-threshold", "edge-boosting")  # nws.meta.EDGE_READERS: of targets with a value per edge
FIGURES = (*(f"figure{number}" for number in range(1, 22)), "numbers")  # nws.gallery.FIGURES
MEASURED = ("test_accuracy", "train_accuracy", "validation_accuracy")  # nws.zoo.targets.MEASURED; a family may have others
