/*
 * test_directory.c - service directories: what is made, what is taken over and what is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../directory.h"

static char root[64], dir[128];

static const char *in_dir(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static int fresh(void **state)
{
	strcpy(root, "/tmp/ga-directory-XXXXXX");
	if (mkdtemp(root) == NULL)
		return -1;
	snprintf(dir, sizeof dir, "%s/service", root);
	return 0;
}

static int gone(void **state)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", root);
	return system(command);
}

static void test_what_is_made_is_for_its_owner(void **state)
{
	static const struct { const char *name; mode_t mode; } rows[] = {
		{ "supervise", S_IFDIR | 0700 }, { "supervise/control", S_IFIFO | 0600 },
		{ "supervise/ok", S_IFIFO | 0600 }, { "supervise/lock", S_IFREG | 0600 },
	};
	struct svc_directory d;
	struct stat st;
	char why[256] = "";

	assert_true(svc_directory_open(&d, dir, why, sizeof why));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(stat(in_dir(rows[i].name), &st), 0);
		assert_int_equal(st.st_mode, rows[i].mode);
	}
	svc_directory_close(&d);
}

static void test_the_fifo_is_never_at_its_end_and_ok_says_that_we_live(void **state)
{
	struct svc_directory d;
	char why[256], octets[8];
	int fd;

	assert_true(svc_directory_open(&d, dir, why, sizeof why));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(read(d.control, octets, sizeof octets), -1);
		assert_int_equal(errno, EAGAIN);
		assert_true((fd = open(in_dir("supervise/control"), O_WRONLY | O_NONBLOCK)) >= 0);
		assert_int_equal(write(fd, "tu", 2), 2);
		close(fd);
		assert_int_equal(read(d.control, octets, sizeof octets), 2);
	}
	assert_true((fd = open(in_dir("supervise/ok"), O_WRONLY | O_NONBLOCK)) >= 0);
	close(fd);
	svc_directory_close(&d);
	assert_int_equal(open(in_dir("supervise/ok"), O_WRONLY | O_NONBLOCK), -1);
	assert_int_equal(errno, ENXIO);
}

static void test_what_a_dead_process_left_is_taken_over(void **state)
{
	struct svc_directory d;
	char why[256];

	for (int i = 0; i < 2; i++) {
		assert_true(svc_directory_open(&d, dir, why, sizeof why));
		svc_directory_close(&d);
	}
}

static void test_a_directory_that_somebody_has_is_left_alone(void **state)
{
	struct svc_directory d, second;
	char why[256];

	assert_true(svc_directory_open(&d, dir, why, sizeof why));
	assert_false(svc_directory_open(&second, dir, why, sizeof why));
	assert_non_null(strstr(why, "/supervise/lock: another process supervises it"));
	assert_int_equal(second.control, -1);
	svc_directory_close(&d);
}

static void test_a_file_in_place_of_a_fifo_is_refused(void **state)
{
	struct svc_directory d;
	char why[256], link[256];

	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(mkdir(in_dir("supervise"), 0700), 0);
	close(open(in_dir("supervise/control"), O_CREAT | O_WRONLY, 0600));
	assert_false(svc_directory_open(&d, dir, why, sizeof why));
	assert_non_null(strstr(why, "/supervise/control: "));
	assert_int_equal(unlink(in_dir("supervise/control")), 0);
	snprintf(link, sizeof link, "%s/elsewhere", root);
	assert_int_equal(symlink(link, in_dir("supervise/control")), 0);
	assert_false(svc_directory_open(&d, dir, why, sizeof why));
	assert_int_equal(access(link, F_OK), -1);
}

static void test_the_reason_names_what_cannot_be_made(void **state)
{
	struct svc_directory d;
	char why[256];

	assert_false(svc_directory_open(&d, "/nonexistent/x", why, sizeof why));
	assert_string_equal(why, "/nonexistent/x: No such file or directory");
	assert_int_equal(svc_directory_status("/nonexistent/x", (const unsigned char *)"123456789012345678"), ENOENT);
}

/* The octets that supervise 0.76 wrote for a service that came up as process 70000. */
static void test_the_record_is_that_of_supervise(void **state)
{
	static const unsigned char expected[SVC_RECORD] = {
		0x40, 0, 0, 0, 0x37, 0xc2, 0x19, 0xbf, 0x2e, 0xf0, 0x2e, 0x94, 0x70, 0x11, 1, 0, 0, 'u'
	};
	struct timespec since = { 935467445, 787492500 };
	unsigned char record[SVC_RECORD], read_back[SVC_RECORD + 1];
	struct svc_directory d;
	char why[256];
	int fd;

	svc_record(record, since, 70000, 'u');
	assert_memory_equal(record, expected, SVC_RECORD);
	assert_true(svc_directory_open(&d, dir, why, sizeof why));
	assert_int_equal(svc_directory_status(dir, record), 0);
	fd = open(in_dir("supervise/status"), O_RDONLY);
	assert_int_equal(read(fd, read_back, sizeof read_back), SVC_RECORD);
	assert_memory_equal(read_back, expected, SVC_RECORD);
	close(fd);
	svc_directory_close(&d);
}

static void test_a_file_down_marks_it(void **state)
{
	assert_false(svc_directory_marked_down(dir));
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_false(svc_directory_marked_down(dir));
	close(open(in_dir("down"), O_CREAT | O_WRONLY, 0644));
	assert_true(svc_directory_marked_down(dir));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_made_is_for_its_owner),
		TEST(test_the_fifo_is_never_at_its_end_and_ok_says_that_we_live),
		TEST(test_what_a_dead_process_left_is_taken_over),
		TEST(test_a_directory_that_somebody_has_is_left_alone),
		TEST(test_a_file_in_place_of_a_fifo_is_refused),
		TEST(test_the_reason_names_what_cannot_be_made),
		TEST(test_the_record_is_that_of_supervise),
		TEST(test_a_file_down_marks_it),
	};

	umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
