"""Figures drawn from tables: they show the tables' numbers, say where they come from, and nothing is cut off."""

import numpy as np
import pandas as pd
import pytest
from studied import studied_zoo

from nws import gallery
from nws.analysis import regression, statistics
from nws.families.cnn2020 import PROPERTIES
from nws.figures import embedding as embedding_figures
from nws.figures import regression as regression_figures
from nws.figures import statistics as statistics_figures
from nws.figures import style
from nws.tables import NotForThisZooError

ABOUT = {"zoo": "my $zoo_1$", "nets": 100, "version": "0.1.0", "commit": "abc1234", "settings": {}}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Name -> table, of a zoo of 100 nets; the embedding is made up."""
    zoo = studied_zoo(tmp_path_factory.mktemp("figures") / "zoo", nets=100)
    made = {name: getattr(statistics, name)(zoo) for name in ("nets", "size_time", "curves", "accuracy", "pairs")}
    made |= {"regression": regression.regression(zoo), "regression_error": regression.error(zoo)}
    made["regression_correlation"] = regression.correlation(made["regression"])
    points = made["curves"][["net", "snapshot"]].copy()
    points[["x", "y"]] = np.random.default_rng(0).standard_normal((len(points), 2))
    made["embedding"] = points
    for table in made.values():
        table.attrs["about"] = ABOUT
    return made


MINE = ["figure1", *(f"figure{n}" for n in range(6, 16))]


def draw(name, drawn):
    return gallery.FIGURES[name].draw(*(drawn[table] for table in gallery.FIGURES[name].tables))


@pytest.mark.parametrize("name", MINE)
def test_no_text_is_cut_off_and_the_caption_says_where_it_comes_from(name, drawn):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw(name, drawn)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.get_tightbbox(canvas.get_renderer())  # of all that is drawn, in inches
    width, height = figure.get_size_inches()
    assert box.x0 > -0.02, box
    assert box.y0 > -0.02, box
    assert box.x1 < width + 0.02, box
    assert box.y1 < height + 0.02, box
    caption = figure._supxlabel.get_text().replace("\n", " ")
    assert caption.startswith(r"my \$zoo_1\$: 100 nets")  # no mathematics
    assert caption.endswith("nws 0.1.0, commit abc1234")


def test_curves_have_a_line_per_net_and_the_means(drawn):
    axes = draw("figure7", drawn).axes
    table = drawn["curves"]
    lines = [len(axis.collections[0].get_paths()) for axis in axes]
    assert lines == [table[table["dataset"] == name]["net"].nunique() for name in ("mnist", "kmnist")]
    test = axes[0].lines[2]
    end = table[(table["dataset"] == "mnist") & (table["progress"] == 1)]["test"].mean()
    assert test.get_ydata()[-1] == pytest.approx(end)


def test_the_smooth_curve_holds_as_many_nets_as_the_bars(drawn):
    for axis in draw("figure8", drawn).axes:
        bars = sum(bar.get_height() for bar in axis.patches)
        x, y = axis.lines[0].get_data()
        assert np.trapezoid(y, x) * len(axis.patches) == pytest.approx(bars, rel=0.02)


@pytest.mark.parametrize("name", statistics.PAIRS)
def test_bars_of_pairs_are_the_means(name, drawn):
    table = drawn["pairs"]
    rows = table[table["figure"] == name]
    for axis, (_, mine) in zip(draw(name, drawn).axes, style.by_image_set(rows)):
        heights = sorted(bar.get_height() for bar in axis.patches if bar.get_height())
        np.testing.assert_allclose(heights, sorted(mine["mean"]))


def test_a_pair_that_does_not_vary_is_refused(drawn):
    with pytest.raises(NotForThisZooError, match="the same in all nets"):
        statistics_figures.pairs(drawn["pairs"].query("figure != 'figure9'"), "figure9")


def test_cells_show_coefficients_and_stars(drawn):
    table = drawn["regression"]
    axis = regression_figures.one(table).axes[0]
    mine = table[table["dataset"] == "mnist"]
    said = [text.get_text().split("\n")[-1] for text in axis.texts]
    assert sorted(said) == sorted(f"{b:+.2f}{'*' if star else ''}" for b, star in zip(mine["coefficient"], mine["star"]))


def test_every_snapshot_is_a_point_of_the_option_s_colour(drawn):
    from matplotlib.colors import to_hex

    axes = embedding_figures.embedding(drawn["embedding"], drawn["nets"], drawn["curves"]).axes
    nets = drawn["nets"].set_index("net")
    points = drawn["embedding"]
    for axis, name in zip(axes, embedding_figures.SHOWN):
        dots = axis.collections[0]
        assert len(dots.get_offsets()) == len(points)
        if not PROPERTIES[name].continuous:
            shown = {tuple(xy): to_hex(c).upper() for xy, c in zip(dots.get_offsets().tolist(), dots.get_facecolors())}
            row = points.iloc[17]
            option = nets.loc[row["net"], name]
            assert shown[row["x"], row["y"]] == style.colours(name, nets[name].unique())[option]


def test_an_option_has_one_colour_whatever_else_is_there():
    for name, property_ in PROPERTIES.items():
        if not property_.continuous:
            whole = style.colours(name, property_.options)
            assert len(set(whole.values())) == len(property_.options)
            for option in property_.options:
                assert style.colours(name, [option]) == {option: whole[option]}


def test_foreign_options_have_a_colour_and_a_place():
    assert style.ordered("dataset", ["kmnist", "fashion", "mnist", "mnist"]) == ["mnist", "fashion", "kmnist"]
    assert style.ordered("batch_size", [512, 64, 16]) == [64, 16, 512]
    assert len(set(style.colours("dataset", ["mnist", "<script>", "kmnist"]).values())) == 3
    assert set(style.colours("batch_size", [16, 32])) == {16, 32}


def test_one_net_can_be_drawn():
    table = pd.DataFrame({"dataset": ["mnist"], "weights": [92868], "seconds": [0.0]})
    assert statistics_figures.size_time(table).axes


def test_one_interrupted_net_does_not_hide_the_times_of_all_others():
    seconds = [*np.linspace(1, 10, 200), 5000.0]
    table = pd.DataFrame({"dataset": "mnist", "weights": 92868, "seconds": seconds})
    figure = statistics_figures.size_time(table)
    assert figure.axes[1].get_xlim()[1] < 12
    assert sum(bar.get_height() for bar in figure.axes[1].patches) == 200
    assert "1 far beyond the others left out" in " ".join(" ".join(text.get_text() for text in figure.texts).split())
