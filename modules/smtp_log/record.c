/*
 * record.c - the flight recorder: the last lines of a session, in memory.
 *
 * A buffer a session, a line behind the other, in which the oldest are dropped as new ones
 * come; it is moved to the front when its end is reached, and grows until it holds the lines
 * asked for, or RECORD_MAX octets.  All buffers of the process together stay below
 * log_smtp_on_failure_memory: a session that finds no room keeps fewer lines, or none, and says so.
 *
 * Adding is what is paid for every line of every session: a copy and a look at the clock.  A buffer
 * belongs to the loop of its session.
 */
#include "smtp_log.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_FIRST 2048u
#define RECORD_MAX 65536u

static _Atomic uint64_t memory_limit, memory_used;

/* Before each line; not aligned. */
struct head {
	uint64_t id, wall_ms;
	uint32_t n;
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

static struct head
head_at(const struct slog_record *r, size_t at)
{
	struct head h;

	memcpy(&h, r->p + at, sizeof h);
	return h;
}

static void
drop_first(struct slog_record *r)
{
	r->begin += sizeof(struct head) + head_at(r, r->begin).n;
	r->lines--;
}

static bool
grow(struct slog_record *r)
{
	size_t more = r->room > 0 ? r->room : RECORD_FIRST;

	if (r->room + more > RECORD_MAX || !reserve(more))
		return false;
	r->p = ga_xrealloc(r->p, r->room + more);
	r->room += more;
	return true;
}

static void
to_front(struct slog_record *r)
{
	if (r->begin == 0)
		return;
	memmove(r->p, r->p + r->begin, r->end - r->begin);
	r->end -= r->begin;
	r->begin = 0;
}

/* Room for need octets behind the last line, at the cost of the oldest when there is no other. */
static bool
make_room(struct slog_record *r, size_t need)
{
	/* moved only when that gives back a half: else each line would be moved for each */
	if (r->begin >= r->room / 2)
		to_front(r);
	while (r->room - r->end < need && grow(r))
		;
	while (r->room - (r->end - r->begin) < need && r->lines > 0) {
		drop_first(r);
		r->short_of = true;
	}
	if (r->room - r->end < need)
		to_front(r);
	return r->room - r->end >= need;
}

void
slog_record_add(struct slog_record *r, unsigned most, uint64_t id, char mark, struct ga_str text)
{
	struct head h = { id, ga_wall_ms(), (uint32_t)(text.n < SLOG_TEXT ? text.n : SLOG_TEXT), mark };

	while (r->lines >= most)
		drop_first(r);
	if (r->room - r->end < sizeof h + h.n && !make_room(r, sizeof h + h.n)) {
		r->short_of = true;
		return;
	}
	memcpy(r->p + r->end, &h, sizeof h);
	if (h.n > 0)
		memcpy(r->p + r->end + sizeof h, text.p, h.n);
	r->end += sizeof h + h.n;
	r->lines++;
}

bool
slog_record_next(const struct slog_record *r, size_t *at, struct slog_recorded *line)
{
	struct head h;

	if (r->begin + *at >= r->end)
		return false;
	h = head_at(r, r->begin + *at);
	*line = (struct slog_recorded){ h.id, h.wall_ms, h.mark,
		{ r->p + r->begin + *at + sizeof h, h.n } };
	*at += sizeof h + h.n;
	return true;
}

void
slog_record_clear(struct slog_record *r)
{
	r->begin = r->end = 0;
	r->lines = 0;
	r->short_of = false;
}

void
slog_record_free(struct slog_record *r)
{
	free(r->p);
	if (r->room > 0)
		atomic_fetch_sub(&memory_used, r->room);
	*r = (struct slog_record){ 0 };
}
