/*
 * backoff.c - Dynamic Delivery: a group whose mail is not taken tries less for a while.
 *
 * ended() feeds the results of groups that have a throttle_program into a window
 * (window.c).  When the share of failures or deferrals in it comes to what the program
 * says, or a reply or an operator says so (begin_backoff), lower limits are in force
 * until one timer ends them.  What is written stays in the group: limits in force are
 * made of it anew when settings change.
 *
 * All on the group's home loop.  A group in backoff is not freed; one that is freed has
 * nothing in its window.
 */
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backoff.h"

#include <greenarrow/mail.h>

/* --- settings --- */

bool
thr_backoff_check(struct ga_diag *diag)
{
	struct ga_snapshot *snap = ga_snapshot_current();
	bool good = true;

	for (const struct ga_object *o = ga_object_first(snap, NULL, "throttle_program"); o != NULL;
	    o = ga_object_next(o)) {
		const struct throttle_conf *c = ga_settings_conf(ga_snapshot_object(snap, o), "throttle");

		if (c->failure_rate > 0 || c->deferral_rate > 0)
			continue;
		ga_diag_error(diag, "throttle_program", "%s: throttle_program \"%.*s\" needs a failure_rate "
		    "or a deferral_rate above 0%%", ga_object_where(o), (int)ga_object_name(o).n,
		    ga_object_name(o).p);
		good = false;
	}
	ga_snapshot_unref(snap);
	return good;
}

/* 0 without a program: then nothing is counted. */
static uint64_t
window_of(const struct ga_group *g)
{
	return g->terms->has_program ? g->terms->program.window_us : 0;
}

static struct thr_backoff *
have(struct ga_group *g)
{
	if (g->backoff == NULL) {
		g->backoff = ga_xcalloc(1, sizeof *g->backoff);
		thr_window_begin(&g->backoff->window, window_of(g), ga_mono_us());
	}
	return g->backoff;
}

/* --- limits --- */

static double
lower(struct ga_amount amount, double written, double used)
{
	double base = written > 0 ? written : used;
	double n = amount.percent ? base * amount.n / 100 : amount.n;

	return n > 0 && (written == 0 || n < written) ? n : written;
}

static void
set_limits(struct ga_group *g)
{
	struct thr_backoff *b = g->backoff;
	const struct thr_terms *t = g->terms;
	double n = lower(t->plan.connections, t->written.connections, b->used.connections);

	b->in_force.connections = n > 0 ? (unsigned)fmin(fmax(floor(n), 1), 1e9) : 0;
	b->in_force.rate = lower(t->plan.rate, t->written.rate, b->used.rate);
	/* what was taken says how much that is only when it was the rate that was too high */
	if (t->written.rate <= 0 && t->plan.rate.percent && thr_refused(b))
		b->in_force.rate = 0;
}

/* What the host has taken, not what it was offered, where that is known: it may be far more. */
static double
measured_rate(const struct ga_group *g, uint64_t now)
{
	struct thr_backoff *b = g->backoff;
	struct thr_counts sum;

	if (!g->terms->has_program)
		return thr_recent_rate(&g->recent, now);
	sum = thr_window_sum(&b->window, now);
	if (sum.n == 0)
		return 0;
	return fmax(sum.n - sum.deferred, 1) / thr_window_seconds(&b->window, now);
}

static const char *
figures(const struct thr_limits *l, char *to, size_t room)
{
	char connections[24] = "any number of", rate[40] = "any rate";

	if (l->connections != 0)
		snprintf(connections, sizeof connections, "%u", l->connections);
	if (l->rate > 0)
		snprintf(rate, sizeof rate, "%.4g/s", l->rate);
	snprintf(to, room, "%s connections, %s", connections, rate);
	return to;
}

/* --- begin and end --- */

static bool
is_gradual(const struct ga_group *g)
{
	return g->terms->has_program && g->terms->program.gradual;
}

static void
over(struct ga_group *g, uint64_t now)
{
	const struct thr_program *p = &g->terms->program;
	struct thr_backoff *b = g->backoff;

	if (b->state == THR_BACKOFF && is_gradual(g))
		thr_recover_begin(g, now);
	else if (b->state == THR_BACKOFF || thr_recover_tick(g, now)) {
		thr_backoff_end(g);
		return;
	}
	thr_limits_apply(g);
	b->until_us = now + 1000 * p->interval_ms;
	if (g->waiting == 0 && g->in_flight == 0)
		b->until_us = now + p->window_us;	/* if nothing comes it is the end */
}

/* The timer is the group's: it may have fired for something else, or before a backoff
 * that has become longer is over. */
void
thr_backoff_woken(struct ga_group *g)
{
	uint64_t now = ga_mono_us();

	if (thr_in_backoff(g) && g->backoff->until_us <= now)
		over(g, now);
	if (thr_in_backoff(g))
		thr_wake_at(g, g->backoff->until_us);
}

static void
tell_begin(const struct ga_group *g, const char *reason, uint64_t now)
{
	const struct thr_backoff *b = g->backoff;
	char date[GA_DATE_ROOM], force[80], written[80];

	ga_log(thr_inst, GA_NOTICE, "GA-THR-0001", "group %s: backoff until %s: %s; %s instead of %s",
	    g->key, ga_date_rfc3339(ga_wall_ms() + (b->until_us - now) / 1000, date), reason,
	    figures(&b->in_force, force, sizeof force),
	    figures(&g->terms->written, written, sizeof written));
}

static void
keep_reason(struct thr_backoff *b, const char *reason)
{
	size_t n = strnlen(reason, THR_REASON_MAX);

	free(b->reason);
	b->reason = ga_xcalloc(1, n + 1);
	memcpy(b->reason, reason, n);
}

/* One that has begun already may last longer, but its limits are what they are: what is
 * used now is the backoff's own work. */
static void
begin(struct ga_group *g, const char *reason, uint64_t ms)
{
	struct thr_backoff *b = have(g);
	uint64_t now = ga_mono_us(), until = now + 1000 * (ms > 0 ? ms : g->terms->plan.return_ms);

	if (b->state == THR_BACKOFF) {
		if (until <= b->until_us)
			return;
		b->until_us = until;
		b->told_until = ms > 0;
		thr_wake_at(g, until);
		return;
	}
	b->used = (struct thr_limits){ g->connections, measured_rate(g, now) };
	if (b->state == THR_NORMAL)
		atomic_fetch_add(&thr_loop(g->home)->backoffs, 1);
	b->state = THR_BACKOFF;
	b->began_us = now;
	b->until_us = until;
	b->told_until = ms > 0;
	keep_reason(b, reason);
	set_limits(g);
	thr_limits_apply(g);
	thr_wake_at(g, until);
	tell_begin(g, reason, now);
	thr_pump_soon(g);		/* saved connections beyond the limit go */
}

/* In recovery it is a word about the level tried, like a deferral. */
void
thr_backoff_begin(struct ga_group *g, const char *reason, uint64_t ms)
{
	if (g->backoff != NULL && g->backoff->state == THR_RECOVERY)
		g->backoff->recovery.matched = true;
	else
		begin(g, reason, ms);
}

bool
thr_backoff_end(struct ga_group *g)
{
	struct thr_backoff *b = g->backoff;
	uint64_t now = ga_mono_us();
	char took[32], written[80];

	if (!thr_in_backoff(g))
		return false;
	b->state = THR_NORMAL;
	atomic_fetch_sub(&thr_loop(g->home)->backoffs, 1);
	thr_window_begin(&b->window, window_of(g), now);
	thr_limits_apply(g);
	ga_log(thr_inst, GA_NOTICE, "GA-THR-0002", "group %s: backoff has ended after %s (%s); %s again",
	    g->key, thr_duration((now - b->began_us) / 1000, took, sizeof took), b->reason,
	    figures(&g->terms->written, written, sizeof written));
	free(b->reason);
	b->reason = NULL;
	thr_pump_soon(g);
	return true;
}

/* A recovery looks at what is written with each step, but not at whether it is one still. */
void
thr_backoff_settings(struct ga_group *g)
{
	struct thr_backoff *b = g->backoff;

	if (b == NULL)
		return;
	if (!thr_window_is(&b->window, window_of(g)))
		thr_window_begin(&b->window, window_of(g), ga_mono_us());
	if (b->state == THR_RECOVERY && !is_gradual(g))
		thr_backoff_end(g);
	if (b->state != THR_BACKOFF)
		return;
	set_limits(g);
	if (!b->told_until) {
		b->until_us = b->began_us + 1000 * g->terms->plan.return_ms;
		thr_wake_at(g, b->until_us);
	}
}

/* --- results --- */

/* What the host had no part in says nothing about it. */
static struct thr_counts
count(const struct ga_ticket *t, unsigned n)
{
	struct thr_counts c = { 0, 0, 0 };

	for (; t != NULL && n > 0; t = t->next, n--) {
		bool deferred = t->result == GA_RESULT_DEFERRAL, failed = t->result == GA_RESULT_FAILURE;

		if (t->result != GA_RESULT_SUCCESS && !((deferred || failed) && t->stage != GA_AT_NOTHING))
			continue;
		c.n++;
		c.deferred += deferred;
		c.failed += failed;
	}
	return c;
}

#define STAGES_MAX 1000u		/* deferrals whose stage is remembered */

/* Where deferrals come from: of old ones little is left. */
static void
note_stage(struct thr_backoff *b, const struct ga_ticket *t, uint32_t deferred)
{
	bool refused = t->stage == GA_AT_CONNECT || t->stage == GA_AT_GREETING;
	uint16_t *where = refused ? &b->refused : &b->later;

	if (deferred == 0)
		return;
	if (thr_window_sum(&b->window, ga_mono_us()).deferred == 0)
		b->refused = b->later = 0;
	if (b->refused + b->later >= STAGES_MAX) {
		b->refused /= 2;
		b->later /= 2;
	}
	*where = (uint16_t)(*where + (deferred < STAGES_MAX ? deferred : STAGES_MAX));
}

static bool
reached(double rate, uint32_t some, uint32_t n)
{
	return rate > 0 && 100.0 * some >= rate * n;
}

static void
judge(struct ga_group *g, struct thr_counts sum)
{
	const struct thr_program *p = &g->terms->program;
	bool deferral = reached(p->deferral_rate, sum.deferred, sum.n);
	char reason[THR_REASON_MAX], window[32];

	if (sum.n < p->minimum || (!deferral && !reached(p->failure_rate, sum.failed, sum.n)))
		return;
	snprintf(reason, sizeof reason, "%s: %" PRIu32 " of %" PRIu32 " recipients within %s",
	    deferral ? "deferral_rate" : "failure_rate", deferral ? sum.deferred : sum.failed, sum.n,
	    thr_duration(p->window_us / 1000, window, sizeof window));
	begin(g, reason, 0);
}

void
thr_backoff_feed(struct ga_group *g, const struct ga_ticket *t, unsigned n)
{
	struct thr_counts c = count(t, n);
	struct thr_backoff *b;

	if (c.n == 0)
		return;
	b = have(g);
	note_stage(b, t, c.deferred);
	thr_window_add(&b->window, c, ga_mono_us());
	if (b->state == THR_RECOVERY)
		thr_recover_feed(g, t, n);
	/* the first window of a recovery is its own to judge */
	if (b->state == THR_BACKOFF || (b->state == THR_RECOVERY &&
	    ga_mono_us() - b->recovery.began_us < g->terms->program.window_us))
		return;
	if (c.deferred + c.failed > 0)
		judge(g, thr_window_sum(&b->window, ga_mono_us()));
}

/* --- what others ask --- */

bool
thr_in_backoff(const struct ga_group *g)
{
	return g->backoff != NULL && g->backoff->state != THR_NORMAL;
}

const char *
thr_state(const struct ga_group *g)
{
	static const char *const names[] = { [THR_NORMAL] = "normal", [THR_BACKOFF] = "backoff",
		[THR_RECOVERY] = "recovery" };

	return names[g->backoff != NULL ? g->backoff->state : THR_NORMAL];
}

const char *
thr_backoff_reason(const struct ga_group *g)
{
	return thr_in_backoff(g) ? g->backoff->reason : NULL;
}

uint64_t
thr_backoff_began(const struct ga_group *g)
{
	return thr_in_backoff(g) ? g->backoff->began_us : 0;
}

uint64_t
thr_backoff_until(const struct ga_group *g)
{
	return thr_in_backoff(g) ? g->backoff->until_us : 0;
}

bool
thr_backoff_keeps(const struct ga_group *g)
{
	return thr_in_backoff(g);
}

uint64_t
thr_backoff_neutral_at(const struct ga_group *g)
{
	return g->backoff == NULL ? 0 : thr_window_empty_at(&g->backoff->window);
}

void
thr_backoff_free(struct ga_group *g)
{
	if (g->backoff == NULL)
		return;
	free(g->backoff->reason);
	free(g->backoff);
	g->backoff = NULL;
}
