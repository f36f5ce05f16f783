"""Figures: what the table says is what is drawn, and nothing is cut off."""

from dataclasses import replace

import numpy as np
import pytest

from nws import figures
from nws.tasks import results
from nws.tasks.protocol import Result


def result(name, meta, accuracy, **changes):
    values = {
        "property": name,
        "meta": meta,
        "part": "all",
        "slice_length": None,
        "snapshots": (17, 18, 19, 20),
        "accuracy": accuracy,
        "error": None,
        "low": accuracy - 0.1,
        "high": min(1.0, accuracy + 0.1),
        "spread": 0.02,
        "vote": accuracy,
        "vote_low": accuracy,
        "vote_high": accuracy,
        "chance": 1 / 3,
        "classes": ("a", "b", "c"),
        "n_train": 30,
        "n_test": 9,
        "n_tested": 40,
        "rounds": 10,
        "per_round": (accuracy,),
        "confusion": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "seconds": 1.0,
        "seed": 0,
        "split": "rounds",
        "converged": False,
        "zoo": "zoo/some",
    }
    return Result(**(values | changes))


ROWS = [
    result(name, meta, a)
    for name, base in (("optimizer", 0.5), ("initialization", 0.85), ("batch_size", 0.3))
    for meta, a in (("svm-linear-16", base), ("dmc", base + 0.05))
]


def test_bars_intervals_and_chance_are_those_of_the_rows():
    axes = figures.meta_classification(results.table(ROWS)).axes[0]
    heights = sorted(round(p.get_height(), 6) for p in axes.patches)
    assert heights == sorted(round(r.accuracy, 6) for r in ROWS)
    ends = {tuple(np.round(s[:, 1], 6)) for c in axes.collections for s in c.get_segments()}
    assert {(round(r.low, 6), round(r.high, 6)) for r in ROWS} <= ends
    assert any(y0 == y1 == round(1 / 3, 6) for y0, y1 in ends)


@pytest.mark.parametrize("properties", [1, 3])
def test_no_text_is_cut_off(properties):
    rows = [r for r in ROWS if r.property in ("optimizer", "initialization", "batch_size")[:properties]]
    figure = figures.meta_classification(results.table(rows))
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    texts = [*figure.axes[0].get_xticklabels(), *figure.legends[0].get_texts(), figure._supxlabel]
    for text in texts:
        box = text.get_window_extent(canvas.get_renderer())
        assert box.x0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y0 >= -1, text
        assert box.y1 <= height + 1, text


def test_saved_as_png_and_pdf(tmp_path):
    png, pdf = figures.save(figures.meta_classification(results.table(ROWS)), tmp_path / "f")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert pdf.read_bytes().startswith(b"%PDF")


def test_regressions_are_left_out_of_a_figure_of_accuracies():
    rows = [*ROWS, replace(ROWS[0], property="learning_rate", accuracy=None, error=0.001)]
    labels = [t.get_text() for t in figures.meta_classification(results.table(rows)).axes[0].get_xticklabels()]
    assert labels == ["optimizer", "initialization", "batch\nsize"]
