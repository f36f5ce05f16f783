import colorsys

import numpy as np
import pytest
import torch

from nws import augment


def pictures(n=8, seed=0):
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def still(n=8):
    """Parameters that change nothing."""
    rest = {"zoom": 1.0, "contrast": 1.0, "saturation": 1.0}
    return torch.tensor([[rest.get(name, 0.0) for name in augment.RANGES]] * n)


def only(n=8, **values):
    p = still(n)
    for name, value in values.items():
        p[:, list(augment.RANGES).index(name)] = value
    return p


def test_parameters_at_rest_change_nothing():
    x = pictures()
    torch.testing.assert_close(augment.apply(x, still(), torch.zeros_like(x)), x, atol=2e-6, rtol=0)


def test_whole_pixel_shifts_move_the_picture_and_fill_with_zero():
    x = pictures()
    moved = augment.warp(x, only(shift_x=2.0, shift_y=-3.0))
    torch.testing.assert_close(moved[:, :, 3:, :-2], x[:, :, :-3, 2:], atol=1e-5, rtol=0)
    assert moved[:, :, :3].abs().max() < 1e-5
    assert moved[:, :, :, -2:].abs().max() < 1e-5


def test_rotation_by_90_degrees_is_a_turn_of_the_picture():
    x = pictures()
    turned = augment.warp(x, only(rotation=90.0))
    ways = [torch.rot90(x, k, (2, 3)) for k in (1, 3)]
    assert min((turned - way).abs().max() for way in ways) < 1e-4


def test_warp_agrees_with_a_written_out_bilinear_rule():
    """Output pixel p (from the centre) shows the input at A (p + t), A from zoom, rotation and the two shears."""
    x = pictures(2)
    p = augment.draw(2, torch.Generator().manual_seed(3))
    found = augment.warp(x, p).numpy()
    for b in range(2):
        tx, ty, r, z, hx, hy = p[b, :6].numpy().astype(float)
        r, hx, hy = np.deg2rad([r, hx, hy])
        a = z * np.array(
            [[np.cos(hx - r) / np.cos(hx), np.sin(hx - r) / np.cos(hx)], [np.sin(hy + r) / np.cos(hy), np.cos(hy + r) / np.cos(hy)]]
        )
        picture = np.pad(x[b].numpy(), ((0, 0), (2, 2), (2, 2)))
        for row, column in ((0, 0), (5, 20), (16, 16), (31, 30)):
            u, v = a @ (np.array([column, row]) - 15.5 + (tx, ty)) + 15.5
            i, j = int(np.floor(v)), int(np.floor(u))
            if -2 <= i < 33 and -2 <= j < 33:
                corners = picture[:, i + 2 : i + 4, j + 2 : j + 4]
                wanted = np.einsum("cij,i,j->c", corners, [1 - (v - i), v - i], [1 - (u - j), u - j])
                np.testing.assert_allclose(found[b, :, row, column], wanted, atol=2e-5)


def test_colours_turn_as_in_hsv():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(6, 3, 4, 4, generator=generator) * 1.2 - 0.1  # brightness and contrast leave [0, 1]
    hue = torch.rand(6, 1, 1, generator=generator) * 0.16 - 0.08
    saturation = torch.rand(6, 1, 1, generator=generator) * 1.2 + 0.3
    found = augment.turn_colours(x, hue, saturation)
    for b, i, j in np.ndindex(6, 4, 4):
        r, g, bl = x[b, :, i, j].tolist()
        v = max(r, g, bl)
        if v <= 0:
            assert torch.equal(found[b, :, i, j], torch.full((3,), v))
            continue
        s = min((v - min(r, g, bl)) / v * saturation[b].item(), 1.0)
        h = colorsys.rgb_to_hsv(r - min(r, g, bl), g - min(r, g, bl), bl - min(r, g, bl))[0]
        wanted = colorsys.hsv_to_rgb((h + hue[b].item()) % 1.0, s, v)
        np.testing.assert_allclose(found[b, :, i, j], wanted, atol=2e-6)


def test_grey_pictures_stay_grey_without_noise():
    x = pictures()[:, :1].expand(-1, 3, -1, -1)
    p = augment.draw(8, torch.Generator().manual_seed(0))
    y = augment.apply(x, p, torch.zeros_like(x))
    torch.testing.assert_close(y[:, 0], y[:, 2], atol=1e-6, rtol=0)


def test_brightness_contrast_and_noise_follow_their_formulas():
    x = pictures() * 0.5 + 0.25
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(augment.apply(x, only(brightness=0.1), noise), x + 0.1, atol=2e-6, rtol=0)
    mean = x.mean((2, 3), keepdim=True)
    torch.testing.assert_close(augment.apply(x, only(contrast=0.5), noise), (x - mean) * 0.5 + mean, atol=2e-6, rtol=0)
    torch.testing.assert_close(augment.apply(x, only(noise=0.02), noise), (x + 0.02 * noise).clamp(0, 1), atol=2e-6, rtol=0)


def test_each_image_has_its_own_parameters_within_the_ranges():
    p = augment.draw(4000, torch.Generator().manual_seed(0))
    for column, (low, high) in zip(p.T, augment.RANGES.values(), strict=True):
        assert low <= column.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < column.max() <= high
        assert abs(column.mean() - (low + high) / 2) < 0.03 * (high - low)
    assert len(torch.unique(p[:, 6])) > 3900


def test_together_is_alone_for_given_parameters():
    x, p = pictures(), augment.draw(8, torch.Generator().manual_seed(0))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    together = augment.apply(x, p, noise)
    for b in range(8):
        torch.testing.assert_close(augment.apply(x[b : b + 1], p[b : b + 1], noise[b : b + 1])[0], together[b], atol=1e-6, rtol=0)


@pytest.mark.parametrize("n", [1, 64, 100])
def test_augmented_pictures_are_repeatable_pictures(n):
    x = pictures(n)
    y = augment.augment(x, torch.Generator().manual_seed(5))
    assert y.shape == x.shape
    assert y.min() >= 0
    assert y.max() <= 1
    assert torch.equal(y, augment.augment(x, torch.Generator().manual_seed(5)))
    assert not torch.equal(y, augment.augment(x, torch.Generator().manual_seed(6)))
