/*
 * tell.c - modules are told of attempts that ended without a connection: hook attempt_done.
 *
 * Delivery tells of those that it was given.  What the route, a pause or the end of its
 * lifetime ended, and what limits keep from starting, is told of here, before it goes on
 * record.  Sender and recipient are not in memory after the first attempt: the message is
 * read back for it, and the envelope stays out meanwhile, so that nothing of it is gone
 * before it has been told.  Nobody listens: nothing is read.
 *
 * On the message's loop.
 */
#include "queue.h"

static void
tell_now(struct q_attempt *a)
{
	struct ga_message *m = a->ticket.message;
	struct ga_ev_attempt ev = ga_ticket_attempt(&a->ticket, m);
	struct ga_run run = { .worker = a->loop->worker, .settings = a->request.route->settings, .message = m,
		.object_id = ev.envelope_id };
	void (*then)(struct q_attempt *) = a->told;

	ga_run_hook(&run, GA_HOOK_attempt_done, &ev);
	a->told = NULL;
	then(a);
}

void
q_tell(struct q_attempt *a, void (*then)(struct q_attempt *))
{
	if (a->stopped || !GA_WANTED(ga_settings_plan(a->request.route->settings), attempt_done)) {
		then(a);
		return;
	}
	a->told = then;
	if (q_attempt_has_recipient(a))
		tell_now(a);
	else
		q_attempt_read(a, tell_now);
}

/* Told without addresses: it goes on record, and must not be missed. */
void
q_tell_stopping(struct q_attempt *a)
{
	tell_now(a);
}
