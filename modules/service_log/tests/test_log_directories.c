/*
 * test_log_directories.c - lines that are handed over are in the files, whole and in order,
 * whatever fails.
 *
 * The writer thread runs for real, on a directory of its own below /tmp.  The system calls it makes are
 * counted, and one of them can be made to fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../service_log.h"
#include "daemon/daemon.h"
#include "module/log.h"

static char base[] = "/tmp/test_log_directories.XXXXXX";

/* --- system calls that fail --- */

static struct {
	_Atomic unsigned calls;
	_Atomic unsigned failing;	/* the number of the call; 0: none */
	_Atomic bool full;		/* writev writes half of the first part once, then nothing */
	_Atomic bool unsynced;		/* fsync fails */
	const char *_Atomic taken_away;	/* removed by somebody else just before the next rename */
} disk;

static bool
fails(void)
{
	if (atomic_fetch_add(&disk.calls, 1) + 1 != atomic_load(&disk.failing))
		return false;
	errno = EIO;
	return true;
}

#define WRAP(name, arguments, pass)							\
	int __real_##name arguments;							\
	int __wrap_##name arguments;							\
	int __wrap_##name arguments { return fails() ? -1 : __real_##name pass; }

/* A test survives no power cut. */
int __wrap_fsync(int fd);
int
__wrap_fsync(int fd)
{
	(void)fd;
	errno = EIO;
	return fails() || atomic_load(&disk.unsynced) ? -1 : 0;
}

int __real_renameat(int a, const char *from, int b, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to);
int
__wrap_renameat(int a, const char *from, int b, const char *to)
{
	const char *file = atomic_exchange(&disk.taken_away, NULL);

	if (file != NULL)
		unlink(file);
	return fails() ? -1 : __real_renameat(a, from, b, to);
}

WRAP(linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
WRAP(unlinkat, (int dir, const char *name, int flags), (dir, name, flags))
WRAP(fchmodat, (int dir, const char *name, mode_t mode, int flags), (dir, name, mode, flags))
WRAP(fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(fstatat, (int dir, const char *name, struct stat *st, int flags), (dir, name, st, flags))
WRAP(mkdir, (const char *name, mode_t mode), (name, mode))
WRAP(flock, (int fd, int how), (fd, how))
WRAP(openat, (int dir, const char *name, int flags, mode_t mode), (dir, name, flags, mode))
WRAP(scandirat, (int dir, const char *name, struct dirent ***list, int (*filter)(const struct dirent *),
    int (*order)(const struct dirent **, const struct dirent **)), (dir, name, list, filter, order))

ssize_t __real_writev(int fd, const struct iovec *v, int n);
ssize_t __wrap_writev(int fd, const struct iovec *v, int n);
ssize_t
__wrap_writev(int fd, const struct iovec *v, int n)
{
	static bool half;

	if (fails())
		return -1;
	if (!atomic_load(&disk.full)) {
		half = false;
		return __real_writev(fd, v, n);
	}
	errno = ENOSPC;
	half = !half && v->iov_len > 1;
	return half ? write(fd, v->iov_base, v->iov_len / 2) : -1;
}

/* --- a writer, and what it has written --- */

static void
start_writer(const char *limits, size_t memory)
{
	struct slog_limits_table none = { NULL, 0 };
	struct slog_limits general;
	struct ga_str bad;

	assert_null(slog_limits_words(ga_str_c(limits), &general, &bad));
	slog_dirs_limit(general, &none, memory);
	assert_true(slog_writer_start(NULL, 1));
}

static void
stop_writer(void)
{
	assert_true(slog_writer_stop());
	slog_dirs_free();
}

static struct ga_log_dir *
open_dir(const char *name)
{
	struct ga_log_dir *d = slog_dir_open(ga_str_c(name), 0, NULL);

	assert_non_null(d);
	return d;
}

static bool
put(struct ga_log_dir *d, const char *text)
{
	return slog_dir_write(d, &(struct ga_str){ text, strlen(text) }, 1);
}

static void
wait_lines(const struct ga_log_dir *d, uint64_t n)
{
	for (unsigned i = 0; atomic_load(&d->lines) < n; i++) {
		if (i == 20000)
			fail_msg("%llu of %llu lines are written", (unsigned long long)atomic_load(&d->lines), (unsigned long long)n);
		usleep(1000);
	}
}

static char *
path_of(const char *dir, const char *file)
{
	static char path[400];

	snprintf(path, sizeof path, "%s/%s/%s", base, dir, file);
	return path;
}

static char *
slurp(const char *path)
{
	char *text = NULL;
	size_t room = 0;
	FILE *f = fopen(path, "r");

	if (f == NULL || getdelim(&text, &room, EOF, f) < 0) {
		free(text);
		text = strdup("");
	}
	if (f != NULL)
		fclose(f);
	return text;
}

static int
in_order(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int
is_log(const struct dirent *e)
{
	return e->d_name[0] == '@' || strcmp(e->d_name, "current") == 0;
}

/* Calls each(file name, its text) from the oldest on; returns how many files there are. */
static int
each_file(const char *dir, void (*each)(const char *name, const char *text, void *), void *arg)
{
	char path[300];
	struct dirent **e;
	int n;

	snprintf(path, sizeof path, "%s/%s", base, dir);
	n = scandir(path, &e, is_log, in_order);
	for (int i = 0; i < n; i++) {
		char *text = slurp(path_of(dir, e[i]->d_name));

		each(e[i]->d_name, text, arg);
		free(text);
		free(e[i]);
	}
	free(n >= 0 ? e : NULL);
	return n;
}

static void
add_text(const char *name, const char *text, void *arg)
{
	FILE *f = arg;

	(void)name;
	fputs(text, f);
}

/* All files, one behind the other, without stamps; the caller's. */
static char *
content(const char *dir)
{
	char *all = NULL, *to, *p, *end;
	size_t n = 0;
	FILE *f = open_memstream(&all, &n);

	each_file(dir, add_text, f);
	fclose(f);
	for (p = to = all; *p != '\0'; p = end) {
		struct timespec at;

		if (ga_tai64n_parse((struct ga_str){ p, strnlen(p, GA_TAI64N_LEN + 1) }, &at))
			p += GA_TAI64N_LEN + 1;
		end = strchr(p, '\n');
		end = end != NULL ? end + 1 : p + strlen(p);
		memmove(to, p, (size_t)(end - p));
		to += end - p;
	}
	*to = '\0';
	return all;
}

static void
assert_content(const char *dir, const char *want)
{
	char *have = content(dir);

	assert_string_equal(have, want);
	free(have);
}

static mode_t
mode_of(const char *dir, const char *file)
{
	struct stat st;

	return stat(path_of(dir, file), &st) == 0 ? st.st_mode & 07777 : 0;
}

/* Numbered lines of some length. */
static void
put_numbered(struct ga_log_dir *d, unsigned from, unsigned to)
{
	for (; from < to; from++) {
		char text[200];

		snprintf(text, sizeof text, "line %06u %0*d", from, (int)(from * 7919 % 150), 0);
		assert_true(put(d, text));
	}
}

static void
assert_numbered(const char *dir, unsigned from, unsigned to)
{
	char *all = content(dir), *p = all;

	for (; from < to; from++) {
		char want[200];
		int n = snprintf(want, sizeof want, "line %06u %0*d\n", from, (int)(from * 7919 % 150), 0);

		if (strncmp(p, want, (size_t)n) != 0)
			fail_msg("after line %u: %.100s", from - 1, p);
		p += n;
	}
	assert_string_equal(p, "");
	free(all);
}

/* --- lines --- */

static void
test_a_line_is_stamped_and_in_current_while_it_is_open(void **state)
{
	struct ga_str parts[3] = { GA_STR("one "), GA_STR(""), GA_STR("line") };
	struct ga_log_dir *d;
	char *text;

	(void)state;
	start_writer("", 100000);
	d = open_dir("a");
	assert_true(slog_dir_write(d, parts, 3));
	wait_lines(d, 1);
	assert_int_equal(mode_of("a", "current"), 0644);
	assert_int_equal(mode_of("a", ""), 0750);
	text = slurp(path_of("a", "current"));
	assert_int_equal(strlen(text), 25 + 1 + 8 + 1);
	assert_memory_equal(text, "@4", 2);
	assert_string_equal(text + 25, " one line\n");
	assert_int_equal(atomic_load(&d->octets), 35);
	free(text);
	stop_writer();
	assert_int_equal(mode_of("a", "current"), 0744);
}

static void
test_one_call_is_one_line_and_long_ones_are_cut(void **state)
{
	static char big[200000];
	struct ga_str odd = { "a\nb\0c\n", 6 };
	struct ga_log_dir *d, *small;
	char *all;

	(void)state;
	memset(big, 'x', sizeof big - 1);
	start_writer("s1000000", 10000000);
	d = slog_dir_open(GA_STR("b"), GA_LOG_UNSTAMPED, "s4096 n3");
	assert_true(slog_dir_write(d, &odd, 1));
	assert_true(slog_dir_write(d, NULL, 0));
	assert_true(put(d, big));
	wait_lines(d, 3);
	all = slurp(path_of("b", "current"));
	assert_memory_equal(all, "a b c \n\nxxx", 11);
	assert_int_equal(strlen(all), 7 + 1 + 65536);
	assert_string_equal(all + strlen(all) - 2, "x\n");
	free(all);
	stop_writer();
	start_writer("", 10000000);
	small = slog_dir_open(GA_STR("small"), 0, "s4096 n3");
	assert_true(put(small, big));
	wait_lines(small, 1);
	stop_writer();
	all = content("small");
	assert_int_equal(strlen(all), 4096 - 26);
	free(all);
}

static void
test_names_that_are_no_directory_of_ours_are_refused(void **state)
{
	static const char *const bad[] = { "", ".", "..", ".a", "a/b", "A", "a b", "a\n", "\xc3\xa9",
		"a123456789012345678901234567890123456789012345678901234567890123x" };
	struct ga_log_dir *d;

	(void)state;
	start_writer("", 100000);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_null(slog_dir_open(ga_str_c(bad[i]), 0, NULL));
	d = open_dir("qmail-smtpd2");
	assert_ptr_equal(open_dir("qmail-smtpd2"), d);
	assert_ptr_not_equal(open_dir("qmail-smtpd"), d);
	assert_ptr_equal(slog_dirs_first(), d);
	stop_writer();
	assert_int_equal(mode_of("qmail-smtpd", "current"), 0744);
}

/* --- files --- */

struct sizes { off_t size, over; unsigned finished, modes; };

static void
check_size(const char *name, const char *text, void *arg)
{
	struct sizes *s = arg;

	if ((off_t)strlen(text) > s->size || (text[0] != '\0' && text[strlen(text) - 1] != '\n'))
		s->over++;
	if (name[0] == '@' && (strlen(name) != 27 || strcmp(name + 25, ".s") != 0))
		s->over++;
	s->finished += name[0] == '@';
}

static void
test_files_are_finished_at_their_size_and_the_oldest_go(void **state)
{
	struct sizes s = { .size = 4096 };
	struct ga_log_dir *d;
	char *all;

	(void)state;
	start_writer("s4096 n5", 10000000);
	d = open_dir("c");
	put_numbered(d, 0, 1000);
	wait_lines(d, 1000);
	stop_writer();
	assert_int_equal(each_file("c", check_size, &s), 5);
	assert_int_equal(s.over, 0);
	assert_int_equal(s.finished, 4);
	all = content("c");
	assert_numbered("c", (unsigned)strtoul(all + 5, NULL, 10), 1000);
	free(all);
}

static void
test_a_line_that_does_not_fit_begins_a_file(void **state)
{
	static const int lengths[] = { 2000, 3000, 4096, 10, 4000, 2090, 2090, 50 };
	struct sizes s = { .size = 4096 };
	struct ga_log_dir *d;
	char text[4097];

	(void)state;
	memset(text, 'x', sizeof text);
	start_writer("s4096 n100", 1000000);
	d = slog_dir_open(GA_STR("fits"), GA_LOG_UNSTAMPED, NULL);
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
		assert_true(slog_dir_write(d, &(struct ga_str){ text, (size_t)lengths[i] - 1 }, 1));
	wait_lines(d, sizeof lengths / sizeof lengths[0]);
	stop_writer();
	/* 2000 | 3000 | 4096 | 10 4000 | 2090 | 2090 50 */
	assert_int_equal(each_file("fits", check_size, &s), 7);
	assert_int_equal(s.finished, 6);
	assert_int_equal(s.over, 0);
}

static void
test_lower_limits_hold_from_the_next_file_on(void **state)
{
	struct slog_limits_table none = { NULL, 0 };
	struct sizes s = { .size = 8192 };
	struct ga_log_dir *d;

	(void)state;
	start_writer("s8192 n100", 10000000);
	d = open_dir("lower");
	put_numbered(d, 0, 1000);
	wait_lines(d, 1000);
	assert_true(each_file("lower", check_size, &s) > 10);
	slog_dirs_limit((struct slog_limits){ 4096, 3 }, &none, 10000000);
	put_numbered(d, 1000, 1100);
	wait_lines(d, 1100);
	stop_writer();
	assert_int_equal(each_file("lower", check_size, &s), 3);
	assert_int_equal(s.over, 0);
}

#define THREADS 4
#define EACH 20000

static void *
busy(void *arg)
{
	struct ga_log_dir *d = slog_dir_open(GA_STR("busy"), 0, NULL);
	unsigned me = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < EACH; i++) {
		char text[64];

		snprintf(text, sizeof text, "thread %u line %u", me, i);
		while (!put(d, text))
			usleep(1000);
	}
	return NULL;
}

static void
test_lines_of_many_threads_are_all_there_each_threads_in_order(void **state)
{
	unsigned next[THREADS] = { 0 }, me, number;
	pthread_t thread[THREADS];
	uint64_t dropped;
	char *all, *p;

	(void)state;
	start_writer("s100000 n1000000", 100000000);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, busy, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	wait_lines(open_dir("busy"), THREADS * EACH);
	dropped = atomic_load(&open_dir("busy")->in.dropped_total);
	stop_writer();
	assert_int_equal(dropped, 0);
	all = content("busy");
	for (p = all; *p != '\0'; p = strchr(p, '\n') + 1) {
		if (sscanf(p, "thread %u line %u\n", &me, &number) != 2 || me >= THREADS || next[me]++ != number)
			fail_msg("torn or out of order: %.80s", p);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(next[i], EACH);
	free(all);
}

/* --- ends --- */

static void
write_file(const char *dir, const char *file, mode_t mode, const char *text)
{
	FILE *f;

	mkdir(path_of(dir, ""), 0755);
	f = fopen(path_of(dir, file), "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(__real_fchmod(fileno(f), mode), 0);
	fclose(f);
}

struct kinds { char seen[200]; };

static void
note_kind(const char *name, const char *text, void *arg)
{
	struct kinds *k = arg;

	snprintf(k->seen + strlen(k->seen), sizeof k->seen - strlen(k->seen), "%s=%s|",
	    name[0] == '@' && strlen(name) == 27 ? name + 25 : name, text);
}

static void
assert_files(const char *dir, const char *want)
{
	struct kinds k = { "" };

	each_file(dir, note_kind, &k);
	assert_string_equal(k.seen, want);
}

static void
open_and_close(const char *dir)
{
	start_writer("", 100000);
	open_dir(dir);
	stop_writer();
}

static void
test_a_file_that_was_ended_cleanly_is_written_on(void **state)
{
	(void)state;
	write_file("d", "current", 0744, "before\n");
	start_writer("", 100000);
	put(open_dir("d"), "after");
	stop_writer();
	assert_content("d", "before\nafter\n");
	assert_int_equal(mode_of("d", "current"), 0744);
}

static void
test_what_a_crash_left_is_finished_as_such(void **state)
{
	(void)state;
	write_file("e", "current", 0644, "one\ntorn li");
	write_file("e", "previous", 0644, "zero\n");
	write_file("e", "newstate", 0644, "of a processor");
	open_and_close("e");
	assert_files("e", ".u=zero\n|.u=one\ntorn li|current=|");
	assert_int_equal(mode_of("e", "previous"), 0);
	assert_int_equal(mode_of("e", "newstate"), 0);
	assert_int_equal(mode_of("e", "state"), 0644);
}

static void
test_a_crash_between_a_finished_files_two_names_makes_no_third(void **state)
{
	char finished[400];

	(void)state;
	write_file("f", "previous", 0744, "zero\n");
	snprintf(finished, sizeof finished, "%s", path_of("f", "@400000006000000000000000.s"));
	assert_int_equal(link(path_of("f", "previous"), finished), 0);
	open_and_close("f");
	assert_files("f", ".s=zero\n|current=|");
}

static void
test_what_a_processor_has_made_takes_the_place_of_what_it_was_made_of(void **state)
{
	(void)state;
	write_file("g", "previous", 0744, "raw\n");
	write_file("g", "processed", 0744, "done\n");
	open_and_close("g");
	assert_files("g", ".s=done\n|current=|");
	write_file("h", "previous", 0744, "raw\n");
	write_file("h", "processed", 0644, "half do");
	open_and_close("h");
	assert_files("h", ".u=raw\n|current=|");
	assert_int_equal(mode_of("h", "processed"), 0);
}

/* A process that writes numbered lines from `first` on until it is killed; *written: how many it
 * knows to be written. */
static pid_t
write_until_killed(const char *dir, unsigned first, _Atomic uint64_t *written)
{
	pid_t pid = fork();
	struct ga_log_dir *d;

	if (pid != 0)
		return pid;
	start_writer("s20000 n1000000", 1000000);
	d = open_dir(dir);
	for (unsigned i = first;; i++) {
		while (atomic_load(&d->in.waiting) > 500000)
			usleep(100);
		put_numbered(d, i, i + 1);
		atomic_store(written, atomic_load(&d->lines));
	}
}

/* The torn line at the end of a file that a crash left goes. */
static void
mend(const char *name, const char *text, void *arg)
{
	const char *end = strrchr(text, '\n');
	size_t whole = end != NULL ? (size_t)(end + 1 - text) : 0;

	if (text[whole] == '\0')
		return;
	assert_string_equal(name + strlen(name) - 2, ".u");
	assert_int_equal(truncate(path_of(arg, name), (off_t)whole), 0);
}

static unsigned
count_lines(const char *dir)
{
	char *all = content(dir);
	unsigned n = 0;

	for (const char *p = all; (p = strchr(p, '\n')) != NULL; p++)
		n++;
	free(all);
	return n;
}

static void
test_kill_9_under_load_loses_nothing_that_was_written(void **state)
{
	_Atomic uint64_t *written = mmap(NULL, sizeof *written, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned lines = 0;

	(void)state;
	assert_ptr_not_equal(written, MAP_FAILED);
	for (unsigned life = 0; life < 5; life++) {
		pid_t pid = write_until_killed("killed", lines, written);

		while (atomic_load(written) < 2000 + life * 777)
			usleep(500);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		start_writer("n1000000", 100000);
		open_dir("killed");
		stop_writer();
		each_file("killed", mend, (void *)(uintptr_t)"killed");
		assert_true(count_lines("killed") >= lines + atomic_load(written));
		lines = count_lines("killed");
		assert_numbered("killed", 0, lines);
		atomic_store(written, 0);
	}
	munmap(written, sizeof *written);
}

/* --- trouble --- */

static void
test_while_another_has_the_lock_lines_wait_and_what_is_too_much_is_counted(void **state)
{
	unsigned taken = 0;
	char want[200000] = "", line[64];
	struct ga_log_dir *d, *other;
	int lock;

	(void)state;
	write_file("busy2", "lock", 0600, "");
	lock = open(path_of("busy2", "lock"), O_WRONLY);
	assert_int_equal(__real_flock(lock, LOCK_EX), 0);
	start_writer("", 65536);
	d = open_dir("busy2");
	other = open_dir("other");
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(line, sizeof line, "line %u", i);
		if (put(d, line) && strlen(strcat(strcat(want, line), "\n")) > 0)
			taken++;
	}
	assert_in_range(taken, 100, 1500);
	assert_int_equal(atomic_load(&d->in.dropped_total), 2000 - taken);
	put_numbered(other, 0, 10);
	wait_lines(other, 10);			/* nobody else waits */
	assert_string_equal(atomic_load(&d->trouble), "lock");
	close(lock);
	snprintf(line, sizeof line, "service_log: %u lines were dropped", 2000 - taken);
	wait_lines(d, taken + 1);
	assert_true(put(d, "afterwards"));
	stop_writer();
	assert_non_null(strcat(strcat(want, line), " here, there was no room for them\nafterwards\n"));
	assert_content("busy2", want);
}

static void
test_a_directory_that_was_removed_is_made_anew(void **state)
{
	static const char *const files[] = { "current", "lock", "state" };
	struct ga_log_dir *d;

	(void)state;
	start_writer("", 100000);
	d = open_dir("i");
	put(d, "one");
	wait_lines(d, 1);
	unlink(path_of("i", "current"));
	put(d, "two");
	wait_lines(d, 2);
	assert_content("i", "two\n");
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(unlink(path_of("i", files[i])), 0);
	assert_int_equal(rmdir(path_of("i", "")), 0);
	put(d, "three");
	wait_lines(d, 3);
	assert_content("i", "three\n");
	stop_writer();
	assert_int_equal(mode_of("i", "current"), 0744);
}

static void
test_a_current_that_goes_while_it_is_finished_is_begun_anew(void **state)
{
	static char path[400];
	struct ga_log_dir *d;

	(void)state;
	start_writer("s4096 n100", 1000000);
	d = open_dir("away");
	put_numbered(d, 0, 5);
	wait_lines(d, 5);
	snprintf(path, sizeof path, "%s", path_of("away", "current"));
	atomic_store(&disk.taken_away, path);
	put_numbered(d, 5, 60);
	wait_lines(d, 60);
	stop_writer();
	assert_null(atomic_load(&disk.taken_away));
	assert_true(count_lines("away") >= 20);
}

static void
test_a_file_that_cannot_be_synced_is_not_finished(void **state)
{
	struct sizes s = { .size = 4096 };
	struct ga_log_dir *d;

	(void)state;
	start_writer("s4096 n100", 1000000);
	d = open_dir("unsynced");
	atomic_store(&disk.unsynced, true);
	put_numbered(d, 0, 60);
	while (atomic_load(&d->trouble) == NULL)
		usleep(1000);
	assert_string_equal(atomic_load(&d->trouble), "fsync current");
	each_file("unsynced", check_size, &s);
	assert_int_equal(s.finished, 0);
	atomic_store(&disk.unsynced, false);
	wait_lines(d, 60);
	stop_writer();
	assert_numbered("unsynced", 0, 60);
}

static void
test_a_line_that_was_half_written_on_a_full_disk_is_completed(void **state)
{
	struct ga_log_dir *d;

	(void)state;
	start_writer("s4096 n100000", 1000000);
	d = open_dir("j");
	put_numbered(d, 0, 10);
	wait_lines(d, 10);
	atomic_store(&disk.full, true);
	put_numbered(d, 10, 300);
	while (atomic_load(&d->trouble) == NULL)
		usleep(1000);
	atomic_store(&disk.full, false);
	wait_lines(d, 300);
	stop_writer();
	assert_numbered("j", 0, 300);
}

static void
test_a_line_whose_half_has_gone_with_its_file_is_written_whole(void **state)
{
	struct ga_log_dir *d;

	(void)state;
	start_writer("", 1000000);
	d = open_dir("halfgone");
	put_numbered(d, 0, 10);
	wait_lines(d, 10);
	atomic_store(&disk.full, true);
	put_numbered(d, 10, 20);
	while (atomic_load(&d->trouble) == NULL)
		usleep(1000);
	assert_int_equal(unlink(path_of("halfgone", "current")), 0);
	atomic_store(&disk.full, false);
	wait_lines(d, 20);
	stop_writer();
	assert_numbered("halfgone", 10, 20);
}

static void
test_at_an_end_on_a_full_disk_no_half_line_stays(void **state)
{
	struct ga_log_dir *d;
	char *all;

	(void)state;
	start_writer("", 1000000);
	d = open_dir("k");
	put_numbered(d, 0, 10);
	wait_lines(d, 10);
	atomic_store(&disk.full, true);
	put_numbered(d, 10, 20);
	stop_writer();
	atomic_store(&disk.full, false);
	all = content("k");
	assert_in_range(strlen(all), 100, 5000);
	assert_int_equal(all[strlen(all) - 1], '\n');
	free(all);
	assert_int_equal(mode_of("k", "current"), 0744);
}

/* One life with a crash behind it and some files; the n-th system call fails.  False: it has
 * fewer than that. */
static bool
live_with_failure(unsigned n, const char *limits)
{
	struct ga_log_dir *d;
	unsigned calls;
	char name[32], *all;

	snprintf(name, sizeof name, "fail%s%u", strchr(limits, 'n'), n);
	write_file(name, "previous", 0744, "line 000000 0\n");
	write_file(name, "current", 0644, "");
	atomic_store(&disk.calls, 0);
	atomic_store(&disk.failing, n);
	start_writer(limits, 1000000);
	d = open_dir(name);
	put_numbered(d, 1, 60);
	wait_lines(d, 59);
	assert_int_equal(atomic_load(&d->in.dropped_total), 0);
	stop_writer();
	calls = atomic_load(&disk.calls);
	atomic_store(&disk.failing, 0);
	start_writer(limits, 1000000);
	put_numbered(open_dir(name), 60, 62);
	stop_writer();
	all = content(name);
	assert_numbered(name, (unsigned)strtoul(all + 5, NULL, 10), 62);
	assert_true(strchr(limits, 'n')[1] != '9' || strncmp(all, "line 000000 ", 12) == 0);
	free(all);
	return calls >= n;
}

static void
test_any_single_failure_is_survived_without_a_loss(void **state)
{
	unsigned n = 1;

	(void)state;
	while (live_with_failure(n, "s4096 n99"))
		n++;
	assert_in_range(n, 40, 200);
}

static void
test_any_single_failure_is_survived_where_old_files_go(void **state)
{
	unsigned n = 1;

	(void)state;
	while (live_with_failure(n, "s4096 n2"))
		n++;
	assert_in_range(n, 40, 200);
}

static int
remove_base(void)
{
	char command[100];

	snprintf(command, sizeof command, "rm -rf %s", base);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_is_stamped_and_in_current_while_it_is_open),
		cmocka_unit_test(test_one_call_is_one_line_and_long_ones_are_cut),
		cmocka_unit_test(test_names_that_are_no_directory_of_ours_are_refused),
		cmocka_unit_test(test_files_are_finished_at_their_size_and_the_oldest_go),
		cmocka_unit_test(test_a_line_that_does_not_fit_begins_a_file),
		cmocka_unit_test(test_lower_limits_hold_from_the_next_file_on),
		cmocka_unit_test(test_lines_of_many_threads_are_all_there_each_threads_in_order),
		cmocka_unit_test(test_a_file_that_was_ended_cleanly_is_written_on),
		cmocka_unit_test(test_what_a_crash_left_is_finished_as_such),
		cmocka_unit_test(test_a_crash_between_a_finished_files_two_names_makes_no_third),
		cmocka_unit_test(test_what_a_processor_has_made_takes_the_place_of_what_it_was_made_of),
		cmocka_unit_test(test_kill_9_under_load_loses_nothing_that_was_written),
		cmocka_unit_test(test_while_another_has_the_lock_lines_wait_and_what_is_too_much_is_counted),
		cmocka_unit_test(test_a_directory_that_was_removed_is_made_anew),
		cmocka_unit_test(test_a_current_that_goes_while_it_is_finished_is_begun_anew),
		cmocka_unit_test(test_a_file_that_cannot_be_synced_is_not_finished),
		cmocka_unit_test(test_a_line_that_was_half_written_on_a_full_disk_is_completed),
		cmocka_unit_test(test_a_line_whose_half_has_gone_with_its_file_is_written_whole),
		cmocka_unit_test(test_at_an_end_on_a_full_disk_no_half_line_stays),
		cmocka_unit_test(test_any_single_failure_is_survived_without_a_loss),
		cmocka_unit_test(test_any_single_failure_is_survived_where_old_files_go),
	};
	int failed;

	if (mkdtemp(base) == NULL)
		return 99;
	gac_daemon.paths[GA_PATH_LOG] = base;
	gac_log_to(open("/dev/null", O_WRONLY | O_CLOEXEC), false);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	return remove_base() != 0 ? 99 : failed;
}
