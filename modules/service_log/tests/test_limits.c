/*
 * test_limits.c - multilog's words, and control/logconfig.multilog in both its shapes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../service_log.h"
#include "conf/diag.h"

static char path[] = "/tmp/test_limits.XXXXXX";

/* The file's text, and what is said about it; the table is the test's. */
static const char *
read_file(const char *text, struct slog_limits_table *t)
{
	static char *said;
	size_t n = 0;
	struct ga_diag *diag = gac_diag_new();
	FILE *f = fopen(path, "w");
	bool good;

	free(said);
	said = NULL;
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	f = open_memstream(&said, &n);
	good = slog_limits_read(path, t, diag);
	assert_int_equal(good, gac_diag_errors(diag) == 0);
	gac_diag_print(diag, f);
	fclose(f);
	gac_diag_free(diag);
	return said;
}

static void
assert_limits(const struct slog_limits_table *t, const char *name, uint32_t size, uint32_t files)
{
	struct slog_limits l = slog_limits_of(t, name);

	assert_int_equal(l.size, size);
	assert_int_equal(l.files, files);
}

static void
test_words_of_multilog(void **state)
{
	struct slog_limits l;
	struct ga_str bad;

	(void)state;
	assert_null(slog_limits_words(GA_STR(" s10485760\t n123 "), &l, &bad));
	assert_int_equal(l.size, 10485760);
	assert_int_equal(l.files, 123);
	assert_null(slog_limits_words(GA_STR(""), &l, &bad));
	assert_int_equal(l.size, 0);
	assert_int_equal(l.files, 0);
	assert_null(slog_limits_words(GA_STR("s4096 n2 s2147483647 n1000000"), &l, &bad));
	assert_int_equal(l.size, 2147483647);
	assert_int_equal(l.files, 1000000);
}

static void
test_words_that_multilog_would_not_mean(void **state)
{
	static const char *const words[] = { "s4095", "s2147483648", "s", "s-1", "s1e6", "s99999999999999999999", "n1",
		"n1000001", "n", "t", "!gzip", "+*", "10", "S4096", "s4096,", "s0x4000" };
	struct slog_limits l;
	struct ga_str bad;

	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		char text[64];

		snprintf(text, sizeof text, "n5 %s s5000", words[i]);
		assert_non_null(slog_limits_words(ga_str_c(text), &l, &bad));
		assert_true(ga_str_eq(bad, ga_str_c(words[i])));
	}
}

static void
test_both_shapes_of_the_file(void **state)
{
	struct slog_limits_table t;

	(void)state;
	assert_string_equal(read_file("# limits\n\nQMAIL_SMTPD2 n10 s1048576\n"
	    "  RSPAWN_LIMITER=\"n50 s10485760\"\r\nHTTPD='s5000'\nPOSTGRES=n7\nA_B_C\tn9\nQMAIL_SMTPD2 n11", &t), "");
	assert_limits(&t, "rspawn-limiter", 10485760, 50);
	assert_limits(&t, "httpd", 5000, 0);
	assert_limits(&t, "postgres", 0, 7);
	assert_limits(&t, "a.b_c", 0, 9);
	assert_limits(&t, "qmail-smtpd2", 0, 11);	/* the later line, whole */
	assert_limits(&t, "qmail-smtpd", 0, 0);
	assert_limits(&t, "qmail-smtpd22", 0, 0);
	slog_limits_free(&t);
}

static void
test_errors_have_file_line_and_column(void **state)
{
	static const struct { const char *line; unsigned column; const char *text; } bad[] = {
		{ "QMAIL_SMTPD2", 1, "a line is NAME and its limits" },
		{ "QMAIL_SMTPD2 ", 1, "a line is NAME and its limits" },
		{ "qmail-smtpd2 n10", 1, "`qmail-smtpd2 n10`: a line is NAME and its limits" },
		{ "A-B n10", 2, "`-B n10`: a line is NAME and its limits" },
		{ "A n10 x5", 7, "`x5`: is neither sSIZE nor nNUMBER" },
		{ "A n1", 3, "`n1`: is not n and a number from 2 to 1000000" },
		{ "A=\"n10", 3, "`\"n10`: the quotes are not closed, or something follows them" },
		{ "A='n10' n5", 3, "`'n10' n5`: the quotes are not closed" },
		{ "A=\"", 3, "the quotes are not closed" },
		{ "A=\"\"", 1, "there are no limits" },
		{ "=n10", 1, "`=n10`: a line is NAME and its limits" },
	};
	struct slog_limits_table t;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char text[200], want[200];
		const char *said;

		snprintf(text, sizeof text, "# one\nGOOD n5\n%s\nALSO_GOOD n6\n", bad[i].line);
		snprintf(want, sizeof want, "%s:3:%u: ", path, bad[i].column);
		said = read_file(text, &t);
		if (strncmp(said, want, strlen(want)) != 0 || strstr(said, bad[i].text) == NULL)
			fail_msg("%s: %s", bad[i].line, said);
		assert_limits(&t, "also-good", 0, 6);
		slog_limits_free(&t);
	}
}

static void
test_a_file_that_is_not_there_is_empty_and_one_that_cannot_be_read_is_an_error(void **state)
{
	struct slog_limits_table t;
	struct ga_diag *diag = gac_diag_new();

	(void)state;
	assert_true(slog_limits_read("/nonexistent/logconfig.multilog", &t, diag));
	assert_int_equal(t.n, 0);
	assert_false(slog_limits_read("/dev/null/logconfig.multilog", &t, diag));
	assert_int_equal(gac_diag_errors(diag), 1);
	assert_false(slog_limits_read("/dev/null/logconfig.multilog", &t, NULL));
	gac_diag_free(diag);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words_of_multilog),
		cmocka_unit_test(test_words_that_multilog_would_not_mean),
		cmocka_unit_test(test_both_shapes_of_the_file),
		cmocka_unit_test(test_errors_have_file_line_and_column),
		cmocka_unit_test(test_a_file_that_is_not_there_is_empty_and_one_that_cannot_be_read_is_an_error),
	};
	int fd = mkstemp(path), failed;

	if (fd < 0)
		return 99;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
