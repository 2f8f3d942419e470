#!/usr/bin/python3
"""hvmail_report as a program, on generated delivery logs: which attempts, in which order, as what, and its exit codes."""

import json
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from logs import BUILD, Writer, pytest, run, run_tests  # noqa: E402

T0 = 1726063500
CONFIG = """load_module nothing_of_this_name
general {{
  log_directory {log}
}}
ip_address ip-1 {{
  mta_id 2
}}
routing_rule pool {{
  mta_id 6
}}
"""
COLUMNS = ("timestamp channel status is_retry msguid recipient sender mtaid sendid listid injected_time message outmtaid outmtaid_ip "
           "outmtaid_hostname sendsliceid throttleid clicktrackingid mx_hostname mx_ip from_address headers message_size smtp_timing "
           "queue_fsync").split()


def line(at, **columns):
    """An attempt as delivery_log_format hvmail has it."""
    row = dict.fromkeys(COLUMNS, "")
    row.update(timestamp=f"{at:.5f}", channel="remote", status="success", is_retry="0", msguid=f"{at - 1:.8f}", recipient="b@example.com",
               sender="a@sender.example", mtaid="6", injected_time=f"{at - 1:.3f}", message="250 2.0.0 ok", outmtaid="2",
               headers='{"Subject":["Caf\u00e9"]}', message_size="4000", smtp_timing='{"dot":5}')
    row.update(columns)
    return "\t".join(row.values()) + "\n"


class Logs:
    def __init__(self, folder):
        self.folder = folder
        self.config = folder / "greenarrow.conf"
        self.config.write_text(CONFIG.format(log=folder))
        self.writers = {queue: Writer(folder / f"delivery-{queue}") for queue in ("ram", "bounce", "disk")}

    def write(self, queue, text):
        self.writers[queue].write(text)

    def run(self, *arguments):
        done = run("hvmail_report", f"--config-filename={self.config}", *arguments)
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        return done

    def report(self, *arguments):
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture
def logs(tmp_path):
    """Nine attempts, in turn in ram, bounce and disk, a second each from T0 on; ram was rotated."""
    made = Logs(tmp_path)
    for i in range(9):
        queue = ("ram", "bounce", "disk")[i % 3]
        made.write(queue, line(T0 + i, recipient=f"b{i}@{'example.com' if i % 2 else 'Other.example'}", sendid=f"send-{i}",
                               **(dict(status="deferral", message=f"451 4.7.1 later {i}") if queue == "bounce" else {})))
        if i == 4:
            made.writers["ram"].rotate(T0 + 4.5)
    return made


def sendids(text):
    return [int(one.split("\t")[8].removeprefix("send-")) for one in text.splitlines()]


def test_the_command_of_the_document(logs):
    logs.write("ram", line(time.time() - 60, recipient="b@example.com"))
    logs.write("ram", line(time.time() - 50, recipient="b@other.example"))
    out = logs.report("-q", "all", "--last", "10 minutes", "--processed-logfile", "--human", "-r", "@example.com")
    assert out.count("\n") == 1 and out.startswith("timestamp=<") and " recipient=<b@example.com> sender=<a@sender.example> " in out
    assert [pair.split("=<")[0] for pair in out.rstrip(">\n").split("> ")] == COLUMNS


def test_all_queues_are_merged_in_the_order_of_time(logs):
    assert sendids(logs.report("-q", "all")) == list(range(9))
    assert sendids(logs.report("-q", "ram")) == [0, 3, 6]
    assert sendids(logs.report("-q", "bounce")) == [1, 4, 7]
    assert sendids(logs.report("-q", "disk", "--processed-logfile")) == [2, 5, 8]


@pytest.mark.parametrize("arguments,want", [
    (["--start", T0 + 2, "--end", T0 + 5], [2, 3, 4, 5]),
    (["-s", "2024-09-11 14:05:02", "-e", "2024-09-11T14:05:05Z"], [2, 3, 4, 5]),
    (["-r", "@example.com"], [1, 3, 5, 7]),
    (["-r", "*@OTHER.example", "-r", "b3@*"], [0, 2, 3, 4, 6, 8]),
    (["--recipient=b1@example.com"], [1]),
    (["-f", "a@sender.example", "--status=deferral"], [1, 4, 7]),
    (["-S", "nobody@sender.example", "--sender", "a@*", "-r", "b8@*"], [8]),
    (["--sendid", "send-4", "--sendid", "SEND-5"], [4, 5]),
    (["--virtual-mta", "ip-1", "--sendid", "send-1"], [1]),
    (["--virtual-mta", "POOL", "--mtaid", "6", "--outmtaid", "2", "--sendid", "send-2"], [2]),
    (["--virtual-mta", "5"], []),
    (["--message", "*later*"], [1, 4, 7]),
])
def test_filters(logs, arguments, want):
    assert sendids(logs.report("-q", "all", *arguments)) == want


def test_columns_are_printed_as_they_are(logs):
    assert logs.report("-q", "ram", "--sendid", "send-3") == line(T0 + 3, recipient="b3@example.com", sendid="send-3")


def test_json_has_numbers_and_objects_as_such(logs):
    documents = [json.loads(one) for one in logs.report("-q", "all", "--json").splitlines()]
    assert len(documents) == 9 and all(list(one) == COLUMNS for one in documents)
    first = documents[0]
    assert (first["timestamp"], first["is_retry"], first["mtaid"], first["message_size"]) == (T0, 0, 6, 4000)
    assert (first["headers"], first["smtp_timing"], first["listid"]) == ({"Subject": ["Caf\u00e9"]}, {"dot": 5}, "")


def test_logs_in_json_are_read_as_well(logs):
    kinds = {"timestamp": float, "is_retry": int, "mtaid": int, "outmtaid": int, "injected_time": float, "message_size": int,
             "headers": json.loads, "smtp_timing": json.loads}
    columns = dict(zip(COLUMNS, line(T0 + 20, sendid="send-20").rstrip("\n").split("\t")))
    document = {name: kinds.get(name, str)(value) for name, value in columns.items()}
    logs.write("ram", json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n")
    assert sendids(logs.report("-q", "all", "-s", T0 + 7, "-r", "b@example.com")) == [20]
    # "1726063520.0", as Python writes it
    assert logs.report("-q", "ram", "--sendid=send-20").split("\t")[4:] == line(T0 + 20, sendid="send-20").split("\t")[4:10] + \
        [f"{T0 + 19}.0"] + line(T0 + 20).split("\t")[11:]
    assert json.loads(logs.report("-q", "ram", "--sendid=send-20", "--json")) == document
    assert " sendid=<send-20> " in logs.report("-q", "ram", "--sendid=send-20", "--human")


def test_summaries_count_by_status_and_are_sorted(logs):
    out = logs.report("-q", "all", "--summary", "domain", "--summary", "status").splitlines()
    assert [one.split() for one in out] == [
        ["attempts", "share", "success", "deferral", "failure", "recipient", "domain"],
        ["5", "55.6%", "4", "80.0%", "1", "20.0%", "0", "0.0%", "other.example"],
        ["4", "44.4%", "2", "50.0%", "2", "50.0%", "0", "0.0%", "example.com"],
        ["9", "100.0%", "6", "66.7%", "3", "33.3%", "0", "0.0%", "all"],
        [],
        ["attempts", "share", "success", "deferral", "failure", "status"],
        ["6", "66.7%", "6", "100.0%", "0", "0.0%", "0", "0.0%", "success"],
        ["3", "33.3%", "0", "0.0%", "3", "100.0%", "0", "0.0%", "deferral"],
        ["9", "100.0%", "6", "66.7%", "3", "33.3%", "0", "0.0%", "all"],
    ]


def test_summaries_as_one_document(logs):
    document = json.loads(logs.report("-q", "all", "--json", "--summary", "virtual-mta", "--summary", "reply", "-r", "@example.com"))
    assert list(document) == ["virtual-mta", "reply"]
    assert [(one["virtual-mta"], one["attempts"]) for one in document["virtual-mta"]] == [("ip-1", 4)]
    assert [(one["reply"], one["attempts"], one["success"], one["deferral"], one["deferral_percent"]) for one in document["reply"]] == [
        ("250 2.0.0 ok", 2, 2, 0, 0), ("451 4.7.1 later *", 2, 0, 2, 100)]


def test_an_empty_report_is_a_report(logs):
    assert logs.report("-q", "all", "--last", "1s") == ""
    assert json.loads(logs.report("-q", "all", "--last", "1s", "--summary", "domain", "--json")) == {"domain": []}


def test_dir_is_in_place_of_the_configuration(logs):
    logs.config.unlink()
    assert logs.run("-q", "all").returncode == 1
    assert sendids(logs.report("-q", "all", "--dir", logs.folder)) == list(range(9))


@pytest.mark.parametrize("arguments,said", [
    ([], "--queue is missing"),
    (["-q", "some"], "--queue: `some` is none of ram, bounce, disk, all"),
    (["-q", "all", "--last", "10"], "lacks a unit"),
    (["-q", "all", "--start", "now"], "--start: `now`: `now`, character 1"),
    (["-q", "all", "-r", "example.com"], "--recipient: `example.com` is no address: a domain is written @example.com"),
    (["-q", "all", "-S", "bob"], "-S: `bob` is no address"),
    (["-q", "all", "--status", "good"], "--status: `good` is none of success"),
    (["-q", "all", "--virtual-mta", "ip-9"], "--virtual-mta: `ip-9` is no VirtualMTA"),
    (["-q", "all", "--summary", "hour"], "--summary: `hour` is none of"),
    (["-q", "all", "--human", "--json"], "does not go with"),
    (["-q", "all", "--processed-logfile", "--summary", "domain"], "does not go with"),
    (["-q", "all", "more"], "unexpected `more`"),
])
def test_what_does_not_parse_is_wrong_usage(logs, arguments, said):
    done = logs.run(*arguments)
    assert done.returncode == 2 and said in done.stderr and not done.stdout


def test_damaged_lines_are_counted_and_the_rest_reported(logs):
    logs.write("disk", b"\x00\xff\xfe garbage\n" + b"d,2026-11-26 18:00:00+0000,a@x,b@y\n" + line(T0 + 20)[:100].encode() + b"\n"
               + b"1726063525\t" + b"x" * 3_000_000 + b"\n" + line(T0 + 30, sendid="send-30").encode() + line(T0 + 31)[:60].encode())
    done = logs.run("-q", "all")
    assert done.returncode == 1 and sendids(done.stdout) == [*range(9), 30]
    assert f"warning: {logs.folder}/delivery-disk: 4 lines are left out: no attempt in delivery_log_format hvmail or json" in done.stderr


def test_a_directory_that_is_missing_is_named_and_the_rest_reported(logs):
    (logs.folder / "delivery-bounce" / "current").unlink()
    (logs.folder / "delivery-bounce").rmdir()
    done = logs.run("-q", "all")
    assert done.returncode == 1 and sendids(done.stdout) == [0, 2, 3, 5, 6, 8]
    assert f"warning: {logs.folder}/delivery-bounce: No such file or directory\n" in done.stderr


def test_output_that_cannot_be_written_is_1(logs):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BUILD / "hvmail_report", "-q", "all", "--dir", logs.folder], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1 and b"writing" in done.stderr


def test_a_rotation_while_it_reads_loses_and_doubles_nothing(tmp_path):
    made, ending, written = Logs(tmp_path), threading.Event(), {"ram": 0, "disk": 0}

    def write(queue):
        while not ending.is_set():
            made.write(queue, line(time.time(), sendid=f"send-{written[queue]}"))
            written[queue] += 1
            if written[queue] % 40 == 0:
                made.writers[queue].rotate()

    threads = [threading.Thread(target=write, args=(queue,)) for queue in written]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            before = dict(written)
            got = sendids(made.report("-q", "all"))
            for queue in written:
                assert sendids(made.report("-q", queue))[:before[queue]] == list(range(before[queue]))
            assert len(got) >= sum(before.values()) and sorted(got)[:2 * min(before.values())] == [n // 2 for n in range(2 * min(before.values()))]
    finally:
        ending.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    run_tests(__file__)
