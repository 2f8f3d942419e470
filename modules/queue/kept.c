/*
 * kept.c - attempts that the limits of their throttle group keep from starting.
 *
 * Now and then the loop recalls what has been waiting in groups for longer than
 * connmaxout_after.  It comes home, modules are told of it (status connmaxout), and it is
 * routed and waits again; each once before each attempt of its envelope.  What reached the end of
 * its lifetime while it waited comes home too: then it has as long again for its last attempt to
 * start, or fails without one.
 */
#include "queue.h"

#define LOOKS 4u			/* within connmaxout_after */
#define LOOK_MIN_MS 250u
#define LOOK_MAX_MS 60000u

static _Atomic uint64_t limit_ms;

void
q_kept_limit(uint64_t ms)
{
	limit_ms = ms;
}

/* On the loops of groups. */
static bool
is_due(const struct ga_ticket *t, void *arg)
{
	uint64_t now = ga_mono_us() / 1000;
	bool long_kept = now >= t->since_ms + limit_ms;

	(void)arg;
	if ((t->flags & GA_TICKET_LAST_CHANCE) != 0)
		return long_kept;
	return now >= t->expires_ms || (long_kept && (t->flags & GA_TICKET_KEPT_TOLD) == 0);
}

static void
arm(struct q_loop *l)
{
	uint64_t ms = limit_ms / LOOKS;

	if (ms < LOOK_MIN_MS)
		ms = LOOK_MIN_MS;
	ga_timer_arm(l->kept_timer, ms < LOOK_MAX_MS ? ms : LOOK_MAX_MS, 0);
}

static void
look(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct q_loop *l = arg;

	(void)inst;
	if (l->draining)
		return;
	if (l->out != NULL)
		q_throttle->recall(w, is_due, NULL);
	arm(l);
}

void
q_kept_start(struct q_loop *l)
{
	l->kept_timer = ga_timer_new(q_inst, l->worker, look, l);
	arm(l);
}

void
q_kept_reloaded(struct q_loop *l)
{
	arm(l);
}

bool
q_kept_too_long(const struct q_attempt *a)
{
	const struct ga_ticket *t = &a->ticket;

	return !a->loop->draining && ga_mono_us() / 1000 >= t->since_ms + limit_ms &&
	    (t->flags & (GA_TICKET_KEPT_TOLD | GA_TICKET_LAST_CHANCE)) != GA_TICKET_KEPT_TOLD;
}
