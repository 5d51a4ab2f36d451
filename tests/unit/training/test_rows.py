from __future__ import annotations

import weakref

import pytest
import torch

from hemgs.core.errors import TrainingError
from hemgs.training.rows import RowParameters


def make(num_rows: int = 5, steps: int = 3) -> RowParameters:
    torch.manual_seed(0)
    rows = RowParameters({"a": torch.rand(num_rows, 2), "b": torch.rand(num_rows)}, {"a": 0.1, "b": 0.01})
    for _ in range(steps):
        descend(rows)
    return rows


def descend(rows: RowParameters) -> None:
    (rows["a"].square().sum() + (rows["b"] ** 3).sum()).backward()
    rows.step()


def moments(rows: RowParameters, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    state = rows.state()
    return state[f"{name}.exp_avg"], state[f"{name}.exp_avg_sq"]


def test_step_is_adam_of_torch_without_row_changes() -> None:
    rows = make(steps=0)
    a = rows["a"].detach().clone().requires_grad_(True)
    adam = torch.optim.Adam([a], lr=0.1, eps=1e-15)
    for _ in range(4):
        descend(rows)
        adam.zero_grad()
        a.square().sum().backward()
        adam.step()
    torch.testing.assert_close(rows["a"], a, rtol=0, atol=1e-6)
    assert rows["a"].grad is None


def test_learning_rates_are_per_name() -> None:
    rows = make(steps=0)
    before_a, before_b = rows["a"].detach().clone(), rows["b"].detach().clone()
    rows.set_lr("a", 0.0)
    rows.set_lr("b", 0.5)
    descend(rows)
    assert torch.equal(rows["a"], before_a)
    torch.testing.assert_close(rows["b"], before_b - 0.5)
    assert (rows.lr("a"), rows.lr("b")) == (0.0, 0.5)


def test_append_keeps_old_moments_and_zeroes_new_ones() -> None:
    rows = make()
    old_values, old = rows["a"].detach().clone(), moments(rows, "a")
    new = {"a": torch.full((2, 2), 7.0), "b": torch.full((2,), 8.0)}
    rows.append(new)
    assert rows.num_rows == 7
    assert torch.equal(rows["a"][:5], old_values) and torch.equal(rows["a"][5:], new["a"])
    for before, after in zip(old, moments(rows, "a"), strict=True):
        assert torch.equal(after[:5], before) and before.abs().min() > 0
        assert torch.equal(after[5:], torch.zeros(2, 2))
    descend(rows)
    assert (rows["a"][5:] < 7.0).all() and (rows["b"][5:] < 8.0).all()


def test_keep_takes_values_and_moments_of_the_same_rows() -> None:
    rows = make()
    mask = torch.tensor([True, False, True, False, True])
    values, before = rows["a"].detach().clone(), moments(rows, "a")
    rows.keep(mask)
    assert rows.num_rows == 3
    assert torch.equal(rows["a"], values[mask])
    for old, new in zip(before, moments(rows, "a"), strict=True):
        assert torch.equal(new, old[mask])


def test_rows_that_stay_go_on_as_if_nothing_had_happened() -> None:
    changed, untouched = make(), make()
    changed.append({"a": torch.rand(2, 2), "b": torch.rand(2)})
    changed.keep(torch.arange(7) != 1)
    for rows in (changed, untouched):
        descend(rows)
        descend(rows)
    torch.testing.assert_close(changed["a"][:4], untouched["a"][[0, 2, 3, 4]], rtol=0, atol=1e-7)


def test_keep_by_index_puts_rows_with_their_moments_into_that_order() -> None:
    rows, order = make(), torch.tensor([4, 0, 3])
    values, before = rows["a"].detach().clone(), moments(rows, "a")
    rows.keep(order)
    assert torch.equal(rows["a"], values[order])
    for old, new in zip(before, moments(rows, "a"), strict=True):
        assert torch.equal(new, old[order])


@pytest.mark.parametrize("chosen", [torch.zeros(5, dtype=torch.bool), torch.zeros(0, dtype=torch.int64)])
def test_keep_refuses_to_leave_nothing(chosen: torch.Tensor) -> None:
    with pytest.raises(TrainingError, match="all 5 primitives"):
        make().keep(chosen)


def test_buffers_follow_the_rows_and_no_optimiser_changes_them() -> None:
    rows = make()
    rows.buffers["codes"] = torch.arange(5)
    rows.keep(torch.tensor([3, 1]))
    rows.append({"a": torch.rand(1, 2), "b": torch.rand(1)})
    descend(rows)
    assert rows.buffers["codes"].tolist() == [3, 1, 0] and rows.names == ("a", "b")
    other = make(num_rows=2, steps=0)
    other.restore(rows.state())
    assert other.buffers["codes"].tolist() == [3, 1, 0]


def test_replace_sets_values_and_zeroes_moments_of_that_name_only() -> None:
    rows = make()
    other = moments(rows, "a")
    rows.replace("b", torch.arange(5.0))
    assert torch.equal(rows["b"], torch.arange(5.0)) and rows["b"].requires_grad
    assert all(torch.equal(moment, torch.zeros(5)) for moment in moments(rows, "b"))
    assert all(torch.equal(x, y) for x, y in zip(other, moments(rows, "a"), strict=True))
    with pytest.raises(ValueError, match="shape"):
        rows.replace("b", torch.zeros(4))


def test_restore_continues_bit_for_bit_with_other_row_counts() -> None:
    rows, other = make(), make(num_rows=2, steps=0)
    rows.set_lr("a", 0.03)
    other.restore({name: tensor.clone() for name, tensor in rows.state().items()})
    for both in (rows, other):
        descend(both)
        descend(both)
    assert all(torch.equal(rows.state()[name], tensor) for name, tensor in other.state().items())
    assert other.lr("a") == 0.03


def test_restore_of_a_fresh_state_forgets_moments() -> None:
    rows, fresh = make(), make(steps=0)
    rows.restore(fresh.state())
    descend(rows)
    descend(fresh)
    assert torch.equal(rows["a"], fresh["a"])


def test_restore_lets_go_of_what_it_replaces() -> None:
    rows = make()
    old = weakref.ref(rows["a"])
    rows.restore(make(num_rows=2).state())
    assert old() is None


def test_restore_names_what_is_missing() -> None:
    state = make().state()
    del state["b.exp_avg"]
    with pytest.raises(TrainingError, match=r"b\.exp_avg"):
        make().restore(state)


def test_inputs_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match="rows differ"):
        RowParameters({"a": torch.zeros(2), "b": torch.zeros(3)}, {"a": 1.0, "b": 1.0})
    with pytest.raises(ValueError, match="same names"):
        RowParameters({"a": torch.zeros(2)}, {"b": 1.0})
    with pytest.raises(ValueError, match="appended"):
        make().append({"a": torch.zeros(1, 2)})


def test_the_source_tensors_are_not_changed() -> None:
    source = torch.rand(3, 2)
    copy = source.clone()
    rows = RowParameters({"a": source, "b": torch.rand(3)}, {"a": 0.1, "b": 0.1})
    descend(rows)
    assert torch.equal(source, copy) and not torch.equal(rows["a"], copy)
