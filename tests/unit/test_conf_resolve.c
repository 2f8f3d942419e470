/*
 * test_conf_resolve.c - which value holds for a VirtualMTA and a domain
 *
 * The order of look-up is proven from the top down: a file sets one directive
 * in every place that could match, the resolver names the first; that place is
 * taken out and the next one must win, down to the default.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "conf/conf_tree.h"
#include "conf_fixture.h"

/* One place in a configuration where a value may stand. */
struct place {
	const char *open;	/* lines before the directive */
	int depth;		/* blocks to close after it */
};

/* For ip-1 and foo.example.com with MX mx1.mail.example.net and a.b.example.org.
 * Wildcards of the first MX, mx:* among them, come before those of the second. */
static const struct place order[] = {
#define NAMED(p) { "ip_address ip-1 {\n domain " p " {\n", 2 }
#define ANY(p) { "ip_address * {\n domain " p " {\n", 2 }
#define RULE(p) { "throttle_template t {\n rule \"r " p "\" {\n domains " p "\n", 2 }
#define TOP(p) { "domain " p " {\n", 1 }
#define PATTERNS(P)									\
	P("foo.example.com"), P("[*.]foo.example.com"), P("*.example.com"),		\
	P("[*.]example.com"), P("*.com"), P("[*.]com"), P("*"),				\
	P("mx:mx1.mail.example.net"), P("mx:a.b.example.org"),				\
	P("mx:[*.]mx1.mail.example.net"), P("mx:*.mail.example.net"),			\
	P("mx:[*.]mail.example.net"), P("mx:*.example.net"), P("mx:[*.]example.net"),	\
	P("mx:*.net"), P("mx:[*.]net"), P("mx:*"),					\
	P("mx:[*.]a.b.example.org"), P("mx:*.b.example.org")
	PATTERNS(NAMED), PATTERNS(ANY),
	PATTERNS(RULE), { "throttle_template t {\n default_", 1 },
	{ "ip_address ip-1 {\n", 1 }, { "ip_address * {\n", 1 },
	PATTERNS(TOP),
	{ "general {\n", 1 },
};
#define NPLACES (sizeof order / sizeof order[0])

static int64_t limit_of(struct ga_snapshot *snap, const char *vmta, const char *domain,
    const struct ga_str *mx, size_t nmx)
{
	const struct ga_settings *s = ga_snapshot_resolve(snap, ga_str_c(vmta), ga_str_c(domain), mx, nmx);
	const struct fx_throttle *t = ga_settings_conf(s, "throttle");

	return t->max_concurrent_connections;
}

/* A file with the directive in the places from..NPLACES-1, valued by place + 1000.
 * Written from the last place to the first or the other way round: order in the
 * file must not matter. */
static char *file_of(size_t from, bool backwards)
{
	char *out = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&out, &size);

	fputs(fx_load_all, f);
	fputs("ip_address ip-1 {\n smtp_source 127.0.0.1 a.example\n throttle_template t\n}\n"
	    "throttle_template t {\n}\n", f);
	for (size_t k = from; k < NPLACES; k++) {
		size_t i = backwards ? NPLACES - 1 - (k - from) : k;

		fputs(order[i].open, f);
		fprintf(f, "max_concurrent_connections %zu\n", i + 1000);
		for (int d = 0; d < order[i].depth; d++)
			fputs("}\n", f);
	}
	fclose(f);
	return out;
}

static void prove_order(bool backwards)
{
	const struct ga_str mx[] = { GA_STR("mx1.mail.example.net"), GA_STR("A.b.Example.org.") };

	for (size_t from = 0; from < NPLACES; from++) {
		char *text = file_of(from, backwards);
		struct ga_snapshot *snap = fx_snapshot(text);

		assert_non_null(snap);
		assert_int_equal(limit_of(snap, "ip-1", "foo.example.com", mx, 2), (int64_t)from + 1000);
		ga_snapshot_unref(snap);
		free(text);
	}
}

static void test_each_place_wins_over_all_behind_it(void **state)
{
	(void)state;
	prove_order(false);
}

static void test_order_in_the_file_does_not_matter(void **state)
{
	(void)state;
	prove_order(true);
}

static void test_the_default_is_last(void **state)
{
	struct ga_snapshot *snap = fx_snapshot("load_module throttle\n");

	(void)state;
	assert_int_equal(limit_of(snap, "ip-1", "foo.example.com", NULL, 0), 100);
	ga_snapshot_unref(snap);
}

static void test_mx_patterns_wait_for_names(void **state)
{
	const struct ga_str mx[] = { GA_STR("aspmx.l.google.com") };
	struct ga_snapshot *snap = fx_snapshot("load_module throttle, route\n"
	    "ip_address ip-1 {\nsmtp_source 127.0.0.1 a.example\n"
	    "domain gmail.com, mx:*.google.com {\nmax_concurrent_connections 7\n}\n}\n"
	    "ip_address ip-2 {\nsmtp_source 127.0.0.2 b.example\n}\n");

	(void)state;
	assert_int_equal(limit_of(snap, "ip-1", "customer.example", NULL, 0), 100);
	assert_int_equal(limit_of(snap, "ip-1", "customer.example", mx, 1), 7);
	assert_int_equal(limit_of(snap, "IP-1", "gmail.com", NULL, 0), 7);
	assert_int_equal(limit_of(snap, "ip-2", "gmail.com", mx, 1), 100);
	assert_true(ga_snapshot_wants_mx(snap, GA_STR("ip-1")));
	assert_false(ga_snapshot_wants_mx(snap, GA_STR("ip-2")));
	ga_snapshot_unref(snap);
}

static void test_subdomain_pattern_does_not_match_the_domain(void **state)
{
	struct ga_snapshot *snap = fx_snapshot("load_module throttle\n"
	    "domain *.a.example {\nmax_concurrent_connections 1\n}\n"
	    "domain [*.]b.example {\nmax_concurrent_connections 2\n}\n"
	    "domain \"B\xc3\xbc" "cher.example\" {\nmax_concurrent_connections 3\n}\n");

	(void)state;
	assert_int_equal(limit_of(snap, "", "a.example", NULL, 0), 100);
	assert_int_equal(limit_of(snap, "", "x.a.example", NULL, 0), 1);
	assert_int_equal(limit_of(snap, "", "x.y.a.example", NULL, 0), 1);
	assert_int_equal(limit_of(snap, "", "xa.example", NULL, 0), 100);
	assert_int_equal(limit_of(snap, "", "b.example", NULL, 0), 2);
	assert_int_equal(limit_of(snap, "", "x.b.example", NULL, 0), 2);
	assert_int_equal(limit_of(snap, "", "xn--bcher-kva.example", NULL, 0), 3);
	ga_snapshot_unref(snap);
}

#define TWO_IPS "ip_address ip-1 {\nsmtp_source 127.0.0.1 a.example\n}\nip_address ip-2 {\nsmtp_source 127.0.0.2 b.example\n}\n"

static void test_a_template_is_the_address_s_own_or_that_of_all(void **state)
{
	const struct ga_str mx[] = { GA_STR("mx1.google.com") };
	struct ga_snapshot *snap = fx_snapshot("load_module throttle, route\n" TWO_IPS
	    "relay_server up {\ndestination 127.0.0.1:25\n}\nrouting_rule r {\ndeliver_through ip-1 1\n}\n"
	    "ip_address ip-1 {\nthrottle_template One\n}\nip_address * {\nthrottle_template two\n}\n"
	    "throttle_template one {\nrule a {\ndomains a.example\nmax_concurrent_connections 1\n}\n}\n"
	    "throttle_template two {\ndefault_max_concurrent_connections 4\n"
	    "rule b {\ndomains b.example, mx:*.google.com\nmax_concurrent_connections 2\n}\n"
	    "domain c.example {\nmax_concurrent_connections 3\n}\n}\n");

	(void)state;
	assert_int_equal(limit_of(snap, "ip-1", "a.example", NULL, 0), 1);
	assert_int_equal(limit_of(snap, "ip-1", "b.example", mx, 1), 100);
	assert_int_equal(limit_of(snap, "ip-2", "b.example", NULL, 0), 2);
	assert_int_equal(limit_of(snap, "ip-2", "x.example", mx, 1), 2);
	assert_int_equal(limit_of(snap, "ip-2", "c.example", mx, 1), 3);
	assert_int_equal(limit_of(snap, "ip-2", "a.example", NULL, 0), 4);
	assert_int_equal(limit_of(snap, "no such", "b.example", NULL, 0), 2);
	assert_int_equal(limit_of(snap, "up", "b.example", mx, 1), 100);
	assert_int_equal(limit_of(snap, "r", "c.example", mx, 1), 100);
	assert_false(ga_snapshot_wants_mx(snap, GA_STR("ip-1")));
	assert_true(ga_snapshot_wants_mx(snap, GA_STR("ip-2")));
	assert_true(ga_snapshot_wants_mx(snap, GA_STR("no such")));
	assert_false(ga_snapshot_wants_mx(snap, GA_STR("up")));
	ga_snapshot_unref(snap);
}

static void test_a_rule_falls_back_to_its_template_directive_by_directive(void **state)
{
	static const char *const patterns[] = { "gmail.com", "mx:*.google.com", "[*.]x.example" };
	struct ga_snapshot *snap = fx_snapshot("load_module throttle, route\n" TWO_IPS
	    "throttle_template t {\ndefault_max_concurrent_connections 4\ndefault_max_delivery_rate 5/s\n"
	    "rule g {\ndomains GMAIL.com., mx:*.Google.com\nmax_concurrent_connections 2\n}\n}\n"
	    "ip_address * {\nthrottle_template t\nmax_delivery_rate 9/s\n}\n"
	    "throttle_template t {\nrule G {\ndomains [*.]x.example\n}\n}\n");
	const struct ga_settings *s = ga_snapshot_resolve(snap, GA_STR("ip-1"), GA_STR("gmail.com"), NULL, 0);
	const struct fx_throttle *c = ga_settings_conf(s, "throttle");
	const struct ga_object *rule = ga_settings_source(s, "throttle", "max_concurrent_connections");
	struct ga_strlist domains = ga_object_patterns(rule);

	(void)state;
	assert_int_equal(c->max_concurrent_connections, 2);
	assert_true(c->max_delivery_rate.per_second == 5.0);
	assert_string_equal(ga_object_context(rule), "rule");
	assert_int_equal(domains.n, 3);
	for (size_t i = 0; i < 3; i++)
		assert_true(ga_str_eq(domains.v[i], ga_str_c(patterns[i])));
	assert_string_equal(ga_object_context(ga_settings_source(s, "throttle", "max_delivery_rate")), "throttle_template");
	assert_string_equal(ga_settings_where(s, "throttle", "max_delivery_rate"), "test.conf:10");
	assert_int_equal(limit_of(snap, "ip-1", "sub.x.example", NULL, 0), 2);
	ga_snapshot_unref(snap);
}

static void test_each_directive_for_itself(void **state)
{
	struct ga_snapshot *snap = fx_snapshot("load_module throttle, route, smtp_client, smtp_log, queue\n"
	    "general {\nqueue_lifetime 3d\n}\n"
	    "ip_address ip-1 {\nsmtp_source 127.0.0.1 a.example\n"
	    "domain example.com {\nmax_concurrent_connections 1\n}\n}\n"
	    "ip_address * {\nreuse_connections yes\ndomain example.com {\nlog_smtp_commands yes\n"
	    "max_delivery_rate 7200/hr\n}\n}\n");
	const struct ga_settings *s = ga_snapshot_resolve(snap, GA_STR("ip-1"), GA_STR("example.com"), NULL, 0);
	const struct fx_throttle *t = ga_settings_conf(s, "throttle");
	const struct fx_smtp_client *c = ga_settings_conf(s, "smtp_client");
	const struct fx_smtp_log *l = ga_settings_conf(s, "smtp_log");
	const struct fx_queue *q = ga_settings_conf(s, "queue");
	const struct fx_route *r = ga_settings_conf(s, "route");

	(void)state;
	assert_int_equal(t->max_concurrent_connections, 1);
	assert_true(t->max_delivery_rate.per_second == 2.0);
	assert_true(ga_str_eq(t->max_delivery_rate.text, GA_STR("7200/hr")));
	assert_true(c->reuse_connections && l->log_smtp_commands && c->starttls_use);
	assert_int_equal(q->queue_lifetime, 3 * 86400 * 1000ull);
	assert_int_equal(r->smtp_source.n, 2);
	assert_true(ga_str_eq(r->smtp_source.v[1], GA_STR("a.example")));
	assert_string_equal(ga_settings_where(s, "throttle", "max_concurrent_connections"), "test.conf:8");
	assert_string_equal(ga_settings_where(s, "smtp_log", "log_smtp_commands"), "test.conf:14");
	assert_string_equal(ga_settings_where(s, "smtp_client", "starttls_use"), "");
	assert_string_equal(ga_object_context(ga_settings_source(s, "queue", "queue_lifetime")), "general");
	assert_null(ga_settings_source(s, "smtp_client", "starttls_use"));
	assert_null(ga_settings_conf(s, "nobody"));
	ga_snapshot_unref(snap);
}

static bool list_is(struct ga_strlist l, size_t n, const char *const *v)
{
	for (size_t i = 0; i < n && i < l.n; i++)
		if (!ga_str_eq(l.v[i], ga_str_c(v[i])))
			return false;
	return l.n == n;
}

static void test_each_row_of_a_table_knows_its_place(void **state)
{
	struct ga_snapshot *snap = fx_snapshot("load_module route\nip_address a, b {\nsmtp_source 127.0.0.1 a.example\n}\n"
	    "routing_rule r {\ndeliver_through a 1, b 2.5\n}\nrouting_rule r {\n  deliver_through \"a\"  3\n}\n");
	const struct ga_settings *s = ga_snapshot_object(snap, ga_object_find(snap, "routing_rule", GA_STR("r")));
	static const struct { size_t row, word; unsigned line, column; } places[] = {
		{ 0, 0, 6, 17 }, { 0, 1, 6, 19 }, { 1, 0, 6, 22 }, { 1, 1, 6, 24 }, { 2, 0, 9, 19 }, { 2, 1, 9, 24 },
	};
	struct ga_place at;

	(void)state;
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		assert_true(ga_settings_place(s, "route", "deliver_through", places[i].row, places[i].word, &at));
		assert_string_equal(at.file, "test.conf");
		assert_int_equal(at.line, places[i].line);
		assert_int_equal(at.column, places[i].column);
	}
	assert_false(ga_settings_place(s, "route", "deliver_through", 3, 0, &at));
	assert_false(ga_settings_place(s, "route", "deliver_through", 0, 2, &at));
	assert_false(ga_settings_place(s, "route", "deliver_through", 2, 2, &at));
	assert_false(ga_settings_place(ga_snapshot_general(snap), "route", "deliver_through", 0, 0, &at));
	ga_snapshot_unref(snap);
}

static void test_lists_add_up_in_a_block_and_replace_the_default(void **state)
{
	static const char *const both[] = { "127.0.0.1", "127.0.0.2:26", "[::1]" };
	struct ga_snapshot *snap = fx_snapshot("load_module route\n"
	    "ip_address * {\nsmtp_route 10.0.0.1\ndomain a.example {\nsmtp_route 127.0.0.1, 127.0.0.2:26\n}\n}\n"
	    "ip_address * {\ndomain a.example {\nsmtp_route [::1]\n}\n}\n");
	const struct ga_settings *s = ga_snapshot_resolve(snap, GA_STR(""), GA_STR("a.example"), NULL, 0);
	const struct fx_route *r = ga_settings_conf(s, "route");

	(void)state;
	assert_true(list_is(r->smtp_route, 3, both));
	r = ga_settings_conf(ga_snapshot_resolve(snap, GA_STR(""), GA_STR("b.example"), NULL, 0), "route");
	assert_int_equal(r->smtp_route.n, 1);
	ga_snapshot_unref(snap);
}

static void test_a_later_value_wins_in_blocks_of_one_name(void **state)
{
	struct ga_snapshot *snap = fx_snapshot("load_module throttle\n"
	    "domain a.example {\nmax_concurrent_connections 1\n}\n"
	    "domain a.example, b.example {\nmax_concurrent_connections 2\n}\n"
	    "domain b.example {\nmax_concurrent_connections 3\n}\n"
	    "domain A.example {\nmax_delivery_rate 1/s\n}\n");

	(void)state;
	/* Two blocks of different patterns that both match exactly: the later one. */
	assert_int_equal(limit_of(snap, "", "a.example", NULL, 0), 2);
	assert_int_equal(limit_of(snap, "", "b.example", NULL, 0), 3);
	ga_snapshot_unref(snap);
}

static void test_one_block_for_several_addresses(void **state)
{
	struct ga_snapshot *snap = fx_snapshot("load_module throttle, route\n"
	    "ip_address a {\nsmtp_source 127.0.0.1 a.example\n}\nip_address b {\nsmtp_source 127.0.0.2 b.example\n}\n"
	    "ip_address a, b {\nmax_concurrent_connections 9\ndomain x.example {\nmax_concurrent_connections 8\n}\n}\n");

	(void)state;
	assert_int_equal(limit_of(snap, "a", "", NULL, 0), 9);
	assert_int_equal(limit_of(snap, "b", "x.example", NULL, 0), 8);
	assert_int_equal(limit_of(snap, "c", "x.example", NULL, 0), 100);
	ga_snapshot_unref(snap);
}

static bool delivers_through(struct ga_snapshot *snap, const char *rule, const char *domain, const char *vmta)
{
	const struct fx_route *r = ga_settings_conf(ga_snapshot_resolve(snap, ga_str_c(rule), ga_str_c(domain),
	    NULL, 0), "route");

	return r->deliver_through.n == 1 && ga_str_eq(r->deliver_through.v[0].v[0], ga_str_c(vmta));
}

static void test_domain_blocks_of_a_routing_rule_are_its_own(void **state)
{
	const struct ga_str mx[] = { GA_STR("mx.x.example") };
	struct ga_snapshot *snap = fx_snapshot("load_module route, throttle\n"
	    "ip_address a {\nsmtp_source 127.0.0.1 a.example\ndomain x.example {\nmax_concurrent_connections 3\n}\n}\n"
	    "relay_server b {\ndestination 127.0.0.1:25\n}\n"
	    "ip_address * {\nmax_concurrent_connections 7\n}\n"
	    "routing_rule r {\ndeliver_through a 1\ndomain x.example {\ndeliver_through b 1\n}\n}\n"
	    "routing_rule s {\ndeliver_through b 1\ndomain *.example {\ndeliver_through a 1\n}\n}\n");
	const struct ga_object *r = ga_object_find(snap, "routing_rule", GA_STR("r"));
	const struct ga_object *d = ga_object_first(snap, r, "domain");
	const struct fx_route *conf = ga_settings_conf(ga_snapshot_object(snap, r), "route");

	(void)state;
	assert_true(delivers_through(snap, "r", "x.example", "b"));
	assert_true(delivers_through(snap, "r", "y.example", "a"));
	assert_true(delivers_through(snap, "s", "x.example", "a"));
	assert_true(ga_str_eq(conf->deliver_through.v[0].v[0], GA_STR("a")));
	conf = ga_settings_conf(ga_snapshot_object(snap, d), "route");
	assert_true(ga_str_eq(conf->deliver_through.v[0].v[0], GA_STR("b")));
	assert_true(ga_object_has(d, "route", "deliver_through"));
	/* The rule's blocks are no settings of the VirtualMTAs that it chooses, nor theirs its. */
	assert_int_equal(limit_of(snap, "a", "x.example", NULL, 0), 3);
	assert_int_equal(limit_of(snap, "r", "x.example", mx, 1), 7);
	assert_false(ga_snapshot_wants_mx(snap, GA_STR("r")));
	ga_snapshot_unref(snap);
}

static void test_module_block_and_general(void **state)
{
	struct ga_snapshot *snap = fx_snapshot("load_module spool\ngeneral {\nqueue_fsync no\n}\n"
	    "module spool {\nqueue_fsync yes\nsegments_ready 3\n}\n");
	const struct fx_spool *sp = ga_settings_conf(ga_snapshot_general(snap), "spool");

	(void)state;
	assert_true(sp->queue_fsync);
	assert_int_equal(sp->segments_ready, 3);
	ga_snapshot_unref(snap);
}

static void test_use_module_is_resolved_like_a_setting(void **state)
{
	struct ga_snapshot *snap = fx_snapshot("load_module route, smtp_log\n"
	    "ip_address ip-1 {\nsmtp_source 127.0.0.1 a.example\nuse_module smtp_log yes\n"
	    "domain quiet.example {\nuse_module smtp_log no\n}\n}\n"
	    "ip_address * {\nuse_module smtp_log no\n}\n");

	(void)state;
	assert_true(gac_settings_enabled(ga_snapshot_resolve(snap, GA_STR("ip-1"), GA_STR("x.example"), NULL, 0), 1));
	assert_false(gac_settings_enabled(ga_snapshot_resolve(snap, GA_STR("ip-1"), GA_STR("quiet.example"), NULL, 0), 1));
	assert_false(gac_settings_enabled(ga_snapshot_resolve(snap, GA_STR("ip-2"), GA_STR("x.example"), NULL, 0), 1));
	assert_true(gac_settings_enabled(ga_snapshot_general(snap), 1));
	assert_true(gac_settings_enabled(ga_snapshot_resolve(snap, GA_STR("ip-2"), GA_STR(""), NULL, 0), 0));
	ga_snapshot_unref(snap);
}

static void test_objects_in_the_order_of_the_file(void **state)
{
	struct ga_snapshot *snap = fx_snapshot("load_module throttle\n"
	    "throttle_template t {\nrule b {\ndomains b.example\n}\nrule a {\ndomains a.example\n}\n}\n"
	    "throttle_template t {\ndefault_max_concurrent_connections 5\nrule b {\nmax_concurrent_connections 2\n}\n}\n");
	const struct ga_object *t = ga_object_first(snap, NULL, "throttle_template"), *r;
	const struct fx_throttle *c;

	(void)state;
	assert_non_null(t);
	assert_null(ga_object_next(t));
	assert_ptr_equal(t, ga_object_find(snap, "throttle_template", GA_STR("T")));
	r = ga_object_first(snap, t, "rule");
	assert_true(ga_str_eq(ga_object_name(r), GA_STR("b")));
	assert_ptr_equal(ga_object_parent(r), t);
	assert_true(ga_object_has(r, "throttle", "max_concurrent_connections"));
	assert_false(ga_object_has(r, "throttle", "max_delivery_rate"));
	assert_true(ga_object_has(t, "throttle", "max_concurrent_connections"));
	assert_string_equal(ga_object_where(r), "test.conf:3");
	c = ga_settings_conf(ga_snapshot_object(snap, r), "throttle");
	assert_int_equal(c->max_concurrent_connections, 2);
	r = ga_object_next(r);
	assert_true(ga_str_eq(ga_object_name(r), GA_STR("a")));
	assert_null(ga_object_next(r));
	assert_null(ga_object_find(snap, "general", GA_STR("")));
	ga_snapshot_unref(snap);
}

static void test_core_settings(void **state)
{
	struct ga_snapshot *snap = fx_snapshot("general {\nhostname m.example\nworkers 3\nstop_timeout 1m\n"
	    "control_directory /x/control\nqueue_directory q\n}\n");
	const struct gac_core_conf *c = gac_snapshot_core(snap);

	(void)state;
	assert_true(ga_str_eq(c->server_id, GA_STR("m.example")));
	assert_true(ga_str_eq(c->queue_directory, GA_STR("/x/control/q")));
	assert_int_equal(c->stop_timeout, 60000);
	assert_int_equal(gac_core_workers(c), 3);
	assert_int_equal(c->log_level, 1);
	ga_snapshot_unref(snap);
}

/* ---- memory, speed, threads */

static void test_a_million_domains_share_their_settings(void **state)
{
	struct ga_snapshot *snap = fx_snapshot("load_module throttle, route\n"
	    "ip_address ip-1 {\nsmtp_source 127.0.0.1 a.example\ndomain gmail.com {\nmax_concurrent_connections 1\n}\n}\n"
	    "ip_address * {\ndomain *.example {\nmax_concurrent_connections 2\n}\n}\n");
	char domain[64];
	struct timespec a, b;
	size_t before;

	(void)state;
	limit_of(snap, "ip-1", "gmail.com", NULL, 0);
	limit_of(snap, "ip-1", "x.example", NULL, 0);
	limit_of(snap, "ip-1", "x.test", NULL, 0);
	before = gac_snapshot_distinct(snap);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < 1000000; i++) {
		snprintf(domain, sizeof domain, "d%d.%s", i, i % 2 != 0 ? "example" : "mail.test");
		assert_int_equal(limit_of(snap, "ip-1", domain, NULL, 0), i % 2 != 0 ? 2 : 100);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	print_message("%.0f ns a domain\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1e6);
	assert_int_equal(gac_snapshot_distinct(snap), before);
	ga_snapshot_unref(snap);
}

static void *resolver(void *arg)
{
	intptr_t bad = 0;

	(void)arg;
	for (int i = 0; i < 2000; i++) {
		struct ga_snapshot *snap = ga_snapshot_current();
		char domain[64];

		snprintf(domain, sizeof domain, "d%d.example", i % 50);
		bad += limit_of(snap, "ip-1", domain, NULL, 0) != i % 50 + 1;
		ga_snapshot_unref(snap);
	}
	return (void *)bad;
}

static struct ga_snapshot *fifty_domains(void)
{
	char *out = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&out, &size);
	struct ga_snapshot *snap;

	fputs("load_module throttle\n", f);
	for (int i = 0; i < 50; i++)
		fprintf(f, "domain d%d.example {\nmax_concurrent_connections %d\n}\n", i, i + 1);
	fclose(f);
	snap = fx_snapshot(out);
	free(out);
	return snap;
}

static unsigned released;

static void test_threads_resolve_while_snapshots_are_replaced(void **state)
{
	pthread_t threads[4];

	(void)state;
	for (int round = 0; round < 20; round++) {
		struct ga_snapshot *snap = fifty_domains();

		gac_snapshot_publish(snap);
		assert_int_equal(ga_snapshot_number(snap), round + 1);
		ga_snapshot_unref(snap);
		for (int i = 0; i < 4 && round == 0; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, resolver, NULL), 0);
	}
	for (int i = 0; i < 4; i++) {
		void *bad;

		pthread_join(threads[i], &bad);
		assert_null(bad);
	}
	gac_snapshot_publish(NULL);
	assert_null(ga_snapshot_current());
}

static void count_release(void *ctx, struct ga_snapshot *snap)
{
	(void)ctx;
	(void)snap;
	released++;
}

static const struct ga_plan *plan_of(void *ctx, const struct ga_settings *s, const uint64_t *enabled, size_t n)
{
	(void)s;
	assert_int_equal(n, 1);
	(*(unsigned *)ctx)++;
	return (const struct ga_plan *)(uintptr_t)(enabled[0] + 16);
}

static void test_plans_are_built_once_for_each_settings(void **state)
{
	struct gac_conf_options o = fx_options("t.conf", "load_module smtp_log\n"
	    "domain off.example {\nuse_module smtp_log no\n}\n");
	unsigned built = 0;
	struct gac_snapshot_options so = {
		.build_plan = plan_of, .released = count_release, .ctx = &built,
	};
	struct ga_diag *diag = gac_diag_new();
	struct ga_snapshot *snap = gac_snapshot_new(gac_conf_load(&o, diag), &so);

	(void)state;
	gac_diag_free(diag);
	for (int i = 0; i < 3; i++) {
		const struct ga_settings *on = ga_snapshot_resolve(snap, GA_STR(""), GA_STR("on.example"), NULL, 0);
		const struct ga_settings *off = ga_snapshot_resolve(snap, GA_STR(""), GA_STR("off.example"), NULL, 0);

		assert_int_equal((uintptr_t)ga_settings_plan(on), 17);
		assert_int_equal((uintptr_t)ga_settings_plan(off), 16);
		assert_ptr_equal(ga_settings_snapshot(on), snap);
	}
	assert_int_equal(built, 2);
	ga_snapshot_unref(ga_snapshot_ref(snap));
	assert_int_equal(released, 0);
	ga_snapshot_unref(snap);
	assert_int_equal(released, 1);
}

static void note_restart(void *arg, const char *module, const char *field, const char *where)
{
	strcat(arg, module);
	strcat(arg, ".");
	strcat(arg, field);
	strcat(arg, "@");
	strcat(arg, where);
	strcat(arg, " ");
}

static void test_what_needs_a_restart_is_told(void **state)
{
	struct ga_snapshot *a = fx_snapshot("general {\nworkers 2\nhostname a.example\nlog_directory /l\n}\n");
	struct ga_snapshot *b = fx_snapshot("general {\nhostname b.example\nlog_directory /l\nworkers 3\n}\n");
	char told[256] = "";

	(void)state;
	gac_conf_needs_restart(gac_snapshot_conf(a), gac_snapshot_conf(b), note_restart, told);
	assert_string_equal(told, "core.workers@test.conf:4 ");
	ga_snapshot_unref(a);
	ga_snapshot_unref(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_place_wins_over_all_behind_it),
		cmocka_unit_test(test_order_in_the_file_does_not_matter),
		cmocka_unit_test(test_the_default_is_last),
		cmocka_unit_test(test_mx_patterns_wait_for_names),
		cmocka_unit_test(test_subdomain_pattern_does_not_match_the_domain),
		cmocka_unit_test(test_a_template_is_the_address_s_own_or_that_of_all),
		cmocka_unit_test(test_a_rule_falls_back_to_its_template_directive_by_directive),
		cmocka_unit_test(test_each_directive_for_itself),
		cmocka_unit_test(test_each_row_of_a_table_knows_its_place),
		cmocka_unit_test(test_lists_add_up_in_a_block_and_replace_the_default),
		cmocka_unit_test(test_a_later_value_wins_in_blocks_of_one_name),
		cmocka_unit_test(test_one_block_for_several_addresses),
		cmocka_unit_test(test_domain_blocks_of_a_routing_rule_are_its_own),
		cmocka_unit_test(test_module_block_and_general),
		cmocka_unit_test(test_use_module_is_resolved_like_a_setting),
		cmocka_unit_test(test_objects_in_the_order_of_the_file),
		cmocka_unit_test(test_core_settings),
		cmocka_unit_test(test_a_million_domains_share_their_settings),
		cmocka_unit_test(test_threads_resolve_while_snapshots_are_replaced),
		cmocka_unit_test(test_plans_are_built_once_for_each_settings),
		cmocka_unit_test(test_what_needs_a_restart_is_told),
	};

	return cmocka_run_group_tests_name("conf_resolve", tests, NULL, NULL);
}
