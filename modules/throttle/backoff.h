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
	bool gradual;
	uint64_t interval_ms;
};

enum thr_state { THR_NORMAL, THR_BACKOFF, THR_RECOVERY };

enum thr_held { THR_HELD_RATE = 1, THR_HELD_CONNECTIONS = 2 };
/* The way back, step by step: see recover.c. */
struct thr_recovery {
	uint64_t began_us, since_us;	/* it; this interval */
	uint32_t n, taken, rate_deferred, connect_deferred;	/* results in the interval */
	bool matched;			/* a pattern said backoff */
	uint64_t rate_held_us, connections_held_us;	/* when the limit last was what held mail */
	double share, usual;		/* deferred when the rate last fell; what does so at any rate */
	unsigned in_vain;		/* falls, one after another, that left the share as it was */
	double rate_failed;		/* the level that was too much; 0: not known */
	unsigned connections_failed, fewest;	/* the same; open at a refusal */
	unsigned refusals, patience, wait;	/* in this generation; intervals until the next probe */
};

struct thr_backoff {
	enum thr_state state;
	bool has_program;		/* else it is here for a backoff that a reply began */
	struct thr_program program;
	struct thr_window window;
	uint32_t refused, later;	/* deferrals in it, and some before it: while connecting, after that */
	struct thr_limits in_force;	/* but in THR_NORMAL */
	struct thr_limits used;		/* when the backoff began: what limits that are not
					   written are a share of */
	uint64_t began_us, until_us;
	bool told_until;		/* by who began it, not by return_after */
	char reason[THR_REASON_MAX];
	unsigned held;			/* enum thr_held: what held mail back in this interval */
	struct thr_recovery recovery;
	struct ga_timer *timer;		/* at until_us; NULL: there was no backoff yet */
};

/* What was deferred was so while connecting: a word about connections, not about the rate. */
static inline bool
thr_refused(const struct thr_backoff *b)
{
	return b->refused > b->later;
}

/* recover.c */
void thr_recover_begin(struct ga_group *, uint64_t now_us);
void thr_recover_feed(struct ga_group *, const struct ga_ticket *, unsigned n);
bool thr_recover_tick(struct ga_group *, uint64_t now_us);	/* true: it is normal again */

/* window.c */
void thr_window_begin(struct thr_window *, uint64_t window_us, uint64_t now_us);
void thr_window_add(struct thr_window *, struct thr_counts, uint64_t now_us);
struct thr_counts thr_window_sum(struct thr_window *, uint64_t now_us);
double thr_window_seconds(const struct thr_window *, uint64_t now_us);	/* that it covers; at least 1 */
uint64_t thr_window_empty_at(const struct thr_window *);	/* 0: it is */

#endif
