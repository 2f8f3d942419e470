/*
 * window.c - the results of the last minute, or whatever a throttle_program says.
 *
 * A ring of THR_SLICES slices: what is looked at is a whole window long, and up to a
 * slice less.  Nothing happens when time passes: slices that are over are taken out of
 * the sum when the next result comes or somebody asks.
 */
#include <string.h>

#include "backoff.h"

void
thr_window_begin(struct thr_window *w, uint64_t window_us, uint64_t now_us)
{
	memset(w, 0, sizeof *w);
	w->slice_us = window_us / THR_SLICES;
	w->newest = now_us / w->slice_us;
	w->since_us = now_us;
}

static void
move_on(struct thr_window *w, uint64_t now_us)
{
	uint64_t slice = now_us / w->slice_us;

	if (slice - w->newest >= THR_SLICES) {
		memset(w->slices, 0, sizeof w->slices);
		w->sum = (struct thr_counts){ 0, 0, 0 };
		w->newest = slice;
	}
	while (w->newest < slice) {
		struct thr_counts *old = &w->slices[++w->newest % THR_SLICES];

		w->sum.n -= old->n;
		w->sum.failed -= old->failed;
		w->sum.deferred -= old->deferred;
		*old = (struct thr_counts){ 0, 0, 0 };
	}
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
	add(&w->sum, c);
}

struct thr_counts
thr_window_sum(struct thr_window *w, uint64_t now_us)
{
	move_on(w, now_us);
	return w->sum;
}

double
thr_window_seconds(const struct thr_window *w, uint64_t now_us)
{
	uint64_t begin = (now_us / w->slice_us - (THR_SLICES - 1)) * w->slice_us;
	double s;

	if (now_us / w->slice_us < THR_SLICES || begin < w->since_us)
		begin = w->since_us;
	s = (double)(now_us - begin) / 1e6;
	return s > 1 ? s : 1;
}

uint64_t
thr_window_empty_at(const struct thr_window *w)
{
	return w->slice_us == 0 || w->sum.n == 0 ? 0 : (w->newest + THR_SLICES) * w->slice_us;
}
