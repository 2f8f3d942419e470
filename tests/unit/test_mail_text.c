/*
 * test_mail_text.c - parameters, xtext, dates, escapes, names of directories.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <greenarrow/mail.h>
#include <greenarrow/service/smtp_services.h>

static int new_pool(void **state)
{
	*state = ga_pool_new(0);
	return 0;
}

static int free_pool(void **state)
{
	ga_pool_free(*state);
	return 0;
}

static void assert_str(struct ga_str s, const char *want)
{
	assert_int_equal(s.n, strlen(want));
	assert_memory_equal(s.p, want, s.n);
}

static void test_parameters(void **state)
{
	struct ga_str rest = GA_STR(" SIZE=1000  BODY=8BITMIME SMTPUTF8 X-y1=a+3Db ORCPT=utf-8;\xc3\xa9@x ");
	static const char *const want[][2] = { { "SIZE", "1000" }, { "BODY", "8BITMIME" }, { "SMTPUTF8", "" },
		{ "X-y1", "a+3Db" }, { "ORCPT", "utf-8;\xc3\xa9@x" } };
	struct ga_param p;
	bool bad;

	for (size_t i = 0; i < 5; i++) {
		assert_true(ga_mail_param(&rest, &p, &bad));
		assert_str(p.key, want[i][0]);
		assert_str(p.value, want[i][1]);
	}
	assert_false(ga_mail_param(&rest, &p, &bad));
	assert_false(bad);
}

static void test_bad_parameters(void **state)
{
	static const struct ga_str in[] = { { "SIZE=1", 6 }, { " =1", 3 }, { " SIZE=", 6 }, { " SIZE= X", 8 },
		{ " -A=1", 5 }, { " A=b=c", 6 }, { " A=b\r", 5 }, { " A=b\0", 5 }, { " A\t", 3 }, { " A=\xff", 4 },
		{ "\tA", 2 }, { " A;B", 4 }, { " \xc3\xa9=1", 5 }, { " A=\x7f", 4 } };
	struct ga_param p;
	bool bad;

	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		struct ga_str rest = in[i];

		assert_false(ga_mail_param(&rest, &p, &bad));
		assert_true(bad);
	}
}

static void test_a_million_parameters_end(void **state)
{
	enum { N = 1000000 };
	char *text = malloc(2 * N);
	struct ga_str rest = { text, 2 * N };
	struct ga_param p;
	bool bad;
	unsigned n = 0;

	assert_non_null(text);
	for (size_t i = 0; i < N; i++)
		memcpy(text + 2 * i, " A", 2);
	while (ga_mail_param(&rest, &p, &bad))
		n++;
	assert_int_equal(n, N);
	assert_false(bad);
	free(text);
}

static void test_xtext_round_trip(void **state)
{
	char all[95];
	struct ga_str encoded, decoded;

	for (int i = 0; i < 95; i++)
		all[i] = (char)(32 + i);
	encoded = ga_xtext_encode(*state, (struct ga_str){ all, sizeof(all) });
	assert_null(memchr(encoded.p, ' ', encoded.n));
	assert_null(memchr(encoded.p, '=', encoded.n));
	assert_true(ga_xtext_decode(*state, encoded, &decoded));
	assert_int_equal(decoded.n, sizeof(all));
	assert_memory_equal(decoded.p, all, sizeof(all));
	assert_str(ga_xtext_encode(*state, GA_STR("a+b=c\r\n")), "a+2Bb+3Dc+0D+0A");
}

static void test_bad_xtext(void **state)
{
	static const char *const bad[] = { "+", "+4", "a+", "+4G", "+G4", "+0A", "+0d", "+00", "+7F", "+C3+A9",
		"a b", "a=b", "a\nb", "\xc3\xa9", "a\tb" };
	struct ga_str out;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (ga_xtext_decode(*state, ga_str_c(bad[i]), &out))
			fail_msg("taken: %s", bad[i]);
	assert_false(ga_xtext_decode(*state, (struct ga_str){ "a\0", 2 }, &out));
	assert_true(ga_xtext_decode(*state, GA_STR(""), &out));
	assert_true(ga_xtext_decode(*state, GA_STR("+41+2b"), &out));
	assert_str(out, "A+");
}

static void set_zone(const char *tz)
{
	setenv("TZ", tz, 1);
	tzset();
}

static void test_date(void **state)
{
	char buf[GA_DATE_ROOM];

	set_zone("UTC0");
	assert_int_equal(ga_mail_date(1795628979, buf), 31);
	assert_string_equal(buf, "Wed, 25 Nov 2026 17:49:39 +0000");
	ga_mail_date(0, buf);
	assert_string_equal(buf, "Thu, 1 Jan 1970 00:00:00 +0000");
	set_zone("XST-5:45");
	ga_mail_date(0, buf);
	assert_string_equal(buf, "Thu, 1 Jan 1970 05:45:00 +0545");
	set_zone("XST3:30");
	ga_mail_date(0, buf);
	assert_string_equal(buf, "Wed, 31 Dec 1969 20:30:00 -0330");
	assert_true(ga_mail_date((time_t)INT64_MAX, buf) < GA_DATE_ROOM);
	assert_true(ga_mail_date((time_t)67767976233000000, buf) < GA_DATE_ROOM);
	set_zone("UTC0");
}

static void test_escape_keeps_one_line(void **state)
{
	char all[256];
	struct ga_str s;

	assert_str(ga_escape(*state, GA_STR("plain text")), "plain text");
	assert_str(ga_escape(*state, GA_STR("a\r\nb\x1b\\x\xc3\xa9\x7f")), "a\\x0d\\x0ab\\x1b\\\\x\\xc3\\xa9\\x7f");
	assert_str(ga_escape(*state, (struct ga_str){ "a\0b", 3 }), "a\\x00b");
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	s = ga_escape(*state, (struct ga_str){ all, sizeof(all) });
	for (size_t i = 0; i < s.n; i++)
		assert_in_range((unsigned char)s.p[i], 32, 126);
	assert_int_equal(s.n, 95 + 1 + 161 * 4);
}

static void test_utf8_is_told_from_other_octets(void **state)
{
	static const char *const wrong[] = { "\xfc", "a\xc3", "\xc3(", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc2\x85" };

	(void)state;
	assert_true(ga_utf8_valid((struct ga_str){ NULL, 0 }));
	assert_true(ga_utf8_valid((struct ga_str){ "a\0\n\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", 12 }));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(ga_utf8_valid(ga_str_c(wrong[i])));
}

static void test_directories_of_services_are_named_as_the_manuals_have_them(void **state)
{
	static const char *const rows[][2] = {
		{ "smtp", "qmail-smtpd" }, { "smtp2", "qmail-smtpd2" }, { "SMTP3", "qmail-smtpd3" },
		{ "smtp25x", "qmail-smtpd-smtp25x" }, { "smtps", "qmail-smtpd-smtps" }, { "", "qmail-smtpd-" },
		{ "smt", "qmail-smtpd-smt" }, { "Quick Start", "qmail-smtpd-quick_start" }, { "../x", "qmail-smtpd-.._x" },
		{ "a\xc3\xa4.b-c", "qmail-smtpd-a__.b-c" },
	};
	char name[GA_SMTP_SERVICE_DIRECTORY], lengthy[1000];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_str(ga_smtp_service_directory(ga_str_c(rows[i][0]), name), rows[i][1]);
		assert_string_equal(name, rows[i][1]);
	}
	memset(lengthy, 'x', sizeof(lengthy));
	assert_int_equal(ga_smtp_service_directory((struct ga_str){ lengthy, sizeof(lengthy) }, name).n, 64);
	assert_int_equal(strlen(name), 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8_is_told_from_other_octets),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_bad_parameters),
		cmocka_unit_test(test_a_million_parameters_end),
		cmocka_unit_test_setup_teardown(test_xtext_round_trip, new_pool, free_pool),
		cmocka_unit_test_setup_teardown(test_bad_xtext, new_pool, free_pool),
		cmocka_unit_test(test_date),
		cmocka_unit_test(test_directories_of_services_are_named_as_the_manuals_have_them),
		cmocka_unit_test_setup_teardown(test_escape_keeps_one_line, new_pool, free_pool),
	};

	return cmocka_run_group_tests_name("mail text", tests, NULL, NULL);
}
