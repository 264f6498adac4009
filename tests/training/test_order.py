"""Sample numbers, records and chance."""

from __future__ import annotations

import torch

from backend.training.order import Order, generator, numbers_of


def test_every_epoch_has_every_record_once_in_another_order() -> None:
    order = Order(seed=4, records=10)
    epochs = [[order.record(number) for number in range(10 * e, 10 * e + 10)] for e in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert [Order(4, 10).record(n) for n in (25, 3, 14)] == [order.record(n) for n in (25, 3, 14)]


def test_processes_share_each_step_without_gap_or_overlap() -> None:
    for step in range(3):
        parts = [numbers_of(step, batch=12, microbatch=2, rank=r, world=3) for r in range(3)]
        flat = [n for rank in parts for part in rank for n in part]
        assert flat == list(range(12 * step, 12 * step + 12))
        assert all(len(part) == 2 for rank in parts for part in rank)


def test_chance_follows_from_seed_and_number_alone() -> None:
    draw = {(s, n): torch.randn(3, generator=generator(s, n)) for s in (0, 1) for n in (0, 1, 2)}
    assert torch.equal(draw[0, 1], torch.randn(3, generator=generator(0, 1)))
    values = [tuple(d.tolist()) for d in draw.values()]
    assert len(set(values)) == len(values)
