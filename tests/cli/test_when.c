/*
 * test_when.c - the times and periods of --start, --end and --last.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/logtime.h"
#include "when.h"

#define S GAC_LOG_NS_S

static int
in_berlin(void **state)
{
	(void)state;
	/* as a rule, so that no data base of zones is needed */
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	return 0;
}

static void
test_times(void **state)
{
	static const struct { const char *text; int64_t ns; } times[] = {
		{ "1726063521.17386", 1726063521 * S + 173860000 },
		{ "1726063500", 1726063500 * S },
		{ "0", 0 },
		{ " 1726063500 ", 1726063500 * S },
		{ "1726063500.0000000019", 1726063500 * S + 1 },
		{ "@4000000037c219bf2ef02e94", 935467445 * S + 787492500 },
		{ "2024-09-11T14:05:21Z", 1726063521 * S },
		{ "2024-09-11T14:05:21.17386Z", 1726063521 * S + 173860000 },
		{ "2024-09-11T16:05:21+02:00", 1726063521 * S },
		{ "2024-09-11T16:05:21+0200", 1726063521 * S },
		{ "2024-09-11T10:35:21-0330", 1726063521 * S },
		{ "2024-09-11 16:05:21", 1726063521 * S },
		{ "2024-09-11 16:05", 1726063500 * S },
		{ "2024-09-11T16:05", 1726063500 * S },
		{ "2024-09-11 16:05:21.5", 1726063521 * S + 500000000 },
		{ "2024-09-11", 1726005600 * S },
		{ "2024-09-11 14:05Z", 1726063500 * S },
		{ "2024-01-11 15:05:00", 1704981900 * S },
		{ "2024-02-29", 1709161200 * S },
		{ "1970-01-01T00:00Z", 0 },
	};
	int64_t ns;
	size_t at;

	(void)state;
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		const char *why = when_time(times[i].text, &ns, &at);

		if (why != NULL)
			fail_msg("%s: character %zu %s", times[i].text, at, why);
		if (ns != times[i].ns)
			fail_msg("%s: %lld", times[i].text, (long long)ns);
	}
}

struct wrong {
	const char *text;
	size_t at;
	const char *why;	/* a part of it */
};

typedef const char *parse_fn(const char *text, int64_t *ns, size_t *at);

static void
assert_wrong(parse_fn *parse, const struct wrong *w, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int64_t ns;
		size_t at = 0;
		const char *why = parse(w[i].text, &ns, &at);

		if (why == NULL || strstr(why, w[i].why) == NULL || at != w[i].at)
			fail_msg("%s: character %zu: %s", w[i].text, at, why != NULL ? why : "taken");
	}
}

static void
test_what_is_no_time_is_refused_where_it_is_wrong(void **state)
{
	static const struct wrong wrong[] = {
		{ "", 0, "expected" },
		{ "yesterday", 0, "expected" },
		{ "-1726063500", 0, "expected" },
		{ "1726063500.", 11, "expected" },
		{ "1726063500 s", 11, "expected" },
		{ "9999999999999", 12, "large" },
		{ "99999999999", 11, "large" },
		{ "@4000", 0, "24 hexadecimal digits" },
		{ "@4000000037c219bf2ef02e94x", 0, "24 hexadecimal digits" },
		{ "2024-13-01", 5, "month" },
		{ "2024-00-01", 5, "month" },
		{ "2024-02-30", 8, "day of that month" },
		{ "2023-02-29", 8, "day of that month" },
		{ "2024-9-1", 6, "expected" },
		{ "1969-12-31", 0, "year" },
		{ "2024-09-11 24:00", 11, "hour" },
		{ "2024-09-11 23:60", 14, "minute" },
		{ "2024-09-11 23:59:61", 17, "second" },
		{ "2024-09-11 23", 13, "expected" },
		{ "2024-09-11T23:59:59+25:00", 20, "hour" },
		{ "2024-09-11T23:59:59+02", 22, "expected" },
		{ "2024-09-11T23:59:59 UTC", 20, "expected" },
		{ "2024-09-11x", 10, "expected" },
	};

	(void)state;
	assert_wrong(when_time, wrong, sizeof wrong / sizeof wrong[0]);
}

static void
test_periods(void **state)
{
	static const struct { const char *text; int64_t ns; } periods[] = {
		{ "10 minutes", 600 * S }, { "5 minutes", 300 * S }, { "2h", 7200 * S }, { "1 day 3 hours", 97200 * S },
		{ "1day3hours", 97200 * S }, { "1.5h", 5400 * S }, { "0.5 s", S / 2 }, { "90 sec", 90 * S }, { "1 Minute", 60 * S },
		{ " 2  weeks ", 1209600 * S }, { "1w 1d 1h 1m 1s", 694861 * S }, { "0s", 0 }, { "1m 1m", 120 * S },
	};
	int64_t ns;
	size_t at;

	(void)state;
	for (size_t i = 0; i < sizeof periods / sizeof periods[0]; i++) {
		assert_null(when_period(periods[i].text, &ns, &at));
		assert_int_equal(ns, periods[i].ns);
	}
}

static void
test_what_is_no_period_is_refused_where_it_is_wrong(void **state)
{
	static const struct wrong wrong[] = {
		{ "", 0, "expected" }, { " ", 1, "expected" }, { "minutes", 0, "expected" }, { "10", 2, "lacks a unit" },
		{ "10 ", 3, "lacks a unit" }, { "10 minuets", 3, "is no unit" }, { "-10 minutes", 0, "expected" },
		{ "1 day, 3 hours", 5, "expected" }, { "1 day and 3 hours", 6, "expected" }, { "1. hours", 2, "expected" },
		{ "1 month", 2, "is no unit" }, { "9999999999 weeks", 16, "large" }, { "9000000000s 9000000000s", 12, "large" },
	};

	(void)state;
	assert_wrong(when_period, wrong, sizeof wrong / sizeof wrong[0]);
}

static void
test_a_window_is_both_ends_or_the_last_of_now(void **state)
{
	struct gac_log_window w;
	int64_t before = (int64_t)time(NULL) * S;

	(void)state;
	assert_int_equal(when_window("x", &(struct when_given){ "1726063500", "1726063531.5", NULL }, &w), 0);
	assert_int_equal(w.start_ns, 1726063500 * S);
	assert_int_equal(w.end_ns, 1726063531 * S + S / 2);
	assert_int_equal(when_window("x", &(struct when_given){ NULL, NULL, NULL }, &w), 0);
	assert_true(w.start_ns == INT64_MIN && w.end_ns == INT64_MAX);
	assert_int_equal(when_window("x", &(struct when_given){ NULL, NULL, "10 minutes" }, &w), 0);
	assert_true(w.start_ns >= before - 600 * S && w.start_ns <= (int64_t)(time(NULL) + 1) * S - 600 * S);
	assert_int_equal(w.end_ns, INT64_MAX);
	assert_int_equal(when_window("x", &(struct when_given){ NULL, NULL, "9000 weeks" }, &w), 0);
	assert_true(w.start_ns == INT64_MIN);
}

static void
test_windows_that_make_no_sense_are_wrong_usage(void **state)
{
	static const struct when_given wrong[] = {
		{ "2", "1", NULL }, { "1", NULL, "1h" }, { NULL, "1", "1h" }, { "x", "1", NULL }, { "1", "x", NULL }, { NULL, NULL, "x" },
	};
	struct gac_log_window w;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_int_equal(when_window("x", &wrong[i], &w), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_what_is_no_time_is_refused_where_it_is_wrong),
		cmocka_unit_test(test_periods),
		cmocka_unit_test(test_what_is_no_period_is_refused_where_it_is_wrong),
		cmocka_unit_test(test_a_window_is_both_ends_or_the_last_of_now),
		cmocka_unit_test(test_windows_that_make_no_sense_are_wrong_usage),
	};

	return cmocka_run_group_tests(tests, in_berlin, NULL);
}
