/*
 * attempt.c - an envelope that is out: routed, ticketed, and what came of it.
 *
 * route → (answered at once when the route is known) → ticket to the throttle →
 * exactly one result.  A result is put on record in the spool before the
 * envelope is forgotten or gets its next time; a crash between the two only
 * repeats what was not recorded.
 *
 * On the message's loop.  An attempt holds its lane's place until it has ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue.h"

#define PAUSE_LOOK_MS 60000
#define REPLY_MAX 1000		/* octets of a reply that are kept */

static struct q_attempt *
attempt_new(struct q_loop *l)
{
	struct q_attempt *a = l->free_attempts;

	if (a != NULL) {
		l->free_attempts = a->next;
		memset(a, 0, sizeof *a);
	} else {
		a = ga_xcalloc(1, sizeof *a);
	}
	a->loop = l;
	a->next = l->out;
	a->prev = &l->out;
	if (a->next != NULL)
		a->next->prev = &a->next;
	l->out = a;
	return a;
}

static void
attempt_free(struct q_attempt *a)
{
	struct q_loop *l = a->loop;

	*a->prev = a->next;
	if (a->next != NULL)
		a->next->prev = a->prev;
	ga_route_unref(a->request.route);
	if (a->ticket.message != NULL)
		ga_message_unref(a->ticket.message);
	free(a->ticket.text);
	free(a->ticket.mx);
	a->next = l->free_attempts;
	l->free_attempts = a;
	if (l->draining && l->out == NULL) {
		ga_unhold(l->hold);
		l->hold = NULL;
	}
}

/* No loop runs any more: tickets that others held, or that were on their way home, and
 * questions that the router has not answered. */
void
q_attempts_end(struct q_loop *l)
{
	struct q_attempt *a;

	while (l->out != NULL)
		attempt_free(l->out);
	while ((a = l->free_attempts) != NULL) {
		l->free_attempts = a->next;
		if (a->read.message != NULL)	/* came when the loop had ended */
			ga_message_unref(a->read.message);
		free(a);
	}
}

/* The attempt is over; the envelope has been dealt with. */
static void
finish(struct q_attempt *a)
{
	struct q_loop *l = a->loop;
	struct q_lane *lane = a->lane;

	attempt_free(a);
	q_lane_returned(l, lane);
}

static uint64_t
envelope_id(struct q_loop *l, uint32_t envelope)
{
	const struct q_envelope *e = q_envelope(l, envelope);

	return (uint64_t)q_message(l, e->message)->id << 32 | e->random;
}

/* --- on record --- */

static struct ga_str
short_reply(const struct q_attempt *a)
{
	struct ga_str s = ga_str_c(a->ticket.text);

	if (s.n > REPLY_MAX)
		s.n = REPLY_MAX;
	return s;
}

static void
record(const struct q_attempt *a, uint64_t next_ms)
{
	struct q_loop *l = a->loop;
	const struct q_envelope *e = q_envelope(l, a->envelope);
	struct ga_spool_update u = { .seq = q_message(l, e->message)->seq, .envelope = e->index,
		.attempts = e->attempts, .flags = e->flags & ~(uint32_t)Q_ENV_NOT_RECORDED, .next_ms = next_ms };
	struct ga_attrs attrs = { NULL, 0, 0 };

	ga_attrs_put(&attrs, GA_ATTR_LAST_REPLY, short_reply(a));
	if (a->ticket.enhanced[0] != '\0')
		ga_attrs_put(&attrs, GA_ATTR_LAST_STATUS, ga_str_c(a->ticket.enhanced));
	if (a->ticket.mx != NULL)
		ga_attrs_put(&attrs, GA_ATTR_LAST_MX, ga_str_c(a->ticket.mx));
	ga_attrs_put_u64(&attrs, GA_ATTR_LAST_ATTEMPT, ga_wall_ms());
	u.attrs = (struct ga_str){ attrs.p, attrs.n };
	q_spool->update(l->worker, &u);
	ga_attrs_free(&attrs);
}

static void
log_result(const struct q_attempt *a, enum ga_level level, const char *status)
{
	const struct ga_route *r = a->request.route;

	if (!ga_log_wanted(q_inst, level))
		return;
	ga_log(q_inst, level, "GA-QUE-0001", "%016llx to %.*s: %s, attempt %u, vmta=%.*s group=%.*s: %s",
	    (unsigned long long)envelope_id(a->loop, a->envelope), (int)r->domain.n, r->domain.p, status,
	    q_envelope(a->loop, a->envelope)->attempts, (int)r->virtual_mta.n, r->virtual_mta.p,
	    (int)r->group_key.n, r->group_key.p, a->ticket.text != NULL ? a->ticket.text : "");
}

/* --- results --- */

/* It stays out until what came of it is on record: a module may think about it. */
static void
count_attempt(struct q_attempt *a)
{
	struct q_envelope *e = q_envelope(a->loop, a->envelope);
	bool first = e->attempts == 0;

	q_state_set(a->loop, a->envelope, Q_FREE);
	e->flags &= (uint8_t)~Q_ENV_KEPT_TOLD;
	if (e->attempts < UINT16_MAX)
		e->attempts++;
	q_state_set(a->loop, a->envelope, Q_OUT);
	if (first)
		q_first_attempt_ended(a->loop, a->envelope);
}

static void
succeeded(struct q_attempt *a)
{
	struct q_loop *l = a->loop;
	struct q_envelope *e = q_envelope(l, a->envelope);
	struct ga_spool_done done = { .end = { q_message(l, e->message)->seq, e->index,
	    GA_RESULT_SUCCESS } };
	bool report = a->ticket.relayed && l->reporter != NULL;

	Q_ADD(l, success_total, 1);
	if (ga_log_wanted(q_inst, GA_DEBUG))
		log_result(a, GA_DEBUG, "success");
	if (e->attempts == 0)
		q_first_attempt_ended(l, a->envelope);
	if (report) {
		e->flags |= GA_ENV_RELAYED;
		q_state_set(l, a->envelope, Q_ENDED);
		q_notify(l, a->envelope, GA_REPORT_RELAYED);
	} else {
		if (!a->ticket.recorded || a->ticket.relayed)
			q_spool->done(l->worker, &done);
		q_envelope_finished(l, a->envelope);
	}
	finish(a);
}

/* Over, and neither sent nor reported. */
static void
discarded(struct q_attempt *a)
{
	struct q_loop *l = a->loop;
	const struct q_envelope *e = q_envelope(l, a->envelope);
	struct ga_spool_done done = { .end = { q_message(l, e->message)->seq, e->index,
	    GA_RESULT_SUCCESS } };

	Q_ADD(l, discarded_total, 1);
	log_result(a, GA_INFO, "discarded unsent");
	if (e->attempts == 0)
		q_first_attempt_ended(l, a->envelope);
	q_spool->done(l->worker, &done);
	q_envelope_finished(l, a->envelope);
	finish(a);
}

static void
failed(struct q_attempt *a, bool too_long, bool tried)
{
	struct q_loop *l = a->loop;
	struct q_envelope *e = q_envelope(l, a->envelope);

	if (too_long)
		Q_ADD(l, toolong_total, 1);
	else
		Q_ADD(l, failure_total, 1);
	if (tried)
		count_attempt(a);
	else if (e->attempts == 0)
		q_first_attempt_ended(l, a->envelope);
	e->flags |= (uint8_t)(GA_ENV_FAILED | (too_long ? GA_ENV_EXPIRED : 0));
	log_result(a, GA_INFO, too_long ? "failure_toolong" : "failure");
	record(a, 0);
	q_state_set(l, a->envelope, Q_ENDED);
	q_notify(l, a->envelope, GA_REPORT_FAILED);
	finish(a);
}

/* Its lifetime ended without an attempt. */
static void
expired(struct q_attempt *a)
{
	failed(a, true, false);
}

static void
expire(struct q_attempt *a, const char *why)
{
	a->ticket.result = GA_RESULT_FAILURE_TOOLONG;
	a->ticket.text = strdup(why);
	q_tell(a, expired);
}

static void
wait_until_next(struct q_attempt *a, uint64_t wait_ms)
{
	struct q_loop *l = a->loop;

	record(a, q_wall_ms(l) + wait_ms);
	q_heap_put(l, a->envelope, ga_now_ms(l->worker) + wait_ms);
	q_state_set(l, a->envelope, Q_TIMED);
	q_heap_arm(l);
	finish(a);
}

static uint64_t
expires_ms(const struct q_attempt *a)
{
	const struct q_message *m = q_message(a->loop, q_envelope(a->loop, a->envelope)->message);

	return m->accepted_ms + q_lifetime_ms(a->request.route->settings);
}

/* Not beyond the end of its life: then one last attempt. */
static uint64_t
within_life(const struct q_attempt *a, uint64_t wait_ms)
{
	uint64_t now = q_wall_ms(a->loop), end = expires_ms(a);

	return now + wait_ms > end ? (end > now ? end - now : 0) : wait_ms;
}

static void
schedule_answered(struct ga_run *run, enum ga_verdict verdict, void *arg)
{
	struct q_attempt *a = arg;
	uint64_t now = q_wall_ms(a->loop), next = a->schedule.next_ms;

	if (verdict == GA_HOLD)
		next = a->schedule.expires_ms;
	else if (run->schedule_ms != 0)
		next = run->schedule_ms;
	wait_until_next(a, within_life(a, next > now ? next - now : 0));
}

static uint64_t
proposed_wait_ms(const struct q_attempt *a)
{
	struct q_loop *l = a->loop;
	const struct q_envelope *e = q_envelope(l, a->envelope);

	return within_life(a, q_next_wait_ms(l, a->request.route->settings, e->attempts,
	    q_message(l, e->message)->accepted_ms));
}

static const struct ga_envelope *
stored_envelope(const struct q_attempt *a)
{
	const struct ga_message *m = a->ticket.message;

	for (uint32_t i = 0; m != NULL && i < m->nenvelopes; i++)
		if (m->envelopes[i].index == q_envelope(a->loop, a->envelope)->index)
			return &m->envelopes[i];
	return NULL;
}

bool
q_attempt_has_recipient(const struct q_attempt *a)
{
	return stored_envelope(a) != NULL;
}

static void
ask_schedule(struct q_attempt *a)
{
	struct q_loop *l = a->loop;
	const struct q_envelope *e = q_envelope(l, a->envelope);
	const struct q_message *m = q_message(l, e->message);
	const struct ga_envelope *stored = stored_envelope(a);
	const struct ga_settings *settings = a->request.route->settings;
	enum ga_verdict verdict;

	a->schedule = (struct ga_ev_schedule){
		.sender = a->ticket.message != NULL ? a->ticket.message->sender : (struct ga_str){ "", 0 },
		.recipient = stored != NULL ? stored->recipient : (struct ga_str){ "", 0 },
		.domain = q_name_text(l, e->domain), .envelope_id = envelope_id(l, a->envelope),
		.attempts = e->attempts, .accepted_ms = m->accepted_ms,
		.next_ms = q_wall_ms(l) + proposed_wait_ms(a), .expires_ms = expires_ms(a) };
	a->run = (struct ga_run){ .worker = l->worker, .settings = settings,
		.object_id = a->schedule.envelope_id, .done = schedule_answered, .arg = a };
	verdict = ga_run_hook(&a->run, GA_HOOK_schedule, &a->schedule);
	if (verdict != GA_SUSPENDED_)
		schedule_answered(&a->run, verdict, a);
}

static void
read_back(struct ga_worker *w, struct ga_spool_read *read)
{
	struct q_attempt *a = read->arg;

	(void)w;
	a->ticket.message = read->message;	/* NULL: modules hear of it without addresses */
	read->message = NULL;
	a->reading = false;
	a->have_read(a);
}

/* The table has neither the sender nor the recipient. */
void
q_attempt_read(struct q_attempt *a, void (*have_read)(struct q_attempt *))
{
	if (a->ticket.message != NULL)
		ga_message_unref(a->ticket.message);
	a->ticket.message = NULL;
	a->read = (struct ga_spool_read){ .seq = q_message(a->loop,
	    q_envelope(a->loop, a->envelope)->message)->seq, .cb = read_back, .arg = a };
	a->reading = true;
	a->have_read = have_read;
	q_spool->read(a->loop->worker, &a->read);
}

static void
schedule(struct q_attempt *a)
{
	const struct ga_settings *settings = a->request.route->settings;

	if (a->stopped || !GA_WANTED(ga_settings_plan(settings), schedule))
		wait_until_next(a, proposed_wait_ms(a));
	else if (stored_envelope(a) != NULL)
		ask_schedule(a);
	else
		q_attempt_read(a, ask_schedule);
}

/* The loop ends while modules think, or are about to be asked or told: what it is about has
 * happened, and goes on record as if they had no opinion. */
void
q_attempts_stop(struct q_loop *l)
{
	struct q_attempt *a, *next;

	for (a = l->out; a != NULL; a = next) {
		next = a->next;
		if (a->reading) {
			a->stopped = true;
			if (a->told != NULL)
				q_tell_stopping(a);
			else
				schedule(a);
		} else if (ga_run_busy(&a->run)) {
			ga_run_cancel(&a->run, GA_WHY_DRAIN);
			schedule_answered(&a->run, GA_PASS, a);
		}
	}
}

static void
deferred(struct q_attempt *a)
{
	if (a->last_chance) {
		failed(a, true, true);
		return;
	}
	Q_ADD(a->loop, deferral_total, 1);
	count_attempt(a);
	log_result(a, GA_INFO, "deferral");
	q_delayed(a->loop, a->envelope, a->request.route->settings, expires_ms(a));
	schedule(a);
}

/* Nothing was tried: due again at once, or later when the daemon stops.  Recalled is
 * what stood in front; what a throttle kept back lets others go first. */
static void
returned(struct q_attempt *a)
{
	struct q_loop *l = a->loop;
	struct q_lane *lane = a->lane;
	uint32_t envelope = a->envelope;
	bool in_front = a->ticket.result != GA_RESULT_CONNMAXOUT;

	attempt_free(a);
	if (in_front)
		q_lane_put_back(l, envelope);
	else
		q_lane_put(l, envelope);
	q_lane_returned(l, lane);
}

/* It keeps its place. */
static void
kept(struct q_attempt *a)
{
	q_envelope(a->loop, a->envelope)->flags |= Q_ENV_KEPT_TOLD;
	a->ticket.result = GA_RESULT_RECALLED;
	free(a->ticket.text);
	a->ticket.text = NULL;
	returned(a);
}

/* Handed back untouched. */
static void
recalled(struct q_attempt *a)
{
	struct ga_ticket *t = &a->ticket;
	struct ga_str key = t->route->group_key;

	if (!q_kept_too_long(a)) {
		returned(a);
	} else if (a->last_chance) {
		expire(a, "The limits of its throttle group kept it from starting until its lifetime ended.");
	} else {
		t->result = GA_RESULT_CONNMAXOUT;
		if (asprintf(&t->text, "Kept from starting by the limits of throttle group %.*s.", (int)key.n, key.p) < 0)
			t->text = NULL;
		q_tell(a, kept);
	}
}

static void
ended(struct q_attempt *a)
{
	switch (a->ticket.result) {
	case GA_RESULT_SUCCESS:
		succeeded(a);
		break;
	case GA_RESULT_FAILURE:
		failed(a, false, true);
		break;
	case GA_RESULT_FAILURE_TOOLONG:
		failed(a, true, true);
		break;
	case GA_RESULT_RECALLED:
		recalled(a);
		break;
	case GA_RESULT_CONNMAXOUT:
		returned(a);
		break;
	case GA_RESULT_NONE:
	case GA_RESULT_DEFERRAL:
		deferred(a);
		break;
	}
}

static void
ticket_done(struct ga_worker *w, struct ga_ticket *t)
{
	(void)w;
	/* the ticket's reference of the route was the request's: attempt_free gives it back */
	ended(GA_CONTAINER(t, struct q_attempt, ticket));
}

/* --- starting --- */

/* Held, and looked at again after wait_ms, or when a reload or a resume says so. */
static void
paused(struct q_attempt *a, uint64_t wait)
{
	struct q_loop *l = a->loop;
	uint64_t now = q_wall_ms(l), end = expires_ms(a);

	if (now >= end) {
		expire(a, "Delivery paused until its lifetime ended.");
		return;
	}
	if (end - now < wait)
		wait = end - now;
	if (q_envelope(l, a->envelope)->attempts == 0)
		q_message_unload(l, q_envelope(l, a->envelope)->message);
	q_heap_put(l, a->envelope, ga_now_ms(l->worker) + wait);
	q_state_set(l, a->envelope, Q_PAUSED);
	q_heap_arm(l);
	finish(a);
}

static void
refused(struct q_attempt *a, enum ga_result result)
{
	const struct ga_route *r = a->request.route;

	a->ticket.result = result;
	a->ticket.code = r->code;
	snprintf(a->ticket.enhanced, sizeof a->ticket.enhanced, "%s", r->enhanced != NULL ? r->enhanced : "");
	if (asprintf(&a->ticket.text, "%u %s %s", r->code, a->ticket.enhanced, r->text) < 0)
		a->ticket.text = NULL;
	q_tell(a, ended);
}

static void
discard(struct q_attempt *a, enum ga_result as, const char *why)
{
	a->ticket.result = as;
	a->ticket.text = strdup(why);
	q_tell(a, discarded);
}

/* 0 is kept for mail without a SendID. */
uint32_t
q_send_key(struct ga_str send_id)
{
	uint32_t hash = ga_str_hash(send_id, false);

	return send_id.n == 0 ? 0 : hash != 0 ? hash : 1;
}

static void
make_ticket(struct q_attempt *a)
{
	struct q_loop *l = a->loop;
	const struct q_envelope *e = q_envelope(l, a->envelope);
	const struct q_message *m = q_message(l, e->message);
	uint64_t now = q_wall_ms(l), end = expires_ms(a);
	struct ga_ticket *t = &a->ticket;

	a->mta_key = ga_str_hash(q_name_text(l, m->virtual_mta), true);
	a->last_chance = now >= end;
	t->home = l->worker;
	t->route = a->request.route;
	t->assigned_mta_id = a->request.assigned_mta_id;
	t->message = m->live != NULL ? ga_message_ref(m->live) : NULL;
	t->seq = m->seq;
	t->envelope_id = envelope_id(l, a->envelope);
	t->envelope = e->index;
	t->attempts = e->attempts;
	t->since_ms = ga_now_ms(l->worker);
	t->expires_ms = t->since_ms + (end > now ? end - now : 0);
	t->sender_key = l->name_of[m->sender]->hash;
	t->send_key = q_send_key(q_name_text(l, m->send));
	t->flags = (e->attempts == 0 ? GA_TICKET_FIRST : 0u) | (m->bounce ? GA_TICKET_BOUNCE : 0u) |
	    (a->last_chance ? GA_TICKET_LAST_CHANCE : 0u) |
	    ((e->flags & Q_ENV_KEPT_TOLD) != 0 ? GA_TICKET_KEPT_TOLD : 0u) |
	    (l->reporter != NULL && l->reporter->success(t->route->settings) ? GA_TICKET_REPORT : 0u);
	t->done = ticket_done;
}

/* A pause has it: true. */
static bool
met_a_pause(struct q_attempt *a)
{
	struct q_loop *l = a->loop;
	const struct q_message *m = q_message(l, q_envelope(l, a->envelope)->message);
	const struct q_pausable p = { .sender = q_name_text(l, m->sender), .from = q_name_text(l, m->from),
		.send = q_name_text(l, m->send), .virtual_mta = q_name_text(l, m->virtual_mta),
		.route = a->request.route, .now_ms = q_wall_ms(l) };
	uint64_t until = 0;
	enum q_paused what = q_pause_meets(&p, &until);

	switch (what) {
	case Q_GOES:
		return false;
	case Q_DUMPED:
		discard(a, GA_RESULT_FAILURE, "Discarded unsent: its send is dumped.");
		return true;
	case Q_HELD_BACK:
		paused(a, until > p.now_ms ? until - p.now_ms : UINT64_MAX);
		return true;
	case Q_DEFERRED:
	case Q_DEFERRED_BY_FROM:
		if (p.route->kind != GA_ROUTE_DELIVER)
			return false;
		a->ticket.result = GA_RESULT_DEFERRAL;
		a->ticket.code = 451;
		snprintf(a->ticket.enhanced, sizeof a->ticket.enhanced, "4.7.1");
		a->ticket.text = strdup(what == Q_DEFERRED ? "451 4.7.1 Deliveries to this recipient domain from this"
		    " RFC5321.MailFrom domain are paused." : "451 4.7.1 Deliveries to this recipient domain from this"
		    " RFC5322.From domain are paused.");
		q_tell(a, ended);
		return true;
	}
	return false;
}

static void
routed(struct ga_worker *w, struct ga_route_request *req)
{
	struct q_attempt *a = GA_CONTAINER(req, struct q_attempt, request);

	if (a->loop->draining) {
		/* the recall has been sent already: it would wait in its group until the deadline */
		returned(a);
		return;
	}
	make_ticket(a);
	q_lane_limit(a->lane, q_throttle->limit(req->route->settings));
	if ((q_envelope(a->loop, a->envelope)->flags & GA_ENV_SUSPENDED) != 0) {	/* out of the heap only then */
		expire(a, "Held until its lifetime ended.");
		return;
	}
	if (q_pauses() > 0 && req->route->kind != GA_ROUTE_DISCARD && met_a_pause(a))
		return;
	switch (req->route->kind) {
	case GA_ROUTE_DELIVER:
		q_throttle->enqueue(w, &a->ticket);
		break;
	case GA_ROUTE_DEFER:
		refused(a, GA_RESULT_DEFERRAL);
		break;
	case GA_ROUTE_FAIL:
		refused(a, GA_RESULT_FAILURE);
		break;
	case GA_ROUTE_PAUSED:
		paused(a, PAUSE_LOOK_MS);
		break;
	case GA_ROUTE_DISCARD:
		discard(a, GA_RESULT_SUCCESS, req->route->text != NULL ? req->route->text : "delivery_override");
		break;
	}
}

uint64_t
q_address_key(struct ga_str domain, uint32_t local)
{
	return (uint64_t)ga_str_hash(domain, false) << 32 | local;
}

void
q_attempt_start(struct q_loop *l, struct q_lane *lane, uint32_t envelope)
{
	struct q_attempt *a = attempt_new(l);
	const struct q_envelope *e = q_envelope(l, envelope);
	const struct q_message *m = q_message(l, e->message);

	a->lane = lane;
	a->envelope = envelope;
	a->request.virtual_mta = q_name_text(l, m->virtual_mta);
	a->request.domain = q_name_text(l, e->domain);
	a->request.message_key = m->id;
	a->request.address_key = q_address_key(a->request.domain, e->local);
	a->request.envelope_id = envelope_id(l, envelope);
	a->request.cb = routed;
	if (q_router->route(l->worker, &a->request))
		routed(l->worker, &a->request);
}
