"""The fitters: gradients against float64, native against torch, and nets that do not depend on their company."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from nws.fitting import Fitted, Form, Problem, fit, why_not
from nws.fitting.engines import native_gradient

torch = pytest.importorskip("torch")

ENGINES = [
    "torch",
    pytest.param("native", marks=pytest.mark.skipif(why_not() is not None, reason="the native fitter is not built")),
]
native = pytest.mark.skipif(why_not() is not None, reason="the native fitter is not built")
FORMS = [Form(32, 2, 1), Form(5, 1, 3), Form(7, 3, 2, inputs=3), Form(9, 2, 1, sine=False)]


def problem(form: Form, nets: int, points: int = 37, steps: int = 30, snapshots: int = 1, seed: int = 0) -> Problem:
    """Random nets and signals; every net has its own learning rate, omega, offset and number of steps."""
    rng = np.random.default_rng(seed)
    theta = np.concatenate(
        [
            rng.uniform(-1, 1, (nets, *shape)).reshape(nets, -1) / (shape[-1] * (1 if k < 2 else 4))
            for k, shape in enumerate(form.shapes)
        ],
        axis=1,
    )
    last = steps + np.arange(nets) % 5
    return Problem(
        form=form,
        theta=theta.astype(np.float32),
        points=rng.uniform(-1, 1, (points, form.inputs)).astype(np.float32),
        target=rng.uniform(0, 1, (nets, points, form.outputs)).astype(np.float32),
        learning_rate=rng.uniform(1e-3, 3e-3, nets),
        omega=rng.uniform(5, 30, nets),
        offset=rng.uniform(-0.5, 0.5, nets) if form.sine else np.zeros(nets),
        goal=np.zeros(nets),
        records=np.round(np.linspace(0, last, snapshots)).astype(np.int64).T if snapshots > 1 else last[:, None],
    )


def part(whole: Problem, nets: list[int]) -> Problem:
    per_net = ("theta", "target", "learning_rate", "omega", "offset", "goal", "records")
    return replace(whole, **{name: getattr(whole, name)[nets] for name in per_net})


def loss_and_gradient(whole: Problem) -> tuple[np.ndarray, np.ndarray]:
    """By autograd in float64."""
    from nws.fitting.batched import forward

    theta = torch.tensor(whole.theta, dtype=torch.float64, requires_grad=True)
    points, target = (torch.tensor(a, dtype=torch.float64) for a in (whole.points, whole.target))
    # as the fitters get them: rounded to float32
    omega, offset = (torch.tensor(a.astype(np.float32), dtype=torch.float64).reshape(-1, 1, 1) for a in (whole.omega, whole.offset))
    loss = ((forward(whole.form, theta, points, omega, offset) - target) ** 2).mean((1, 2))
    loss.sum().backward()
    assert theta.grad is not None
    return loss.detach().numpy(), theta.grad.numpy()


@native
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("nets", [1, 3])
def test_the_native_gradient_is_that_of_float64(form: Form, nets: int) -> None:
    whole = problem(form, nets)
    loss, gradient = native_gradient(whole)
    expected_loss, expected = loss_and_gradient(whole)
    assert_allclose(loss, expected_loss, rtol=1e-5)
    assert_allclose(gradient, expected, atol=3e-6 * np.abs(expected).max())


@native
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_both_engines_take_the_same_steps(form: Form) -> None:
    whole = problem(form, 5, steps=8, snapshots=3)
    a, b = fit(whole, "native"), fit(whole, "torch")
    assert_array_equal(a.steps, b.steps)
    assert_array_equal(a.steps, whole.records)
    assert_allclose(a.loss, b.loss, rtol=2e-3)
    assert np.abs(a.theta - b.theta).max() < 2e-4
    assert_array_equal(a.theta[:, 0], whole.theta)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_net_does_not_depend_on_its_company(engine: str) -> None:
    whole = problem(FORMS[0], 41, steps=20)
    whole = replace(whole, goal=np.where(np.arange(41) % 2, 0.07, 0.0))  # lanes are refilled at different steps
    found = fit(whole, engine)
    assert len(set(found.steps[:, 0].tolist())) > 5

    def same(other: Fitted, nets: list[int]) -> None:
        for name in ("theta", "loss", "steps"):
            assert_array_equal(getattr(other, name), getattr(found, name)[nets])

    for nets in ([*range(40, -1, -1)], [7], [3, 29, 12], [*range(16, 41)]):
        same(fit(part(whole, nets), engine), nets)


@pytest.mark.parametrize("engine", ENGINES)
def test_records_are_moments_of_one_training(engine: str) -> None:
    whole = problem(FORMS[0], 2, steps=12)
    many = fit(replace(whole, records=np.array([[0, 3, 3, 12]] * 2)), engine)
    short = fit(replace(whole, records=np.array([[3]] * 2)), engine)
    assert_array_equal(many.theta[:, 1], short.theta[:, 0])
    assert_array_equal(many.theta[:, 1], many.theta[:, 2])
    assert (many.loss[:, 3] < many.loss[:, 0]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_net_that_met_its_goal_stops_and_one_that_diverged_too(engine: str) -> None:
    whole = problem(FORMS[0], 3, steps=50)
    goal = float(fit(replace(whole, records=np.full((3, 1), 10)), engine).loss[0, 0])
    met = fit(replace(whole, goal=np.array([goal, 0, 0]), learning_rate=np.array([*whole.learning_rate[:2], 1e30])), engine)
    assert met.steps[0, 0] == 10 < met.steps[1, 0]
    assert met.loss[0, 0] <= goal
    assert not np.isfinite(met.loss[2, 0])
    assert met.steps[2, 0] < 50


@native
def test_what_does_not_fit_together_is_refused() -> None:
    whole = problem(FORMS[0], 2)
    with pytest.raises(ValueError, match="weights of this shape"):
        fit(replace(whole, theta=whole.theta[:, 1:]), "native")
    with pytest.raises(ValueError, match="target"):
        fit(replace(whole, target=whole.target[:1]), "native")
    with pytest.raises(ValueError, match="fall"):
        fit(replace(whole, records=np.array([[3, 2]] * 2)), "native")
