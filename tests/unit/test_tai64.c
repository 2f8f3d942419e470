/*
 * test_tai64.c - TAI64N stamps: the vectors of djb's manuals, and what is none.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <greenarrow/tai64.h>

static const struct { const char *label; struct timespec at; } vectors[] = {
	{ "@4000000037c219bf2ef02e94", { 935467445, 787492500 } },	/* tai64nlocal(8) */
	{ "@400000000000000a00000000", { 0, 0 } },
	{ "@400000000000000b3b9ac9ff", { 1, 999999999 } },
	{ "@400000000000000900000001", { -1, 1 } },
	{ "@4000000066e19f6a000001f4", { 1726062432, 500 } },
	{ "@40000000ffffffff00000000", { 4294967285, 0 } },	/* past the year 2106 */
};
#define VECTORS (sizeof vectors / sizeof vectors[0])

static void assert_time(struct timespec at, long long seconds, long nano)
{
	assert_int_equal(at.tv_sec, seconds);
	assert_int_equal(at.tv_nsec, nano);
}

static void test_a_time_is_written_as_its_label_and_read_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		char out[GA_TAI64N_ROOM];
		struct timespec at = { 7, 7 };

		assert_ptr_equal(ga_tai64n_format(vectors[i].at, out), out);
		assert_string_equal(out, vectors[i].label);
		assert_true(ga_tai64n_parse(ga_str_c(vectors[i].label), &at));
		assert_time(at, vectors[i].at.tv_sec, vectors[i].at.tv_nsec);
	}
}

static void test_a_stamp_may_be_followed_by_anything_but_a_digit(void **state)
{
	static const char *const good[] = { "@4000000037c219bf2ef02e94 line", "@4000000037c219bf2ef02e94.s",
		"@4000000037c219bf2ef02e94A" };
	struct timespec at;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(ga_tai64n_parse(ga_str_c(good[i]), &at));
		assert_time(at, 935467445, 787492500);
	}
}

static void test_what_is_no_stamp_is_told(void **state)
{
	static const char *const bad[] = { "", "@", "x", "@4000000037c219bf2ef02e9", "4000000037c219bf2ef02e94",
		"@4000000037C219BF2EF02E94", "@4000000037c219bf2ef02e94a", "@4000000037c219bf3b9aca00",
		"@4000000037c219bfffffffff", "@4000000037c219bf2ef02e9 ", "@@000000037c219bf2ef02e94" };
	struct timespec at = { 7, 7 };

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(ga_tai64n_parse(ga_str_c(bad[i]), &at));
	assert_time(at, 7, 7);
}

static void test_tai64nlocals_rule_takes_any_number_of_digits(void **state)
{
	struct timespec at = { 7, 7 };

	(void)state;
	assert_int_equal(ga_tai64n_scan(ga_str_c("no stamp"), &at), 0);
	assert_int_equal(ga_tai64n_scan(ga_str_c(""), &at), 0);
	assert_time(at, 7, 7);
	assert_int_equal(ga_tai64n_scan(ga_str_c("@4000000037c219bf2ef02e94 x"), &at), 25);
	assert_time(at, 935467445, 787492500);
	/* one digit more moves all of them, and what falls out in front is gone */
	assert_int_equal(ga_tai64n_scan(ga_str_c("@f4000000037c219bf2ef02e94g"), &at), 26);
	assert_time(at, 935467445, 787492500);
	assert_int_equal(ga_tai64n_scan(ga_str_c("@ x"), &at), 1);
	assert_time(at, -4611686018427387914, 0);
	assert_int_equal(ga_tai64n_scan(ga_str_c("@ff"), &at), 3);
	assert_time(at, -4611686018427387914, 255);
	assert_int_equal(ga_tai64n_scan(ga_str_c("@4000000037c219bfffffffff"), &at), 25);
	assert_time(at, 935467445, 4294967295);
}

static void test_now_is_in_whole_microseconds_and_a_half(void **state)
{
	struct timespec before, at, after;

	(void)state;
	clock_gettime(CLOCK_REALTIME, &before);
	at = ga_tai64n_now();
	clock_gettime(CLOCK_REALTIME, &after);
	assert_int_equal(at.tv_nsec % 1000, 500);
	assert_in_range(at.tv_sec, before.tv_sec, after.tv_sec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_time_is_written_as_its_label_and_read_back),
		cmocka_unit_test(test_a_stamp_may_be_followed_by_anything_but_a_digit),
		cmocka_unit_test(test_what_is_no_stamp_is_told),
		cmocka_unit_test(test_tai64nlocals_rule_takes_any_number_of_digits),
		cmocka_unit_test(test_now_is_in_whole_microseconds_and_a_half),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
