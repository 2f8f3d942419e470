"""Where mail goes: MX by preference, equal ones shuffled, implicit MX, null MX, names that do not exist or do not resolve, static routes, relays.

MX hosts are scripted sinks on port 25 of loopback addresses of their own, so these tests need root (or leave to bind port 25).
"""

import pytest

from gatest import arrivals, corpus, need, ports
from gatest.badsink import Close
from gatest.dns import SilentDns


def zone(domain, hosts):
    """Records: MX (preference, sink) of DOMAIN and the addresses of their names."""
    records = {domain: []}
    for number, (preference, sink) in enumerate(hosts):
        name = f"mx{number}.{domain}"
        records[domain].append(f"MX {preference} {name}.")
        records[name] = f"A {sink.host}"
    return records


def test_mail_goes_to_the_mx(greenarrow, dns, mx_hosts):
    host, = mx_hosts()
    server = greenarrow(dns=dns(zone("receiver.example", [(10, host)])))
    wire = corpus.simple()
    server.submit(wire)
    arrivals.assert_same(host.wait_messages(1)[0].wire, wire)


def test_the_best_preference_comes_first_and_the_next_when_it_does_not_answer(greenarrow, dns, mx_hosts):
    down, = mx_hosts(listening=False)
    best, second = mx_hosts(2)
    server = greenarrow(dns=dns(zone("receiver.example", [(30, second), (20, best), (10, down)])))
    for _ in range(5):
        server.submit()
    best.wait_messages(5)
    assert not second.sessions


@pytest.mark.parametrize("script", [{"banner": ["421 4.3.2 busy", Close()]}, {"banner": ["554 5.3.2 not here", Close()]}, {"banner": Close()}, {"EHLO": Close()},
                                    {"EHLO": ["421 4.3.2 busy", Close()]}, {"banner": "554 no"}, {"connect": Close()}])
def test_the_next_mx_is_tried_when_the_first_one_does_not_want_to_talk(greenarrow, dns, mx_hosts, script):
    bad, = mx_hosts(1, script)
    good, = mx_hosts()
    server = greenarrow(dns=dns(zone("receiver.example", [(10, bad), (20, good)])))
    server.submit()
    good.wait_messages(1)
    assert bad.sessions


@pytest.mark.parametrize("point", ["MAIL", "RCPT", "EOD"])
def test_a_permanent_refusal_within_the_transaction_is_final_for_all_mx(greenarrow, dns, mx_hosts, point):
    bad, = mx_hosts(1, {point: "550 5.1.1 no"})
    good, = mx_hosts()
    server = greenarrow(dns=dns(zone("receiver.example", [(10, bad), (20, good)])))
    server.submit()
    server.wait_queue(failure_total=1)
    assert not good.sessions


def test_equal_preferences_are_shuffled(greenarrow, dns, mx_hosts):
    hosts = mx_hosts(3)
    server = greenarrow(dns=dns(zone("receiver.example", [(10, host) for host in hosts])), everywhere="reuse_connections no")
    for _ in range(45):
        server.submit()
    hosts[0].wait_for(lambda: sum(len(h.messages) for h in hosts) == 45)
    # Each host has 15 to expect; 2 or fewer comes up once in some 40,000 runs.
    assert all(len(host.messages) >= 3 for host in hosts), [len(host.messages) for host in hosts]


def test_all_addresses_of_a_host_are_tried(greenarrow, dns, mx_hosts):
    down, = mx_hosts(listening=False)
    up, = mx_hosts()
    server = greenarrow(dns=dns({"receiver.example": ["MX 10 mx.receiver.example."], "mx.receiver.example": [f"A {down.host}", f"A {up.host}"]}))
    for _ in range(4):
        server.submit()
    up.wait_messages(4)


def test_a_domain_without_mx_is_its_own_mail_host(greenarrow, dns, mx_hosts):
    host, = mx_hosts()
    server = greenarrow(dns=dns({"receiver.example": f"A {host.host}"}))
    server.submit()
    host.wait_messages(1)


def test_an_mx_that_has_no_address_does_not_make_the_domain_its_own_mail_host(greenarrow, dns, mx_hosts):
    host, = mx_hosts()
    server = greenarrow(dns=dns({"receiver.example": ["MX 10 gone.receiver.example.", f"A {host.host}"]}), retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(in_flight=0, ram=0)
    assert not host.sessions


def test_a_null_mx_fails_at_once(greenarrow, dns, mx_hosts):
    host, = mx_hosts()
    server = greenarrow(dns=dns({"receiver.example": ["MX 0 .", f"A {host.host}"]}))
    server.submit()
    server.wait_queue(failure_total=1)
    assert not host.sessions
    server.wait_log("5.1.10|null MX")


def test_a_domain_that_does_not_exist_fails_at_once(greenarrow, dns):
    server = greenarrow(dns=dns({"other.example": "A 127.0.0.9"}))
    server.submit()
    server.wait_queue(failure_total=1)


def test_a_domain_that_does_not_resolve_now_is_deferred(greenarrow, dns, mx_hosts):
    host, = mx_hosts()
    server = greenarrow(dns=dns({"other.example": f"A {host.host}"}, servfail=["receiver.example"]), retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(disk=1, deferral_total=1, failure_total=0)


def test_no_answer_from_dns_is_a_deferral(greenarrow):
    with SilentDns() as nobody:
        server = greenarrow(dns=nobody, retry="retry_schedule 1h")
        server.submit()
        server.wait_queue(timeout=90, disk=1, failure_total=0)


def test_a_stop_does_not_wait_for_dns_longer_than_stop_timeout_and_frees_all(greenarrow):
    with SilentDns() as nobody:
        server = greenarrow(dns=nobody, general="stop_timeout 1s", retry="retry_schedule 1h")
        for number in range(20):
            server.submit(recipients=[f"a@domain{number % 7}.example"])
        server.stop()
        server.start()
        server.wait_queue(envelopes=20)


def test_a_domain_that_starts_to_exist_gets_its_deferred_mail(greenarrow, dns, mx_hosts):
    host, = mx_hosts()
    names = dns({"receiver.example": "MX 10 mx.receiver.example.", "mx.receiver.example": "A 127.0.0.254"})
    server = greenarrow(dns=names, retry="retry_schedule 1s")
    server.submit()
    server.wait_queue(disk=1)
    names.change({"receiver.example": "MX 10 mx.receiver.example.", "mx.receiver.example": f"A {host.host}"})
    host.wait_messages(1)
    server.wait_empty()


def test_recipients_of_several_domains_go_each_to_their_own(greenarrow, dns, mx_hosts):
    hosts = mx_hosts(3)
    records = {}
    for number, host in enumerate(hosts):
        records.update(zone(f"d{number}.example", [(10, host)]))
    server = greenarrow(dns=dns(records))
    server.submit(recipients=[f"u{i}@d{n}.example" for n in range(3) for i in range(2)])
    for number, host in enumerate(hosts):
        host.wait_for(lambda: sum(len(m.recipients) for m in host.messages) == 2)
        assert sorted(r for m in host.messages for r in m.recipients) == [f"u{i}@d{number}.example" for i in range(2)]


def test_recipients_of_one_domain_share_a_transaction(greenarrow, sink):
    server = greenarrow(route=sink)
    recipients = [f"u{i}@receiver.example" for i in range(10)]
    server.submit(recipients=recipients)
    server.wait_empty()
    assert len(sink.messages) == 1 and sorted(sink.messages[0].recipients) == sorted(recipients)


def test_no_transaction_has_more_recipients_than_configured(greenarrow, sink):
    server = greenarrow(route=sink, everywhere="max_recipients_per_delivery 7")
    recipients = [f"u{i}@receiver.example" for i in range(30)]
    server.submit(recipients=recipients)
    server.wait_empty()
    assert max(len(m.recipients) for m in sink.messages) <= 7
    assert sorted(r for m in sink.messages for r in m.recipients) == sorted(recipients)


def test_a_static_route_replaces_the_mx_of_its_domain_only(greenarrow, sinks, dns, mx_hosts):
    host, = mx_hosts()
    special, wild = sinks(), sinks()
    records = zone("receiver.example", [(10, host)])
    records.update(zone("special.example", [(10, host)]))
    server = greenarrow(dns=dns(records), everywhere=f"domain special.example {{\n  smtp_route {special.address}\n}}\ndomain *.wild.example {{\n  smtp_route {wild.address}\n}}")
    server.submit(recipients=["a@receiver.example", "b@special.example", "c@sub.wild.example"])
    assert host.wait_messages(1)[0].recipients == ["a@receiver.example"]
    assert special.wait_messages(1)[0].recipients == ["b@special.example"]
    assert wild.wait_messages(1)[0].recipients == ["c@sub.wild.example"]


def test_a_relay_server_takes_all_mail_of_its_virtual_mta(greenarrow, sink):
    server = greenarrow(general="", top=f"relay_server upstream {{\n  mta_id 5\n  destination {sink.address}\n}}\n", start=False)
    server.write_config(server.config.read_text().replace("default_virtual_mta ip-1", "default_virtual_mta upstream"))
    server.start()
    server.submit(recipients=["a@one.example", "b@two.example"])
    sink.wait_for(lambda: sorted(r for m in sink.messages for r in m.recipients) == ["a@one.example", "b@two.example"])


def test_mail_leaves_from_the_source_address_under_its_name(greenarrow, sink):
    server = greenarrow(route=sink, source="127.0.0.77 out.test.example")
    server.submit()
    session = sink.wait_messages(1)[0].session
    assert session.peer[0] == "127.0.0.77"
    assert session.commands[0] == b"EHLO out.test.example"


def test_a_source_address_that_is_not_on_the_machine_defers_and_says_so(greenarrow, sink):
    server = greenarrow(route=sink, source="192.0.2.77 out.test.example", retry="retry_schedule 1h")
    server.submit()
    server.wait_queue(disk=1, deferral_total=1)
    assert not sink.sessions
    server.wait_log(r"192\.0\.2\.77")


def test_an_mx_on_ipv6_is_reached_from_the_ipv6_source(greenarrow, sinks):
    try:
        six = sinks(host="::1")
    except OSError:
        need.missing("IPv6 on loopback")
    server = greenarrow(route=six, source="::1 six.test.example")
    server.submit()
    assert six.wait_messages(1)[0].session.peer[0] == "::1"


@pytest.mark.parametrize("action, counted", [("discard", {"discarded_total": 1}), ("defer", {"deferral_total": 1}), ("bounce", {"failure_total": 1})])
def test_delivery_override_decides_without_smtp(greenarrow, sink, action, counted):
    server = greenarrow(route=sink, retry="retry_schedule 1h", top=f"""
        domain receiver.example {{
          delivery_override {action}
          delivery_override_text "Not from here."
        }}
        """)
    server.submit()
    server.wait_queue(**counted)
    server.submit(recipients=["b@other.example"])
    sink.wait_messages(1)
    assert len(sink.sessions) == 1
    if action != "discard":
        server.wait_log("Not from here")


@pytest.mark.parametrize("listed", ["mx0.receiver.example", "*.receiver.example", "{address}", "{address}/32"])
def test_hosts_on_mx_blacklist_are_never_connected_to(greenarrow, dns, mx_hosts, listed):
    bad, = mx_hosts()
    server = greenarrow(dns=dns(zone("receiver.example", [(10, bad)])), general=f"mx_blacklist {listed.format(address=bad.host)}")
    server.submit()
    server.wait_queue(failure_total=1)
    server.wait_log("mx_blacklist")
    assert not bad.sessions


def test_what_is_left_of_mx_blacklist_is_used(greenarrow, dns, mx_hosts):
    bad, good = mx_hosts(2)
    server = greenarrow(dns=dns(zone("receiver.example", [(10, bad), (20, good)])), general="mx_blacklist mx0.receiver.example")
    server.submit()
    good.wait_messages(1)
    assert not bad.sessions


def test_a_routing_rule_sends_some_domains_another_way(greenarrow, sinks):
    usual, other = sinks(), sinks()
    server = greenarrow(general="", top=f"""
        relay_server usual {{
          destination {usual.address}
        }}
        relay_server other {{
          destination {other.address}
        }}
        routing_rule pool {{
          deliver_through usual
          domain *.big.example {{
            deliver_through other
          }}
        }}
        """)
    for domain in ("small.example", "a.big.example", "big.example"):
        server.submit(b"X-GreenArrow-MtaID: pool\r\n" + corpus.simple(), recipients=[f"b@{domain}"])
    usual.wait_messages(2)
    other.wait_messages(1)
    assert [message.recipients for message in other.messages] == [["b@a.big.example"]]


def test_a_routing_rule_s_domain_block_is_checked_like_the_rule(greenarrow):
    server = greenarrow(start=False, top="""
        routing_rule pool {
          deliver_through ip-1
          domain big.example {
            deliver_through pool 5, nobody 1
          }
        }
        """)
    done = server.run("greenarrow_config", "validate")
    assert done.returncode == 1
    assert "leads back to itself" in done.stderr + done.stdout and "nobody" in done.stderr + done.stdout


def test_mail_of_a_virtual_mta_that_a_reload_removes_goes_through_the_default(greenarrow, sink):
    old = """
        ip_address old {
          mta_id 7
          delivery_paused yes
        }
        """
    server = greenarrow(route=sink, top=old, workers=2)
    for number in range(6):
        server.submit(b"X-GreenArrow-MtaID: old\r\n" + corpus.simple(), recipients=[f"u{number}.{n}@receiver.example" for n in range(600)])
    server.wait_queue(paused=3600)
    server.change(top="")
    assert server.run("greenarrow_config", "reload").returncode == 0
    server.wait_log(r'there is no VirtualMTA "old" any more: 3600 envelopes go through the default')
    server.wait_empty()
    assert sum(len(message.recipients) for message in sink.messages) == 3600
