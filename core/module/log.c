/*
 * log.c - the daemon's own log.
 *
 * A line is formatted by whoever logs and pushed on a list with one atomic
 * operation; the writer thread takes the whole list and writes it with as few
 * system calls as possible.  So a slow terminal or disk never holds up a loop.
 * At most PENDING_MAX lines wait; beyond that they are counted and the count is
 * written when there is room again.  Before gac_log_start() and after
 * gac_log_stop() lines are written directly.  All this is about stderr: a module may take
 * the lines instead (log_output.c), or, in the foreground, take them too.
 *
 * A line: "2026-11-25T18:10:37.123Z warn spool: text [GA-SPL-0007]".
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "module/log.h"

#define LINE_MAX_ 2048
#define PENDING_MAX 20000
#define IOV_BATCH 256

struct log_line {
	struct log_line *next;
	size_t n;
	char text[];
};

static struct {
	int fd;
	bool syslog_prefix;
	_Atomic bool keep_stderr;	/* also what a module takes */
	_Atomic int level;
	_Atomic bool running;
	_Atomic bool ending;
	pthread_t thread;
	int wake;
	_Atomic(struct log_line *) lines;	/* newest first */
	_Atomic unsigned pending, dropped;
} state = { .fd = STDERR_FILENO, .keep_stderr = true, .level = GA_INFO, .wake = -1 };

/* of a thread that asks why: see gac_log_collect() */
static __thread struct { bool on; char *text; } collected;

static const char *const names[] = { "debug", "info", "notice", "warn", "error" };
static const char *const prefixes[] = { "<7>", "<6>", "<5>", "<4>", "<3>" };

void
gac_log_level(enum ga_level level)
{
	atomic_store(&state.level, (int)level);
}

void
gac_log_to(int fd, bool syslog_prefix)
{
	state.fd = fd;
	state.syslog_prefix = syslog_prefix;
}

bool
gac_log_wanted(enum ga_level level)
{
	return (int)level >= atomic_load_explicit(&state.level, memory_order_relaxed);
}

static void
write_all(struct iovec *v, int n)
{
	while (n > 0) {
		ssize_t done = writev(state.fd, v, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return;
		while (n > 0 && (size_t)done >= v->iov_len) {
			done -= (ssize_t)v->iov_len;
			v++;
			n--;
		}
		if (n > 0) {
			v->iov_base = (char *)v->iov_base + done;
			v->iov_len -= (size_t)done;
		}
	}
}

/* Control characters become \xNN: one call is one line. */
static size_t
escape(char *out, size_t room, const char *in)
{
	size_t n = 0;

	for (; *in != '\0' && n + 5 < room; in++) {
		unsigned char c = (unsigned char)*in;

		if (c >= 0x20 && c != 0x7f)
			out[n++] = (char)c;
		else
			n += (size_t)snprintf(out + n, room - n, "\\x%02x", c);
	}
	return n;
}

static size_t
timestamp(char *out, size_t room)
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(out, room, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + (size_t)snprintf(out + n, room - n, ".%03ldZ", ts.tv_nsec / 1000000);
}

static void
push(struct log_line *line)
{
	struct log_line *head = atomic_load_explicit(&state.lines, memory_order_relaxed);
	uint64_t one = 1;

	do
		line->next = head;
	while (!atomic_compare_exchange_weak_explicit(&state.lines, &head, line,
	    memory_order_release, memory_order_relaxed));
	if (head == NULL && write(state.wake, &one, sizeof one) < 0)
		return;		/* the counter is full: the writer is awake */
}

static void
hand_over(const char *text, size_t n)
{
	struct log_line *line;

	if (!atomic_load_explicit(&state.running, memory_order_acquire)) {
		write_all(&(struct iovec){ (void *)(uintptr_t)text, n }, 1);
		return;
	}
	if (atomic_fetch_add(&state.pending, 1) >= PENDING_MAX) {
		atomic_fetch_sub(&state.pending, 1);
		atomic_fetch_add(&state.dropped, 1);
		return;
	}
	line = ga_xmalloc(sizeof *line + n);
	line->n = n;
	memcpy(line->text, text, n);
	push(line);
}

void
gac_log_collect(void)
{
	collected.on = true;
}

char *
gac_log_collected(void)
{
	char *text = collected.text;

	collected.on = false;
	collected.text = NULL;
	return text;
}

static void
collect(const char *subject, const char *text)
{
	char *before = collected.text, *all;

	if (asprintf(&all, "%s%s%s: %s", before != NULL ? before : "", before != NULL ? "\n" : "",
	    subject, text) < 0)
		return;
	collected.text = all;
	free(before);
}

void
gac_vlog(enum ga_level level, const char *subject, const char *tag, const char *object,
    const char *fmt, va_list ap)
{
	char text[LINE_MAX_ / 2], line[LINE_MAX_];
	size_t n = 0, begin;
	bool taken;

	if (!gac_log_wanted(level))
		return;
	vsnprintf(text, sizeof text, fmt, ap);
	if (level == GA_ERR && collected.on)
		collect(subject, text);
	if (state.syslog_prefix)
		n += (size_t)snprintf(line, sizeof line, "%s", prefixes[level]);
	else {
		n += timestamp(line, sizeof line - 1);
		line[n++] = ' ';
	}
	begin = n;
	n += (size_t)snprintf(line + n, sizeof line - n, "%s %s: %s%s", names[level], subject,
	    object != NULL ? object : "", object != NULL ? " " : "");
	n += escape(line + n, sizeof line - n - 40, text);
	n += (size_t)snprintf(line + n, sizeof line - n, " [%.30s]\n", tag);
	taken = gac_log_give(level, (struct ga_str){ line + begin, n - 1 - begin });
	if (!taken || atomic_load_explicit(&state.keep_stderr, memory_order_relaxed))
		hand_over(line, n);
}

void
gac_log(enum ga_level level, const char *subject, const char *tag, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	gac_vlog(level, subject, tag, NULL, fmt, ap);
	va_end(ap);
}

/* --- the writer --- */

static struct log_line *
take(void)
{
	struct log_line *p = atomic_exchange_explicit(&state.lines, NULL, memory_order_acquire);
	struct log_line *oldest = NULL, *next;

	for (; p != NULL; p = next) {
		next = p->next;
		p->next = oldest;
		oldest = p;
	}
	return oldest;
}

static void
write_lines(struct log_line *line)
{
	while (line != NULL) {
		struct log_line *first = line, *next;
		struct iovec v[IOV_BATCH];
		unsigned n = 0;

		for (; line != NULL && n < IOV_BATCH; line = line->next)
			v[n++] = (struct iovec){ line->text, line->n };
		write_all(v, (int)n);
		atomic_fetch_sub(&state.pending, n);
		for (; first != line; first = next) {
			next = first->next;
			free(first);
		}
	}
}

static void *
writer(void *arg)
{
	(void)arg;
	for (;;) {
		bool ending = atomic_load(&state.ending);
		unsigned dropped;
		uint64_t n;

		write_lines(take());
		dropped = atomic_exchange(&state.dropped, 0);
		if (dropped > 0) {
			char text[96];
			int len = snprintf(text, sizeof text,
			    "%u lines of the log were dropped [GA-LOG-0001]\n", dropped);

			write_all(&(struct iovec){ text, (size_t)len }, 1);
		}
		if (ending)
			return NULL;
		if (read(state.wake, &n, sizeof n) < 0 && errno != EINTR)
			return NULL;
	}
}

void
gac_log_start(bool keep_stderr)
{
	sigset_t all, old;

	gac_log_early_end();
	atomic_store(&state.keep_stderr, keep_stderr);
	state.wake = eventfd(0, EFD_CLOEXEC);
	if (state.wake < 0)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&state.thread, NULL, writer, NULL) == 0) {
		pthread_setname_np(state.thread, "log");
		atomic_store_explicit(&state.running, true, memory_order_release);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void
gac_log_stop(void)
{
	uint64_t one = 1;

	if (!atomic_load(&state.running))
		return;
	atomic_store(&state.keep_stderr, true);
	atomic_store(&state.running, false);
	atomic_store(&state.ending, true);
	if (write(state.wake, &one, sizeof one) == (ssize_t)sizeof one)
		pthread_join(state.thread, NULL);
	write_lines(take());
	atomic_store(&state.ending, false);
	close(state.wake);
	state.wake = -1;
}
