"""Delivery logs: one line an attempt, in the directory of its state, in each format, and as many as there are attempts."""

import csv
import json
import re
import time

import pytest

from gatest import corpus
from gatest.badsink import Default, Lines

COLUMNS = ("timestamp channel status is_retry msguid recipient sender mtaid sendid listid injected_time message outmtaid outmtaid_ip "
           "outmtaid_hostname sendsliceid throttleid clicktrackingid mx_hostname mx_ip from_address headers message_size smtp_timing queue_fsync").split()
CSV = ("type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,srcType,srcMta,dlvType,dlvSourceIp,"
       "dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,envId,queueFsync").split(",")
WIRE = (b"From: Someone <from@from.example>\r\nX-GreenArrow-SendID: Spring-24\r\nX-GreenArrow-ListID: L7\r\n"
        b"X-GreenArrow-Click-Tracking-ID: c-1\r\nX-GreenArrow-MtaID: pool\r\nSubject: Hello,\r\n \"you\"\r\n\r\nbody\r\n")
ODD = Lines(550, "5.2.2 \"full\", says", "5.2.2 he, b\\s b\u00fccher")
ODD_LINE = "550 5.2.2 \"full\", says he, b\\s b\u00fccher"


def files(server, state):
    """Their texts, from the oldest file on."""
    folder = server.folder / "log" / f"delivery-{state}"
    found = sorted(folder.glob("@*")) + [folder / "current"]
    return [text for path in found if path.exists() and (text := path.read_text())]


def raw_lines(server, state):
    return "".join(files(server, state)).split("\n")[:-1]


def records(server, state):
    made = []
    for line in raw_lines(server, state):
        values = line.split("\t")
        assert len(values) == len(COLUMNS), line
        made.append(dict(zip(COLUMNS, values)))
    return made


def wait(get, condition, timeout=30):
    end = time.monotonic() + timeout
    while not condition(found := get()):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def by_domain(session, line):
    """What the sink says to RCPT."""
    domain = line.rsplit(">", 1)[0].rsplit("@", 1)[1]
    if domain == "later.example" and not session.sink_seen.get("later"):
        session.sink_seen["later"] = True
        return "450 4.2.1 come again"
    return {"no.example": "550 5.1.1 nobody here", "old.example": "451 4.2.0 never", "odd.example": ODD}.get(domain, Default())


def everywhere(sink):
    def domain(name, statements):
        return f"domain {name} {{\n  smtp_route {sink.address}\n  {statements}\n}}\n"
    return (domain("ok.example", "id 7\n  max_concurrent_connections 5") + domain("gone.example", "delivery_override discard")
            + domain("old.example", "queue_lifetime 1s") + domain("kept.example", "max_delivery_rate 1/day"))


@pytest.fixture
def logging(greenarrow, sinks):
    def make(**arguments):
        seen = {}

        def answer(session, line):
            session.sink_seen = seen
            return by_domain(session, line.decode() if isinstance(line, bytes) else line)
        sink = sinks({"RCPT": answer})
        general = "connmaxout_after 1s\n" + arguments.pop("general", "")
        return greenarrow(route=sink, bounce=True, general=general, everywhere=everywhere(sink), retry="retry_schedule 1s", **arguments), sink
    return make


def test_each_status_has_its_line_with_all_its_columns(logging):
    server, sink = logging(general="delivery_log_headers Subject, Reply-To", top="routing_rule pool {\n  mta_id 6\n  deliver_through ip-1\n}\n")
    began = time.time()
    server.submit(WIRE, recipients=["b@ok.example"])
    for domain in ("no", "later", "gone", "old"):
        server.submit(recipients=[f"b@{domain}.example"])
    for _ in range(2):
        server.submit(recipients=["b@kept.example"])
    ram = wait(lambda: records(server, "ram"), lambda found: len(found) == 7)
    disk = wait(lambda: records(server, "disk"), lambda found: len(found) == 2)
    bounce = wait(lambda: records(server, "bounce"), lambda found: len(found) == 2)
    host, port = sink.address.rsplit(":", 1)

    ok = next(r for r in ram if r["recipient"] == "b@ok.example")
    assert began - 1 < float(ok["timestamp"]) < time.time() + 1 and re.fullmatch(r"\d{10}\.\d{5}", ok["timestamp"])
    assert began - 1 < float(ok["injected_time"]) <= float(ok["timestamp"]) + 1 and re.fullmatch(r"\d{10}\.\d{3}", ok["injected_time"])
    assert re.fullmatch(r"\d{10}\.\d{8}", ok["msguid"]) and ok["msguid"].split(".")[0] == ok["injected_time"].split(".")[0]
    timing = json.loads(ok["smtp_timing"])
    assert set(timing) == {"connect", "greeting", "ehlo", "mail", "rcpt", "data", "message", "dot"}
    assert all(isinstance(ms, int) and 0 <= ms < 20000 for ms in timing.values())
    assert int(ok["message_size"]) > 100 and ok["mx_hostname"] and ok["message"].startswith("250 ")
    known = {"channel": "remote", "status": "success", "is_retry": "0", "sender": "a@sender.example", "mtaid": "6", "sendid": "spring-24",
             "listid": "l7", "outmtaid_ip": "127.0.0.2", "outmtaid_hostname": "mail1.test.example", "sendsliceid": "", "throttleid": "pd7",
             "clicktrackingid": "c-1", "mx_ip": host, "from_address": "from@from.example", "queue_fsync": ""}
    assert {name: ok[name] for name in known} == known
    assert json.loads(ok["headers"]) == {"Subject": ["Hello, \"you\""]}
    assert ok["outmtaid"] != "6" and ok["outmtaid"].isdigit()

    def only(found, recipient):
        return [(r["status"], r["is_retry"], r["message"], r["mx_ip"]) for r in found if r["recipient"] == recipient]
    assert only(ram, "b@no.example") == [("failure", "0", "550 5.1.1 nobody here", host)]
    assert only(ram, "b@later.example") == [("deferral", "0", "450 4.2.1 come again", host)]
    (status, retry, _, ip), = only(disk, "b@later.example")
    assert (status, retry, ip) == ("success", "1", host)
    assert [r["msguid"] for r in ram + disk if r["recipient"] == "b@later.example"] == 2 * [next(r for r in disk if r["status"] == "success")["msguid"]]
    assert only(ram, "b@gone.example") == [("success", "0", "250 2.0.0 Discarded unsent (delivery_override).", "")] or \
        only(ram, "b@gone.example") == [("success", "0", "Discarded unsent (delivery_override).", "")]
    assert only(ram, "b@old.example") == [("deferral", "0", "451 4.2.0 never", host)]
    assert only(disk, "b@old.example") == [("failure_toolong", "1", "451 4.2.0 never", host)]
    report = server.run("hvmail_report", "-q", "all", "--json", "--dir", str(server.folder / "log"))
    assert (report.returncode, report.stderr) == (0, "")
    shown = [json.loads(line) for line in report.stdout.splitlines()]
    assert all(list(r) == COLUMNS for r in shown)      # hvmail_report has a table of the columns of its own
    ok_shown = next(r for r in shown if r["recipient"] == "b@ok.example")
    numbers, objects = {"timestamp": float, "injected_time": float} | dict.fromkeys(("is_retry", "mtaid", "outmtaid", "message_size"), int), ("headers", "smtp_timing")
    assert ok_shown == {n: numbers[n](v) if n in numbers else json.loads(v) if n in objects else v for n, v in ok.items()}
    assert len(shown) == len(ram) + len(disk) + len(bounce)
    kept = sorted(only(ram, "b@kept.example"))
    assert [k[0] for k in kept] == ["connmaxout", "success"] and kept[0][1] == "0" and kept[0][3] == ""
    assert kept[0][2].startswith("Kept from starting by the limits of throttle group ")
    assert {(r["status"], r["sender"], r["recipient"]) for r in bounce} == {("success", "", "a@sender.example")}
    time.sleep(2.5)                         # and not once more
    assert len(records(server, "ram")) == 7


@pytest.mark.parametrize("name", ["json", "csv", "kumo"])
def test_every_line_is_read_back_by_the_readers_of_its_format(logging, name):
    server, sink = logging(general=f"delivery_log_format {name}\ndelivery_log_headers Subject\n")
    server.submit(WIRE.replace(b"X-GreenArrow-MtaID: pool\r\n", b""), sender="\"a,b\"@sender.example", recipients=["\"x,\\\"y\"@odd.example", "b@ok.example"])
    lines = wait(lambda: raw_lines(server, "ram"), lambda found: len(found) == (3 if name == "csv" else 2))
    if name == "csv":
        assert lines[0].split(",") == CSV
        read = {r["rcpt"]: r for r in csv.DictReader(lines, strict=True)}
        odd, ok = read["\"x,\\\"y\"@odd.example"], read["b@ok.example"]
        assert all(None not in r and None not in r.values() for r in (odd, ok))
        assert (odd["type"], odd["dsnDiag"], odd["dsnStatus"], odd["bounceCat"]) == ("b", f"smtp;{ODD_LINE}", "5.2.2", "quota-issues")
        assert (ok["type"], ok["orig"], ok["vmta"], ok["jobId"]) == ("d", "\"a,b\"@sender.example", "ip-1", "Spring-24")
        time.strptime(ok["timeLogged"], "%Y-%m-%d %H:%M:%S%z")
        return
    read = {r["recipient"]: r for r in map(json.loads, lines)}
    odd, ok = read["\"x,\\\"y\"@odd.example"], read["b@ok.example"]
    if name == "json":
        assert list(odd) == COLUMNS
        assert odd["message"] == ODD_LINE and odd["sender"] == "\"a,b\"@sender.example" and odd["is_retry"] == 0
        assert ok["headers"] == {"Subject": ["Hello, \"you\""]} and isinstance(ok["timestamp"], float)
    else:
        assert (odd["type"], odd["response"]["code"], odd["response"]["enhanced_code"]) == ("Bounce", 550, {"class": 5, "subject": 2, "detail": 2})
        assert odd["response"]["content"] == ODD_LINE[len("550 5.2.2 "):] and ok["type"] == "Delivery"


def test_each_csv_file_begins_with_its_header_and_no_file_has_two_formats(logging):
    server, sink = logging(general="delivery_log_format csv\nservice_log_max_size 4096\n")
    for number in range(30):
        server.submit(recipients=[f"r{number}@ok.example"])
    server.wait_queue(success_total=30, envelopes=0)

    def rows():
        return [row for text in files(server, "ram") for row in csv.DictReader(text.splitlines(), strict=True)]
    wait(rows, lambda found: len(found) == 30)
    texts = files(server, "ram")
    assert len(texts) > 1 and all(text.split("\n")[0].split(",") == CSV for text in texts)
    assert {row["rcpt"] for row in rows()} == {f"r{number}@ok.example" for number in range(30)}
    server.change(general="delivery_log_format json\nservice_log_max_size 4096\n")
    assert server.run("greenarrow_config", "reload").returncode == 0
    server.submit(recipients=["last@ok.example"])
    wait(lambda: files(server, "ram"), lambda found: "last@ok.example" in found[-1])
    for text in files(server, "ram"):
        assert len({line[0] == "{" for line in text.splitlines()}) == 1
    assert [json.loads(line)["recipient"] for line in files(server, "ram")[-1].splitlines()] == ["last@ok.example"]


def test_there_are_as_many_lines_as_attempts_over_several_loops_and_reloads(logging):
    server, sink = logging(workers=3)
    n = 150
    for number in range(n):
        server.submit(corpus.simple(), recipients=[f"r{number}@d{number % 11}.example"] + ([f"x{number}@no.example"] if number % 3 == 0 else []))
        if number in (50, 100):
            assert server.run("greenarrow_config", "reload").returncode == 0
    server.wait_queue(success_total=n + n // 3, failure_total=n // 3, envelopes=0)     # each failure is told in a report
    ram = wait(lambda: records(server, "ram"), lambda found: len(found) >= n + n // 3)
    bounce = wait(lambda: records(server, "bounce"), lambda found: len(found) >= n // 3)
    assert len(ram) == n + n // 3 and len({r["recipient"] for r in ram}) == len(ram)
    assert len(bounce) == n // 3 and records(server, "disk") == []
    assert sum(r["status"] == "success" for r in ram) == n and sum(r["status"] == "failure" for r in ram) == n // 3
