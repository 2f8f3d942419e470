/*
 * rate.c - rates, smooth: the generic cell rate algorithm.
 *
 * due_ns is when the next delivery would be due if all came evenly, step_ns apart; it
 * may come slack_ns earlier than that, and moves due_ns on by a step.  So no window of
 * time sees more than rate x window + burst, nothing is lost when a timer is late, and
 * 2/s, 120/min and 7200/hr are one limit.  A rate begins as if its burst were spent: a
 * group that is new, or was freed and made again, has one delivery at once and saves
 * up a burst only while it has nothing to send.
 *
 * Nanoseconds, because a step of 17,000/s is 58.8 us: rounded to 59 it would be wrong
 * by 0.3 %.
 */
#include <math.h>
#include <stdio.h>

#include "throttle.h"

#define NS_PER_S 1e9
#define STEP_MAX 1000000000000000000u		/* 31 years */

static uint64_t
times(uint64_t step_ns, uint64_t n)
{
	return n > 0 && step_ns > STEP_MAX / n ? STEP_MAX : step_ns * n;
}

/* Burst 0: a second's worth.  What is saved up, and how far the wait for the next one
 * has come, is carried over into the new limit. */
void
thr_rate_set(struct thr_rate *r, double per_second, uint64_t burst, uint64_t now_us)
{
	const struct thr_rate old = *r;
	uint64_t now = now_us * 1000, free_at = old.due_ns - old.slack_ns, saved;

	if (per_second <= 0) {
		*r = (struct thr_rate){ 0, 0, 0 };
		return;
	}
	if (burst == 0)
		burst = per_second >= 1 ? (uint64_t)fmin(per_second, 1e9) : 1;
	r->step_ns = (uint64_t)fmin(fmax(NS_PER_S / per_second, 1), (double)STEP_MAX);
	r->slack_ns = times(r->step_ns, burst - 1);
	r->due_ns = now + r->slack_ns;
	if (old.step_ns == 0)
		return;
	if (free_at > now) {
		r->due_ns += (uint64_t)(fmin((double)(free_at - now) / (double)old.step_ns, 1) *
		    (double)r->step_ns);
		return;
	}
	saved = (now - free_at) / old.step_ns;
	r->due_ns -= times(r->step_ns, saved < burst ? saved : burst - 1);
}

unsigned
thr_rate_allows(const struct thr_rate *r, unsigned most, uint64_t now_us)
{
	uint64_t now = now_us * 1000, due = r->due_ns > now ? r->due_ns : now, n;

	if (r->step_ns == 0)
		return most;
	if (due > now + r->slack_ns)
		return 0;
	n = (now + r->slack_ns - due) / r->step_ns + 1;
	return n < most ? (unsigned)n : most;
}

void
thr_rate_take(struct thr_rate *r, unsigned n, uint64_t now_us)
{
	uint64_t now = now_us * 1000;

	if (r->step_ns == 0)
		return;
	if (r->due_ns < now)
		r->due_ns = now;
	r->due_ns += times(r->step_ns, n);
}

void
thr_rate_give_back(struct thr_rate *r, unsigned n)
{
	r->due_ns -= times(r->step_ns, n);
}

uint64_t
thr_rate_when(const struct thr_rate *r)
{
	return r->step_ns == 0 || r->due_ns <= r->slack_ns ? 0 : (r->due_ns - r->slack_ns + 999) / 1000;
}

/* --- what was done --- */

#define SPAN_US 5000000u

/* The spans that are over have moved on. */
static struct thr_recent
recent_at(struct thr_recent r, uint64_t now_us)
{
	uint32_t span = (uint32_t)(now_us / SPAN_US);

	if (span == r.span + 1)
		return (struct thr_recent){ span, 0, r.now };
	return span == r.span ? r : (struct thr_recent){ span, 0, 0 };
}

void
thr_recent_add(struct thr_recent *r, unsigned n, uint64_t now_us)
{
	*r = recent_at(*r, now_us);
	r->now += n;
}

void
thr_recent_take_back(struct thr_recent *r, unsigned n)
{
	r->now -= n < r->now ? n : r->now;
}

/* Over the last 5 to 10 seconds. */
double
thr_recent_rate(const struct thr_recent *r, uint64_t now_us)
{
	struct thr_recent at = recent_at(*r, now_us);

	return ((double)at.now + at.before) * 1e6 / ((double)SPAN_US + (double)(now_us % SPAN_US));
}

/* --- in words --- */

/* Set from that rate, as thr_rate_set() rounds it. */
bool
thr_rate_is(const struct thr_rate *r, double per_second)
{
	struct thr_rate other = { 0, 0, 0 };

	thr_rate_set(&other, per_second, 1, 0);
	return other.step_ns == r->step_ns;
}

double
thr_rate_per_second(const struct thr_rate *r)
{
	return r->step_ns == 0 ? 0 : NS_PER_S / (double)r->step_ns;
}

const char *
thr_rate_text(const struct thr_rate *r, char to[THR_RATE_TEXT])
{
	static const struct { double s; const char *name; } units[] = {
		{ 1, "s" }, { 60, "min" }, { 3600, "hr" }
	};
	double each = (double)r->step_ns / NS_PER_S;
	unsigned i = 0;

	if (r->step_ns == 0) {
		snprintf(to, THR_RATE_TEXT, "0");
		return to;
	}
	while (i < 2 && units[i].s / each < 1)
		i++;
	snprintf(to, THR_RATE_TEXT, "%.6g/%s", units[i].s / each, units[i].name);
	return to;
}
