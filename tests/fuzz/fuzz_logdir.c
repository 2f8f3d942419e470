/*
 * fuzz_logdir.c - any octets as the files of a log directory.
 *
 * The input is cut at its NUL octets: a finished file each, the last one current.  What must hold: without a
 * window every octet comes once and in order, but for those behind the last LF of current, where a line is being written; a
 * window yields no more than that, all of it in time or behind what is.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <greenarrow/tai64.h>

#include "base/logdir.h"
#include "fuzz.h"

#define FILES_MAX 4

static const struct fuzz_input inputs[] = {
	FUZZ_INPUT("@4000000066e1a5a0000001f4 a\n@4000000066e1a5a1000001f4 b\nmore\n"),
	FUZZ_INPUT("1726063500.5\ta\n1726063510\tb, which is\0" " cut\n1726063520.25\tc\n1726063530\td"),
	FUZZ_INPUT("1726063500.5\ta\n17260\0" "1726063520\tb\n\n\n\0" "\0" "{\"timestamp\":1726063540,\n{}\n"),
};

static char folder[] = "/tmp/ga-fuzz-logdir-XXXXXX";

static void
name_of(size_t i, bool last, char *name, size_t room)
{
	char stamp[GA_TAI64N_ROOM];

	ga_tai64n_format((struct timespec){ 1726064000 + (time_t)i, 0 }, stamp);
	if (last)
		snprintf(name, room, "%s/current", folder);
	else
		snprintf(name, room, "%s/%s.s", folder, stamp);
}

static void
put_file(const char *name, const uint8_t *p, size_t n)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	FUZZ_CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	close(fd);
}

/* Writes the files and returns their number. */
static size_t
put_files(const uint8_t *data, size_t n)
{
	char name[128];
	size_t i = 0;

	for (;;) {
		const uint8_t *nul = n > 0 && i + 1 < FILES_MAX ? memchr(data, 0, n) : NULL;
		size_t size = nul != NULL ? (size_t)(nul - data) : n;

		name_of(i++, nul == NULL, name, sizeof name);
		put_file(name, data, size);
		if (nul == NULL)
			return i;
		data += size + 1;
		n -= size + 1;
	}
}

static void
drop_files(size_t n)
{
	char name[128];

	for (size_t i = 0; i < n; i++) {
		name_of(i, i + 1 == n, name, sizeof name);
		unlink(name);
	}
}

static void
no_warning(void *arg, const char *path, const char *problem)
{
	(void)arg;
	fprintf(stderr, "%s: %s\n", path, problem);
	abort();
}

/* The octets that are not LF, of all lines of the window. */
static size_t
read_window(const struct gac_log_window *w, uint8_t *out, size_t room)
{
	struct gac_logdir *d = gac_logdir_open(folder, w, no_warning, NULL);
	struct gac_log_line line;
	size_t n = 0;

	FUZZ_CHECK(d != NULL);
	while (gac_logdir_line(d, &line)) {
		FUZZ_CHECK(n + line.text.n <= room);
		FUZZ_CHECK(memchr(line.text.p, '\n', line.text.n) == NULL);
		FUZZ_CHECK(line.at_ns == INT64_MIN || (line.at_ns >= w->start_ns && line.at_ns <= w->end_ns));
		memcpy(out + n, line.text.p, line.text.n);
		n += line.text.n;
	}
	gac_logdir_close(d);
	return n;
}

/* The octets that are neither LF nor the NULs that part the files.  *whole: how many of them are up to the last LF. */
static size_t
expected(const uint8_t *data, size_t n, size_t files, uint8_t *out, size_t *whole)
{
	size_t m = 0;

	*whole = 0;
	for (size_t i = 0; i < n; i++) {
		if (data[i] == 0 && files > 1)
			files--;
		else if (data[i] == '\n')
			*whole = m;
		else
			out[m++] = data[i];
	}
	return m;
}

static void
remove_folder(void)
{
	rmdir(folder);
}

static void
make_folder(void)
{
	static bool made;

	if (made)
		return;
	FUZZ_CHECK(mkdtemp(folder) != NULL);
	atexit(remove_folder);
	made = true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct gac_log_window all = { INT64_MIN, INT64_MAX };
	const struct gac_log_window some = { INT64_C(1726063505000000000), INT64_C(1726063520000000000) };
	uint8_t *got = ga_xmalloc(n), *want = ga_xmalloc(n);
	size_t files, ngot, nwant, whole;

	make_folder();
	files = put_files(data, n);
	ngot = read_window(&all, got, n);
	nwant = expected(data, n, files, want, &whole);
	FUZZ_CHECK(whole <= ngot && ngot <= nwant);
	FUZZ_CHECK(memcmp(got, want, ngot) == 0);
	FUZZ_CHECK(read_window(&some, got, n) <= ngot);
	drop_files(files);
	free(got);
	free(want);
	return 0;
}

FUZZ_MAIN(inputs);
