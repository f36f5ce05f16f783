"""INR families: zoos of pictures, renderings, symmetries, and the public nets they are to be comparable with."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import nws
from nws.families import RELU_INR, SIREN
from nws.fitting import why_not
from nws.images import ImageSet

FIXTURES = Path(__file__).resolve().parents[2] / "shared" / "fixtures" / "inr"
ORBIT = FIXTURES / "navon_mnist_test3665_orbit512.npz"
ENGINE = "torch" if why_not() else "native"


def pictures(train: int = 30, test: int = 10, shape: tuple[int, ...] = (6, 5, 1)) -> ImageSet:
    """Smooth pictures of any shape, in three classes."""
    rng = np.random.default_rng(1)
    y, x = np.meshgrid(np.linspace(0, 3, shape[0]), np.linspace(0, 3, shape[1]), indexing="ij")
    phase = rng.uniform(0, 6, (train + test, 1, 1, shape[2]))
    found = (127.5 + 127.5 * np.sin(x[..., None] * phase + y[..., None])).astype(np.uint8)
    labels = np.arange(train + test) % 3
    return ImageSet("waves", found[:train], labels[:train], found[train:], labels[train:], ("a", "b", "c"))


SMALL = {"width": 8, "steps": 40, "target_psnr": 25.0}


def small(family: nws.Family, **changes: object) -> nws.Space:
    return family.spaces["main"].with_(**{**SMALL, **changes})


def made(path: Path, family: nws.Family = SIREN, nets: int = 50, workers: int = 1, **changes: object) -> nws.Zoo:
    images = pictures()
    configs = small(family, **changes).with_(dataset="waves").sample(nets)
    return nws.sample(path, configs, images=images, workers=workers, engine=ENGINE)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> nws.Zoo:
    return made(tmp_path_factory.mktemp("inr") / "zoo")


def test_each_net_is_one_image_and_the_index_says_which(zoo: nws.Zoo) -> None:
    images, frame = pictures(), zoo.index
    assert frame["image"].tolist() == [n % 40 for n in range(50)]
    assert frame["view"].tolist() == [n // 40 for n in range(50)]
    assert frame["label"].tolist() == [[*images.y_train, *images.y_test][n % 40] for n in range(50)]
    assert frame["side"][:40].tolist() == ["train"] * 27 + ["val"] * 3 + ["test"] * 10
    assert (frame["psnr"] > 5).all()
    assert (frame["epochs"] <= 40).all()
    assert set(frame["snapshots"]) == {1}


def test_the_recorded_psnr_is_that_of_the_rendering(zoo: nws.Zoo) -> None:
    images = pictures()
    for net in list(zoo)[:3]:
        picture = images.numbered(net.hp.image)[0]
        rendered = SIREN.render(net.hp, net.theta)[0]
        error = np.mean((rendered - picture / 255) ** 2)
        assert_allclose(zoo.index["psnr"][net.number], -10 * np.log10(error), atol=1e-3)


def test_views_of_one_image_are_on_one_side_of_the_split(zoo: nws.Zoo) -> None:
    split = zoo.index["split"]
    assert split[:10].tolist() == split[40:].tolist()
    assert not np.array_equal(zoo.theta(0), zoo.theta(40))


def test_nets_do_not_depend_on_workers_and_a_killed_run_goes_on(zoo: nws.Zoo, tmp_path: Path) -> None:
    other = made(tmp_path / "zoo", workers=2)
    for number in (0, 17, 49):
        assert_array_equal(other.theta(number), zoo.theta(number))
    part = made(tmp_path / "part", nets=21)  # as far as a killed run came
    assert len(part) == 21
    again = made(tmp_path / "part")
    for number in (3, 20, 21, 49):
        assert_array_equal(again.theta(number), zoo.theta(number))


def test_many_nets_lie_in_one_file(zoo: nws.Zoo) -> None:
    assert len(list(zoo.path.rglob("*.safetensors"))) == 1
    assert zoo.verify().ok


@pytest.mark.parametrize("family", [SIREN, RELU_INR], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_module_computes_what_is_rendered(family: nws.Family, channels: int) -> None:
    import torch

    config = small(family, depth=3).net(0, 0).with_(dataset="waves", channels=channels, rows=4, columns=7)
    theta = family.init(config, np.random.default_rng(0))
    module = family.module(config)
    module.load_state_dict({k: torch.from_numpy(v) for k, v in family.layout(config).state_dict(theta).items()})
    found = module(torch.from_numpy(family.points(config))).detach().numpy()
    assert_allclose(family.render(config, theta[None])[0].reshape(28, channels), found, atol=1e-5)


def test_points_are_stated_column_first_from_edge_to_edge() -> None:
    config = SIREN.spaces["main"].net(0, 0).with_(rows=3, columns=2)
    assert SIREN.points(config).tolist() == [[-1, -1], [1, -1], [-1, 0], [1, 0], [-1, 1], [1, 1]]
    assert SIREN.points(config.with_(coordinates="ij")).tolist() == [[-1, -1], [-1, 1], [0, -1], [0, 1], [1, -1], [1, 1]]


def test_values_from_minus_one_to_one_render_as_the_others(tmp_path: Path) -> None:
    zoo = made(tmp_path / "zoo", nets=4, values="symmetric", target_psnr=0, steps=80)
    net = zoo.net(2)
    error = np.mean((SIREN.render(net.hp, net.theta)[0] - pictures().numbered(2)[0] / 255) ** 2)
    assert_allclose(zoo.index["psnr"][2], -10 * np.log10(error), atol=1e-3)


def test_initializations_are_those_of_the_two_corpora() -> None:
    config = SIREN.spaces["main"].net(0, 0)
    rng = np.random.default_rng(0)
    for recipe, bounds in {
        "sitzmann": (0.5, 2**-0.5, (6 / 32) ** 0.5 / 30, 32**-0.5, (6 / 32) ** 0.5 / 30, 32**-0.5),
        "navon": (3**0.5 / 30, 0, (6 / 32) ** 0.5 / 30, 0, 32**-0.5, 32**-0.5),
    }.items():
        hp = config.with_(initialization=recipe)
        theta = np.stack([SIREN.init(hp, rng) for _ in range(200)])
        largest = [np.abs(tensor).max() for tensor in SIREN.layout(hp).unflatten(theta).values()]
        assert_allclose(largest, bounds, rtol=0.02)


# -- symmetries -----------------------------------------------------------------------------------------------------------------


def orbit(theta: np.ndarray, config: nws.Config, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "permutation": SIREN.layout(config).permute(theta, rng),
        "sign": SIREN.flip(theta, rng, config),
        "phase": SIREN.shift(theta, rng, config, turns=3),
    }


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_symmetries_leave_the_function_and_change_theta(depth: int) -> None:
    import torch

    from nws.fitting.batched import forward

    config = SIREN.spaces["main"].net(0, 0).with_(depth=depth, width=6)
    rng = np.random.default_rng(depth)
    theta = rng.normal(0, 0.1, (3, SIREN.layout(config).size))
    points = torch.from_numpy(rng.uniform(-1, 1, (20, 2)))
    one = torch.ones(3, 1, 1, dtype=torch.float64)

    def function(theta: np.ndarray) -> np.ndarray:
        return forward(SIREN.form(config), torch.from_numpy(theta.copy()), points, 30 * one, 0 * one).numpy()

    for name, other in orbit(theta, config, rng).items():
        assert_allclose(function(other), function(theta), atol=1e-12, err_msg=name)
        assert np.abs(other - theta).max() > 0.01, name
    canonical = SIREN.canonical(theta, config)
    assert_allclose(function(canonical), function(theta), atol=1e-12)
    assert_allclose(SIREN.canonical(canonical, config), canonical, atol=1e-14)
    changed = theta.copy()
    changed[:, 0] *= -1  # no symmetry: the test can tell
    assert np.abs(function(changed) - function(theta)).max() > 1e-6


def test_signs_and_phases_have_one_canonical_form() -> None:
    config = SIREN.spaces["main"].net(0, 0).with_(width=6)
    rng = np.random.default_rng(5)
    theta = rng.normal(0, 0.1, (4, SIREN.layout(config).size))
    expected = SIREN.canonical(theta, config)
    for _ in range(5):
        theta = SIREN.shift(SIREN.flip(theta, rng, config), rng, config)
        assert_allclose(SIREN.canonical(theta, config), expected, atol=1e-12)


def in_order(theta: np.ndarray, width: int = 32) -> np.ndarray:
    """2-h-h-c theta (N, P) with hidden units sorted by their biases."""
    config = SIREN.spaces["main"].net(0, 0).with_(width=width)
    named = SIREN.layout(config).unflatten(theta)
    w1, b1, w2, b2, w3, b3 = (named[name] for name in named)
    first, second = b1.argsort(1), b2.argsort(1)
    rows = np.arange(len(theta))[:, None]
    w2 = w2[rows[..., None], second[..., None], first[:, None]]
    parts = (w1[rows, first], b1[rows, first], w2, b2[rows, second], w3[rows, :, second].swapaxes(1, 2), b3)
    return np.concatenate([part.reshape(len(theta), -1) for part in parts], 1)


@pytest.mark.skipif(not ORBIT.is_file(), reason="../shared is absent")
def test_a_public_net_has_one_canonical_form_in_512_versions() -> None:
    theta = read_orbit()
    canonical = in_order(SIREN.canonical(theta))
    assert_allclose(canonical, np.broadcast_to(canonical[:1], canonical.shape), atol=1e-6)
    assert np.abs(in_order(theta) - in_order(theta)[:1]).max() > 0.01  # signs differ before


@pytest.mark.skipif(not ORBIT.is_file(), reason="../shared is absent")
def test_the_public_net_says_what_it_said_elsewhere() -> None:
    import torch

    from nws.fitting.batched import forward

    theta = read_orbit()[[0, 100, 511]]
    points = torch.tensor([[0, 0], [-1, -1], [0.5, -0.25], [1, 1]], dtype=torch.float64)
    one = torch.ones(len(theta), 1, 1, dtype=torch.float64)
    config = SIREN.spaces["navon"].net(0, 0)
    found = forward(SIREN.form(config), torch.from_numpy(theta.astype(np.float64)), points, 30 * one, 0.5 * one).numpy()[..., 0]
    golden = [-0.03252470531398166, -0.020870834392337168, 1.081066064431993, 0.01896963068544083]
    assert_allclose(found, np.tile(golden, (3, 1)), atol=1e-6)
    assert_allclose(found[0], golden, atol=1e-12)


def read_orbit() -> np.ndarray:
    """(512, 1185), in our order."""
    with np.load(ORBIT) as stored:
        keys = [f"seq_{k}_{role}" for k in range(3) for role in ("weight", "bias")]
        return np.concatenate([stored[key].reshape(512, -1) for key in keys], 1)


def test_the_label_is_read_with_the_split_of_the_image_set(zoo: nws.Zoo, tmp_path: Path) -> None:
    from nws.tasks.questions import question

    task = nws.Task("label", split="source", snapshots=(1,))
    asked = question(task, "svm-linear-16", nws.meta.make("svm-linear-16"), zoo)
    sides = zoo.index["side"][asked.nets]
    assert asked.stored is not None
    assert (asked.stored == sides).all()
    assert set(sides) == {"train", "test"}
    assert "3 nets left out: their images are for validation" in asked.notes
    (result,) = nws.evaluate("svm-linear-16", nws.Task("label", snapshots=(1,)), zoo, rounds=1)
    assert result.chance == pytest.approx(1 / 3)
