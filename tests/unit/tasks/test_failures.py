"""What is kept of an exception."""

from __future__ import annotations

import traceback

import pytest

import streamq as sq
from streamq.model.outcomes import MESSAGE_CHARS, STACK_CHARS
from streamq.tasks.failures import failure_of


def caught(raiser: object) -> BaseException:
    assert callable(raiser)
    try:
        raiser()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return error
    raise AssertionError("raised nothing")


def test_type_message_and_stack() -> None:
    def work() -> None:
        raise ValueError("bad amount")

    failure = failure_of(caught(work))
    assert (failure.error_type, failure.message) == ("ValueError", "bad amount")
    assert "in work" in failure.stack
    assert failure.stack.endswith("ValueError: bad amount\n")


def test_a_type_of_the_users_own_is_named_with_its_module() -> None:
    class PaymentFailed(Exception): ...

    failure = failure_of(PaymentFailed("x"))
    assert failure.error_type.endswith("PaymentFailed")
    assert failure.error_type.startswith(f"{__name__}.")
    assert failure_of(sq.SerdeError("x")).error_type == "SerdeError"


def test_our_own_frames_are_left_out_and_the_users_stay_also_in_causes() -> None:
    orders = sq.App("shop").topic("orders", value=int)

    def work() -> None:
        try:
            orders.value_serde.encode("x", topic="orders")  # type: ignore[arg-type]  # the mistake
        except sq.SerdeError as error:
            raise RuntimeError("cannot go on") from error

    failure = failure_of(caught(work))
    assert failure.stack.count("in work") == 2
    assert "SerdeError: topic orders" in failure.stack
    assert "streamq/serde" not in failure.stack


def test_texts_are_capped_and_the_end_of_the_stack_is_kept() -> None:
    def deep(depth: int) -> None:
        if depth == 0:
            raise ValueError("x" * 5_000)
        try:
            deep(depth - 1)
        except ValueError as error:
            raise ValueError(f"level {depth}") from error

    failure = failure_of(caught(lambda: deep(60)))
    assert len(failure.stack) == STACK_CHARS
    assert failure.stack.endswith("ValueError: level 60\n")
    assert len(failure_of(ValueError("x" * 5_000)).message) == MESSAGE_CHARS


def test_endless_recursion_is_kept_too() -> None:
    def forever() -> None:
        forever()

    failure = failure_of(caught(forever))
    assert failure.error_type == "RecursionError"
    assert "in forever" in failure.stack


def test_groups_keep_what_is_in_them() -> None:
    failure = failure_of(ExceptionGroup("several", [ValueError("a"), sq.Reject("b")]))
    assert "ValueError: a" in failure.stack
    assert "Reject: b" in failure.stack


def test_an_exception_whose_message_cannot_be_shown_is_kept_all_the_same() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    failure = failure_of(Unspeakable())
    assert failure.error_type.endswith("Unspeakable")
    assert failure.message == "(its message cannot be shown: RuntimeError)"


def test_a_stack_that_cannot_be_shown_is_no_second_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise OSError("source is gone")

    monkeypatch.setattr(traceback.TracebackException, "from_exception", broken)
    assert failure_of(ValueError("x")).stack == "(its stack cannot be shown: OSError)"
