/*
 * test_report.c - the parts of hvmail_report: records, patterns and filters, text, sums.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "report.h"

/* "%s": status, recipient, sender, mtaid, message, outmtaid */
#define LINE(status, recipient, sender, mtaid, message, outmtaid) \
	"1726063521.17386\tremote\t" status "\t0\t1726063520.92421863\t" recipient "\t" sender "\t" mtaid "\tsend-1\t\t" \
	"1726063520.924\t" message "\t" outmtaid "\t192.0.2.1\tmail.x.example\t\tpd7\t\tmx.y.example\t192.0.2.9\tnews@x.example\t" \
	"{\"Subject\":[\"a\"]}\t4000\t{\"dot\":5}\t"
#define GOOD LINE("success", "b@Example.com", "a@x.example", "6", "250 2.0.0 ok", "2")

static struct ga_pool *pool;
static struct report_mtas *mtas;
static struct record record;

static int
make(void **state)
{
	(void)state;
	pool = ga_pool_new(0);
	mtas = report_mtas_read(pool, "/nonexistent");
	return 0;
}

static int
drop(void **state)
{
	(void)state;
	record_end(&record);
	ga_pool_free(pool);
	return 0;
}

static void
assert_str(struct ga_str s, const char *want)
{
	assert_int_equal(s.n, strlen(want));
	assert_memory_equal(s.p, want, s.n);
}

static struct record *
read_line(const char *line)
{
	assert_true(record_read(&record, ga_str_c(line)));
	return &record;
}

/* What print makes of a line; free() it. */
static char *
printed(report_print_fn *print, const char *line)
{
	size_t n;
	char *text;
	FILE *f = open_memstream(&text, &n);

	read_line(line);
	record_complete(&record);
	print(f, &record);
	fclose(f);
	return text;
}

static void
assert_printed(report_print_fn *print, const char *line, const char *want)
{
	char *text = printed(print, line);

	assert_string_equal(text, want);
	free(text);
}

/* --- records --- */

static void
test_a_line_is_split_no_further_than_asked(void **state)
{
	(void)state;
	read_line(GOOD);
	assert_str(record_column(&record, COL_RECIPIENT), "b@Example.com");
	assert_int_equal(record.n, COL_RECIPIENT + 1);
	assert_str(record_column(&record, COL_TIMESTAMP), "1726063521.17386");
	assert_str(record_column(&record, COL_QUEUE_FSYNC), "");
	assert_true(record_complete(&record));
}

static void
test_a_torn_line_is_not_complete(void **state)
{
	(void)state;
	read_line("1726063521.17386\tremote\tsuccess\t0\t1726063520.92421863\tb@exam");
	assert_false(record_complete(&record));
	assert_str(record_column(&record, COL_SENDER), "");
	assert_false(record_read(&record, ga_str_c("")));
	assert_false(record_read(&record, ga_str_c("{\"timestamp\":1726063521,\"recip")));
	assert_false(record_read(&record, ga_str_c("{\"timestamp\":1726063521}{}")));
	assert_true(record_read(&record, ga_str_c("{\"timestamp\":1726063521}")));
	assert_false(record_complete(&record));
}

static void
test_both_formats_are_one_record(void **state)
{
	char *json = printed(report_print_json, GOOD), *again;

	(void)state;
	assert_int_equal(json[strlen(json) - 1], '\n');
	json[strlen(json) - 1] = '\0';
	again = printed(report_print_columns, json);
	assert_string_equal(again, GOOD "\n");
	free(again);
	again = printed(report_print_human, json);
	assert_printed(report_print_human, GOOD, again);
	free(again);
	free(json);
}

static void
test_pairs_are_printed_as_the_document_has_them(void **state)
{
	char *text = printed(report_print_human, GOOD);

	(void)state;
	assert_ptr_equal(strstr(text, "timestamp=<1726063521.17386> channel=<remote> status=<success> is_retry=<0> "
	    "msguid=<1726063520.92421863> recipient=<b@Example.com> sender=<a@x.example> "), text);
	assert_non_null(strstr(text, " smtp_timing=<{\"dot\":5}> queue_fsync=<>\n"));
	free(text);
}

static void
test_control_characters_do_not_reach_a_terminal(void **state)
{
	char *text = printed(report_print_human, LINE("success", "b\x1b[2J@x", "\x7f", "1", "\xc3\xa9", "1"));

	(void)state;
	assert_non_null(strstr(text, "recipient=<b?[2J@x> sender=<?>"));
	assert_non_null(strstr(text, "message=<\xc3\xa9>"));
	free(text);
}

static void
test_damaged_columns_are_json_all_the_same(void **state)
{
	struct json_object *o, *v;
	char *text = printed(report_print_json, "1726063521x\tremote\tsucc\"ess\t00\t\\\tb\x01\tc\xff\t6.\t\t\t\t\xc3\xa9\t2\t\t\t\t\t\t\t\t\t{'a':1}\t-1\t{\"b\"");

	(void)state;
	o = json_tokener_parse(text);
	assert_non_null(o);
	assert_int_equal(json_object_object_length(o), COLUMNS);
	json_object_object_get_ex(o, "sender", &v);
	assert_string_equal(json_object_get_string(v), "c?");
	json_object_object_get_ex(o, "status", &v);
	assert_string_equal(json_object_get_string(v), "succ\"ess");
	json_object_object_get_ex(o, "message", &v);
	assert_string_equal(json_object_get_string(v), "\xc3\xa9");
	assert_non_null(strstr(text, "\"headers\":{\"a\":1},\"message_size\":\"-1\",\"smtp_timing\":\"{\\\"b\\\"\""));
	json_object_object_get_ex(o, "injected_time", &v);
	assert_null(v);
	json_object_put(o);
	free(text);
}

/* --- patterns --- */

static void
test_a_star_stands_for_anything(void **state)
{
	static const struct { const char *pattern, *text; bool match; } cases[] = {
		{ "", "", true }, { "", "a", false }, { "*", "", true }, { "*", "abc", true }, { "a*", "abc", true }, { "a*", "ba", false },
		{ "*c", "abc", true }, { "*c", "abcd", false }, { "a*c", "abc", true }, { "a*c", "ac", true }, { "a*c", "acb", false },
		{ "*b*", "abc", true }, { "*b*", "ac", false }, { "a**c", "abc", true }, { "*ab*ab", "abab", true },
		{ "*aab", "aaaab", true }, { "*a*b*c*", "xaybzc", true }, { "*a*b*c*", "xaycz", false }, { "ABC", "abc", true },
		{ "?", "a", false }, { "[a]", "a", false }, { "*@x.com", "a@x.com", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (report_wildcard(ga_str_c(cases[i].pattern), ga_str_c(cases[i].text)) != cases[i].match)
			fail_msg("%s on %s", cases[i].pattern, cases[i].text);
}

static size_t
filter_of(const char *option)
{
	for (size_t i = 0; i < report_nfilters; i++)
		if (report_filters[i].option != NULL && strcmp(report_filters[i].option, option) == 0)
			return i;
	fail_msg("no filter %s", option);
	return 0;
}

/* Filters as "option=value", ends with NULL. */
static bool
wanted(const char *const *given, const char *line)
{
	struct report_filter *f = report_filter_new(pool, mtas);

	for (; *given != NULL; given++) {
		const char *equals = strchr(*given, '=');
		const char *option = ga_dup(pool, (struct ga_str){ *given, (size_t)(equals - *given) }).p;

		assert_null(report_filter_add(f, filter_of(option), equals + 1));
	}
	return report_filter_match(f, read_line(line));
}
#define WANTED(...) wanted((const char *const[]){ __VA_ARGS__, NULL }, GOOD)

static void
test_addresses_and_their_wildcards(void **state)
{
	(void)state;
	assert_true(WANTED("recipient=b@example.com"));
	assert_true(WANTED("recipient=@example.com"));
	assert_true(WANTED("recipient=*@EXAMPLE.com"));
	assert_true(WANTED("recipient=b@*"));
	assert_true(WANTED("recipient=*"));
	assert_true(WANTED("recipient=*.com"));
	assert_true(WANTED("recipient=@*.com"));
	assert_false(WANTED("recipient=@ample.com"));
	assert_false(WANTED("recipient=@com"));
	assert_false(WANTED("recipient=example.com@*"));
	assert_false(WANTED("sender="));
	assert_true(wanted((const char *const[]){ "sender=", NULL }, LINE("success", "b@x", "", "1", "", "1")));
}

static void
test_options_must_all_match_and_of_one_any_value(void **state)
{
	(void)state;
	assert_true(WANTED("recipient=b@example.com", "sender=a@x.example", "status=success"));
	assert_false(WANTED("recipient=b@example.com", "sender=c@x.example"));
	assert_true(WANTED("sender=c@x.example", "sender=@x.example", "status=success"));
	assert_true(WANTED("status=failure", "status=success"));
	assert_false(WANTED("status=failure*"));
	assert_true(WANTED("message=*2.0.0*", "mx-ip=192.0.2.9", "outmtaid-ip=192.0.2.*", "throttleid=pd7", "sendid=SEND-1"));
	assert_true(WANTED("listid=", "is-retry=0"));
	assert_false(WANTED("is-retry=1"));
}

static void
test_a_virtual_mta_is_the_assigned_or_the_used_one(void **state)
{
	(void)state;
	assert_true(WANTED("virtual-mta=2"));
	assert_true(WANTED("virtual-mta=6"));
	assert_false(WANTED("virtual-mta=1"));
	assert_true(WANTED("mtaid=6", "outmtaid=2"));
	assert_false(WANTED("mtaid=2"));
}

static void
test_values_that_can_never_match_are_refused(void **state)
{
	static const struct { const char *option, *value, *why; } wrong[] = {
		{ "recipient", "example.com", "is no address" }, { "sender", "bob", "is no address" },
		{ "status", "succes", "is none of" }, { "status", "", "is none of" }, { "is-retry", "yes", "neither 0 nor 1" },
		{ "virtual-mta", "ip-1", "is no VirtualMTA" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		const char *why = report_filter_add(report_filter_new(pool, mtas), filter_of(wrong[i].option), wrong[i].value);

		assert_non_null(why);
		assert_non_null(strstr(why, wrong[i].why));
	}
}

/* --- sums --- */

static char *
summary_text(struct report_summary *s)
{
	size_t n;
	char *text;
	FILE *f = open_memstream(&text, &n);

	report_summary_print(f, s);
	fclose(f);
	return text;
}

static void
test_sums_are_in_the_order_of_their_size(void **state)
{
	struct report_summary *s = report_summary_new(pool, "domain", mtas, 10);
	char *text;

	(void)state;
	report_summary_add(s, read_line(LINE("success", "a@small.example", "", "1", "", "1")));
	for (int i = 0; i < 3; i++)
		report_summary_add(s, read_line(LINE("deferral", "a@BIG.example", "", "1", "", "1")));
	report_summary_add(s, read_line(LINE("connmaxout", "no address", "", "1", "", "1")));
	text = summary_text(s);
	assert_string_equal(text,
	    "  attempts  share           success          deferral           failure        connmaxout  recipient domain\n"
	    "         3  60.0%          0   0.0%          3 100.0%          0   0.0%          0   0.0%  big.example\n"
	    "         1  20.0%          0   0.0%          0   0.0%          0   0.0%          1 100.0%  (none)\n"
	    "         1  20.0%          1 100.0%          0   0.0%          0   0.0%          0   0.0%  small.example\n"
	    "         5 100.0%          1  20.0%          3  60.0%          0   0.0%          1  20.0%  all\n");
	free(text);
}

static void
test_keys_beyond_the_bound_are_counted_together(void **state)
{
	struct report_summary *s = report_summary_new(pool, "domain", mtas, 2000);
	char line[512], *text;

	(void)state;
	for (int i = 0; i < 6000; i++) {
		snprintf(line, sizeof line, "1726063521\tremote\tsuccess\t0\t1\tb@d%d.example\t\t1\t", i % 3000);
		report_summary_add(s, read_line(line));
	}
	text = summary_text(s);
	assert_non_null(strstr(text, "         2   0.0%          2 100.0%          0   0.0%          0   0.0%  d1999.example\n"));
	assert_null(strstr(text, "d2000.example"));
	assert_non_null(strstr(text, "      2000  33.3%       2000 100.0%          0   0.0%          0   0.0%  (other)\n"));
	assert_non_null(strstr(text, "      6000 100.0%"));
	free(text);
}

static void
test_replies_that_differ_in_ids_and_addresses_are_one(void **state)
{
	struct report_summary *s = report_summary_new(pool, "reply", mtas, 10);
	char *text;

	(void)state;
	report_summary_add(s, read_line(LINE("success", "a@x", "", "1", "250 2.0.0 Ok: queued as 4F2A9C", "1")));
	report_summary_add(s, read_line(LINE("success", "a@x", "", "1", "250 2.0.0 Ok: queued as 77B21", "1")));
	report_summary_add(s, read_line(LINE("failure", "a@x", "", "1", "550-5.1.1 <a@x.example>: unknown", "1")));
	report_summary_add(s, read_line(LINE("failure", "a@x", "", "1", "550-5.1.1 <b@y.example>: unknown", "1")));
	report_summary_add(s, read_line(LINE("deferral", "a@x", "", "1", "", "1")));
	text = summary_text(s);
	assert_non_null(strstr(text, "  250 2.0.0 Ok: queued as *\n"));
	assert_non_null(strstr(text, "  550-5.1.1 * unknown\n"));
	assert_non_null(strstr(text, "  (none)\n"));
	assert_null(strstr(text, "4F2A9C"));
	free(text);
}

static void
test_there_is_no_other_summary(void **state)
{
	(void)state;
	assert_null(report_summary_new(pool, "sender", mtas, 10));
}

#define WITH_POOL(test) cmocka_unit_test_setup_teardown(test, make, drop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_POOL(test_a_line_is_split_no_further_than_asked),
		WITH_POOL(test_a_torn_line_is_not_complete),
		WITH_POOL(test_both_formats_are_one_record),
		WITH_POOL(test_pairs_are_printed_as_the_document_has_them),
		WITH_POOL(test_control_characters_do_not_reach_a_terminal),
		WITH_POOL(test_damaged_columns_are_json_all_the_same),
		cmocka_unit_test(test_a_star_stands_for_anything),
		WITH_POOL(test_addresses_and_their_wildcards),
		WITH_POOL(test_options_must_all_match_and_of_one_any_value),
		WITH_POOL(test_a_virtual_mta_is_the_assigned_or_the_used_one),
		WITH_POOL(test_values_that_can_never_match_are_refused),
		WITH_POOL(test_sums_are_in_the_order_of_their_size),
		WITH_POOL(test_keys_beyond_the_bound_are_counted_together),
		WITH_POOL(test_replies_that_differ_in_ids_and_addresses_are_one),
		WITH_POOL(test_there_is_no_other_summary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
