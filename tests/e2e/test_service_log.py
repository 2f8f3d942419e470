"""Log directories: files as multilog keeps them, limits, a disk that is full, crashes."""

import re


def test_the_daemons_own_log_is_in_its_directory_from_the_first_line_to_the_last(greenarrow, sink):
    server = greenarrow(route=sink)
    server.stop()
    own = server.folder / "log" / "greenarrow"
    lines = (own / "current").read_text().splitlines()
    assert lines and all(re.match(r"@4[0-9a-f]{23} (info|notice|warn) \w+: .* \[GA-\w+-\w+\]$", line) for line in lines), lines
    assert " is ready" in "".join(lines) and lines[-1].endswith("notice core: stopped [GA-STOP-0003]")
    assert (own / "current").stat().st_mode & 0o7777 == 0o744
    assert own.stat().st_mode & 0o777 == 0o750
    tagged = [line.split(" ", 1)[1] for line in server.log_text().splitlines() if "[GA-" in line]
    assert [line.split(" ", 1)[1] for line in lines] == tagged
