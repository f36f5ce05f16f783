"""All tables and figures of a zoo: made once, kept while they are true, skipped with a reason."""

import json

import pytest
from fabricated import fabricated_zoo, tiny
from foreign_files import foreign_zoo
from studied import SPACE, studied_zoo

from nws import NwsError, gallery, tables
from nws.zoo import Zoo

NAMES = ["figure6", "figure8", "figure14"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(zoo, folder, what was made): do not change them."""
    folder = tmp_path_factory.mktemp("gallery")
    zoo = studied_zoo(folder / "zoo", nets=90)
    return zoo, folder / "figures", gallery.make(zoo, folder / "figures", NAMES)


def times(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_figure_and_its_tables_are_there(made):
    zoo, folder, figures = made
    assert [figure.name for figure in figures] == NAMES
    for figure in figures:
        assert figure.fresh
        assert figure.files[0].read_bytes().startswith(b"\x89PNG")
        assert figure.files[1].read_bytes().startswith(b"%PDF")
        for table in gallery.FIGURES[figure.name].tables:
            assert (folder / "tables" / f"{table}.csv").exists()
    about = json.loads((folder / "tables" / "nets.json").read_text())["about"]
    assert about["nets"] == len(zoo)
    assert {"zoo", "version", "commit", "settings"} <= set(about)


def test_a_second_call_makes_nothing(made):
    zoo, folder, _ = made
    before = times(folder)
    told = []
    assert not any(figure.fresh for figure in gallery.make(zoo, folder, NAMES, on_progress=told.append))
    assert not told
    assert times(folder) == before


def test_what_is_missing_or_not_true_any_more_is_made_again(tmp_path):
    zoo, out = studied_zoo(tmp_path / "zoo", nets=12), tmp_path / "figures"
    fresh = lambda: [figure.fresh for figure in gallery.make(zoo, out, ["figure6", "figure8"])]  # noqa: E731
    assert fresh() == [True, True]
    (out / "figure8.pdf").unlink()
    assert fresh() == [False, True]
    (out / "tables" / "accuracy.json").write_text("{")  # as after a crash of something else
    assert fresh() == [False, False], "the same table once more: the figure is still true"
    (out / "figure8.png").write_bytes(b"cut off")
    assert fresh() == [False, True]
    zoo.append(tiny(12, hp=SPACE.net(0, 12)))
    assert fresh() == [True, True]
    assert len(tables.load(out / "tables", "nets")) == 13


def test_other_drawing_code_draws_again(tmp_path, monkeypatch):
    zoo, out = studied_zoo(tmp_path / "zoo", nets=12), tmp_path / "figures"
    gallery.make(zoo, out, ["figure6"])
    monkeypatch.setattr(gallery, "_drawing_code", lambda: "an upgrade")
    assert [figure.fresh for figure in gallery.make(zoo, out, ["figure6"])] == [True]
    assert [figure.fresh for figure in gallery.make(zoo, out, ["figure6"])] == [False]


def test_a_foreign_zoo_has_the_figures_it_can_have(tmp_path):
    made = gallery.make(foreign_zoo(tmp_path, nets=12), tmp_path / "out", [f"figure{n}" for n in (1, *range(6, 17))])
    shown = {figure.name for figure in made if figure.files}
    assert {"figure6", "figure7", "figure8", "figure9", "figure12", "figure13", "figure16"} <= shown
    skipped = {figure.name: figure.skipped for figure in made if not figure.files}
    assert "augmentation" in skipped["figure11"] or "same in all nets" in skipped["figure11"]
    assert "nets" in skipped["figure14"]
    assert not any("\n" in why for why in skipped.values())


def test_what_the_zoo_cannot_show_is_skipped_with_a_reason(tmp_path):
    zoo = fabricated_zoo(tmp_path / "zoo")
    figures = {figure.name: figure for figure in gallery.make(zoo, tmp_path / "out", ["figure6", "figure13", "figure14"])}
    assert figures["figure6"].files
    assert "2 architectures" in figures["figure13"].skipped
    assert "\n" not in figures["figure14"].skipped
    assert not figures["figure14"].files


def test_bad_requests_are_one_line(tmp_path, made):
    zoo, _, _ = made
    with pytest.raises(NwsError, match="figure 'figure66' is unknown"):
        gallery.make(zoo, tmp_path, ["figure66"])
    with pytest.raises(NwsError, match="budget 'huge' is unknown"):
        gallery.make(zoo, tmp_path, budget="huge")
    with pytest.raises(NwsError, match="holds no nets yet"):
        gallery.make(Zoo.create(tmp_path / "empty", SPACE, seed=0, nets=1), tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(NwsError, match="name a folder"):
        gallery.make(zoo, tmp_path / "file", ["figure6"])


def test_a_figure_asks_for_tables_that_exist_and_settings_fit_them():
    for name, figure in gallery.FIGURES.items():
        assert set(figure.tables) <= set(gallery.TABLES), name
    assert set(gallery.ALWAYS) <= set(gallery.TABLES)
    for table in gallery.TABLES.values():
        assert set(table.full) <= set(table.quick)
