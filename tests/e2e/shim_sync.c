/*
 * shim_sync.c - a disk that is slow, or that fails, for tests: a preloaded fdatasync.
 *
 * SHIM_DIR names a folder.  While it holds a file "delay" every fdatasync takes as many
 * milliseconds longer as the file says; while it holds "fail" every fdatasync returns
 * EIO.  Each call appends "<start ns> <end ns> <result>" (CLOCK_MONOTONIC) to "calls".
 * Compiled and preloaded by gatest/shim.py; any thread.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long long
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int
shim_file(const char *name, char *text, size_t room)
{
	char path[4096];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "%s/%s", getenv("SHIM_DIR"), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, room - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return 1;
}

static void
record(long long start, int result)
{
	char path[4096], line[128];
	int fd, n;

	snprintf(path, sizeof path, "%s/calls", getenv("SHIM_DIR"));
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	n = snprintf(line, sizeof line, "%lld %lld %d\n", start, now_ns(), result);
	if (write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

int
fdatasync(int fd)
{
	static int (*real)(int);
	long long start = now_ns();
	char text[64];
	int result;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
	if (shim_file("delay", text, sizeof text))
		usleep((useconds_t)atoi(text) * 1000);
	result = real(fd);
	if (shim_file("fail", text, sizeof text)) {
		result = -1;
		errno = EIO;
	}
	record(start, result);
	return result;
}
