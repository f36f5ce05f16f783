"""Readers of structure: indifferent to the order of hidden units, whatever the architecture; and the contract of all readers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from placed_nets import cnn, config, kan, mlps, permuted, placed, residual
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import nws
from nws.meta import DMC, load, make, save
from nws.meta.graph import Sweep
from nws.meta.graph_edges import EdgeReader
from nws.representations import Placed
from nws.representations.tokens import neurons

RNG = np.random.default_rng
NAMES = ("graph", "probes", "deepsets", "set-transformer")
SMALL = {
    "graph": {"width": 16, "frequencies": 4},
    "probes": {"probes": 6, "width": 16},
    "deepsets": {"width": 16},
    "set-transformer": {"width": 16, "heads": 2, "points": 4},
}


def made(name, **changes):
    return make(name, **{**SMALL[name], "max_steps": 4, "batch_size": 8, **changes})


def given(name, rows):
    """Placed nets as this reader wants them."""
    return rows if name in ("graph", "probes") else [neurons(row.theta[None], row.layout)[0] for row in rows]


def answers(model, rows, name):
    return model.predict_proba(given(name, rows))


@pytest.fixture(params=NAMES, scope="module")
def fitted(request):
    rows, kind = mlps(24, RNG(0))
    y = np.array(["adam", "momentum", "rmsprop"])[kind]
    return request.param, made(request.param).fit(given(request.param, rows), y), rows, y


def test_the_order_of_hidden_units_does_not_matter(fitted):
    name, model, rows, _ = fitted
    before = answers(model, rows, name)
    for seed in range(3):
        assert_allclose(answers(model, [permuted(row, RNG(seed)) for row in rows], name), before, atol=1e-5)
    shuffled = [replace(row, theta=RNG(1).permutation(row.theta)) for row in rows]
    assert np.abs(answers(model, shuffled, name) - before).max() > 1e-3  # it does look at the weights


@pytest.mark.parametrize("name", ["graph", "deepsets", "set-transformer"])
@pytest.mark.parametrize("kind", ["cnn", "residual", "kan", "mixed"])
def test_nor_of_any_other_net(name, kind):
    rng = RNG(3)
    if kind == "residual":
        layout = residual()
        rows = [Placed(rng.normal(size=layout.size).astype(np.float32), layout) for _ in range(8)]
    elif kind == "kan":
        rows = [kan(rng, hidden=3 + k % 3) for k in range(8)]
    else:
        rows = [cnn(rng, k, depth_conv=3 + k % 2, depth_fc=3 + k % 2, filter_size=(3, 5)[k % 2]) for k in range(8)]
    if kind == "mixed":
        rows = [*rows[:4], *mlps(4, rng)[0]]
    extra = [{}, {"backward": True}] if name == "graph" else [{}]
    for more in extra:
        model = made(name, **more).fit(given(name, rows), np.arange(8) % 2)
        before = answers(model, rows, name)
        assert_allclose(answers(model, [permuted(row, RNG(0)) for row in rows], name), before, atol=1e-5)


def test_to_the_dmc_it_matters():
    rows = [placed(config(), RNG(k)) for k in range(8)]
    model = DMC(None, max_steps=4, batch_size=8).fit([row.theta for row in rows], np.arange(8) % 2)
    before, after = (model.predict_proba(np.stack([r.theta for r in some])) for some in (rows, [permuted(r, RNG(9)) for r in rows]))
    assert np.abs(after - before).max() > 1e-3


def test_the_order_of_inputs_and_outputs_matters_to_the_graph(fitted):
    name, model, rows, _ = fitted
    if name != "graph":
        pytest.skip("of the graph reader")
    moved = []
    for row in rows:
        tensors = {key: value.copy() for key, value in row.layout.unflatten(row.theta).items()}
        tensors["fc1.weight"] = tensors["fc1.weight"][:, ::-1]
        moved.append(replace(row, theta=row.layout.flatten(tensors)))
    assert np.abs(answers(model, moved, name) - answers(model, rows, name)).max() > 1e-3


def scaled(row, rng):
    """The same function of a net of rectifiers: what a hidden unit says times s, what is made of it over s."""
    tensors = {key: value.copy() for key, value in row.layout.unflatten(row.theta).items()}
    s = rng.uniform(0.3, 3, len(tensors["fc1.bias"])).astype(np.float32)
    tensors["fc1.weight"] *= s[:, None]
    tensors["fc1.bias"] *= s
    tensors["out.weight"] /= s
    return replace(row, theta=row.layout.flatten(tensors))


def test_probes_of_answers_alone_see_nothing_but_the_function():
    rows = [placed(config(k, activation="relu"), RNG(k), k % 3) for k in range(12)]
    same = [permuted(scaled(row, RNG(k)), RNG(k)) for k, row in enumerate(rows)]
    for hidden in (False, True):
        model = made("probes", hidden=hidden).fit(rows, np.arange(12) % 3)
        change = np.abs(answers(model, same, "probes") - answers(model, rows, "probes")).max()
        assert change > 1e-3 if hidden else change < 1e-5


def test_messages_are_sums_over_units_of_products():
    torch.manual_seed(0)
    sweep = Sweep(8, 5)
    torch.nn.init.normal_(sweep.own)
    waves, h = torch.randn(2, 5, 3, 4), torch.randn(2, 4, 8)
    edges = torch.einsum("bkts,kd->btsd", waves, sweep.edge + sweep.own[2])
    expected = sweep.message((edges * sweep.heard(h)[:, None]).sum(2) / 2)
    assert_allclose(sweep.hear(waves, h, 2).detach(), expected.detach(), atol=1e-5)


def test_together_is_alone(fitted):
    name, model, rows, _ = fitted
    together = answers(model, rows, name)
    order = RNG(0).permutation(len(rows))
    assert_allclose(answers(model, [rows[k] for k in order], name), together[order], atol=1e-5)
    assert_allclose(np.concatenate([answers(model, [row], name) for row in rows]), together, atol=1e-5)
    assert answers(model, [], name).shape == (0, 3)


def test_the_same_seed_gives_the_same_bits_and_nothing_else_is_disturbed(fitted):
    name, model, rows, y = fitted
    before = torch.get_rng_state()
    again = made(name).fit(given(name, rows), y)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    assert_array_equal(answers(again, rows, name), answers(model, rows, name))
    other = made(name, random_state=1).fit(given(name, rows), y)
    assert not np.array_equal(answers(other, rows, name), answers(model, rows, name))


@pytest.mark.parametrize("kind", ["classes", "regression"])
def test_a_saved_model_predicts_the_same_bits(fitted, kind, tmp_path):
    name, _, rows, y = fitted
    model = made(name, regression=kind == "regression")
    model.fit(given(name, rows), y if kind == "classes" else np.arange(24) / 7)
    save(model, tmp_path / "model", {"property": "optimizer"})
    again = load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    assert_array_equal(again.predict(given(name, rows)), model.predict(given(name, rows)))


@pytest.mark.parametrize("regression", [False, True], ids=["classes", "regression"])
@pytest.mark.parametrize("name", NAMES)
def test_learns_an_easy_task(name, regression):
    (rows, kind), (others, expected) = mlps(48, RNG(1)), mlps(30, RNG(2))
    longer = {"max_steps": 60} if name in ("graph", "probes") else {"max_steps": 120, "learning_rate": 5e-3}
    model = made(name, batch_size=16, dropout=0.0, regression=regression, **longer)
    model.fit(given(name, rows), kind * 0.002 if regression else kind)
    if not regression:
        assert model.score(given(name, others), expected) > 0.8
        return
    error = np.abs(model.predict(given(name, others)) - expected * 0.002).mean()
    assert error < 0.5 * np.abs(expected * 0.002 - 0.002).mean()  # 0.002 is the median
    assert not hasattr(model, "predict_proba")


def test_the_constructor_only_stores_and_steps_are_counted(fitted):
    name, model, rows, y = fitted
    assert vars(make(name)) == make(name).get_params()
    assert not hasattr(clone(model), "classes_")
    seen = []
    made(name, max_steps=3).fit(given(name, rows), y, lambda step, steps, loss: seen.append((step, steps)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    seen.clear()
    made(name, max_steps=None, epochs=2).fit(given(name, rows), y, lambda step, steps, loss: seen.append(step))
    assert len(seen) == 6  # 24 nets in batches of 8, twice


def test_what_cannot_be_read_is_an_error(fitted):
    name, model, rows, y = fitted

    def refused(message, rows, y, **arguments):
        with pytest.raises(nws.NwsError, match=message) as error:
            made(name, **arguments).fit(given(name, rows) if rows and isinstance(rows[0], Placed) else rows, y)
        assert "\n" not in str(error.value)

    broken = [replace(row, theta=row.theta.copy()) for row in rows]
    broken[5].theta[7] = np.nan
    refused("leave diverged nets out", broken, y)
    refused("one label per row", rows, y[:-1])
    refused("X\\[0\\] must be", [np.zeros(7)] * 24, y)
    refused("width", rows, y, width=0)
    refused("dropout", rows, y, dropout=1.5)
    refused("max_steps", rows, y, max_steps=0)
    with pytest.raises(NotFittedError):
        made(name).predict(given(name, rows))
    larger = [placed(config(side=4), RNG(0))]
    if name in ("graph", "probes"):
        with pytest.raises(nws.NwsError, match="this model learned"):
            model.predict(larger)
    else:
        with pytest.raises(nws.NwsError, match="is expecting"):
            model.predict([given(name, rows)[0][:, 1:]])


def test_probes_of_nets_that_cannot_be_run_are_refused():
    rows = [replace(placed(config(), RNG(k)), config=None) for k in range(4)]
    with pytest.raises(nws.NwsError, match="cannot be run"):
        made("probes").fit(rows, [0, 1, 0, 1])
    mixed = [placed(config(side=3 + k % 2), RNG(k)) for k in range(4)]
    with pytest.raises(nws.NwsError, match="inputs of different shapes"):
        made("probes").fit(mixed, [0, 1, 0, 1])


FEW = {"images": "digits", "limit": 100, "limit_test": 30, "snapshots": 3, "epochs": 2, "workers": 1}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    space = nws.families.MLP.space.with_(dataset="digits", width=[4, 8], depth=[1, 2], side=4)
    return nws.sample(tmp_path_factory.mktemp("zoos") / "mlp", space, 24, **FEW)


def test_zoos_of_several_architectures_are_read_by_any_number_of_workers_alike(zoo):
    names = ["deepsets", "graph", "probes", "set-transformer"]
    settings = {name: {**SMALL[name], "max_steps": 3} for name in names}
    arguments = {"rounds": 2, "settings": settings}
    alone = nws.evaluate(names, ["optimizer", "test_accuracy"], zoo, workers=1, **arguments)
    several = nws.evaluate(names, ["optimizer", "test_accuracy"], zoo, workers=2, **arguments)
    assert [r.meta for r in alone] == 2 * names
    for one, other in zip(alone, several):
        assert one.accuracy == other.accuracy
        assert one.r2 == other.r2


def test_questions_that_structure_cannot_answer_are_refused(zoo):
    with pytest.raises(nws.NwsError, match=r"probes cannot read activation .* its activation must be known"):
        nws.evaluate("probes", "activation", zoo, rounds=1)
    with pytest.raises(nws.NwsError, match="graph reads whole nets, not slices"):
        nws.evaluate("graph", nws.Task("optimizer", slice_length=50), zoo, rounds=1)
    with pytest.raises(nws.NwsError, match="probes run whole nets"):
        nws.evaluate("probes", nws.Task("optimizer", without=("bias",)), zoo, rounds=1)


def test_weights_can_be_taken_out(zoo):
    settings = {"graph": {**SMALL["graph"], "max_steps": 2}}
    task = nws.Task("optimizer", without=("bias",), without_at="both")
    assert nws.evaluate("graph", task, zoo, rounds=1, settings=settings)[0].accuracy is not None


def switched(n, rng):
    """KANs, and of each edge whether its base weight is far from 0."""
    rows = [kan(rng, hidden=3 + k % 3) for k in range(n)]
    keep = []
    for row in rows:
        named = row.layout.unflatten(row.theta)
        keep.append(np.concatenate([np.abs(named[f"kan{k}.base.weight"]).ravel() > 0.6 for k in (1, 2)]))
    return rows, keep


def test_edges_are_told_apart_in_the_order_of_the_layout_and_follow_a_permutation():
    (rows, keep), (others, truth) = switched(40, RNG(0)), switched(10, RNG(1))
    model = EdgeReader(width=16, max_steps=150).fit(rows, keep)
    said = model.predict_proba(others)
    assert [p.shape for p in said] == [t.shape for t in truth]
    assert np.mean([np.mean((p > 0.5) == t) for p, t in zip(said, truth)]) > 0.85
    for row, before in zip(others, said):
        moved = permuted(row, RNG(5))
        hidden = row.layout.groups["kan1"]
        first, last = before[: 3 * hidden].reshape(hidden, 3), before[3 * hidden :].reshape(2, hidden)
        old, new = (r.layout.unflatten(r.theta)["kan1.base.weight"] for r in (row, moved))
        order = [int(np.flatnonzero((old == unit).all(1))[0]) for unit in new]
        expected = np.concatenate([first[order].ravel(), last[:, order].ravel()])
        assert_allclose(model.predict_proba([moved])[0], expected, atol=1e-5)
    with pytest.raises(nws.NwsError, match=r"X\[0\] has 15 edges, y\[0\] has shape"):
        EdgeReader().fit(rows, [some[1:] for some in keep])


def of_family(name, n, rng):
    """n nets of a built-in family, a little off their initialization, and the same ones changed in all ways that leave the function
    alone: the order of hidden units, of SIRENs signs and phases, of KANs the canonical scales."""
    family = nws.families.FAMILIES[name]
    rows, same = [], []
    for k in range(n):
        own = family.space.net(0, k)
        row = Placed(family.init(own, rng), family.layout(own), own)
        row = replace(row, theta=(row.theta + 0.02 * rng.normal(size=row.theta.size)).astype(np.float32))
        rows.append(row)
        theta = row.layout.permute(row.theta.astype(np.float64), rng)
        if name == "siren":
            theta = family.shift(family.flip(theta, rng, own), rng, own)
        if name.startswith("kan"):
            theta = family.canonical(theta, row.layout)
        same.append(replace(row, theta=theta.astype(np.float32)))
    return rows, same


@pytest.mark.parametrize("name", ["mlp", "siren", "relu-inr", "kan", "kan-inr", "resnet8"])
def test_what_leaves_the_function_alone_does_not_matter(name):
    rows, same = of_family(name, 3 if name == "resnet8" else 6, RNG(0))
    y = np.arange(len(rows)) % 2
    for reader, more in (("probes", {"hidden": False, "probes": 3}), ("graph", {})):
        model = made(reader, max_steps=2, **more).fit(rows, y)
        # Phases are moved by 2 pi / 30 in float32, and sines of the function then differ in the fifth digit.
        assert_allclose(answers(model, same, reader), answers(model, rows, reader), atol=1e-4 if name == "siren" else 1e-5)
