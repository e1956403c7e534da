"""Sizes, durations and rates: what is read, what is refused, and that what is shown reads back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn.config import units
from cdn.config.problems import BadValueError

READ = [
    (units.parse_size, "0", 0),
    (units.parse_size, "0 B", 0),
    (units.parse_size, "512 MiB", 512 << 20),
    (units.parse_size, "512MiB", 512 << 20),
    (units.parse_size, "20 GiB", 20 << 30),
    (units.parse_size, "32 KiB", 32768),
    (units.parse_size, "2 TiB", 2 << 40),
    (units.parse_size, "10 MB", 10_000_000),
    (units.parse_size, "1 kB", 1000),
    (units.parse_size, "1 KB", 1000),
    (units.parse_size, "3 GB", 3_000_000_000),
    (units.parse_size, "007 B", 7),
    (units.parse_duration, "0", 0),
    (units.parse_duration, "0s", 0),
    (units.parse_duration, "10s", 10_000),
    (units.parse_duration, "75s", 75_000),
    (units.parse_duration, "500ms", 500),
    (units.parse_duration, "5m", 300_000),
    (units.parse_duration, "1h", 3_600_000),
    (units.parse_duration, "1d", 86_400_000),
    (units.parse_duration, "10 s", 10_000),
    (units.parse_rate, "1 KiB/s", 1024),
    (units.parse_rate, "64KiB/s", 65536),
    (units.parse_rate, "0", 0),
    (units.parse_moment, "20us", 20),
    (units.parse_moment, "20 µs", 20),
    (units.parse_moment, "1ms", 1000),
    (units.parse_percent, "25%", 25),
    (units.parse_percent, "5 %", 5),
]
REFUSED = [
    (units.parse_size, "512", "write `512 KiB`"),
    (units.parse_size, "32768", "write `32 KiB`"),
    (units.parse_size, "1000000", "write `1 MB`"),
    (units.parse_size, "1001", "write `1001 B`"),
    (units.parse_size, "10 M", "did you mean `MiB`"),
    (units.parse_size, "10 mib", "did you mean `MiB`"),
    (units.parse_size, "10 s", "no unit `s`"),
    (units.parse_size, "-1 B", "never negative"),
    (units.parse_size, "+1 B", "without the sign"),
    (units.parse_size, "1.5 GiB", "whole number"),
    (units.parse_size, "", "whole number"),
    (units.parse_size, "MiB", "whole number"),
    (units.parse_size, "1  MiB", "whole number"),
    (units.parse_size, "1 MiB ", "whole number"),
    (units.parse_size, "9" * 16 + " B", "whole number"),
    (units.parse_size, "١ MiB", "whole number"),
    (units.parse_size, "1 MiB\n", "whole number"),
    (units.parse_duration, "10", "write `10s`"),
    (units.parse_duration, "10 sec", "did you mean `s`"),
    (units.parse_duration, "2 minutes", "did you mean `m`"),
    (units.parse_duration, "10 MiB", "no unit `MiB`"),
    (units.parse_duration, "1h30m", "whole number"),
    (units.parse_duration, "-10s", "never negative"),
    (units.parse_rate, "1 KiB", "write `1 KiB/s`"),
    (units.parse_rate, "1024", "write `1 KiB/s`"),
    (units.parse_rate, "1 KiB/m", "per second"),
    (units.parse_rate, "1 KiB/s/s", "per second"),
    (units.parse_rate, "x/s", "rate"),
    (units.parse_rate, "10s", "no rate"),
    (units.parse_moment, "20", "write `20us`"),
    (units.parse_moment, "1s", "no unit"),
    (units.parse_percent, "25", "such as `25%`"),
    (units.parse_percent, "0.25", "whole number"),
    (units.parse_percent, "-5%", "whole number"),
    (units.parse_percent, "5%%", "whole number"),
    (units.parse_percent, "٢%", "whole number"),
]


@pytest.mark.parametrize(("parse", "text", "value"), READ)
def test_read(parse: object, text: str, value: int) -> None:
    assert parse(text) == value  # type: ignore[operator]


@pytest.mark.parametrize(("parse", "text", "hint"), REFUSED)
def test_refused(parse: object, text: str, hint: str) -> None:
    with pytest.raises(BadValueError) as caught:
        parse(text)  # type: ignore[operator]
    assert hint in str(caught.value)


@given(st.integers(0, 10**14))
def test_what_is_shown_reads_back(value: int) -> None:
    assert units.parse_size(units.format_size(value)) == value
    assert units.parse_duration(units.format_duration(value)) == value
    assert units.parse_rate(units.format_rate(value)) == value
    assert units.parse_moment(units.format_moment(value)) == value
    assert units.parse_percent(units.format_percent(value % 10**9)) == value % 10**9


@given(st.text(max_size=20))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    for parse in (units.parse_size, units.parse_duration, units.parse_rate, units.parse_percent):
        said, value = "", -1
        try:
            value = parse(text)
        except BadValueError as error:
            said = str(error)
        assert "\n" not in said
        assert said or value >= 0
