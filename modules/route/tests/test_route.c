/*
 * test_route.c - the module route on the test bed, over a resolver with fixed
 * answers.  The throttle is there for its settings, which name groups.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../route.h"
#include "bed.h"
#include "daemon/daemon.h"
#include "resolver_fixed.h"

extern const struct ga_module route_LTX_ga_module, resolver_fixed_LTX_ga_module,
    throttle_LTX_ga_module;
static const struct ga_module *const modules[] = {
	&resolver_fixed_LTX_ga_module, &throttle_LTX_ga_module, &route_LTX_ga_module, NULL
};

#define ZONE \
	"  default_virtual_mta four\n" \
	"  dns_answer one.example MX 10 mx.one.example, mx.one.example A 192.0.2.1, mx.one.example AAAA 2001:db8::1\n" \
	"  dns_answer gone.example MX NXDOMAIN\n" \
	"  dns_answer bad.example MX SERVFAIL, bad.example A 192.0.2.2\n" \
	"  dns_answer slow.example MX TIMEOUT, slow.example A 192.0.2.3\n" \
	"  dns_answer forged.example MX BOGUS, forged.example A 192.0.2.3\n" \
	"  dns_answer null.example MX 0 ., null.example A 192.0.2.4\n" \
	"  dns_answer dots.example MX 0 ., dots.example MX 20 mx.one.example\n" \
	"  dns_answer alldots.example MX 0 ., alldots.example MX 5 .\n" \
	"  dns_answer nomx.example A 192.0.2.5\n" \
	"  dns_answer nothing.example MX NODATA\n" \
	"  dns_answer noaddr.example MX 10 no.noaddr.example, no.noaddr.example A NODATA\n" \
	"  dns_answer part.example MX 10 sick.example, part.example MX 20 mx.one.example, sick.example A SERVFAIL\n" \
	"  dns_answer allsick.example MX 10 sick.example\n" \
	"  dns_answer order.example MX 30 c.example, order.example MX 5 a.example, order.example MX 20 b.example\n" \
	"  dns_answer a.example A 192.0.2.11, b.example A 192.0.2.12, c.example A 192.0.2.13\n" \
	"  dns_answer second.example MX 5 a.example, second.example MX 20 Self.example, second.example MX 20 b.example\n" \
	"  dns_answer second.example MX 30 c.example\n" \
	"  dns_answer self.example A 192.0.2.99\n" \
	"  dns_answer loop.example MX 10 self.example, loop.example MX 20 a.example\n" \
	"  dns_answer lo.example MX 10 lo.lo.example, lo.lo.example A 127.0.0.9\n" \
	"  dns_answer zero.example MX 10 zero.zero.example, zero.zero.example A 0.0.0.0\n" \
	"  dns_answer multi.example MX 10 m.multi.example, m.multi.example A 224.0.0.1, m.multi.example A 255.255.255.255\n" \
	"  dns_answer multi.example MX 20 a.example\n" \
	"  dns_answer six.example MX 10 m.six.example, m.six.example AAAA ::, m.six.example AAAA ff02::1\n" \
	"  dns_answer six.example MX 10 m.six.example, m.six.example AAAA ::ffff:127.0.0.1, m.six.example AAAA fe80::1\n" \
	"  dns_answer six.example MX 10 m.six.example, m.six.example AAAA ::1\n" \
	"  dns_answer onlysix.example MX 10 m6.example, m6.example AAAA 2001:db8::6\n" \
	"  dns_answer never.example MX NEVER\n" \
	"  dns_answer half.example MX 10 a.example, half.example MX 20 mute.example, mute.example A NEVER\n" \
	"  dns_answer hop.example A 192.0.2.40\n"

#define MTAS \
	"ip_address four {\n  mta_id 1\n  smtp_source 192.0.2.250 four.example\n}\n" \
	"ip_address six {\n  mta_id 2\n  smtp_source 2001:db8::250 six.example\n}\n" \
	"ip_address both {\n  mta_id 3\n  smtp_source 192.0.2.251 v4.example, 2001:db8::251\n}\n" \
	"ip_address old {\n  mta_id 4\n  redirect older\n}\n" \
	"ip_address older {\n  mta_id 6\n  redirect both\n}\n" \
	"ip_address held {\n  mta_id 7\n  redirect four\n  delivery_paused yes\n}\n" \
	"ip_address static {\n  mta_id 8\n  smtp_source 192.0.2.252\n" \
	"  domain routed.example {\n    smtp_route hop.example:2525, 192.0.2.41, 127.0.0.2:26\n  }\n" \
	"  domain stuck.example {\n    smtp_route nowhere.example\n  }\n}\n" \
	"relay_server upstream {\n  mta_id 5\n  smtp_source 192.0.2.253\n  destination hop.example\n  port 587\n}\n" \
	"ip_address * {\n" \
	"  domain big.example, huge.example {\n    id 7\n    max_concurrent_connections 3\n  }\n" \
	"  domain auto.example {\n    max_concurrent_connections 4\n  }\n" \
	"  domain other.example {\n    max_concurrent_connections 4\n  }\n}\n" \
	"routing_rule shares {\n  deliver_through four 50, six 30, both 20\n}\n" \
	"routing_rule permessage {\n  deliver_through four 1, six 1\n  randomization message\n}\n" \
	"routing_rule peraddress {\n  deliver_through four 1, six 1\n  randomization address\n}\n" \
	"routing_rule outer {\n  deliver_through inner 1, four 1\n  randomization message\n}\n" \
	"routing_rule inner {\n  deliver_through six 1, both 1\n  randomization message\n}\n"

#define CONF "general {\n" ZONE "}\n" MTAS
#define CONF_LOOPBACK "general {\n" ZONE "  allow_loopback_mx yes\n}\n" MTAS

static const struct ga_router *router;

/* --- asking --- */

static void
answered(struct ga_worker *w, struct ga_route_request *req)
{
	(void)w;
	++*(unsigned *)req->arg;
}

static struct ga_route_request
question(const char *mta, const char *domain, unsigned *answers)
{
	*answers = 0;
	return (struct ga_route_request){ .virtual_mta = ga_str_c(mta), .domain = ga_str_c(domain),
		.cb = answered, .arg = answers };
}

static struct ga_route *
ask_with(struct ga_route_request *req)
{
	unsigned *answers = req->arg;

	if (router->route(ga_worker_get(0), req))
		assert_int_equal(*answers, 0);
	else
		for (int i = 0; i < 20 && *answers == 0; i++)
			bed_turn();
	assert_non_null(req->route);
	return req->route;
}

static struct ga_route *
ask(const char *mta, const char *domain)
{
	unsigned answers;
	struct ga_route_request req = question(mta, domain, &answers);

	return ask_with(&req);
}

static void
refused(const char *domain, enum ga_route_kind kind, unsigned code, const char *enhanced)
{
	struct ga_route *r = ask("four", domain);

	assert_int_equal(r->kind, kind);
	assert_int_equal(r->code, code);
	assert_string_equal(r->enhanced, enhanced);
	assert_non_null(r->text);
	ga_route_unref(r);
}

/* "name=address name=address,address" */
static void
delivered(const char *mta, const char *domain, const char *want)
{
	struct ga_route *r = ask(mta, domain);
	char text[1024] = "", address[GA_SOCKADDR_TEXT];
	size_t n = 0;

	assert_int_equal(r->kind, GA_ROUTE_DELIVER);
	for (unsigned i = 0; i < r->nhosts; i++) {
		const struct ga_route_host *h = &r->hosts[i];

		n += (size_t)snprintf(text + n, sizeof text - n, "%s%.*s=", i > 0 ? " " : "",
		    (int)h->name.n, h->name.p);
		for (unsigned k = 0; k < h->naddresses; k++)
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", k > 0 ? "," : "",
			    ga_sockaddr_text(&h->addresses[k], true, address));
	}
	assert_string_equal(text, want);
	ga_route_unref(r);
}

static void
through(const char *mta, const char *want)
{
	struct ga_route *r = ask(mta, "one.example");

	assert_true(ga_str_eq(r->virtual_mta, ga_str_c(want)));
	ga_route_unref(r);
}

static int
up(void **state)
{
	(void)state;
	gac_daemon.hostname = (char *)(uintptr_t)"self.example";
	bed_up(&(struct bed){ .conf = CONF, .modules = modules });
	router = ga_service_get(GA_ROUTER_SERVICE, GA_ROUTER_VERSION);
	bed_turns(2);
	return 0;
}

static int
down(void **state)
{
	(void)state;
	bed_turns(10);
	bed_down();
	return 0;
}

/* --- DNS --- */

static void
test_what_does_not_exist_fails_and_trouble_of_dns_waits(void **state)
{
	(void)state;
	refused("gone.example", GA_ROUTE_FAIL, 550, "5.1.2");
	refused("unheard-of.example", GA_ROUTE_FAIL, 550, "5.1.2");
	refused("bad.example", GA_ROUTE_DEFER, 451, "4.4.3");	/* its A record is no implicit MX */
	refused("slow.example", GA_ROUTE_DEFER, 451, "4.4.3");
	refused("forged.example", GA_ROUTE_DEFER, 451, "4.4.3");
}

static void
test_null_mx_refuses_mail_unless_there_are_others(void **state)
{
	(void)state;
	refused("null.example", GA_ROUTE_FAIL, 556, "5.1.10");
	delivered("four", "dots.example", "mx.one.example=192.0.2.1:25");
	refused("alldots.example", GA_ROUTE_FAIL, 550, "5.4.4");
}

static void
test_no_mx_is_the_domain_itself(void **state)
{
	(void)state;
	delivered("four", "nomx.example", "nomx.example=192.0.2.5:25");
	refused("nothing.example", GA_ROUTE_FAIL, 550, "5.4.4");
}

static void
test_mx_without_address_fails_unless_dns_had_trouble(void **state)
{
	(void)state;
	refused("noaddr.example", GA_ROUTE_FAIL, 550, "5.4.4");
	refused("allsick.example", GA_ROUTE_DEFER, 451, "4.4.3");
	delivered("four", "part.example", "sick.example= mx.one.example=192.0.2.1:25");
}

static void
test_hosts_stand_in_the_order_of_preference(void **state)
{
	struct ga_route *r;

	(void)state;
	delivered("four", "order.example", "a.example=192.0.2.11:25 b.example=192.0.2.12:25 c.example=192.0.2.13:25");
	r = ask("four", "order.example");
	assert_int_equal(r->hosts[0].preference, 5);
	assert_int_equal(r->hosts[2].preference, 30);
	ga_route_unref(r);
}

static void
test_we_ourselves_and_what_is_not_preferred_to_us_go(void **state)
{
	(void)state;
	delivered("four", "second.example", "a.example=192.0.2.11:25");
	refused("loop.example", GA_ROUTE_FAIL, 554, "5.4.6");
}

static void
test_addresses_that_cannot_be_a_mail_server_are_dropped(void **state)
{
	struct ga_route *r;

	(void)state;
	refused("zero.example", GA_ROUTE_FAIL, 550, "5.4.4");
	refused("lo.example", GA_ROUTE_FAIL, 550, "5.4.4");
	delivered("four", "multi.example", "m.multi.example= a.example=192.0.2.11:25");
	r = ask("six", "six.example");
	assert_int_equal(r->kind, GA_ROUTE_FAIL);
	assert_string_equal(r->enhanced, "5.4.4");
	ga_route_unref(r);
	bed_reload(CONF_LOOPBACK);
	delivered("four", "lo.example", "lo.lo.example=127.0.0.9:25");
	refused("zero.example", GA_ROUTE_FAIL, 550, "5.4.4");
}

static void
test_literals(void **state)
{
	(void)state;
	delivered("four", "[192.0.2.77]", "[192.0.2.77]=192.0.2.77:25");
	delivered("six", "[IPv6:2001:db8::77]", "[IPv6:2001:db8::77]=[2001:db8::77]:25");
	refused("[127.0.0.1]", GA_ROUTE_FAIL, 550, "5.4.4");
	refused("[192.0.2.77:2525]", GA_ROUTE_FAIL, 550, "5.4.4");
	refused("[no.example]", GA_ROUTE_FAIL, 550, "5.4.4");
}

static void
test_a_written_next_hop_comes_before_dns(void **state)
{
	struct ga_route *r;

	(void)state;
	delivered("static", "routed.example",
	    "hop.example=192.0.2.40:2525 192.0.2.41=192.0.2.41:25 127.0.0.2=127.0.0.2:26");
	delivered("upstream", "one.example", "hop.example=192.0.2.40:587");
	delivered("upstream", "gone.example", "hop.example=192.0.2.40:587");
	r = ask("static", "stuck.example");
	assert_int_equal(r->kind, GA_ROUTE_DEFER);
	assert_string_equal(r->enhanced, "4.4.4");
	ga_route_unref(r);
}

static void
test_the_source_addresses_choose_the_families(void **state)
{
	struct ga_route *r;

	(void)state;
	delivered("four", "one.example", "mx.one.example=192.0.2.1:25");
	delivered("six", "one.example", "mx.one.example=[2001:db8::1]:25");
	delivered("both", "one.example", "mx.one.example=192.0.2.1:25,[2001:db8::1]:25");
	refused("onlysix.example", GA_ROUTE_FAIL, 550, "5.4.4");
	r = ask("both", "one.example");
	assert_true(ga_str_eq(r->v4.hostname, GA_STR("v4.example")));
	assert_true(ga_str_eq(r->v6.hostname, GA_STR("self.example")));
	ga_route_unref(r);
}

/* --- VirtualMTAs --- */

static void
test_redirects_are_followed_and_a_pause_beats_them(void **state)
{
	struct ga_route *r;

	(void)state;
	through("old", "both");
	through("2", "six");		/* by number */
	through("", "four");
	through("unknown", "four");
	r = ask("held", "one.example");
	assert_int_equal(r->kind, GA_ROUTE_PAUSED);
	assert_true(ga_str_eq(r->virtual_mta, GA_STR("held")));
	ga_route_unref(r);
}

#define DRAWS 6000

/* How often each of four, six and both: by mta_id. */
static void
draw(const char *rule, uint64_t message, uint64_t address, uint64_t step, unsigned count[4])
{
	unsigned answers;

	memset(count, 0, 4 * sizeof *count);
	for (unsigned i = 0; i < DRAWS; i++) {
		struct ga_route_request req = question(rule, "one.example", &answers);

		req.message_key = message + i * step;
		req.address_key = address;
		ask_with(&req);
		assert_in_range(req.route->mta_id, 1, 3);
		count[req.route->mta_id]++;
		ga_route_unref(req.route);
	}
}

/* Chi square: with two degrees of freedom above 30 once in three million. */
static void
assert_shares(const unsigned count[4], const double share[3])
{
	double sum = 0;

	for (int i = 0; i < 3; i++) {
		double want = share[i] * DRAWS, off = count[i + 1] - want;

		if (want > 0)
			sum += off * off / want;
		else
			assert_int_equal(count[i + 1], 0);
	}
	assert_true(sum < 30);
}

static void
test_a_rule_draws_by_weight(void **state)
{
	unsigned count[4];

	(void)state;
	draw("shares", 1, 1, 0, count);
	assert_shares(count, (double[]){ 0.5, 0.3, 0.2 });
}

static void
test_a_choice_is_kept_for_a_message_or_an_address(void **state)
{
	unsigned count[4];

	(void)state;
	draw("permessage", 77, 1, 0, count);
	assert_true(count[1] == DRAWS || count[2] == DRAWS);
	draw("permessage", 77, 1, 1, count);
	assert_shares(count, (double[]){ 0.5, 0.5, 0 });
	draw("peraddress", 77, 5, 1, count);
	assert_true(count[1] == DRAWS || count[2] == DRAWS);
}

static void
test_a_rule_in_a_rule_draws_for_itself(void **state)
{
	unsigned count[4];

	(void)state;
	draw("outer", 77, 1, 1, count);
	assert_shares(count, (double[]){ 0.5, 0.25, 0.25 });
}

static bool
refuses(const char *conf)
{
	return bed_refuses(&(struct bed){ .conf = conf, .modules = modules });
}

static void
test_circles_and_rules_without_weight_are_refused(void **state)
{
	(void)state;
#define A "ip_address a {\n  mta_id 1\n"
#define B "ip_address b {\n  mta_id 2\n"
	assert_false(refuses(A "  redirect b\n}\n" B "}\n"));
	assert_true(refuses(A "  redirect b\n}\n" B "  redirect a\n}\n"));
	assert_true(refuses(A "  redirect a\n}\n"));
	assert_false(refuses(A "}\nrouting_rule r {\n  deliver_through a 1\n}\n"));
	assert_true(refuses(A "}\nrouting_rule r {\n  deliver_through a 1, r 1\n}\n"));
	assert_true(refuses(A "  redirect r\n}\nrouting_rule r {\n  deliver_through a 1\n}\n"));
	assert_true(refuses(A "}\nrouting_rule r {\n  deliver_through a 0\n}\n"));
	assert_false(refuses(A "}\nrouting_rule r {\n  deliver_through a 1000000\n}\n"));
	assert_true(refuses(A "}\nrouting_rule r {\n  deliver_through a 1000001\n}\n"));
	assert_true(refuses(A "}\nrouting_rule r {\n  deliver_through a 18446744073709551617\n}\n"));
	assert_true(refuses(A "}\nrouting_rule r {\n  deliver_through a -1\n}\n"));
	assert_true(refuses(A "}\nrouting_rule r {\n  deliver_through a \"\"\n}\n"));
	assert_false(refuses(A "}\n" B "}\nrouting_rule r {\n  deliver_through a 0, b 1\n}\n"));
	assert_true(refuses(A "  smtp_source 192.0.2.1, 192.0.2.2\n}\n"));
	assert_true(refuses(A "  smtp_source mail.example\n}\n"));
}

static void
test_a_way_that_is_too_long_is_refused_from_whatever_end_it_is_read(void **state)
{
	char down[4096] = "", up_[4096] = "";
	size_t n = 0, m = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		n += (size_t)snprintf(down + n, sizeof down - n, "ip_address i%d {\n  redirect i%d\n}\n", i, i + 1);
		m += (size_t)snprintf(up_ + m, sizeof up_ - m, "ip_address i%d {\n  redirect i%d\n}\n", i + 1, i);
	}
	snprintf(down + n, sizeof down - n, "ip_address i20 {\n}\n");
	snprintf(up_ + m, sizeof up_ - m, "ip_address i0 {\n}\n");
	assert_true(refuses(down));
	assert_true(refuses(up_));
}

/* Each of the rules leads to the next one twenty times: all ways would be 20^12. */
static void
test_many_ways_through_rules_are_checked_once_each(void **state)
{
	char conf[8192];
	size_t n = (size_t)snprintf(conf, sizeof conf, A "}\n");

	(void)state;
	for (int rule = 0; rule < 12; rule++) {
		n += (size_t)snprintf(conf + n, sizeof conf - n, "routing_rule r%d {\n  deliver_through a 1", rule);
		for (int way = 0; way < 20 && rule < 11; way++)
			n += (size_t)snprintf(conf + n, sizeof conf - n, ", r%d 1", rule + 1);
		n += (size_t)snprintf(conf + n, sizeof conf - n, "\n}\n");
	}
	assert_true(n < sizeof conf);
	assert_false(refuses(conf));
}

/* --- groups --- */

static char *
group(const char *mta, const char *domain)
{
	struct ga_route *r = ask(mta, domain);
	char *key = strndup(r->group_key.p, r->group_key.n);

	ga_route_unref(r);
	return key;
}

static void
group_is(const char *mta, const char *domain, const char *want)
{
	char *key = group(mta, domain);

	assert_string_equal(key, want);
	free(key);
}

static void
test_keys_of_groups(void **state)
{
	(void)state;
	group_is("four", "one.example", "1,one.example");
	group_is("both", "one.example", "3,one.example");
	group_is("four", "big.example", "ip1pd7");
	group_is("six", "huge.example", "ip2pd7");
	group_is("upstream", "one.example", "relay5");
	group_is("upstream", "big.example", "relay5");
}

/* Of two limits from two blocks the narrower block names the group. */
static void
test_the_first_block_that_sets_any_limit_names_the_group(void **state)
{
	(void)state;
	bed_reload("general {\n" ZONE "}\nip_address four {\n  mta_id 1\n"
	    "  domain [*.]big.example {\n    id 31\n    max_concurrent_connections 2\n  }\n"
	    "  domain sub.big.example {\n    id 32\n    max_connection_rate 5/hr\n  }\n}\n"
	    "ip_address * {\n  domain gone.example {\n    id 33\n    max_delivery_burst 5\n  }\n}\n"
	    "domain bad.example {\n  id 34\n  max_delivery_rate 5/hr\n}\n");
	group_is("four", "big.example", "ip1pd31");
	group_is("four", "sub.big.example", "ip1pd32");
	group_is("four", "gone.example", "ip1pd33");
	group_is("four", "bad.example", "ip1pd34");
	group_is("four", "one.example", "1,one.example");
}

static void
test_a_virtual_mta_without_number_has_one_of_its_own(void **state)
{
	struct ga_route *a, *b;
	char number[16];

	(void)state;
	bed_reload("general {\n" ZONE "}\nip_address four {\n}\nip_address six {\n}\n");
	a = ask("four", "one.example");
	b = ask("six", "one.example");
	assert_true(a->mta_id >= 1000000 && b->mta_id >= 1000000);
	assert_int_not_equal(a->mta_id, b->mta_id);
	snprintf(number, sizeof number, "%u", (unsigned)b->mta_id);
	through(number, "six");
	bed_reload("general {\n" ZONE "}\nip_address six {\n}\nip_address four {\n}\n");
	ga_route_unref(b);
	b = ask("four", "one.example");
	assert_int_equal(a->mta_id, b->mta_id);
	ga_route_unref(a);
	ga_route_unref(b);
}

static void
test_two_rules_of_one_virtual_mta_must_not_have_one_number(void **state)
{
#define RULE(domain, id) "  domain " domain " {\n    id " id "\n    max_delivery_rate 1/s\n  }\n"
	(void)state;
	assert_true(refuses("ip_address a {\n" RULE("x.example", "5") RULE("y.example", "5") "}\n"));
	assert_true(refuses("ip_address a {\n" RULE("x.example", "5") "}\nip_address * {\n" RULE("y.example", "5") "}\n"));
	assert_false(refuses("ip_address a {\n" RULE("x.example", "5") "}\nip_address b {\n" RULE("y.example", "5") "}\n"));
	assert_false(refuses("ip_address a {\n" RULE("x.example", "5") RULE("y.example", "6") "}\n"));
}

static void
test_the_number_of_a_rule_without_id_is_kept(void **state)
{
	char *before = group("four", "auto.example"), *other = group("four", "other.example"), *after;

	(void)state;
	assert_memory_equal(before, "ip1pd", 5);
	assert_true(strtoul(before + 5, NULL, 10) >= 1000000);
	assert_string_not_equal(before, other);
	bed_reload(CONF_LOOPBACK);
	after = group("four", "auto.example");
	assert_string_equal(before, after);
	free(before);
	free(other);
	free(after);
}

/* --- the cache --- */

static unsigned
asked_for(const char *domain)
{
	unsigned before = resolver_fixed_asked();

	ga_route_unref(ask("four", domain));
	return resolver_fixed_asked() - before;
}

static void
test_the_same_question_is_asked_once(void **state)
{
	struct ga_route_request req[50];
	unsigned answers[50], before = resolver_fixed_asked();

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		req[i] = question("four", "one.example", &answers[i]);
		assert_false(router->route(ga_worker_get(0), &req[i]));
	}
	bed_turns(10);
	assert_int_equal(resolver_fixed_asked() - before, 2);	/* MX, A */
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(answers[i], 1);
		assert_ptr_equal(req[i].route, req[0].route);
	}
	for (unsigned i = 0; i < 50; i++)
		ga_route_unref(req[i].route);
	assert_int_equal(asked_for("one.example"), 0);
}

#define MANY 1000

static struct ga_route_request many[MANY];
static unsigned many_answered;

static void
ask_many(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		many[i] = question("four", "one.example", &many_answered);
		assert_false(router->route(ga_worker_get(0), &many[i]));
	}
}

static void
unref_many(void)
{
	for (unsigned i = 0; i < MANY; i++)
		if (many[i].route != NULL)
			ga_route_unref(many[i].route);
}

static unsigned answered_before, most_answered;

static void
look(struct ga_worker *w, struct ga_post *post)
{
	if (many_answered - answered_before > most_answered)
		most_answered = many_answered - answered_before;
	answered_before = many_answered;
	if (many_answered < MANY)
		ga_loop_post(w, post);
}

static void
test_many_who_wait_for_one_route_are_answered_in_slices(void **state)
{
	struct ga_post post = { NULL, look };

	(void)state;
	answered_before = most_answered = 0;
	ask_many();
	ga_loop_post(ga_worker_get(0), &post);
	bed_turns(20);
	assert_int_equal(many_answered, MANY);
	assert_int_equal(most_answered, RT_ANSWER_SLICE);
	unref_many();
}

static void
test_a_route_is_known_for_the_ttl_and_a_refusal_for_less(void **state)
{
	(void)state;
	assert_int_equal(asked_for("one.example"), 2);
	bed_advance(299 * 1000);
	assert_int_equal(asked_for("one.example"), 0);
	bed_advance(2 * 1000);
	assert_int_equal(asked_for("one.example"), 2);
	assert_int_equal(asked_for("gone.example"), 1);
	assert_int_equal(asked_for("bad.example"), 1);
	bed_advance(11 * 1000);
	assert_int_equal(asked_for("gone.example"), 0);
	assert_int_equal(asked_for("bad.example"), 1);
	bed_advance(50 * 1000);
	assert_int_equal(asked_for("gone.example"), 1);
}

static void
test_a_reload_drops_what_was_known(void **state)
{
	unsigned answers;
	struct ga_route_request req = question("four", "order.example", &answers);

	(void)state;
	assert_int_equal(asked_for("one.example"), 2);
	assert_false(router->route(ga_worker_get(0), &req));
	bed_reload(CONF_LOOPBACK);
	bed_turns(10);
	assert_int_equal(asked_for("one.example"), 2);
	assert_int_equal(answers, 1);		/* who waited meanwhile has an answer */
	ga_route_unref(req.route);
	assert_int_equal(asked_for("order.example"), 4);	/* of the old settings: not kept */
}

static void
test_who_asks_after_a_reload_gets_no_route_of_before(void **state)
{
	unsigned answers[2];
	struct ga_route_request old = question("four", "one.example", &answers[0]);
	struct ga_route_request new = question("four", "one.example", &answers[1]);
	struct ga_snapshot *now;

	(void)state;
	assert_false(router->route(ga_worker_get(0), &old));
	bed_reload(CONF_LOOPBACK);
	assert_false(router->route(ga_worker_get(0), &new));
	bed_turns(10);
	assert_int_equal(answers[0], 1);
	assert_int_equal(answers[1], 1);
	now = ga_snapshot_current();
	assert_ptr_equal(new.route->snapshot, now);
	ga_snapshot_unref(now);
	ga_route_unref(old.route);
	ga_route_unref(new.route);
}

/* What was not answered is nobody's after the end (LeakSanitizer looks). */
static void
test_a_stop_frees_what_is_being_looked_up(void **state)
{
	static unsigned answers[5];
	static struct ga_route_request reqs[5];

	(void)state;
	reqs[0] = question("four", "never.example", &answers[0]);	/* no answer for its MX */
	reqs[1] = question("six", "never.example", &answers[1]);
	reqs[2] = question("four", "half.example", &answers[2]);	/* none for one of two hosts */
	reqs[3] = question("four", "half.example", &answers[3]);	/* waits for the one before */
	for (unsigned i = 0; i < 4; i++)
		assert_false(router->route(ga_worker_get(0), &reqs[i]));
	bed_turns(10);
	bed_reload(CONF_LOOPBACK);		/* those before it are in no table any more */
	reqs[4] = question("six", "never.example", &answers[4]);
	assert_false(router->route(ga_worker_get(0), &reqs[4]));
	bed_turns(10);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(answers[i], 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, up, down)
	const struct CMUnitTest tests[] = {
		T(test_what_does_not_exist_fails_and_trouble_of_dns_waits),
		T(test_null_mx_refuses_mail_unless_there_are_others),
		T(test_no_mx_is_the_domain_itself),
		T(test_mx_without_address_fails_unless_dns_had_trouble),
		T(test_hosts_stand_in_the_order_of_preference),
		T(test_we_ourselves_and_what_is_not_preferred_to_us_go),
		T(test_addresses_that_cannot_be_a_mail_server_are_dropped),
		T(test_literals),
		T(test_a_written_next_hop_comes_before_dns),
		T(test_the_source_addresses_choose_the_families),
		T(test_redirects_are_followed_and_a_pause_beats_them),
		T(test_a_rule_draws_by_weight),
		T(test_a_choice_is_kept_for_a_message_or_an_address),
		T(test_a_rule_in_a_rule_draws_for_itself),
		cmocka_unit_test(test_circles_and_rules_without_weight_are_refused),
		cmocka_unit_test(test_a_way_that_is_too_long_is_refused_from_whatever_end_it_is_read),
		cmocka_unit_test(test_many_ways_through_rules_are_checked_once_each),
		T(test_keys_of_groups),
		T(test_the_first_block_that_sets_any_limit_names_the_group),
		T(test_a_virtual_mta_without_number_has_one_of_its_own),
		cmocka_unit_test(test_two_rules_of_one_virtual_mta_must_not_have_one_number),
		T(test_the_number_of_a_rule_without_id_is_kept),
		T(test_the_same_question_is_asked_once),
		T(test_many_who_wait_for_one_route_are_answered_in_slices),
		T(test_a_route_is_known_for_the_ttl_and_a_refusal_for_less),
		T(test_a_reload_drops_what_was_known),
		T(test_who_asks_after_a_reload_gets_no_route_of_before),
		T(test_a_stop_frees_what_is_being_looked_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
