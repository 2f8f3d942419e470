/*
 * test_logdir.c - log directories: the time of a line, which files are read, and what a
 * rotation, a damaged file and a line without its end do to that.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <greenarrow/tai64.h>

#include "base/logdir.h"
#include "base/logtime.h"

#define S GAC_LOG_NS_S
#define T0 1726063500		/* all files of these tests begin here or later */

static const struct gac_log_window everything = { INT64_MIN, INT64_MAX };

/* --- a directory of its own for each test --- */

static char folder[64];
static char warnings[1024];

static int
make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/ga-logdir-XXXXXX");
	warnings[0] = '\0';
	return mkdtemp(folder) == NULL;
}

static int
drop_folder(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", folder);
	return system(command);
}

static const char *
path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void
write_file(const char *name, const char *text, size_t n)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	fclose(f);
}

static void
file(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

/* From a name in the folder to another. */
static void
move(const char *from, const char *to)
{
	char path[256];

	snprintf(path, sizeof path, "%s", path_of(from));
	assert_int_equal(rename(path, path_of(to)), 0);
}

static void
second_name(const char *of, const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s", path_of(of));
	assert_int_equal(link(path, path_of(name)), 0);
}

/* "@4000....s" of T0 + seconds */
static const char *
name_at(int seconds, char suffix)
{
	static char name[4][GA_TAI64N_ROOM + 2];
	static unsigned next;
	char *n = name[next++ % 4];

	ga_tai64n_format((struct timespec){ T0 + seconds, 0 }, n);
	n[GA_TAI64N_LEN] = '.';
	n[GA_TAI64N_LEN + 1] = suffix;
	n[GA_TAI64N_LEN + 2] = '\0';
	return n;
}

static void
warn(void *arg, const char *path, const char *problem)
{
	(void)arg;
	snprintf(warnings + strlen(warnings), sizeof warnings - strlen(warnings), "%s: %s\n", strrchr(path, '/') + 1, problem);
}

static struct gac_logdir *
open_window(const struct gac_log_window *w)
{
	struct gac_logdir *d = gac_logdir_open(folder, w, warn, NULL);

	assert_non_null(d);
	return d;
}

/* All that is left, as text; the caller's. */
static char *
read_all(struct gac_logdir *d)
{
	struct gac_log_line line;
	size_t n;
	char *text;
	FILE *f = open_memstream(&text, &n);

	while (gac_logdir_line(d, &line)) {
		fwrite(line.text.p, 1, line.text.n, f);
		if (line.ends)
			fputc('\n', f);
	}
	fclose(f);
	gac_logdir_close(d);
	return text;
}

static void
assert_rest(struct gac_logdir *d, const char *want)
{
	char *text = read_all(d);

	assert_string_equal(text, want);
	free(text);
}

static void
assert_window(int64_t start, int64_t end, const char *want)
{
	const struct gac_log_window w = { start, end };

	assert_rest(open_window(&w), want);
}

/* --- the time of a line --- */

static void
test_the_time_of_a_line_is_its_stamp_or_its_first_column(void **state)
{
	static const struct { const char *line; int64_t ns; } lines[] = {
		{ "@4000000037c219bf2ef02e94 remote_smtp: (1) > QUIT", 935467445 * S + 787492500 },
		{ "@4000000037c219bf2ef02e94", 935467445 * S + 787492500 },
		{ "1726063521.17386\tremote", 1726063521 * S + 173860000 },
		{ "1726063521\tremote", 1726063521 * S },
		{ "1726063521.1234567899\t", 1726063521 * S + 123456789 },
		{ "{\"timestamp\":1726063521.17386,\"channel\"", 1726063521 * S + 173860000 },
		{ "{\"timestamp\": \"1726063521.5\",", 1726063521 * S + 500000000 },
		{ "99999999999\t", INT64_MAX },
	};
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		assert_true(gac_log_time(ga_str_c(lines[i].line), &ns));
		assert_int_equal(ns, lines[i].ns);
	}
}

static void
test_other_lines_have_no_time(void **state)
{
	static const char *const lines[] = { "", "@", "@4000000037c219bf2ef02e9 short", "@4000000037c219bf2ef02e94x",
		"@4000000037c219bf2ef02e944 long", "250 2.0.0 ok", "1726063521 blank", "1726063521", "1726063521.5",
		"12345678\t8 digits", "999999999999\t12 digits", " 1726063521\t", "-1726063521\t",
		"{\"timestamp\":1726063521", "{\"channel\":\"remote\"}", "{\"timestamp\":true}", "d,2026-11-26 18:00:00+0000,a@b" };
	int64_t ns = 7;

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		assert_false(gac_log_time(ga_str_c(lines[i]), &ns));
	assert_int_equal(ns, 7);
}

/* --- which lines --- */

#define LINE(seconds, text) "17260635" seconds ".5\t" text "\n"

static void
test_files_are_read_in_the_order_of_their_names_and_current_last(void **state)
{
	(void)state;
	file("current", LINE("30", "c"));
	file(name_at(20, 's'), LINE("15", "b"));
	file(name_at(10, 'u'), LINE("05", "a"));
	file("lock", "");
	file("state", LINE("01", "none of the log"));
	file("@400000006.s", LINE("02", "no name of a log file"));
	assert_rest(open_window(&everything), LINE("05", "a") LINE("15", "b") LINE("30", "c"));
	assert_string_equal(warnings, "");
}

static void
test_both_ends_of_a_window_are_in_it(void **state)
{
	(void)state;
	file("current", LINE("05", "a") LINE("06", "b") LINE("07", "c") LINE("08", "d"));
	assert_window(1726063506 * S + 500000000, 1726063507 * S + 500000000, LINE("06", "b") LINE("07", "c"));
	assert_window(1726063506 * S + 500000001, 1726063507 * S + 499999999, "");
	assert_window(INT64_MIN, 1726063506 * S, LINE("05", "a"));
	assert_window(1726063508 * S, INT64_MAX, LINE("08", "d"));
}

static void
test_lines_somewhat_out_of_order_are_found(void **state)
{
	(void)state;
	file(name_at(20, 's'), LINE("14", "a") LINE("18", "late") LINE("15", "b"));
	file("current", LINE("17", "early") LINE("21", "c") LINE("19", "d"));
	assert_window(1726063517 * S, 1726063519 * S + 500000000, LINE("18", "late") LINE("17", "early") LINE("19", "d"));
}

static void
test_lines_without_a_time_go_with_the_line_before(void **state)
{
	(void)state;
	file("current", "torn\n" LINE("05", "a") "more of a\n\n" LINE("06", "b") "more of b\n");
	assert_window(1726063506 * S, INT64_MAX, LINE("06", "b") "more of b\n");
	assert_window(INT64_MIN, 1726063505 * S + 600000000, "torn\n" LINE("05", "a") "more of a\n\n");
}

static void
test_files_that_end_before_the_window_are_not_opened(void **state)
{
	(void)state;
	file(name_at(10, 's'), LINE("05", "a"));
	file(name_at(20, 's'), LINE("15", "b"));
	assert_int_equal(symlink("nowhere", path_of(name_at(11, 's'))), 0);	/* would be complained about */
	assert_window(1726063515 * S, INT64_MAX, LINE("15", "b"));
	assert_string_equal(warnings, "");
}

static void
test_files_behind_the_window_are_not_opened(void **state)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	(void)state;
	fputs(LINE("05", "a"), f);
	for (int i = 0; i < 100; i++)
		fputs(LINE("40", "later"), f);
	fclose(f);
	file(name_at(41, 's'), text);
	free(text);
	assert_int_equal(symlink("nowhere", path_of(name_at(50, 's'))), 0);
	assert_window(1726063505 * S, 1726063506 * S, LINE("05", "a"));
	assert_string_equal(warnings, "");
}

static void
test_one_damaged_stamp_does_not_end_the_reading(void **state)
{
	(void)state;
	file("current", LINE("05", "a") "3726063505.5\tdamaged\n" LINE("06", "b"));
	assert_window(1726063505 * S, 1726063507 * S, LINE("05", "a") LINE("06", "b"));
}

/* --- large files --- */

#define MANY 200000

static void
test_a_window_in_a_large_file_is_found_without_reading_it(void **state)
{
	size_t n, count = 0;
	char *text = NULL;
	FILE *f = open_memstream(&text, &n);
	const struct gac_log_window w = { (T0 + 1500) * S, (T0 + 1500) * S };
	struct gac_log_line line;
	struct gac_logdir *d;

	(void)state;
	for (int i = 0; i < MANY; i++)
		fprintf(f, "%d.%02d\tline %d\nand a second one of it\n", T0 + i / 100, i % 100, i);
	fclose(f);
	write_file("current", text, n);
	free(text);
	d = open_window(&w);
	for (; gac_logdir_line(d, &line); count++)
		assert_int_equal(line.at_ns, w.start_ns);
	assert_int_equal(count, 2);
	/* far fewer than the half million octets in front of the window have */
	assert_in_range(gac_logdir_untimed(d), 1, MANY / 10);
	gac_logdir_close(d);
}

static void
test_long_lines_come_in_pieces_of_one_line(void **state)
{
	size_t n = 5 * GAC_LOG_LINE_MAX / 2, got = 0;
	char *text = malloc(n + 1);
	struct gac_log_line line;
	struct gac_logdir *d;
	int pieces = 0;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', n);
	memcpy(text, "1726063505\t", 11);
	memcpy(text + GAC_LOG_LINE_MAX - 1, "1726063999\t", 11);	/* not the begin of a line */
	text[n] = '\n';
	write_file("current", text, n + 1);
	d = open_window(&(struct gac_log_window){ T0 * S, (T0 + 10) * S });
	do {
		assert_true(gac_logdir_line(d, &line));
		assert_memory_equal(line.text.p, text + got, line.text.n);
		assert_int_equal(line.at_ns, 1726063505 * S);
		assert_int_equal(line.timed, pieces == 0);
		got += line.text.n;
		pieces++;
	} while (!line.ends);
	assert_int_equal(got, n);
	assert_int_equal(pieces, 3);
	assert_false(gac_logdir_line(d, &line));
	gac_logdir_close(d);
	free(text);
}

/* --- ends of files --- */

static void
test_a_line_that_was_cut_at_the_size_of_a_file_is_joined(void **state)
{
	(void)state;
	file(name_at(10, 's'), LINE("05", "a") "1726063506\tbegin, ");
	file(name_at(20, 's'), "middle, ");
	file("current", "and end\n" LINE("30", "b"));
	assert_rest(open_window(&everything), LINE("05", "a") "1726063506\tbegin, middle, and end\n" LINE("30", "b"));
}

static void
test_a_line_that_a_crash_cut_ends_there(void **state)
{
	(void)state;
	file(name_at(10, 'u'), LINE("05", "a") "1726063506\ttor");
	file(name_at(20, 's'), LINE("15", "b") "1726063516\tlast");
	assert_rest(open_window(&everything), LINE("05", "a") "1726063506\ttor\n" LINE("15", "b") "1726063516\tlast\n");
}

static void
test_a_line_that_a_crash_cut_is_there_before_anything_follows(void **state)
{
	(void)state;
	file(name_at(10, 'u'), LINE("05", "a") "1726063506\ttor");
	file("current", "");
	assert_rest(open_window(&everything), LINE("05", "a") "1726063506\ttor\n");
}

static void
test_the_line_that_is_being_written_is_left_out(void **state)
{
	(void)state;
	file("current", LINE("05", "a") "1726063506\tbeing wri");
	assert_rest(open_window(&everything), LINE("05", "a"));
}

/* --- rotations --- */

static void
test_a_rotation_after_the_opening_changes_nothing(void **state)
{
	struct gac_logdir *d;

	(void)state;
	file(name_at(10, 's'), LINE("05", "a"));
	file("current", LINE("15", "b"));
	d = open_window(&everything);
	move("current", name_at(20, 's'));
	file("current", LINE("25", "c"));
	assert_rest(d, LINE("05", "a") LINE("15", "b"));
}

/* What the directory holds between the steps of a rotation; each line is once in it. */
static void
test_every_state_of_a_rotation_has_each_line_once(void **state)
{
	const char *const all = LINE("05", "a") LINE("15", "b");

	(void)state;
	file(name_at(10, 's'), LINE("05", "a"));
	file("current", LINE("15", "b"));
	assert_rest(open_window(&everything), all);
	move("current", "previous");
	assert_rest(open_window(&everything), all);
	file("current", "");
	assert_rest(open_window(&everything), all);
	second_name("previous", name_at(20, 's'));
	assert_rest(open_window(&everything), all);
	unlink(path_of("previous"));
	assert_rest(open_window(&everything), all);
	assert_string_equal(warnings, "");
}

static void
test_a_file_that_is_current_and_finished_at_once_is_read_once(void **state)
{
	(void)state;
	file("current", LINE("15", "b"));
	second_name("current", name_at(20, 's'));
	/* finished later than what is read as current: newer than this reading */
	file(name_at(30, 's'), LINE("25", "c"));
	assert_rest(open_window(&everything), LINE("15", "b"));
}

/* --- trouble --- */

static void
assert_warned(int seconds, const char *problem)
{
	char want[128];

	snprintf(want, sizeof want, "%s: %s\n", name_at(seconds, 's'), problem);
	assert_non_null(strstr(warnings, want));
}

static void
test_what_cannot_be_read_is_named_and_the_rest_read(void **state)
{
	struct gac_logdir *d;

	(void)state;
	file(name_at(10, 's'), LINE("05", "a"));
	file(name_at(20, 's'), LINE("15", "gone"));
	mkdir(path_of(name_at(30, 's')), 0700);
	assert_int_equal(symlink("current", path_of(name_at(40, 's'))), 0);
	mkfifo(path_of(name_at(50, 's')), 0600);
	file("current", LINE("55", "b"));
	d = open_window(&everything);
	unlink(path_of(name_at(20, 's')));
	assert_rest(d, LINE("05", "a") LINE("55", "b"));
	assert_warned(20, "vanished");
	assert_warned(30, "is no regular file");
	assert_warned(40, "is no regular file");
	assert_warned(50, "is no regular file");
}

static void
test_octets_that_are_no_log_are_passed_on(void **state)
{
	(void)state;
	write_file("current", "1726063505\ta\0b\n\0\0\0\n\xff\xfe\n", 22);
	assert_window(1726063505 * S, INT64_MAX, "1726063505\ta");	/* read_all() gives a C string */
}

static void
test_no_directory_is_an_error(void **state)
{
	(void)state;
	assert_null(gac_logdir_open("/nonexistent", &everything, warn, NULL));
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, drop_folder)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_time_of_a_line_is_its_stamp_or_its_first_column),
		cmocka_unit_test(test_other_lines_have_no_time),
		WITH_FOLDER(test_files_are_read_in_the_order_of_their_names_and_current_last),
		WITH_FOLDER(test_both_ends_of_a_window_are_in_it),
		WITH_FOLDER(test_lines_somewhat_out_of_order_are_found),
		WITH_FOLDER(test_lines_without_a_time_go_with_the_line_before),
		WITH_FOLDER(test_files_that_end_before_the_window_are_not_opened),
		WITH_FOLDER(test_files_behind_the_window_are_not_opened),
		WITH_FOLDER(test_one_damaged_stamp_does_not_end_the_reading),
		WITH_FOLDER(test_a_window_in_a_large_file_is_found_without_reading_it),
		WITH_FOLDER(test_long_lines_come_in_pieces_of_one_line),
		WITH_FOLDER(test_a_line_that_was_cut_at_the_size_of_a_file_is_joined),
		WITH_FOLDER(test_a_line_that_a_crash_cut_ends_there),
		WITH_FOLDER(test_a_line_that_a_crash_cut_is_there_before_anything_follows),
		WITH_FOLDER(test_the_line_that_is_being_written_is_left_out),
		WITH_FOLDER(test_a_rotation_after_the_opening_changes_nothing),
		WITH_FOLDER(test_every_state_of_a_rotation_has_each_line_once),
		WITH_FOLDER(test_a_file_that_is_current_and_finished_at_once_is_read_once),
		WITH_FOLDER(test_what_cannot_be_read_is_named_and_the_rest_read),
		WITH_FOLDER(test_octets_that_are_no_log_are_passed_on),
		WITH_FOLDER(test_no_directory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
