/*
 * recover.c - recovery gradual: how limits rise again after a backoff.
 *
 * Two limits, told apart by where deferrals come: while connecting, the number of
 * connections is too high, later the rate.  Each interval is judged: a limit that held
 * mail back rises a step, by 5 % of the limit as written, or by 1 % near a level that
 * failed before.  When more than 2 % are deferred the rate falls to 97 % of what was
 * taken in the interval.  Connections fall as soon as one is refused, and the next one
 * more is tried after a number of intervals that doubles: a probe costs one refusal.
 *
 * Called by backoff.c, on the group's home loop.
 */
#include <math.h>

#include "backoff.h"

#define MUCH 0.02		/* share of deferrals that is too much */
#define USUAL_MAX 0.2		/* more is never taken for what is deferred at any rate */
#define IN_VAIN 3
#define NEAR 0.9		/* of the level that failed */
#define PATIENCE_MAX 32u

static void
next_interval(struct thr_backoff *b, uint64_t now)
{
	struct thr_recovery *r = &b->recovery;

	r->since_us = now;
	r->n = r->taken = r->rate_deferred = r->connect_deferred = 0;
	r->matched = false;
	b->held = 0;
}

/* Wraps after 49 days: for differences only. */
static uint32_t
ms(uint64_t us)
{
	return (uint32_t)(us / 1000);
}

/* The last window of the backoff is judged like an interval: its level may be too high. */
void
thr_recover_begin(struct ga_group *g, uint64_t now)
{
	struct thr_backoff *b = g->backoff;
	struct thr_counts sum = thr_window_sum(&b->window, now);
	double taken = (sum.n - sum.deferred) / thr_window_seconds(&b->window, now);

	b->state = THR_RECOVERY;
	b->recovery = (struct thr_recovery){ .began_us = now, .rate_held_ms = ms(now),
		.connections_held_ms = ms(now), .patience = 1 };
	if (sum.n > 0 && sum.deferred > MUCH * sum.n && taken > 0 && !thr_refused(b) &&
	    (b->in_force.rate == 0 || taken < b->in_force.rate)) {
		b->in_force.rate = 0.97 * taken;
		b->recovery.rate_failed = taken;
	}
	thr_window_begin(&b->window, g->terms->program.window_us, now);
	next_interval(b, now);
}

/* --- connections --- */

/* A generation of refusals, or the first after a probe. */
static void
refused(struct ga_group *g)
{
	struct thr_backoff *b = g->backoff;
	struct thr_recovery *r = &b->recovery;
	unsigned now = b->in_force.connections, others = g->connections > 1 ? g->connections - 1 : 1;
	bool probe = r->connections_failed != 0 && now >= r->connections_failed;

	if (now == 0)
		now = g->connections;
	r->fewest = r->refusals == 0 || others < r->fewest ? others : r->fewest;
	if (++r->refusals < now && !probe)
		return;
	r->connections_failed = now;
	now = (3 * now + 3) / 4 < now - 1 ? (3 * now + 3) / 4 : now - 1;
	b->in_force.connections = r->fewest < now ? r->fewest : now > 0 ? now : 1;
	r->connections_failed = b->in_force.connections + 1;
	r->wait = r->patience;
	r->patience = r->patience < PATIENCE_MAX ? (uint8_t)(2 * r->patience) : PATIENCE_MAX;
	r->refusals = 0;
	thr_limits_apply(g);
}

static void
raise_connections(struct ga_group *g, struct thr_backoff *b)
{
	struct thr_recovery *r = &b->recovery;
	unsigned written = g->terms->written.connections, base = written != 0 ? written : b->used.connections;
	unsigned step = base / 20 > 1 ? base / 20 : 1, n = b->in_force.connections;

	if (r->connections_failed != 0 && n >= r->connections_failed) {
		r->connections_failed = 0;	/* more than it works now */
		r->patience = 1;
	}
	if (r->wait > 0) {
		r->wait--;
		return;
	}
	if (r->connections_failed != 0)
		step = 1;
	b->in_force.connections = written != 0 && n + step > written ? written : n + step;
}

/* --- rate --- */

static void
raise_rate(struct ga_group *g, struct thr_backoff *b)
{
	struct thr_recovery *r = &b->recovery;
	double written = g->terms->written.rate, base = written > 0 ? written : b->used.rate;
	double now = b->in_force.rate, step = fmin(0.05 * fmax(base, written > 0 ? 0 : now), 0.2 * now);

	if (r->rate_failed > 0 && now > 1.1 * r->rate_failed)
		r->rate_failed = 0;
	if (r->rate_failed > 0 && now >= NEAR * r->rate_failed)
		step = 0.01 * r->rate_failed;
	else if (r->rate_failed > 0)
		step = fmin(step, NEAR * r->rate_failed - now + 1e-9);
	now += step;
	b->in_force.rate = written > 0 && now > written ? written : now;
}

static bool
judge_rate(struct ga_group *g, struct thr_backoff *b, double seconds)
{
	struct thr_recovery *r = &b->recovery;
	double share = r->n > 0 ? (double)r->rate_deferred / r->n : 0, before = r->share;

	r->share = 0;
	if (!(before > 0 && share > 0.8 * before && share < USUAL_MAX))
		r->in_vain = 0;
	else if (r->in_vain < IN_VAIN)
		r->in_vain++;
	if (r->in_vain == IN_VAIN || share < r->usual / 2)
		r->usual = (float)share;	/* falling has not helped: it is not the rate */
	if (!r->matched && (r->rate_deferred < 2 || share <= MUCH + r->usual)) {
		if ((b->held & THR_HELD_RATE) != 0 && share <= MUCH + r->usual)
			raise_rate(g, b);
		return r->rate_deferred == 0 || r->n >= 1 / MUCH;
	}
	if (r->taken > 0 || b->in_force.rate > 0) {
		double taken = fmax(r->taken, 1) / seconds;

		r->share = (float)share;
		r->rate_failed = taken;
		b->in_force.rate = 0.97 * taken;
	}
	return true;
}

/* --- an interval --- */

void
thr_recover_feed(struct ga_group *g, const struct ga_ticket *t, unsigned n)
{
	struct thr_recovery *r = &g->backoff->recovery;
	bool refusal = t->result == GA_RESULT_DEFERRAL &&
	    (t->stage == GA_AT_CONNECT || t->stage == GA_AT_GREETING);

	for (; t != NULL && n > 0; t = t->next, n--) {
		bool deferred = t->result == GA_RESULT_DEFERRAL && t->stage != GA_AT_NOTHING;

		if (t->result != GA_RESULT_SUCCESS && t->result != GA_RESULT_FAILURE && !deferred)
			continue;
		r->n++;
		r->taken += !deferred;
		r->rate_deferred += deferred && !refusal;
		r->connect_deferred += deferred && refusal;
	}
	if (refusal)
		refused(g);
}

static bool
done(double force, double written, uint32_t held_ms, uint64_t window_us, uint64_t now)
{
	return (written > 0 && (force == 0 || force >= written)) || ms(now) - held_ms >= window_us / 1000;
}

bool
thr_recover_tick(struct ga_group *g, uint64_t now)
{
	struct thr_backoff *b = g->backoff;
	struct thr_recovery *r = &b->recovery;

	if ((b->held & THR_HELD_RATE) != 0)
		r->rate_held_ms = ms(now);
	if ((b->held & THR_HELD_CONNECTIONS) != 0)
		r->connections_held_ms = ms(now);
	if (done(b->in_force.rate, g->terms->written.rate, r->rate_held_ms, g->terms->program.window_us, now) &&
	    done(b->in_force.connections, g->terms->written.connections, r->connections_held_ms,
	    g->terms->program.window_us, now))
		return true;
	if ((b->held & THR_HELD_CONNECTIONS) != 0 && r->connect_deferred == 0)
		raise_connections(g, b);
	if (r->connect_deferred == 0)
		r->refusals = 0;
	if (judge_rate(g, b, (double)(now - r->since_us) / 1e6))
		next_interval(b, now);
	return false;
}
