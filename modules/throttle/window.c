/*
 * window.c - the results of the last minute, or whatever a throttle_program says.
 *
 * A ring of THR_SLICES slices: what is looked at is a whole window long, and up to a
 * slice less.  Nothing happens when time passes: slices that are over are emptied when
 * the next result comes or somebody asks.  There is no sum of them: it would be more memory
 * in each of a hundred thousand groups, for ten additions.
 */
#include <string.h>

#include "backoff.h"

static uint64_t
slice_at(const struct thr_window *w, uint64_t now_us)
{
	return now_us / 1000 / w->slice_ms;
}

void
thr_window_begin(struct thr_window *w, uint64_t window_us, uint64_t now_us)
{
	memset(w, 0, sizeof *w);
	w->slice_ms = (uint32_t)(window_us / 1000 / THR_SLICES);
	if (w->slice_ms == 0)
		return;
	w->newest = slice_at(w, now_us);
	w->since_us = now_us;
}

bool
thr_window_is(const struct thr_window *w, uint64_t window_us)
{
	return w->slice_ms == window_us / 1000 / THR_SLICES;
}

static void
move_on(struct thr_window *w, uint64_t now_us)
{
	uint64_t slice = slice_at(w, now_us);

	if (slice - w->newest >= THR_SLICES) {
		memset(w->slices, 0, sizeof w->slices);
		w->newest = slice;
	}
	while (w->newest < slice)
		w->slices[++w->newest % THR_SLICES] = (struct thr_counts){ 0, 0, 0 };
}

static uint64_t
begin_of(const struct thr_window *w, uint64_t slice)
{
	return slice * w->slice_ms * 1000;
}

static void
add(struct thr_counts *to, struct thr_counts c)
{
	to->n += c.n;
	to->failed += c.failed;
	to->deferred += c.deferred;
}

void
thr_window_add(struct thr_window *w, struct thr_counts c, uint64_t now_us)
{
	move_on(w, now_us);
	add(&w->slices[w->newest % THR_SLICES], c);
}

struct thr_counts
thr_window_sum(struct thr_window *w, uint64_t now_us)
{
	struct thr_counts sum = { 0, 0, 0 };

	move_on(w, now_us);
	for (unsigned i = 0; i < THR_SLICES; i++)
		add(&sum, w->slices[i]);
	return sum;
}

double
thr_window_seconds(const struct thr_window *w, uint64_t now_us)
{
	uint64_t slice = slice_at(w, now_us), begin = begin_of(w, slice - (THR_SLICES - 1));
	double s;

	if (slice < THR_SLICES || begin < w->since_us)
		begin = w->since_us;
	s = (double)(now_us - begin) / 1e6;
	return s > 1 ? s : 1;
}

uint64_t
thr_window_empty_at(const struct thr_window *w)
{
	if (w->slice_ms == 0)
		return 0;
	for (unsigned i = 0; i < THR_SLICES; i++)
		if (w->slices[i].n > 0)
			return begin_of(w, w->newest + THR_SLICES);
	return 0;
}
