/*
 * attempt.c - what a message says of an attempt, for the hooks result and attempt_done.
 *
 * Called by whoever tells of an attempt, on its loop, once a recipient.  One walk over the
 * attributes finds them all; the event borrows from the message.
 */
#include "config.h"

#include <greenarrow/service/delivery.h>

#include "module/call.h"

static void
take_attribute(struct ga_ev_attempt *ev, unsigned key, struct ga_str value)
{
	struct ga_str *to;

	switch (key) {
	case GA_ATTR_MSGUID: to = &ev->msguid; break;
	case GA_ATTR_SEND_ID: to = &ev->send_id; break;
	case GA_ATTR_LIST_ID: to = &ev->list_id; break;
	case GA_ATTR_MAIL_CLASS: to = &ev->mail_class; break;
	case GA_ATTR_INSTANCE_ID: to = &ev->instance_id; break;
	case GA_ATTR_CLICK_TRACKING_ID: to = &ev->click_tracking_id; break;
	case GA_ATTR_FROM_ADDRESS: to = &ev->from_address; break;
	case GA_ATTR_FROM_DOMAIN: to = &ev->from_domain; break;
	default: return;
	}
	if (to->n == 0)			/* the first one counts */
		*to = value;
}

/* A message read back may hold fewer envelopes than it had. */
static struct ga_str
recipient(const struct ga_message *m, uint32_t index)
{
	if (index < m->nenvelopes && m->envelopes[index].index == index)
		return m->envelopes[index].recipient;
	for (uint32_t i = 0; i < m->nenvelopes; i++)
		if (m->envelopes[i].index == index)
			return m->envelopes[i].recipient;
	return (struct ga_str){ "", 0 };
}

void
ga_attempt_message(struct ga_ev_attempt *ev, const struct ga_message *m, uint32_t index)
{
	struct ga_str value;
	unsigned key;

	if (m == NULL)
		return;
	ev->sender = m->sender;
	ev->recipient = recipient(m, index);
	ev->size = m->body_size;
	ev->accepted_ms = m->accepted_ms;
	ev->not_synced = (m->flags & GA_MSG_NO_FSYNC) != 0;
	for (size_t pos = 0; ga_attr_next(m->attrs, &pos, &key, &value);)
		take_attribute(ev, key, value);
}

const struct ga_message *
ga_call_message(const struct ga_call *call)
{
	return call->run->message;
}

struct ga_ev_attempt
ga_ticket_attempt(const struct ga_ticket *t, const struct ga_message *m)
{
	const struct ga_route *r = t->route;
	struct ga_ev_attempt ev = { .envelope_id = t->envelope_id, .domain = r->domain, .code = t->code,
		.enhanced = ga_str_c(t->enhanced), .text = ga_str_c(t->text != NULL ? t->text : ""),
		.virtual_mta = r->virtual_mta, .group_key = r->group_key, .attempts = t->attempts + 1,
		.stage = (enum ga_attempt_stage)t->stage, .status = ga_ticket_status(t),
		.queue = t->attempts > 0 ? GA_QUEUE_DISK : (t->flags & GA_TICKET_BOUNCE) != 0 ? GA_QUEUE_BOUNCE :
		    GA_QUEUE_RAM, .assigned_mta_id = t->assigned_mta_id, .mta_id = r->mta_id };

	ev.outcome = ga_status_outcome(ev.status);
	for (unsigned i = 0; i < GA_PHASES; i++)
		ev.phase_ms[i] = GA_NO_TIME;
	ga_attempt_message(&ev, m, t->envelope);
	return ev;
}
