/*
 * test_log.c - the daemon's own log: what a line looks like, and that none stops a loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <greenarrow/log_output.h>

#include "module/log.h"

static char name[] = "/tmp/test_log.XXXXXX";
static int fd;

/* What has been written since. */
static const char *
written(void)
{
	static char text[200000];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static int
up(void **state)
{
	(void)state;
	assert_int_equal(ftruncate(fd, 0), 0);
	gac_log_to(fd, false);
	gac_log_level(GA_INFO);
	return 0;
}

static void
assert_matches(const char *text, const char *pattern)
{
	regex_t re;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&re, text, 0, NULL, 0) != 0)
		fail_msg("%s does not match %s", text, pattern);
	regfree(&re);
}

static void
test_a_line_has_time_level_subject_text_and_tag(void **state)
{
	(void)state;
	gac_log(GA_WARN, "queue", "GA-TST-0001", "%d of %s", 3, "them");
	assert_matches(written(), "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "
	    "warn queue: 3 of them \\[GA-TST-0001\\]\n$");
}

static void
test_under_the_journal_a_line_begins_with_its_priority(void **state)
{
	(void)state;
	gac_log_to(fd, true);
	gac_log(GA_ERR, "core", "GA-TST-0001", "text");
	assert_string_equal(written(), "<3>error core: text [GA-TST-0001]\n");
}

static void
test_one_call_is_one_line_whatever_is_in_it(void **state)
{
	char text[5000];

	(void)state;
	gac_log_to(fd, true);
	gac_log(GA_INFO, "core", "GA-TST-0001", "%s", "a\nb\r\x1b[0m\x7f \xc3\xa9");
	assert_string_equal(written(), "<6>info core: a\\x0ab\\x0d\\x1b[0m\\x7f \xc3\xa9 [GA-TST-0001]\n");
	assert_int_equal(ftruncate(fd, 0), 0);
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	gac_log(GA_INFO, "core", "GA-TST-0001", "%s", text);
	assert_matches(written(), "^<6>info core: x{500,} \\[GA-TST-0001\\]\n$");
}

static void
test_lines_below_the_level_are_not_written(void **state)
{
	(void)state;
	assert_false(gac_log_wanted(GA_DEBUG));
	gac_log(GA_DEBUG, "core", "GA-TST-0001", "text");
	assert_string_equal(written(), "");
	gac_log_level(GA_DEBUG);
	assert_true(gac_log_wanted(GA_DEBUG));
	gac_log(GA_DEBUG, "core", "GA-TST-0001", "text");
	assert_matches(written(), "debug core: text");
}

static void
test_with_the_writer_lines_come_in_order_and_all_of_them(void **state)
{
	const char *p;
	unsigned i = 0;

	(void)state;
	gac_log_to(fd, true);
	gac_log_start(true);
	for (unsigned k = 0; k < 3000; k++)
		gac_log(GA_INFO, "core", "GA-TST-0001", "line %u", k);
	gac_log_stop();
	for (p = written(); *p != '\0'; p = strchr(p, '\n') + 1, i++)
		assert_int_equal(strtoul(p + strlen("<6>info core: line "), NULL, 10), i);
	assert_int_equal(i, 3000);
}

static void
test_what_a_reader_cannot_take_is_dropped_and_counted(void **state)
{
	int pipes[2];
	char block[256];
	size_t lines = 0, dropped = 0, n;
	FILE *f;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	gac_log_to(pipes[1], true);
	gac_log_start(true);
	/* nobody reads: the writer is stuck, and the callers are not */
	for (unsigned k = 0; k < 40000; k++)
		gac_log(GA_INFO, "core", "GA-TST-0001", "line %u", k);
	f = fdopen(pipes[0], "r");
	assert_non_null(f);
	while (lines + dropped < 40000 && fgets(block, sizeof block, f) != NULL)
		if (sscanf(block, "%zu lines of the log were dropped", &n) == 1)
			dropped += n;
		else
			lines++;
	assert_int_equal(lines + dropped, 40000);
	assert_in_range(lines, 20000, 22000);
	gac_log_stop();
	gac_log_to(fd, false);
	fclose(f);
	close(pipes[1]);
}

static void
test_reasons_are_collected_on_the_thread_that_asks(void **state)
{
	char *why;

	(void)state;
	gac_log(GA_ERR, "core", "GA-TST-0001", "before");
	gac_log_collect();
	why = gac_log_collected();
	assert_null(why);
	gac_log_collect();
	gac_log(GA_WARN, "spool", "GA-TST-0001", "no reason");
	gac_log(GA_ERR, "spool", "GA-TST-0001", "%s is full", "it");
	gac_log(GA_ERR, "queue", "GA-TST-0001", "no spool");
	why = gac_log_collected();
	assert_string_equal(why, "spool: it is full\nqueue: no spool");
	free(why);
	gac_log(GA_ERR, "core", "GA-TST-0001", "after");
	gac_log_collect();
	assert_null(gac_log_collected());
}

/* --- a module that takes the lines --- */

static char taken[20000];
static bool full;

static bool
take(void *arg, enum ga_level level, struct ga_str line)
{
	assert_ptr_equal(arg, taken);
	if (!full)
		snprintf(taken + strlen(taken), sizeof taken - strlen(taken), "%d %.*s\n", (int)level, (int)line.n, line.p);
	return !full;
}

/* The first test: nothing has been logged yet. */
static void
test_a_module_that_comes_late_is_given_the_first_lines(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 203; i++)
		gac_log(GA_INFO, "core", "GA-TST-0001", "early %u", i);
	ga_log_output(take, taken);
	assert_non_null(strstr(taken, "1 info core: early 3 [GA-TST-0001]\n1 info core: early 4 [GA-TST-0001]\n"));
	assert_null(strstr(taken, "early 2 "));
	assert_non_null(strstr(taken, "early 202 [GA-TST-0001]\n"));
	assert_matches(written(), "early 202 \\[GA-TST-0001\\]\n$");
	ga_log_output(NULL, NULL);
}

static void
test_lines_a_module_takes_go_to_stderr_only_in_the_foreground(void **state)
{
	(void)state;
	gac_log_to(fd, true);
	gac_log_start(false);
	taken[0] = '\0';
	gac_log(GA_INFO, "core", "GA-TST-0001", "too early for it");
	ga_log_output(take, taken);
	gac_log(GA_WARN, "core", "GA-TST-0001", "a\nb");
	full = true;
	gac_log(GA_INFO, "core", "GA-TST-0001", "no room");
	full = false;
	ga_log_output(NULL, NULL);
	gac_log(GA_INFO, "core", "GA-TST-0001", "it has gone");
	gac_log_stop();
	assert_string_equal(taken, "3 warn core: a\\x0ab [GA-TST-0001]\n");
	assert_string_equal(written(), "<6>info core: too early for it [GA-TST-0001]\n"
	    "<6>info core: no room [GA-TST-0001]\n<6>info core: it has gone [GA-TST-0001]\n");
	assert_int_equal(ftruncate(fd, 0), 0);
	gac_log_start(true);
	ga_log_output(take, taken);
	gac_log(GA_INFO, "core", "GA-TST-0001", "both");
	ga_log_output(NULL, NULL);
	gac_log_stop();
	assert_string_equal(written(), "<6>info core: both [GA-TST-0001]\n");
	assert_non_null(strstr(taken, "1 info core: both"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_module_that_comes_late_is_given_the_first_lines, up),
		cmocka_unit_test_setup(test_a_line_has_time_level_subject_text_and_tag, up),
		cmocka_unit_test_setup(test_under_the_journal_a_line_begins_with_its_priority, up),
		cmocka_unit_test_setup(test_one_call_is_one_line_whatever_is_in_it, up),
		cmocka_unit_test_setup(test_lines_below_the_level_are_not_written, up),
		cmocka_unit_test_setup(test_with_the_writer_lines_come_in_order_and_all_of_them, up),
		cmocka_unit_test_setup(test_what_a_reader_cannot_take_is_dropped_and_counted, up),
		cmocka_unit_test_setup(test_lines_a_module_takes_go_to_stderr_only_in_the_foreground, up),
		cmocka_unit_test_setup(test_reasons_are_collected_on_the_thread_that_asks, up),
	};
	int failed;

	fd = mkostemp(name, O_APPEND);
	if (fd < 0)
		return 99;
	unlink(name);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	close(fd);
	return failed;
}
