"""Figures of what is read: what the tables say is what is drawn, and nothing is cut off."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from test_figures import result

from nws import FIXED
from nws.families import cnn2020 as cnn
from nws.figures import importance, maps, reading
from nws.representations import statistics as features
from nws.tables import NotForThisZooError
from nws.tasks import results

NAMES = ("dataset", "optimizer", "initialization")


def assert_inside(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    texts = [axis.title for axis in figure.axes if axis.axison]
    for of in (of for axis in figure.axes if axis.axison for of in (axis.xaxis, axis.yaxis)):
        low, high = sorted(of.get_view_interval())
        texts += [text for at, text in zip(of.get_ticklocs(), of.get_ticklabels()) if low <= at <= high]
    texts += [t for legend in figure.legends for t in legend.get_texts()] + [figure._supxlabel]
    for text in texts:
        if text.get_text() and text.get_visible():
            box = text.get_window_extent(canvas.get_renderer())
            assert box.x0 >= -1, text
            assert box.y0 >= -1, text
            assert box.x1 <= width + 1, text
            assert box.y1 <= height + 1, text


def heights(axis):
    return sorted(round(p.get_height(), 6) for p in axis.patches)


def drawn_map(axis):
    return axis.collections[0].get_array()


def by_part():
    series = (("svm-linear-16", "all"), ("svm-rbf-16", "all"), ("dmc", "all"), ("dmc", "conv"), ("dmc", "fc"))
    values = np.random.default_rng(0).uniform(0.3, 0.9, (len(NAMES), len(series)))
    rows = [
        result(name, meta, float(v), part=part, slice_length=1000)
        for name, line in zip(NAMES, values)
        for (meta, part), v in zip(series, line)
    ]
    return results.table(rows)


def test_each_part_is_a_series_of_its_own():
    table = by_part()
    figure = reading.meta_classification(table)
    assert heights(figure.axes[0]) == sorted(round(a, 6) for a in table["accuracy"])
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert "dmc of FC weights (1,000 weights)" in labels
    assert len({(p.get_facecolor(), p.get_hatch()) for p in figure.axes[0].patches}) == 5
    assert_inside(figure)


def test_lines_against_length_on_a_log_axis():
    rows = [
        result(name, meta, 0.3 + 0.1 * np.log10(length), slice_length=length, part="all")
        for name in NAMES
        for meta in ("dmc", "svm-rbf-16")
        for length in (100, 1000, 10_000)
    ]
    figure = reading.subset_size(results.table(rows))
    assert [axis.get_xscale() for axis in figure.axes] == ["log", "log"]
    drawn = figure.axes[0].lines[0]
    np.testing.assert_allclose(np.asarray(drawn.get_xydata()), [[100, 0.5], [1000, 0.6], [10_000, 0.7]])
    assert_inside(figure)


def test_properties_that_the_dmc_did_not_learn_have_lines_of_the_svm_only():
    learned = [(name, "svm-rbf-16") for name in NAMES] + [(NAMES[0], "dmc")]
    rows = [result(name, meta, 0.5, slice_length=n, part="all") for name, meta in learned for n in (100, 1000)]
    figure = reading.subset_size(results.table(rows))
    dmc, svm = figure.axes
    assert (len(dmc.containers), len(svm.containers)) == (1, len(NAMES))
    assert len(figure.legends[0].get_texts()) == len(NAMES)
    assert_inside(figure)


def test_batch_norm_has_four_bars_a_property():
    rows = [
        result(name, "dmc", a, only={"batch_norm": on}, without=without)
        for name in NAMES
        for on, without, a in ((True, (), 0.8), (True, ("bias", "norm"), 0.7), (False, (), 0.6), (False, ("bias", "norm"), 0.5))
    ]
    figure = reading.batch_norm(results.table(rows))
    assert heights(figure.axes[0]) == [0.5] * 3 + [0.6] * 3 + [0.7] * 3 + [0.8] * 3
    assert_inside(figure)


def test_batch_norm_of_properties_that_the_dmc_did_not_learn():
    learned = [(name, "svm-rbf-16") for name in NAMES] + [(NAMES[0], "dmc")]
    rows = [result(name, meta, 0.5, only={"batch_norm": on}) for name, meta in learned for on in (True, False)]
    figure = reading.batch_norm(results.table(rows))
    assert [len(heights(axis)) for axis in figure.axes] == [2 * len(NAMES), 2]
    assert_inside(figure)


def importances():
    names = features.feature_names(cnn.layout(FIXED.net(0, 0)))
    rows = [
        (name, *feature.split("/")[0].split("."), feature.split("/")[1], 1.0 + k % 16, 0.5)
        for name in NAMES
        for k, feature in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=["property", "layer", "type", "statistic", "mean", "spread"])


def test_a_stem_for_each_of_the_480_statistics():
    figure = importance.importance(importances())
    assert len(figure.axes) == 3
    stems = sum(
        len(c.get_segments()) for c in figure.axes[0].collections if c.get_label() in {n for _, n in importance.TYPES.values()}
    )
    assert stems == 480
    assert [t.get_text() for t in figure.axes[-1].get_xticklabels()] == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    assert len(importance.importance_two(importances()).axes) == 2
    assert_inside(figure)


def test_the_label_of_a_single_panel_does_not_run_over_the_caption():
    table = importances()
    figure = importance.importance_two(table[table["property"] == "optimizer"])
    assert len(figure.axes) == 1
    figure.draw_without_rendering()
    label, caption = figure.axes[0].yaxis.label.get_window_extent(), figure._supxlabel.get_window_extent()
    assert figure.axes[0].get_ylabel()
    assert figure._supylabel is None
    assert not label.overlaps(caption)


@pytest.mark.parametrize("properties", [1, 3, 5])
def test_local_importance_has_16_bars_a_property(properties):
    names = ["dataset", "batch_size", "optimizer", "activation", "initialization"][:properties]
    rows = [(name, statistic, 1.0 + k, 0.5) for name in names for k, statistic in enumerate(features.STATISTICS)]
    figure = importance.importance_local(pd.DataFrame(rows, columns=["property", "statistic", "mean", "spread"]))
    assert heights(figure.axes[0]) == [1.0 + k for k in range(16)]
    assert_inside(figure)


def map_table(names, metas=("svm-rbf-16", "dmc")):
    rows = [
        (name, meta, part, position, snapshot, 0.3 + 0.5 * position + 0.01 * snapshot, 40, 0.25)
        for name in names
        for meta in metas
        for part in ("all", "conv", "fc")
        if meta == "svm-rbf-16" or part == "all"
        for position in np.linspace(0, 1, 5)
        for snapshot in (1, 10, 20)
    ]
    return pd.DataFrame(rows, columns=["property", "meta", "part", "position", "snapshot", "accuracy", "n", "chance"])


def test_maps_run_down_from_the_initialization_and_across_from_the_first_weights():
    figure = maps.main(map_table(NAMES))
    axis = figure.axes[0]
    assert axis.get_ylim() == (1, 0)
    values = drawn_map(axis)
    np.testing.assert_allclose(np.asarray(values)[0], 0.31 + 0.5 * np.linspace(0, 1, 5))
    np.testing.assert_allclose(np.asarray(values)[:, 0], [0.31, 0.4, 0.5])
    assert_inside(figure)


@pytest.mark.parametrize("better", ["svm-rbf-16", "dmc"])
def test_three_properties_are_shown_by_who_reads_them_best(better):
    table = map_table(NAMES)
    table.loc[table["meta"] != better, "accuracy"] -= 0.1
    figure = maps.main(table)
    np.testing.assert_allclose(np.asarray(drawn_map(figure.axes[0]))[0, 0], 0.31)
    assert f"read by {better}" in " ".join(text.get_text() for text in figure.texts)


def test_maps_of_one_property_share_their_colours_and_missing_ones_are_blank():
    figure = maps.training(map_table(["dataset", "optimizer", "depth_fc"]))
    drawn = [axis for axis in figure.axes if axis.collections and axis.get_ylim() == (1, 0)]
    assert len(drawn) == 2 * 4
    assert len({axis.collections[0].get_clim() for axis in drawn}) == 1
    assert len([a for a in maps.architecture(map_table(["optimizer", "depth_fc"])).axes if a.get_ylim() == (1, 0)]) == 4
    assert_inside(figure)


def test_a_zoo_of_one_architecture_has_no_map_of_it():
    with pytest.raises(NotForThisZooError):
        maps.architecture(map_table(NAMES))
