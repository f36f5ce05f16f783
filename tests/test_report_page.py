"""The page in a real Chromium: it opens from disk without a request or a complaint, and its controls do what they say."""

import csv
import io
import json
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from browser import Browser, why_not
from fabricated import SNAPSHOTS, tiny
from foreign_files import foreign_zoo
from test_report import EVIL, maps_of, write_table

from nws import FIXED, report
from nws.zoo import Zoo

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
NETS = 24
FORMULAS = ("=1+1", "+cmd", "-2", "@sum")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page with every section, about nets whose image sets have hostile names."""
    folder = tmp_path_factory.mktemp("page")
    zoo = Zoo.create(folder / "zoo", FIXED, nets=NETS)
    for number in range(NETS):
        net = tiny(number)
        zoo.append(replace(net, hp=net.hp.with_(dataset=[EVIL, *FORMULAS][number % 5])))
    reading = {"part": "all", "slice_length": None, "accuracy": 0.8, "low": 0.7, "high": 0.9, "chance": 0.25, "n_tested": 24}
    rows = [{"property": p, "meta": m, **reading} for p in ("activation", "dataset") for m in ("svm-linear-16", EVIL)]
    write_table(folder / "tables", "meta_classification", pd.DataFrame(rows))
    cells = [(p, k, s, (k + s) / 20) for p in ("activation", "optimizer") for k in range(10) for s in range(1, 6)]
    write_table(folder / "tables", "maps", maps_of(cells))
    features = [("activation", layer, t, "mean", 1.0, 0.1) for layer in ("conv1", EVIL) for t in ("weight", "bias")]
    names = ["property", "layer", "type", "statistic", "mean", "spread"]
    write_table(folder / "tables", "importance", pd.DataFrame(features, columns=names))
    effect = {"dataset": EVIL, "property": "optimizer", "option": "adam", "coefficient": -0.125, "p": 0.2, "nets": 24, "r2": 0.5}
    effects = [{**effect, "dataset": "=1+1", "option": option, "p": 0.0} for option in ("rmsprop", "adam")]
    write_table(folder / "tables", "regression", pd.DataFrame([effect, *effects]))
    report.write(zoo, folder / "report.html", folder / "tables")
    return folder / "report.html", zoo


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(chromium, made):
    """The page freshly opened; whatever a test does, the console must stay empty and nothing may be asked for."""
    chromium.open(made[0])
    yield chromium
    assert chromium.console() == []
    assert {address.split(":")[0] for address in chromium.requests()} <= {"file", "blob"}


def test_a_foreign_zoo_opens_and_its_controls_are_there(chromium, tmp_path):
    report.write(foreign_zoo(tmp_path, nets=8), tmp_path / "r.html")
    chromium.open(tmp_path / "r.html")
    names = chromium.run("return [...document.querySelector('#colour').options].map(o => o.value)")
    assert {"optimizer", "config.dropout"} <= set(names)
    assert "not recorded" in text(chromium, "#facts")
    assert chromium.console() == []


def selected(browser):
    return browser.run("return document.querySelectorAll('#selection tbody tr').length")


def text(browser, selector):
    return browser.run("return document.querySelector(arguments[0]).textContent", selector)


def set_value(browser, selector, value, event="input"):
    script = "const e = document.querySelector(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event(arguments[2]));"
    browser.run(script, selector, value, event)
    browser.frame()


def test_it_opens_from_disk_without_a_request_or_a_complaint(chromium, made):
    chromium.open(made[0])
    assert chromium.console() == []
    assert chromium.requests() == [made[0].as_uri()]


def test_every_section_shows_something(browser):
    for section in ("bars", "maps", "importance", "regression", "accuracies", "options", "facts", "legend"):
        assert browser.run("return document.getElementById(arguments[0]).childElementCount", section), section
    assert "activation in 80% of cases" in text(browser, "h1")
    assert "−0.125*" in text(browser, "#regression")


def test_options_of_the_regression_stand_where_the_fullest_set_has_them(browser):
    said = text(browser, "#regression")
    assert said.index("optimizer = rmsprop") < said.index("optimizer = adam")


def test_hostile_names_are_shown_as_text(browser):
    assert EVIL in text(browser, "#accuracies")
    assert EVIL in text(browser, "#bars")
    assert browser.run("return document.scripts.length") == 2


def test_colour_by_any_property(browser):
    names = browser.run("return [...document.querySelector('#colour').options].map(o => o.value)")
    assert {"activation", "dataset", "learning_rate", "test_accuracy", "progress", "accuracy_now"} <= set(names)
    seen = set()
    for name in ("activation", "optimizer", "learning_rate", "progress", "accuracy_now"):
        set_value(browser, "#colour", name, "change")
        seen.add(browser.pixels("#plot canvas"))
    assert len(seen) == 5


def test_the_slider_moves_the_nets_along_their_training(browser):
    set_value(browser, "#trail", "none", "change")
    seen = []
    for value in (0, 130, 500, 1000, 0):
        set_value(browser, "#progress", value)
        seen.append(browser.pixels("#plot canvas"))
    assert len(set(seen)) == 4
    assert seen[0] == seen[-1]
    assert text(browser, "#moment") == "0%"


def test_play_goes_through_the_training(browser):
    browser.click("#play")
    browser.wait("return parseInt(document.querySelector('#moment').textContent) > 1")
    assert text(browser, "#play") == "Pause"
    browser.click("#play")
    stopped = text(browser, "#moment")
    browser.frame()
    assert text(browser, "#moment") == stopped != "100%"


def test_hovering_shows_the_net_and_its_curve(browser):
    browser.point("#over", [(0.001, 0.001)])
    assert browser.run("return document.querySelector('.card').hidden")
    for y in range(4, 37, 2):  # until there is a net under the pointer
        browser.point("#over", [(0.4, y / 40), (0.5, y / 40)])
        if not browser.run("return document.querySelector('.card').hidden"):
            break
    said = text(browser, ".card")
    assert "Net " in said
    assert "learning rate" in said
    assert browser.run("return document.querySelectorAll('.card polyline').length") == 3


def test_drag_moves_and_buttons_zoom_and_show_all(browser):
    first = browser.pixels("#plot canvas")
    browser.point("#over", [(0.5, 0.5), (0.6, 0.6), (0.7, 0.7)], drag=True)
    moved = browser.pixels("#plot canvas")
    browser.click("#in")
    zoomed = browser.pixels("#plot canvas")
    browser.click("#reset")
    assert len({first, moved, zoomed}) == 3
    assert browser.pixels("#plot canvas") == first


def test_a_lasso_lists_nets_and_the_csv_holds_no_formula(browser, made, chromium):
    browser.click("#lasso")
    browser.point("#over", [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)], drag=True)
    assert selected(browser) == NETS
    browser.click("#csv")
    file, ends = chromium.folder / "zoo-selected.csv", time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < ends, "no CSV came"
        time.sleep(0.05)
    rows = list(csv.DictReader(io.StringIO(file.read_text(), newline="")))
    frame = made[1].index
    assert [int(row["net"]) for row in rows] == frame.index.tolist()
    assert [row["dataset"] for row in rows] == [f"'{name}" if name in FORMULAS else name for name in frame["dataset"]]
    np.testing.assert_allclose([float(row["learning_rate"]) for row in rows], frame["learning_rate"], rtol=1e-6)
    browser.click("#clear")
    assert browser.run("return document.querySelector('#selection').hidden")


def test_a_lasso_around_nothing_selects_nothing(browser):
    browser.click("#lasso")
    browser.point("#over", [(0.001, 0.001), (0.004, 0.001), (0.004, 0.004)], drag=True)
    assert selected(browser) == 0


def test_filters_and_legend_hide_nets_from_picture_and_lasso(browser, made):
    set_value(browser, "#colour", "optimizer", "change")
    whole = browser.pixels("#plot canvas")
    browser.click("#legend .entry")
    left = int((made[1].index["optimizer"] != "adam").sum())
    assert text(browser, "#shown") == f"{left} of {NETS} nets shown"
    assert browser.pixels("#plot canvas") != whole
    browser.run("document.querySelector('#filtering').open = true")
    browser.click("#take")
    assert selected(browser) == left
    browser.click("#unfilter")
    assert browser.pixels("#plot canvas") != whole  # the selection is ringed
    set_value(browser, "input[aria-label='test accuracy at least']", 100)
    accuracy = made[1].index["test_accuracy"]
    above = int((accuracy >= (accuracy.min() + accuracy.max()) / 2).sum())
    assert text(browser, "#shown") == f"{above} of {NETS} nets shown"


def test_the_table_sorts(browser, made):
    browser.run("document.querySelector('#filtering').open = true")
    browser.click("#take")
    browser.click("#selection button[data-name=test_accuracy]")
    first = browser.run("return document.querySelector('#selection tbody th').textContent")
    assert int(first) == made[1].index["test_accuracy"].idxmax()


def test_maps_are_read_with_pointer_and_keys(browser):
    browser.point("#maps canvas", [(0.5, 0.3)])
    assert "snapshot" in text(browser, "#maps .said")
    browser.run("document.querySelector('#maps canvas').focus()")
    browser.keys("Right", "Right")
    assert text(browser, "#maps .said").startswith("Position ")
    before = browser.pixels("#maps canvas")
    browser.keys("Left")
    assert browser.pixels("#maps canvas") != before


def test_everything_can_be_done_with_the_keyboard(browser):
    reached = []
    for _ in range(30):
        browser.keys("Tab")
        reached.append(browser.run("return document.activeElement.id || document.activeElement.tagName"))
        if reached[-1] == "over":
            break
    assert {"theme", "colour", "trail", "play", "progress", "over"} <= set(reached)
    seen = [browser.pixels("#plot canvas")]
    for key in ("Left", "+", "-", "0"):
        browser.keys(key)
        seen.append(browser.pixels("#plot canvas"))
    assert len(set(seen[:3])) == 3
    assert seen[-1] == seen[0]
    browser.keys("n", "n")
    assert text(browser, ".card h3").startswith("Net 1")
    browser.keys("Enter")
    assert selected(browser) == 1
    browser.keys("Escape", "Escape")
    assert selected(browser) == 0
    browser.keys("Tab")  # to the tools: lasso
    browser.keys("Enter")
    assert browser.run("return document.querySelector('#lasso').getAttribute('aria-pressed')") == "true"


def test_light_and_dark_follow_the_system_and_the_button(browser, made):
    colour = "return getComputedStyle(document.body).backgroundColor"
    light, drawn = browser.run(colour), browser.pixels("#plot canvas")
    browser.open(made[0], dark=True)
    dark = browser.run(colour)
    assert light == "rgb(255, 255, 255)" != dark
    assert browser.pixels("#plot canvas") != drawn
    browser.click("#theme")
    assert browser.run(colour) == light
    assert browser.pixels("#plot canvas") == drawn
    browser.click("#theme")
    assert browser.run(colour) == dark


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_needs_no_sideways_scrolling(browser, made, width):
    browser.open(made[0], width, 844)
    browser.run("document.querySelector('#filtering').open = true; document.querySelector('#take').click()")
    browser.frame()
    assert selected(browser) == NETS
    assert browser.run("return document.documentElement.scrollWidth") <= width
    low = "return [...document.querySelectorAll('main button')].filter(e => e.getBoundingClientRect().height < 24).length"
    assert browser.run(low) == 0


def test_points_are_as_many_as_snapshots(browser):
    assert json.loads(text(browser, "#data"))["plane"]["count"] == NETS * SNAPSHOTS
