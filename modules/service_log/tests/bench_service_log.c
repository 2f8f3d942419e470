/*
 * bench_service_log.c - what a line costs whoever logs, and how much the writer thread takes.
 *
 *	bench_service_log FOLDER [LINES-A-SECOND [THREADS [SECONDS]]]
 *
 * Lines of 120 octets go into FOLDER/bench at that rate, from that many threads together (0: as fast as they
 * can).  Printed: nanoseconds of a call (the middle one, one in a hundred, the mean), CPU time of the
 * writer thread a line, lines written and dropped.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../service_log.h"
#include "daemon/daemon.h"

#define THREADS_MAX 16
#define SAMPLES 1000000u

static unsigned rate = 100000, threads = 2, seconds = 5;
static struct ga_log_dir *dir;

struct caller {
	pthread_t thread;
	uint64_t lines, total_ns;
	uint32_t *ns;			/* of each call, up to SAMPLES */
};

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *
call(void *arg)
{
	static const char text[] = " < 250 2.0.0 Ok: queued as 0123456789ABCDEF, and some more words to make it as long as a line is";
	struct ga_str parts[2] = { GA_STR("remote_smtp: (12345)"), { text, sizeof text - 1 } };
	struct caller *c = arg;
	uint64_t start = clock_ns(CLOCK_MONOTONIC), now = start, end = start + seconds * UINT64_C(1000000000);

	while (now < end) {
		uint64_t due = rate == 0 ? c->lines + 1000 : (now - start) * (rate / threads) / 1000000000u;

		for (; c->lines < due; c->lines++) {
			uint64_t before = clock_ns(CLOCK_MONOTONIC), took;

			slog_dir_write(dir, parts, 2);
			took = clock_ns(CLOCK_MONOTONIC) - before;
			c->total_ns += took;
			if (c->lines < SAMPLES)
				c->ns[c->lines] = (uint32_t)took;
		}
		if (rate != 0)
			usleep(200);
		now = clock_ns(CLOCK_MONOTONIC);
	}
	return NULL;
}

static int
by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
	struct slog_limits_table none = { NULL, 0 };
	static struct caller caller[THREADS_MAX];
	uint64_t start, cpu, lines = 0, total_ns = 0, took;
	size_t n;

	if (argc < 2)
		return 2;
	rate = argc > 2 ? (unsigned)atoi(argv[2]) : rate;
	threads = argc > 3 ? (unsigned)atoi(argv[3]) : threads;
	seconds = argc > 4 ? (unsigned)atoi(argv[4]) : seconds;
	if (threads == 0 || threads > THREADS_MAX)
		return 2;
	gac_daemon.paths[GA_PATH_LOG] = argv[1];
	slog_dirs_limit((struct slog_limits){ 100000000, 10 }, &none, 64u * 1024 * 1024);
	slog_writer_start(NULL, 1000);
	dir = slog_dir_open(GA_STR("bench"), 0, NULL);
	start = clock_ns(CLOCK_MONOTONIC);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < threads; i++) {
		caller[i].ns = calloc(SAMPLES, sizeof *caller[i].ns);
		pthread_create(&caller[i].thread, NULL, call, &caller[i]);
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(caller[i].thread, NULL);
		lines += caller[i].lines;
		total_ns += caller[i].total_ns;
	}
	while (atomic_load(&dir->lines) + atomic_load(&dir->in.dropped_total) < lines)
		usleep(1000);
	took = clock_ns(CLOCK_MONOTONIC) - start;
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	n = caller[0].lines < SAMPLES ? caller[0].lines : SAMPLES;
	qsort(caller[0].ns, n, sizeof *caller[0].ns, by_size);
	printf("%u threads, %.0f lines/s, %.1f MB/s: a call %u ns (one in a hundred over %u ns, mean %.0f ns); "
	    "all else of the process %.0f ns of CPU a line; %llu written, %llu dropped\n",
	    threads, (double)lines / ((double)took / 1e9), (double)atomic_load(&dir->octets) / ((double)took / 1e3),
	    caller[0].ns[n / 2], caller[0].ns[n - 1 - n / 100], (double)total_ns / (double)lines,
	    ((double)cpu - (double)total_ns) / (double)lines, (unsigned long long)atomic_load(&dir->lines),
	    (unsigned long long)atomic_load(&dir->in.dropped_total));
	slog_writer_stop();
	slog_dirs_free();
	for (unsigned i = 0; i < threads; i++)
		free(caller[i].ns);
	return 0;
}
