/*
 * backoff.h - what Dynamic Delivery keeps of a group; for throttle.c, backoff.c, window.c.
 *
 * All of it belongs to the group's home loop.
 */
#ifndef THROTTLE_BACKOFF_H
#define THROTTLE_BACKOFF_H

#include "throttle.h"

#define THR_SLICES 10
#define THR_REASON_MAX 100	/* of what is kept; the log has all of it */

/* Results: those that are neither failed nor deferred succeeded. */
struct thr_counts {
	uint32_t n, failed, deferred;
};
/* The results of the last time: a ring of slices. */
struct thr_window {
	uint64_t newest;		/* number of its slice: time / slice_ms */
	uint64_t since_us;		/* counting began then */
	uint32_t slice_ms;		/* how long one is; 0: nothing is counted */
	struct thr_counts slices[THR_SLICES];
};

enum thr_state { THR_NORMAL, THR_BACKOFF, THR_RECOVERY };

enum thr_held { THR_HELD_RATE = 1, THR_HELD_CONNECTIONS = 2 };
/* The way back, step by step: see recover.c. */
struct thr_recovery {
	uint64_t began_us, since_us;	/* it; this interval */
	uint32_t n, taken, rate_deferred, connect_deferred;	/* results in the interval */
	uint32_t rate_held_ms, connections_held_ms;	/* when the limit last was what held mail */
	double rate_failed;		/* the level that was too much; 0: not known */
	float share, usual;		/* deferred when the rate last fell; what does so at any rate */
	unsigned connections_failed, fewest;	/* as rate_failed; open at a refusal */
	unsigned refusals;		/* in this generation */
	uint8_t patience, wait;		/* intervals between two probes; until the next */
	uint8_t in_vain;		/* falls, one after another, that left the share as it was */
	bool matched;			/* a pattern said backoff */
};

/* There when results were counted or a backoff was begun. */
struct thr_backoff {
	uint8_t state;			/* enum thr_state */
	uint8_t held;			/* enum thr_held: what held mail back in this interval */
	bool told_until;		/* by who began it, not by return_after */
	uint16_t refused, later;	/* deferrals in the window, and some before it: while
					   connecting, after that */
	struct thr_window window;
	struct thr_limits in_force;	/* but in THR_NORMAL */
	struct thr_limits used;		/* when the backoff began: what limits that are not
					   written are a share of */
	uint64_t began_us, until_us;
	char *reason;			/* NULL in THR_NORMAL */
	struct thr_recovery recovery;
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
void thr_window_begin(struct thr_window *, uint64_t window_us, uint64_t now_us);	/* 0: counts nothing */
bool thr_window_is(const struct thr_window *, uint64_t window_us);
void thr_window_add(struct thr_window *, struct thr_counts, uint64_t now_us);
struct thr_counts thr_window_sum(struct thr_window *, uint64_t now_us);
double thr_window_seconds(const struct thr_window *, uint64_t now_us);	/* that it covers; at least 1 */
uint64_t thr_window_empty_at(const struct thr_window *);	/* 0: it is */

#endif
