/*
 * backoff.h - what Dynamic Delivery keeps of a group; for throttle.c, backoff.c, window.c.
 *
 * All of it belongs to the group's home loop.
 */
#ifndef THROTTLE_BACKOFF_H
#define THROTTLE_BACKOFF_H

#include "throttle.h"

#define THR_SLICES 20
#define THR_REASON_MAX 200

/* Results: those that are neither failed nor deferred succeeded. */
struct thr_counts {
	uint32_t n, failed, deferred;
};
/* The results of the last time: a ring of slices. */
struct thr_window {
	uint64_t slice_us;		/* how long one is; 0: nothing is counted */
	uint64_t newest;		/* its number: time / slice_us */
	uint64_t since_us;		/* counting began then */
	struct thr_counts sum, slices[THR_SLICES];
};

struct thr_program {
	double failure_rate, deferral_rate;	/* per cent; 0: any */
	uint32_t minimum;
	uint64_t window_us;
};

enum thr_state { THR_NORMAL, THR_BACKOFF };

struct thr_backoff {
	enum thr_state state;
	bool has_program;		/* else it is here for a backoff that a reply began */
	struct thr_program program;
	struct thr_window window;
	struct thr_limits in_force;	/* but in THR_NORMAL */
	struct thr_limits used;		/* when the backoff began: what limits that are not
					   written are a share of */
	uint64_t began_us, until_us;
	bool told_until;		/* by who began it, not by return_after */
	char reason[THR_REASON_MAX];
	struct ga_timer *timer;		/* at until_us; NULL: there was no backoff yet */
};

/* window.c */
void thr_window_begin(struct thr_window *, uint64_t window_us, uint64_t now_us);
void thr_window_add(struct thr_window *, struct thr_counts, uint64_t now_us);
struct thr_counts thr_window_sum(struct thr_window *, uint64_t now_us);
double thr_window_seconds(const struct thr_window *, uint64_t now_us);	/* that it covers; at least 1 */
uint64_t thr_window_empty_at(const struct thr_window *);	/* 0: it is */

#endif
