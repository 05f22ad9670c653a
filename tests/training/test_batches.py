import numpy as np
import torch

from trimtab.training.batches import Order, Rows, augmented, channel_statistics, first_batch, steps_per_epoch


def test_a_pass_shows_every_row_once():
    order = Order(48, 16, seed=1)
    seen = torch.cat([order.at(step) for step in range(steps_per_epoch(48, 16))])
    assert sorted(seen.tolist()) == list(range(48))


def test_the_batch_of_a_step_does_not_depend_on_what_was_asked_before():
    first, second = Order(100, 16, seed=1), Order(100, 16, seed=1)
    first.at(3)
    assert torch.equal(first.at(20), second.at(20))


def test_another_seed_gives_another_order():
    assert not torch.equal(Order(100, 16, seed=1).at(0), Order(100, 16, seed=2).at(0))


def test_fewer_rows_than_a_batch_make_one_batch():
    assert sorted(Order(5, 16, seed=0).at(7).tolist()) == list(range(5))


def test_shifted_pictures_hold_only_pixels_of_the_picture():
    picture = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8, 1)
    out = augmented(picture, torch.zeros(200, dtype=torch.int64), "shift", torch.Generator().manual_seed(0))
    centers = out[:, 3, 3, 0].unique().tolist()
    assert centers == [18, 19, 20, 26, 27, 28, 34, 35, 36]  # one pixel at most, each way, on 8 x 8
    assert len({tuple(entry.flatten().tolist()) for entry in out}) == 9


def test_flipping_mirrors_about_half_of_the_pictures():
    picture = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    picture[:, :, :2] = 200  # bright on the left
    out = augmented(picture, torch.zeros(400, dtype=torch.int64), "flip+shift", torch.Generator().manual_seed(0))
    is_mirrored = out[:, 4, 7, 0] > 100
    assert 150 < int(is_mirrored.sum()) < 250


def test_tables_pass_through_unchanged():
    table = torch.randn(6, 4)
    rows = torch.tensor([5, 0])
    assert torch.equal(augmented(table, rows, "none", torch.Generator()), table[rows])


def test_the_network_sees_standardized_channels():
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)) / 255, rtol=1e-12)
    np.testing.assert_allclose(std, images.std((0, 1, 2)) / 255, rtol=1e-9)
    rows = Rows.of(images, np.zeros(40, np.int64), mean=mean, std=std)
    batch = rows.normalize(rows.inputs)
    assert batch.shape == (40, 3, 6, 6)
    torch.testing.assert_close(batch.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_a_channel_without_variation_does_not_divide_by_zero():
    assert channel_statistics(np.full((2, 3, 3, 1), 51, np.uint8)) == ([0.2], [1.0])


def test_the_first_batch_is_what_the_first_step_trains_on(pictures, recipe):
    batch = first_batch(pictures[0], recipe())
    assert batch.shape == (16, 8, 8, 1)
    assert batch.dtype == np.uint8
