/*
 * recover.c - what the spool held when the daemon started.
 *
 * The spool calls for each live message on its home loop, in slices.  Envelopes
 * come back as they were last recorded: waiting for their time, suspended, or
 * failed and kept.  A body stays on disk until its attempt.
 */
#include "queue.h"

static void
found(struct ga_worker *w, const struct ga_message *m, void *arg)
{
	struct q_loop *l = arg;
	uint32_t number;

	(void)w;
	if (q_nothing_left(m))
		return;
	/* mail that came in during recovery may have drawn the id of one not found yet */
	if (q_id_find(l, m->id) != 0)
		ga_log(q_inst, GA_WARN, "GA-QUE-0003", "two messages have the id %08x: both are delivered", m->id);
	number = q_message_new(l, m->id);
	q_message_fill(l, number, m);
	q_message_schedule(l, number, m, false);
}

static void
state(struct ga_worker *w, struct ga_str key, struct ga_str value, void *arg)
{
	(void)w;
	q_pause_kept(arg, key, value);
}

static void
end(struct ga_worker *w, void *arg)
{
	struct q_loop *l = arg;

	(void)w;
	l->recovered = true;
	q_pauses_recovered();
	ga_unhold(l->reading);
	l->reading = NULL;
	if (l->counts.messages > 0)
		ga_log(q_inst, GA_NOTICE, "GA-QUE-0002", "loop %u: %llu messages, %llu envelopes in the queue",
		    ga_worker_index(l->worker), (unsigned long long)l->counts.messages,
		    (unsigned long long)l->counts.envelopes);
}

void
q_recover(struct q_loop *l)
{
	struct ga_spool_recovery r = { found, end, state, l };

	/* a stop waits until what is on its way to this loop has come */
	l->reading = ga_hold(q_inst, "reading the spool");
	q_spool->recover(l->worker, &r);
}
