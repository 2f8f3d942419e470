/*
 * writer.c - the thread that writes all log directories.
 *
 * A round takes what waits for each directory and writes it with as few system calls as there are
 * files and IOV_MAX allow.  After a round that wrote something the thread gathers for a
 * moment before the next one, awake, so that busy writers neither wake it nor wait for it; when
 * nothing has come it sleeps until the next line.  A quiet log is written at once, a busy one
 * within GATHER_MS.
 *
 * A directory that cannot be written (full disk, removed, locked by a multilog) is tried again
 * after retry_ms; its lines wait, and the others' go on.  It is said once in the daemon's log, and
 * once when it is over; a line in the directory itself says how many were dropped meanwhile.
 */
#include "service_log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <greenarrow/loop.h>

#define GATHER_MS 10
#define END_SECONDS 10		/* for the disk, when the daemon stops */
#define BATCH 512		/* lines of one writev */

static struct {
	struct ga_inst *inst;
	unsigned retry_ms;
	pthread_t thread;
	int wake;			/* eventfd */
	int ended;			/* eventfd: the thread has done all it had to */
	_Atomic bool awake, ending;
} writer = { .wake = -1, .ended = -1 };

/* --- waking --- */

static void
ring(void)
{
	uint64_t one = 1;

	if (write(writer.wake, &one, sizeof one) < 0)
		return;		/* the counter is full: it is awake */
}

void
slog_writer_wake(void)
{
	if (!atomic_load(&writer.awake) && !atomic_exchange(&writer.awake, true))
		ring();
}

/* --- trouble --- */

static void
begin_trouble(struct ga_log_dir *d)
{
	const struct slog_store *s = &d->store;

	if (atomic_load(&d->trouble) == NULL)
		ga_log(writer.inst, GA_WARN, "GA-SLOG-0001", "log/%s is not written: %s: %s; its lines wait in memory",
		    d->name, s->failed, s->error == EWOULDBLOCK ? "another program has it" : strerror(s->error));
	atomic_store(&d->trouble, s->failed);
	d->retry_us = ga_mono_us() + writer.retry_ms * UINT64_C(1000);
}

static void
end_trouble(struct ga_log_dir *d)
{
	if (atomic_exchange(&d->trouble, NULL) != NULL)
		ga_log(writer.inst, GA_NOTICE, "GA-SLOG-0002", "log/%s is written again, %" PRIu64 " lines were dropped so far",
		    d->name, atomic_load(&d->in.dropped_total));
	d->retry_us = 0;
}

/* --- one directory --- */

static void
append(struct ga_log_dir *d, struct slog_line *line)
{
	*d->last = line;
	while (*d->last != NULL)
		d->last = &(*d->last)->next;
}

/* The lines that go into this file and into one writev; 0: the first goes into the next file. */
static int
gather(const struct ga_log_dir *d, struct iovec *v)
{
	uint64_t octets = 0;
	int n = 0;

	for (struct slog_line *line = d->first; line != NULL && n < BATCH; line = line->next) {
		size_t skip = n == 0 ? d->begun : 0;

		if (skip == 0 && !slog_store_fits(&d->store, octets, line->n))
			break;
		v[n++] = (struct iovec){ line->text + skip, line->n - skip };
		octets += line->n - skip;
		if (slog_store_full(&d->store, octets))
			break;
	}
	return n;
}

/* These octets are in the file. */
static void
written(struct ga_log_dir *d, size_t octets)
{
	uint64_t lines = 0;

	atomic_fetch_add_explicit(&d->octets, octets, memory_order_relaxed);
	octets += d->begun;
	while (d->first != NULL && octets >= d->first->n) {
		struct slog_line *line = d->first;

		octets -= line->n;
		d->first = line->next;
		slog_inbox_done(&d->in, line);
		lines++;
	}
	if (d->first == NULL)
		d->last = &d->first;
	d->begun = octets;
	atomic_fetch_add_explicit(&d->lines, lines, memory_order_relaxed);
}

/* The next line goes into a file that begins as it is to; false: into another one than this. */
static bool
begins_well(struct ga_log_dir *d)
{
	struct slog_head *head = atomic_load_explicit(&d->head, memory_order_acquire);
	struct slog_line *line;

	if (d->store.octets > 0) {
		d->head_waits = false;
		return d->begun > 0 || head == d->headed;
	}
	d->begun = 0;			/* what was begun in a file that is gone */
	if (d->head_waits)
		return true;
	d->headed = head;
	if (head != NULL) {
		line = slog_inbox_own(&d->in, false, (struct ga_str){ head->text, head->n });
		line->next = d->first;
		d->first = line;
		d->head_waits = true;
	}
	return true;
}

/* All that was taken.  False: trouble, the rest waits. */
static bool
write_lines(struct ga_log_dir *d)
{
	struct iovec v[BATCH];

	while (d->first != NULL) {
		size_t done;
		int n;

		if (!slog_store_ready(&d->store))
			return false;
		if (!begins_well(d)) {
			slog_store_rotate(&d->store);
			continue;
		}
		n = gather(d, v);
		if (n == 0) {
			slog_store_rotate(&d->store);
			continue;
		}
		done = slog_store_write(&d->store, v, n);
		if (done == 0)
			return false;
		written(d, done);
		if (d->begun == 0 && slog_store_full(&d->store, 0))
			slog_store_rotate(&d->store);
	}
	return true;
}

static void
say_dropped(struct ga_log_dir *d, uint64_t n)
{
	char text[96];
	int len = snprintf(text, sizeof text, "service_log: %" PRIu64 " lines were dropped here, there was no room for them", n);

	append(d, slog_inbox_own(&d->in, true, (struct ga_str){ text, (size_t)len }));
}

/* What was dropped is said behind what was not. */
static bool
write_all(struct ga_log_dir *d)
{
	uint64_t dropped;

	if (!slog_store_ready(&d->store) || !write_lines(d))
		return false;
	dropped = atomic_exchange(&d->in.dropped, 0);
	if (dropped == 0)
		return true;
	say_dropped(d, dropped);
	return write_lines(d);
}

/* True: lines have come, so that more are likely to. */
static bool
serve(struct ga_log_dir *d, bool ending)
{
	struct slog_line *taken = slog_inbox_take(&d->in);

	if (taken != NULL)
		append(d, taken);
	if (d->retry_us != 0 && ga_mono_us() < d->retry_us && !ending)
		return taken != NULL;
	d->store.limits = (struct slog_limits){ atomic_load(&d->size), atomic_load(&d->files) };
	if (write_all(d))
		end_trouble(d);
	else
		begin_trouble(d);
	return taken != NULL;
}

/* --- the thread --- */

static bool
serve_all(bool ending)
{
	bool any = false;

	for (struct ga_log_dir *d = slog_dirs_first(); d != NULL; d = slog_dirs_next(d))
		any |= serve(d, ending);
	return any;
}

/* For poll: until the first directory that is in trouble is tried again. */
static int
until_retry(void)
{
	uint64_t first = 0, now;

	for (struct ga_log_dir *d = slog_dirs_first(); d != NULL; d = slog_dirs_next(d))
		if (d->retry_us != 0 && (first == 0 || d->retry_us < first))
			first = d->retry_us;
	if (first == 0)
		return -1;
	now = ga_mono_us();
	return first > now ? (int)((first - now) / 1000 + 1) : 0;
}

/* A line, or a directory that is to be made. */
static bool
has_come(const struct ga_log_dir *d)
{
	return atomic_load(&d->in.newest) != NULL || (d->store.step == SLOG_OPEN && d->retry_us == 0);
}

/* Between "I sleep" and sleeping something may have come from one who thought us awake. */
static bool
may_sleep(void)
{
	for (struct ga_log_dir *d = slog_dirs_first(); d != NULL; d = slog_dirs_next(d))
		if (has_come(d))
			return false;
	return !atomic_load(&writer.ending);
}

static void
wait_for_more(bool busy)
{
	struct pollfd wake = { .fd = writer.wake, .events = POLLIN };
	uint64_t n;

	if (busy)
		poll(&wake, 1, GATHER_MS);
	else {
		atomic_store(&writer.awake, false);
		if (may_sleep())
			poll(&wake, 1, until_retry());
		atomic_store(&writer.awake, true);
	}
	if ((wake.revents & POLLIN) != 0 && read(writer.wake, &n, sizeof n) < 0)
		return;
}

static void
end_all(void)
{
	uint64_t lost = 0;

	for (struct ga_log_dir *d = slog_dirs_first(); d != NULL; d = slog_dirs_next(d)) {
		slog_store_close(&d->store, d->begun);
		lost += atomic_load(&d->in.dropped);
		while (d->first != NULL) {
			struct slog_line *line = d->first;

			d->first = line->next;
			slog_inbox_done(&d->in, line);
			lost++;
		}
	}
	if (lost > 0)
		ga_log(writer.inst, GA_WARN, "GA-SLOG-0003", "%" PRIu64 " lines of log directories are lost: they could not be written at the end", lost);
}

static void *
run(void *arg)
{
	(void)arg;
	while (!atomic_load(&writer.ending))
		wait_for_more(serve_all(false));
	serve_all(true);
	end_all();
	eventfd_write(writer.ended, 1);
	return NULL;
}

bool
slog_writer_start(struct ga_inst *inst, unsigned retry_ms)
{
	sigset_t all, old;
	int error;

	writer.inst = inst;
	writer.retry_ms = retry_ms;
	writer.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	writer.ended = eventfd(0, EFD_CLOEXEC);
	if (writer.wake < 0 || writer.ended < 0)
		return false;
	atomic_store(&writer.awake, true);
	atomic_store(&writer.ending, false);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&writer.thread, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error == 0)
		pthread_setname_np(writer.thread, "service_log");
	errno = error;
	return error == 0;
}

bool
slog_writer_stop(void)
{
	struct pollfd ended = { .fd = writer.ended, .events = POLLIN };
	int n;

	atomic_store(&writer.ending, true);
	ring();
	do
		n = poll(&ended, 1, END_SECONDS * 1000);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	pthread_join(writer.thread, NULL);
	close(writer.wake);
	close(writer.ended);
	writer.wake = writer.ended = -1;
	return true;
}
