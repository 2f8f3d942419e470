/*
 * record.c - the flight recorder: the last lines of a session, in memory.
 *
 * Two buffers a session, lines behind each other.  When the newer one has as many lines as are asked
 * for it becomes the older one, and the older one is emptied: so the last lines are always there, and
 * nothing that has been written is looked at again, which would cost more than the rest, for it is not in
 * the processor's caches any more.  A buffer grows until it holds its lines, or to HALF_MAX octets.
 *
 * All buffers of the process together stay below log_smtp_on_failure_memory: a session that finds
 * no room keeps fewer lines, or none, and says so.
 *
 * Adding is what is paid for every line of every session: a copy.  Times are those of the loop
 * (ga_now_ms).  A record belongs to the loop of its session.
 */
#include "smtp_log.h"

#include <stdlib.h>
#include <string.h>

#define HALF_FIRST 1024u
#define HALF_MAX 65536u

static _Atomic uint64_t memory_limit, memory_used;

/* Before each line; not aligned.  Small, for it is much of what a short line costs. */
struct head {
	uint64_t id;
	uint32_t at_ms;			/* the low half: a line is younger than 49 days */
	uint16_t n;
	char mark;
};

void
slog_record_memory(uint64_t limit)
{
	atomic_store(&memory_limit, limit);
}

uint64_t
slog_record_used(void)
{
	return atomic_load(&memory_used);
}

static bool
reserve(uint64_t n)
{
	if (atomic_fetch_add(&memory_used, n) + n <= atomic_load_explicit(&memory_limit, memory_order_relaxed))
		return true;
	atomic_fetch_sub(&memory_used, n);
	return false;
}

static bool
grow(struct slog_half *h)
{
	uint32_t more = h->room > 0 ? h->room : HALF_FIRST;

	if (h->room + more > HALF_MAX || !reserve(more))
		return false;
	h->p = ga_xrealloc(h->p, h->room + more);
	h->room += more;
	return true;
}

static void
empty(struct slog_half *h)
{
	h->end = 0;
	h->lines = 0;
}

/* The newer half becomes the older one. */
static void
turn(struct slog_record *r)
{
	r->newer = !r->newer;
	empty(&r->half[r->newer]);
}

static bool
make_room(struct slog_half *h, uint32_t need)
{
	while (h->room - h->end < need && grow(h))
		;
	return h->room - h->end >= need;
}

void
slog_record_add(struct slog_record *r, unsigned most, const struct slog_recorded *line)
{
	uint32_t n = line->text.n < SLOG_TEXT ? (uint32_t)line->text.n : SLOG_TEXT;
	uint32_t need = (uint32_t)sizeof(struct head) + n;
	struct head head = { line->id, (uint32_t)line->at_ms, (uint16_t)n, line->mark };
	struct slog_half *h = &r->half[r->newer];

	if (h->lines >= most) {
		turn(r);
		h = &r->half[r->newer];
	}
	if (h->room - h->end < need && !make_room(h, need)) {
		r->short_of = true;	/* the older lines give way too early */
		turn(r);
		h = &r->half[r->newer];
		if (!make_room(h, need))
			return;
	}
	memcpy(h->p + h->end, &head, sizeof head);
	if (n > 0)
		memcpy(h->p + h->end + sizeof head, line->text.p, n);
	h->end += need;
	h->lines++;
}

static unsigned
all_lines(const struct slog_record *r)
{
	return r->half[0].lines + r->half[1].lines;
}

unsigned
slog_record_lines(const struct slog_record *r, unsigned most)
{
	return all_lines(r) < most ? all_lines(r) : most;
}

/* The line at *at, which is moved behind it. */
static struct slog_recorded
line_at(const struct slog_half *h, size_t *at, uint64_t now_ms)
{
	struct head head;
	struct slog_recorded line;

	memcpy(&head, h->p + *at, sizeof head);
	line = (struct slog_recorded){ head.id, now_ms - (uint32_t)((uint32_t)now_ms - head.at_ms), head.mark,
		{ h->p + *at + sizeof head, head.n } };
	*at += sizeof head + head.n;
	return line;
}

void
slog_record_each(const struct slog_record *r, unsigned most, uint64_t now_ms, slog_recorded_fn *fn, void *arg)
{
	unsigned skip = all_lines(r) - slog_record_lines(r, most);

	for (unsigned i = 0; i < 2; i++) {
		const struct slog_half *h = &r->half[i == 0 ? !r->newer : r->newer];

		for (size_t at = 0; at < h->end;) {
			struct slog_recorded line = line_at(h, &at, now_ms);

			if (skip > 0)
				skip--;
			else
				fn(&line, arg);
		}
	}
}

void
slog_record_clear(struct slog_record *r)
{
	empty(&r->half[0]);
	empty(&r->half[1]);
	r->short_of = false;
}

void
slog_record_free(struct slog_record *r)
{
	for (unsigned i = 0; i < 2; i++) {
		free(r->half[i].p);
		atomic_fetch_sub(&memory_used, r->half[i].room);
	}
	*r = (struct slog_record){ .newer = 0 };
}
