/*
 * test_conf_values.c - words and values of greenarrow.conf, one by one
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "conf/context.h"
#include "conf/kind.h"
#include "conf/lexer.h"
#include "conf/nearest.h"
#include "conf/pattern.h"
#include "conf/schema.h"
#include "conf/value.h"

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {
		{ "500ms", 500 }, { "4h15m", 15300000 }, { "2d", 172800000 }, { "1w2d", 777600000 },
		{ "300s", 300000 }, { "1.5s", 1500 }, { "0", 0 }, { "0s", 0 }, { "500us", 1 }, { "10ns", 1 },
		{ "1m1m", 120000 }, { "0.1h", 360000 },
	};
	static const char *const bad[] = { "", "5", "s", "5x", "5 s", "-5s", "5S", "1h5", "999999999999w", "5s,", ".s" };
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_null(gac_value_duration(ga_str_c(good[i].text), &ms));
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_non_null(gac_value_duration(ga_str_c(bad[i]), &ms));
}

static void test_rates_that_say_the_same(void **state)
{
	static const char *const two_a_second[] = {
		"2/s", "2/sec", "120/min", "120/m", "7200/hr", "7200/h", "7200/hour", "172800/day", "2.0/s"
	};
	static const char *const bad[] = { "2", "2/", "/s", "2/x", "2/s/s", "-2/s", "2 /s", "" };
	double r;

	(void)state;
	for (size_t i = 0; i < sizeof two_a_second / sizeof two_a_second[0]; i++) {
		assert_null(gac_value_rate(ga_str_c(two_a_second[i]), &r));
		assert_true(r == 2.0);
	}
	assert_null(gac_value_rate(GA_STR("0"), &r));
	assert_true(r == 0.0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_non_null(gac_value_rate(ga_str_c(bad[i]), &r));
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t n;
	} good[] = {
		{ "1000", 1000 }, { "10B", 10 }, { "4K", 4096 }, { "4KiB", 4096 }, { "4KB", 4000 },
		{ "64MiB", 67108864 }, { "1G", 1073741824 }, { "1.5GiB", 1610612736 }, { "0", 0 },
	};
	static const char *const bad[] = { "", "K", "5k", "5 MiB", "-1", "5MiBs", "9999999TiB", "1e6" };
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_null(gac_value_size(ga_str_c(good[i].text), &n));
		assert_int_equal(n, good[i].n);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_non_null(gac_value_size(ga_str_c(bad[i]), &n));
}

static void test_numbers_and_flags(void **state)
{
	int64_t n;
	double d;
	bool b;

	(void)state;
	assert_null(gac_value_int(GA_STR("9223372036854775807"), &n));
	assert_int_equal(n, INT64_MAX);
	assert_non_null(gac_value_int(GA_STR("9223372036854775808"), &n));
	assert_null(gac_value_int(GA_STR("-09"), &n));
	assert_int_equal(n, -9);
	assert_non_null(gac_value_int(GA_STR("1.0"), &n));
	assert_non_null(gac_value_int(GA_STR("-"), &n));
	assert_null(gac_value_percent(GA_STR("25.5%"), &d));
	assert_true(d == 25.5);
	assert_non_null(gac_value_percent(GA_STR("25"), &d));
	assert_null(gac_value_real(GA_STR("-0.25"), &d));
	assert_true(d == -0.25);
	assert_null(gac_value_flag(GA_STR("yes"), &b));
	assert_true(b);
	assert_non_null(gac_value_flag(GA_STR("Yes"), &b));
}

static void test_kinds(void **state)
{
	static const struct {
		const char *kind, *text;
		bool good;
	} all[] = {
		{ "ip", "127.0.0.1", true }, { "ip", "::1", true }, { "ip", "[::1]", true }, { "ip", "127.1", false },
		{ "cidr", "10.0.0.0/8", true }, { "cidr", "::/0", true }, { "cidr", "[::1]", true },
		{ "cidr", "10.0.0.0/33", false }, { "cidr", "10.0.0.0/", false },
		{ "listen", "0.0.0.0:807", true }, { "listen", "[::1]:0", true }, { "listen", "::1:25", false },
		{ "listen", "host:25", false }, { "listen", "127.0.0.1:", false }, { "listen", ":25", false },
		{ "hostport", "mx.example.com", true }, { "hostport", "mx.example.com:2525", true },
		{ "hostport", "[::1]:25", true }, { "hostport", "a b:25", false }, { "hostport", "x:0", false },
		{ "host_port", "mx.example.com", false }, { "host_port", "ga1.example.com:807", true },
		{ "ipport", "127.0.0.1", true }, { "ipport", "[::1]:53", true }, { "ipport", "ns.example:53", false },
		{ "name", "ip-1", true }, { "name", "My IP", true }, { "name", "12", false }, { "name", "a,b", false },
		{ "name", " x", false }, { "name", "", false }, { "name", "a@b", false },
		{ "regex", "^a{1,3}$", true }, { "regex", "[", false },
		{ "percent_or_int", "25%", true }, { "percent_or_int", "3", true }, { "percent_or_int", "-3", false },
		{ "percent_or_rate", "10%", true }, { "percent_or_rate", "1/s", true }, { "percent_or_rate", "1", false },
		{ "auto_or_int", "auto", true }, { "auto_or_int", "0", false },
		{ "mx_or_domain", "mx:*.google.com", true }, { "mx_or_domain", "mx:", false },
	};
	struct ga_pool *pool = ga_pool_new(0);
	const struct gac_kind_env env = { pool, "/control", false };

	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		const struct gac_kind *k = gac_kind_find(ga_str_c(all[i].kind));
		struct ga_str s = ga_str_c(all[i].text);

		assert_non_null(k);
		if ((k->check(&env, &s) == NULL) != all[i].good)
			fail_msg("%s as %s", all[i].text, all[i].kind);
	}
	ga_pool_free(pool);
}

static void test_patterns_have_one_spelling(void **state)
{
	static const struct {
		const char *text, *normal;
	} all[] = {
		{ "Example.COM.", "example.com" }, { "*.A.example", "*.a.example" }, { "[*.]a.example", "[*.]a.example" },
		{ "MX:*.Google.com", "mx:*.google.com" }, { "*", "*" }, { "mx:*", "mx:*" },
		{ "b\xc3\xbc" "cher.example", "xn--bcher-kva.example" },
	};
	struct ga_pool *pool = ga_pool_new(0);

	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		struct gac_pattern p;

		assert_null(gac_pattern_parse(pool, ga_str_c(all[i].text), &p));
		assert_string_equal(p.text.p, all[i].normal);
	}
	ga_pool_free(pool);
}

/* Words of a text, each in <>, `,` `{` `}` and | for the end of a line. */
static void words_are(const char *text, const char *expected)
{
	static const struct gac_file file = { "t", 0 };
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_diag *diag = gac_diag_new();
	struct ga_str out = GA_STR("");
	struct gac_lexer lx;
	struct gac_token t;

	gac_lexer_init(&lx, pool, diag, &file, ga_str_c(text));
	for (gac_lexer_next(&lx, &t); t.kind != GAC_TOK_EOF; gac_lexer_next(&lx, &t)) {
		const char *mark = t.kind == GAC_TOK_COMMA ? "," : t.kind == GAC_TOK_OPEN ? "{" :
		    t.kind == GAC_TOK_CLOSE ? "}" : "|";

		if (t.kind == GAC_TOK_WORD)
			out = ga_fmt(pool, "%.*s<%.*s>", (int)out.n, out.p, (int)t.text.n, t.text.p);
		else
			out = ga_fmt(pool, "%.*s%s", (int)out.n, out.p, mark);
	}
	assert_int_equal(gac_diag_errors(diag), 0);
	assert_string_equal(ga_dup(pool, out).p, expected);
	gac_diag_free(diag);
	ga_pool_free(pool);
}

static void test_words(void **state)
{
	(void)state;
	words_are("a b, c,d\r\n{ } # x\n", "<a><b>,<c>,<d>|{}|");
	words_are("\"a \\\"b\\\\\\u00e9\\n\" `raw \\ \"x\"` 5000.12", "<a \"b\\\xc3\xa9\n><raw \\ \"x\"><5000.12>");
	words_are("[::1]:587 mx:*.google.com a$b;c%|@ match_format=raw key=\"a b\"",
	    "<[::1]:587><mx:*.google.com><a$b;c%|@><match_format=raw><key=a b>");
}

static void test_nearest(void **state)
{
	struct ga_pool *pool = ga_pool_new(0);
	struct gac_nearest n;

	(void)state;
	gac_nearest_init(&n, GA_STR("max_conections"));
	gac_nearest_offer(&n, GA_STR("max_recipients"));
	gac_nearest_offer(&n, GA_STR("max_connections"));
	assert_string_equal(gac_nearest_hint(&n, pool), "; did you mean `max_connections`?");
	gac_nearest_init(&n, GA_STR("lsiten"));
	gac_nearest_offer(&n, GA_STR("listen"));
	assert_int_equal(n.distance, 1);
	gac_nearest_init(&n, GA_STR("abc"));
	gac_nearest_offer(&n, GA_STR("xyz"));
	assert_string_equal(gac_nearest_hint(&n, pool), "");
	ga_pool_free(pool);
}

/* What a damaged or hostile manifest may bring. */
static void test_bad_tables_are_refused(void **state)
{
	static const char *const bad[] = {
		"a\tint\t\t\tgeneral\n", "a\tinteger\t\t\tgeneral\thelp\n", "a\tint\t\tmin=x\tgeneral\thelp\n",
		"a\tint\t\tsometimes\tgeneral\thelp\n", "a\tint\t\t\tgenerals\thelp\n", "\tint\t\t\tgeneral\thelp\n",
		"a\tstring\t\tis=ips\tgeneral\thelp\n", "a\tchoice\t\t\tgeneral\thelp\n",
		"a\twords\t\twords=3-2\tgeneral\thelp\n", "a\twords\t\twords=x\tgeneral\thelp\n", "x\n",
	};
	struct ga_pool *pool = ga_pool_new(0);

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct ga_diag *diag = gac_diag_new();
		size_t n;

		gac_schema_read(pool, diag, NULL, NULL, "m", ga_str_c(bad[i]), &n);
		assert_int_equal(n, 0);
		assert_int_equal(gac_diag_errors(diag), 1);
		gac_diag_free(diag);
	}
	ga_pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_rates_that_say_the_same),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_numbers_and_flags),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_patterns_have_one_spelling),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_bad_tables_are_refused),
	};

	return cmocka_run_group_tests_name("conf_values", tests, NULL, NULL);
}
