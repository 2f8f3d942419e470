/*
 * explain.c - the queue's part of `greenarrow explain`: what is here of an envelope, a
 * message, an address or a domain, and why it does not move.
 *
 * A question goes from loop to loop.  Each walks its table, in slices that do not stall it,
 * and counts; then the loop of the envelope that is due first asks the router as an attempt
 * would, reads the envelope back from the spool, and says what it knows.  Between two
 * slices anything may have happened to an envelope: what goes on is told by its id.
 *
 * Of an address only the domain is in memory: the messages to it are read back, ADDRESS_READS
 * of them on each loop, and a fact says when there were more.
 *
 * A stop leaves a question unanswered: its asker knows of the stop himself.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <greenarrow/mail.h>

#include "queue.h"

#define SLICE 10000		/* envelopes looked at in one go: a millisecond or two */
#define ADDRESS_READS 1000
#define LANE_LOOK 100000	/* so many places in a lane are counted */

/* The envelope that the facts are about. */
struct subject {
	uint64_t rank;			/* what is due first has the lowest */
	uint64_t id, seq;
	uint32_t index;
	unsigned loop;
	bool found;
};

struct walk {
	struct ga_post post;
	struct ga_queue_question *q;
	struct walk *next, **prev;
	struct q_loop *loop;
	unsigned nloop;
	uint32_t at, domain;		/* where the walk is; the domain's name, with a reference */
	uint64_t *seqs;			/* messages to read back */
	unsigned nseqs, read_at;
	bool bounded;
	struct subject subject;
	struct ga_spool_read read;
	struct ga_route_request request;
	char virtual_mta[208], domain_text[256];	/* the request's */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct walk *walks;		/* under the lock */

static void
walk_free(struct walk *w)
{
	pthread_mutex_lock(&lock);
	*w->prev = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	pthread_mutex_unlock(&lock);
	ga_route_unref(w->request.route);
	if (w->read.message != NULL)
		ga_message_unref(w->read.message);
	free(w->seqs);
	free(w);
}

/* All loops have ended: what was under way on them. */
void
q_explains_end(void)
{
	while (walks != NULL)
		walk_free(walks);
}

/* --- the end --- */

static void
answer(struct ga_worker *asker, struct ga_post *post)
{
	struct walk *w = GA_CONTAINER(post, struct walk, post);
	struct ga_queue_question *q = w->q;

	walk_free(w);
	q->cb(asker, q);
}

static void
finish(struct walk *w)
{
	w->post.fn = answer;
	ga_loop_post(w->q->asker, &w->post);
}

/* --- counting --- */

static uint64_t
rank(const struct q_envelope *e)
{
	switch ((enum q_state)e->state) {
	case Q_OUT:
		return 0;
	case Q_LANED:
		return 1;
	case Q_TIMED:
	case Q_PAUSED:
	case Q_HELD:
		return e->due_ms > 2 ? e->due_ms : 2;
	default:
		return UINT64_MAX;
	}
}

static void
count(struct walk *w, uint32_t envelope)
{
	const struct q_envelope *e = q_envelope(w->loop, envelope);
	const struct q_message *m = q_message(w->loop, e->message);
	struct ga_queue_question *q = w->q;

	q->found++;
	q->waiting += e->state == Q_LANED || e->state == Q_TIMED;
	q->in_flight += e->state == Q_OUT;
	q->held += e->state == Q_PAUSED || e->state == Q_HELD;
	if (w->subject.found && rank(e) >= w->subject.rank)
		return;
	w->subject = (struct subject){ rank(e), (uint64_t)m->id << 32 | e->random, m->seq, e->index, w->nloop, true };
}

/* 0: it is not there any more. */
static uint32_t
find_envelope(struct q_loop *l, uint32_t id, uint64_t seq, uint32_t index)
{
	uint32_t i = q_id_find(l, id);

	while (i != 0 && (q_message(l, i)->id != id || q_message(l, i)->seq != seq))
		i = q_message(l, i)->id_next;
	if (i != 0)
		for (i = q_message(l, i)->envelopes; i != 0 && q_envelope(l, i)->index != index; )
			i = q_envelope(l, i)->next;
	return i;
}

/* --- on one loop --- */

static void next_loop(struct walk *);
static void begin_facts(struct ga_worker *, struct ga_post *);

static void
go(struct walk *w, void (*fn)(struct ga_worker *, struct ga_post *), unsigned loop)
{
	w->nloop = loop;
	w->post.fn = fn;
	ga_loop_post(ga_worker_get(loop), &w->post);
}

static void
walk_id(struct walk *w)
{
	struct q_loop *l = w->loop;
	uint32_t id = (uint32_t)(w->q->envelope_id >> 32), random = (uint32_t)w->q->envelope_id;

	/* two messages of a recovery may have one id */
	for (uint32_t i = q_id_find(l, id); i != 0; i = q_message(l, i)->id_next)
		if (q_message(l, i)->id == id && q_message(l, i)->state != Q_COMMITTING)
			for (uint32_t k = q_message(l, i)->envelopes; k != 0; k = q_envelope(l, k)->next)
				if (random == 0 || q_envelope(l, k)->random == random)
					count(w, k);
}

static void read_one(struct walk *);

/* Does the recipient have this address?  Its domain is known to be the same. */
static bool
same_local(struct ga_str a, struct ga_str b)
{
	const char *at = memrchr(a.p, '@', a.n), *bt = memrchr(b.p, '@', b.n);

	return at != NULL && bt != NULL && ga_str_caseeq((struct ga_str){ a.p, (size_t)(at - a.p) },
	    (struct ga_str){ b.p, (size_t)(bt - b.p) });
}

static void
read_of_address(struct ga_worker *worker, struct ga_spool_read *read)
{
	struct walk *w = read->arg;
	struct ga_message *m = read->message;

	(void)worker;
	read->message = NULL;
	for (uint32_t i = 0; m != NULL && i < m->nenvelopes; i++) {
		const struct ga_envelope *e = &m->envelopes[i];
		uint32_t envelope;

		if (!ga_str_eq(e->domain, w->q->domain) || !same_local(e->recipient, w->q->address))
			continue;
		envelope = find_envelope(w->loop, m->id, m->seq, e->index);
		if (envelope != 0)
			count(w, envelope);
	}
	if (m != NULL)
		ga_message_unref(m);
	read_one(w);
}

static void
read_one(struct walk *w)
{
	if (w->read_at == w->nseqs) {
		w->nseqs = w->read_at = 0;
		next_loop(w);
		return;
	}
	w->read = (struct ga_spool_read){ .seq = w->seqs[w->read_at++], .cb = read_of_address, .arg = w };
	q_spool->read(w->loop->worker, &w->read);
}

static int
by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Each message once. */
static void
read_all(struct walk *w)
{
	unsigned n = 0;

	if (w->nseqs > 0)
		qsort(w->seqs, w->nseqs, sizeof *w->seqs, by_value);
	for (unsigned i = 0; i < w->nseqs; i++)
		if (n == 0 || w->seqs[n - 1] != w->seqs[i])
			w->seqs[n++] = w->seqs[i];
	w->nseqs = n;
	w->read_at = 0;
	read_one(w);
}

static void
note_message(struct walk *w, uint64_t seq)
{
	if (w->nseqs > 0 && w->seqs[w->nseqs - 1] == seq)
		return;
	if (w->nseqs == ADDRESS_READS) {
		w->bounded = true;
		return;
	}
	if (w->seqs == NULL)
		w->seqs = ga_xcalloc(ADDRESS_READS, sizeof *w->seqs);
	w->seqs[w->nseqs++] = seq;
}

static void
look(struct walk *w, uint32_t envelope)
{
	const struct q_envelope *e = q_envelope(w->loop, envelope);

	if (e->state == Q_FREE || e->domain != w->domain)
		return;
	if (w->q->address.n > 0)
		note_message(w, q_message(w->loop, e->message)->seq);
	else
		count(w, envelope);
}

/* The table may grow between two slices, and entries may come and go behind and before it. */
static void
walk_slice(struct ga_worker *worker, struct ga_post *post)
{
	struct walk *w = GA_CONTAINER(post, struct walk, post);
	struct q_loop *l = w->loop;

	for (unsigned n = 0; n < SLICE && w->at < l->envelopes.n && !w->bounded; n++, w->at++)
		look(w, w->at);
	if (w->at < l->envelopes.n && !w->bounded) {
		ga_loop_post(worker, &w->post);
		return;
	}
	q_name_unref(l, w->domain);
	if (w->q->address.n > 0)
		read_all(w);
	else
		next_loop(w);
}

static void
begin_loop(struct ga_worker *worker, struct ga_post *post)
{
	struct walk *w = GA_CONTAINER(post, struct walk, post);

	w->loop = q_loop(worker);
	if (w->loop->worker == NULL) {
		next_loop(w);
	} else if (w->q->envelope_id != 0) {
		walk_id(w);
		next_loop(w);
	} else {
		/* a name that nobody has any more could become another one's number */
		w->domain = q_name(w->loop, w->q->domain);
		w->at = 1;
		w->post.fn = walk_slice;
		walk_slice(worker, post);
	}
}

/* An envelope-id says which loop it is on. */
static void
next_loop(struct walk *w)
{
	if (w->q->envelope_id == 0 && w->nloop + 1 < ga_worker_count()) {
		go(w, begin_loop, w->nloop + 1);
		return;
	}
	if (w->bounded)
		ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "address" },
		    "There is more mail to its domain than is read back for this:"
		    " what is said is of the first %u messages found on each loop.", ADDRESS_READS);
	if (w->subject.found)
		go(w, begin_facts, w->subject.loop);
	else
		finish(w);
}

/* --- facts --- */

static uint64_t
wall_of(struct q_loop *l, uint64_t due_ms)
{
	uint64_t now = ga_now_ms(l->worker);

	return q_wall_ms(l) + (due_ms > now ? due_ms - now : 0);
}

static void
say_accepted(const struct walk *w, const struct q_envelope *e, const struct q_message *m,
    const struct ga_envelope *stored)
{
	const struct ga_message *from = w->read.message;
	struct ga_str to = stored != NULL ? stored->recipient : ga_str_c(w->domain_text);
	char date[GA_DATE_ROOM];

	ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "accepted" },
	    "Envelope %016llx to %.*s from <%.*s> was accepted %s; attempts so far: %u.",
	    (unsigned long long)w->subject.id, (int)to.n, to.p, from != NULL ? (int)from->sender.n : 0,
	    from != NULL ? from->sender.p : "", ga_date_rfc3339(m->accepted_ms, date), e->attempts);
}

static void
say_last_reply(const struct walk *w, const struct ga_envelope *stored)
{
	struct ga_str reply, mx;
	uint64_t when;
	char date[GA_DATE_ROOM];

	if (stored == NULL || !ga_attr_get(stored->attrs, GA_ATTR_LAST_REPLY, &reply) || reply.n == 0)
		return;
	when = ga_attr_u64(stored->attrs, GA_ATTR_LAST_ATTEMPT, 0);
	if (ga_attr_get(stored->attrs, GA_ATTR_LAST_MX, &mx) && mx.n > 0)
		ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "last_reply" }, "%.*s said at the last attempt, %s: %.*s",
		    (int)mx.n, mx.p, ga_date_rfc3339(when, date), (int)reply.n, reply.p);
	else
		ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "last_reply" }, "The last attempt ended %s: %.*s",
		    when != 0 ? ga_date_rfc3339(when, date) : "at an unknown time", (int)reply.n, reply.p);
}

static void
say_retry(const struct walk *w, const struct q_envelope *e)
{
	const struct ga_settings *s = w->request.route->settings;
	const struct queue_conf *c = ga_settings_conf(s, "queue");
	bool listed = c->retry_schedule.n > 0, hooked = GA_WANTED(ga_settings_plan(s), schedule);

	ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "retry", .holds = true,
		.where = listed ? ga_settings_where(s, "queue", "retry_schedule") : NULL,
		.until_ms = wall_of(w->loop, e->due_ms) },
	    "It waits for attempt %u, %s%s.", e->attempts + 1u,
	    listed ? "as retry_schedule says" : "due ((n-1)*20)^2 s after acceptance",
	    hooked ? ", unless a module has set another time" : "");
}

static void
say_lane(const struct walk *w, uint32_t envelope)
{
	struct q_loop *l = w->loop;
	const struct q_lane *lane = q_lane_of(l, envelope);
	uint32_t before = 0;

	for (uint32_t i = lane->first; i != 0 && i != envelope && before < LANE_LOOK; i = q_envelope(l, i)->lane_next)
		before++;
	ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "lane" },
	    "It is due, and waits in its lane behind %s%u others; %u of its lane are out, and %u may be.",
	    before == LANE_LOOK ? "at least " : "", before, lane->out, lane->window);
}

static void
say_out(const struct walk *w, uint32_t envelope)
{
	struct q_attempt *a = w->loop->out;
	const char *where = "with the throttle, or on a connection";

	while (a != NULL && a->envelope != envelope)
		a = a->next;
	if (a != NULL && (a->reading || ga_run_busy(&a->run)))
		where = "with a module, which thinks about its next time";
	else if (a == NULL || a->request.route == NULL)
		where = "with the router";
	ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "out" }, "It is out: %s.", where);
}

static void
say_pauses(const struct walk *w, const struct q_envelope *e, const struct q_message *m)
{
	struct q_loop *l = w->loop;
	const struct q_pausable p = { .sender = q_name_text(l, m->sender), .from = q_name_text(l, m->from),
		.send = q_name_text(l, m->send),
		.virtual_mta = q_name_text(l, m->virtual_mta), .route = w->request.route, .now_ms = q_wall_ms(l) };

	if (q_pauses() > 0)
		q_pause_explain(&p, e->state != Q_OUT, w->q->facts);
}

static void
say_expiry(const struct walk *w, const struct q_message *m)
{
	const struct ga_settings *s = w->request.route->settings;

	ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "queue_lifetime",
		.where = ga_settings_where(s, "queue", "queue_lifetime"), .until_ms = m->accepted_ms + q_lifetime_ms(s) },
	    "Its lifetime goes on.");
}

static void
say_state(const struct walk *w, uint32_t envelope)
{
	const struct q_envelope *e = q_envelope(w->loop, envelope);

	switch ((enum q_state)e->state) {
	case Q_TIMED:
		say_retry(w, e);
		break;
	case Q_LANED:
		say_lane(w, envelope);
		break;
	case Q_OUT:
		say_out(w, envelope);
		break;
	case Q_PAUSED:		/* the pause, or the router's delivery_paused, is the cause */
		ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "paused", .until_ms = wall_of(w->loop, e->due_ms) },
		    "It is kept from being tried, without a deferral, and looked at when that changes.");
		break;
	case Q_HELD:
		ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "held", .holds = true,
			.until_ms = wall_of(w->loop, e->due_ms) }, "A module holds it until its lifetime ends.");
		break;
	case Q_ENDED:
		ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "ended", .holds = true },
		    (e->flags & GA_ENV_FAILED) != 0 ? "It has failed for good, and waits for its sender to be told."
		    : "It has been delivered, and waits for its sender to be told.");
		break;
	case Q_FREE:
	case Q_COMMITTING:
		break;
	}
}

static void
say_all(struct walk *w)
{
	const struct ga_message *from = w->read.message;
	uint32_t envelope = find_envelope(w->loop, (uint32_t)(w->subject.id >> 32), w->subject.seq, w->subject.index);
	const struct ga_envelope *stored = NULL;
	const struct q_envelope *e;
	const struct q_message *m;

	if (envelope == 0) {
		ga_explain_say(w->q->facts, &(struct ga_fact){ .what = "ended" }, "Envelope %016llx has just ended.",
		    (unsigned long long)w->subject.id);
		return;
	}
	e = q_envelope(w->loop, envelope);
	m = q_message(w->loop, e->message);
	for (uint32_t i = 0; from != NULL && i < from->nenvelopes; i++)
		if (from->envelopes[i].index == e->index)
			stored = &from->envelopes[i];
	say_accepted(w, e, m, stored);
	say_last_reply(w, stored);
	if (e->state != Q_ENDED && e->state != Q_HELD)
		say_pauses(w, e, m);
	say_state(w, envelope);
	if (e->state != Q_ENDED)
		say_expiry(w, m);
}

static void
read_back(struct ga_worker *worker, struct ga_spool_read *read)
{
	struct walk *w = read->arg;

	(void)worker;
	say_all(w);
	if (read->message != NULL)
		ga_message_unref(read->message);
	read->message = NULL;
	finish(w);
}

static void
routed(struct ga_worker *worker, struct ga_route_request *request)
{
	struct walk *w = request->arg;

	w->read = (struct ga_spool_read){ .seq = w->subject.seq, .cb = read_back, .arg = w };
	q_spool->read(worker, &w->read);
}

static void
copy(char *to, size_t room, struct ga_str s)
{
	snprintf(to, room, "%.*s", (int)s.n, s.p);
}

/* What an attempt would ask. */
static void
begin_facts(struct ga_worker *worker, struct ga_post *post)
{
	struct walk *w = GA_CONTAINER(post, struct walk, post);
	struct q_loop *l = w->loop = q_loop(worker);
	uint32_t envelope = find_envelope(l, (uint32_t)(w->subject.id >> 32), w->subject.seq, w->subject.index);
	struct ga_queue_question *q = w->q;
	const struct q_envelope *e;
	const struct q_message *m;

	if (envelope == 0) {		/* ended meanwhile: as if it had not been here */
		q->found = q->waiting = q->in_flight = q->held = 0;
		finish(w);
		return;
	}
	e = q_envelope(l, envelope);
	m = q_message(l, e->message);
	copy(w->virtual_mta, sizeof w->virtual_mta, q_name_text(l, m->virtual_mta));
	copy(w->domain_text, sizeof w->domain_text, q_name_text(l, e->domain));
	memcpy(q->virtual_mta, w->virtual_mta, sizeof q->virtual_mta);
	memcpy(q->of_domain, w->domain_text, sizeof q->of_domain);
	q->of_envelope = w->subject.id;
	q->message_key = m->id;
	q->address_key = q_address_key(ga_str_c(w->domain_text), e->local);
	w->request = (struct ga_route_request){ .virtual_mta = ga_str_c(w->virtual_mta),
		.domain = ga_str_c(w->domain_text), .message_key = q->message_key, .address_key = q->address_key,
		.envelope_id = w->subject.id, .cb = routed, .arg = w };
	if (q_router->route(worker, &w->request))
		routed(worker, &w->request);
}

/* --- the service --- */

void
q_explain(struct ga_queue_question *q)
{
	struct walk *w = ga_xcalloc(1, sizeof *w);
	uint32_t id = (uint32_t)(q->envelope_id >> 32);

	q->found = q->waiting = q->in_flight = q->held = 0;
	q->address_key = q_address_key(q->domain, q_local_hash(q->address));
	w->q = q;
	pthread_mutex_lock(&lock);
	w->next = walks;
	w->prev = &walks;
	if (w->next != NULL)
		w->next->prev = &w->next;
	walks = w;
	pthread_mutex_unlock(&lock);
	go(w, begin_loop, q->envelope_id != 0 ? id % ga_worker_count() : 0);
}
