"""What `publish` is given: bytes and tombstones, options that do not go together, arguments that are no text."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Call, Shop


@pytest.mark.parametrize(
    "option", [("--key", "k"), ("--partition", "0"), ("--header", "a=b")], ids=["key", "partition", "header"]
)
def test_what_goes_with_one_record_is_not_ignored_with_a_file(
    shop: Shop, call: Call, option: tuple[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "lines"
    file.write_text('{"value": {"amount": 1}}')
    answer = call("publish", "shop:app", "orders", "--file", str(file), *option)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "error: --key, --partition and --header go with --value: with --file each line holds its own\n"
    )
    assert shop.cluster.records("orders") == []


@pytest.mark.parametrize("arguments", [("--value", "\udcff"), ("--value", "{}", "--key", "\udcff")])
def test_an_argument_that_is_no_text_is_refused(shop: Shop, call: Call, arguments: tuple[str, ...]) -> None:
    """The shell may hand over any bytes; Python makes lone surrogates of those that are no UTF-8."""
    answer = call("publish", "shop:app", "orders", *arguments)
    assert answer.code == 2
    assert answer.err.startswith("error: argument '\\udcff' is no UTF-8 text: mend it")
    assert shop.cluster.partitions("orders") == []


@pytest.mark.parametrize("how", ["--value", "--file"])
def test_brokers_that_are_away_are_told_before_anything_is_published(
    shop: Shop, call: Call, how: str, tmp_path: Path
) -> None:
    """Once, as an error of the operation, and not as a refusal of the first line."""
    file = tmp_path / "lines"
    file.write_text('{"value": {"amount": 1}}')
    shop.cluster.away()
    answer = call("publish", "shop:app", "orders", how, str(file) if how == "--file" else '{"amount": 1}')
    shop.cluster.back()
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: describing topics")
