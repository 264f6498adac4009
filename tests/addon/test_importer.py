"""The import queue: one step at a time, newer states replace older ones, failures of parts wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from blender_addon.importer import HeadImport, ImportFailed, ImportQueue

PART = HeadImport("head", "job", Path("/x.partial"), False)
WHOLE = HeadImport("head", "job", Path("/x"), True)
OTHER = HeadImport("other", "job2", Path("/y"), True)


class Steps:
    """Notes what is built; three steps a head."""

    def __init__(self, fails=()):
        self.built, self.fails = [], fails

    def __call__(self, head):
        for step in range(3):
            if head in self.fails:
                raise OSError("the folder is gone")
            self.built.append((head, step))
            yield f"step {step}"


def _finish(queue, most=100):
    done = []
    for _ in range(most):
        if not queue:
            return done
        finished = queue.advance()
        if finished is not None:
            done.append(finished)
    raise AssertionError("the queue does not end")


def test_one_step_each_time_in_order():
    steps = Steps()
    queue = ImportQueue(steps)
    queue.want(PART)
    queue.want(OTHER)
    assert queue.advance() is None
    assert steps.built == [(PART, 0)]
    assert _finish(queue) == [PART, OTHER]
    assert not queue
    assert queue.advance() is None


def test_the_whole_takes_over_from_the_part_at_once():
    steps = Steps()
    queue = ImportQueue(steps)
    queue.want(PART)
    queue.advance()
    queue.want(WHOLE)
    assert _finish(queue) == [WHOLE]
    assert steps.built == [(PART, 0), (WHOLE, 0), (WHOLE, 1), (WHOLE, 2)]


def test_a_part_that_comes_late_does_not_replace_the_whole():
    queue = ImportQueue(Steps())
    queue.want(WHOLE)
    queue.want(PART)
    assert _finish(queue) == [WHOLE]


def test_parts_that_follow_each_other_are_built_once_more():
    steps = Steps()
    queue = ImportQueue(steps)
    queue.want(PART)
    queue.advance()
    queue.want(PART)
    queue.want(PART)
    assert _finish(queue) == [PART, PART]


def test_undo_begins_the_head_at_work_anew():
    steps = Steps()
    queue = ImportQueue(steps)
    queue.want(WHOLE)
    queue.want(OTHER)
    queue.advance()
    queue.restart()
    assert _finish(queue) == [WHOLE, OTHER]
    assert [step for head, step in steps.built if head == WHOLE] == [0, 0, 1, 2]


def test_forgotten_heads_are_not_built():
    steps = Steps()
    queue = ImportQueue(steps)
    queue.want(WHOLE)
    queue.want(OTHER)
    queue.advance()
    assert queue.heads() == ["head", "other"]
    queue.forget("head")
    assert _finish(queue) == [OTHER]


def test_a_part_that_cannot_be_read_waits_for_its_next_event_and_a_whole_one_is_told():
    queue = ImportQueue(Steps(fails=(PART, WHOLE)))
    queue.want(PART)
    assert _finish(queue) == []
    queue.want(WHOLE)
    queue.want(OTHER)
    with pytest.raises(ImportFailed) as failure:
        queue.advance()
    assert failure.value.head == WHOLE
    assert isinstance(failure.value.__cause__, OSError)
    assert _finish(queue) == [OTHER]
