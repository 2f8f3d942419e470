/*
 * notify.c - the sender is told what became of envelopes: by the service "bounce".
 *
 * What has failed is on record as failed before anybody is told, so a crash at any
 * point leads back here, and the report ends the envelope in the same record group.
 * What ends within GATHER_MS at one message is told in one report; at most TOLD_MAX
 * reports of a loop are in the making.  When there is no room for one there is none for
 * the others: all wait.  Without the service everything is kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "queue.h"

#define GATHER_MS 1000
#define AGAIN_MS 60000
#define FULL_MS 10000
#define TOLD_MAX 32

struct q_notice {
	struct ga_report report;
	TAILQ_ENTRY(q_notice) entry;
	struct q_loop *loop;
	uint64_t due_ms;
	uint32_t message, id;		/* its number may be another's by now, its id not */
	uint32_t *numbers, *indexes;	/* of the envelopes: in the table, in the message */
};

static void
arm(struct q_loop *l)
{
	const struct q_notice *first = TAILQ_FIRST(&l->notices);
	uint64_t now = ga_now_ms(l->worker), due_ms = first != NULL ? first->due_ms : 0;

	if (due_ms < l->notices_ms)
		due_ms = l->notices_ms;
	if (first == NULL || l->ntold >= TOLD_MAX || l->draining)
		ga_timer_stop(l->notice_timer);
	else
		ga_timer_arm(l->notice_timer, due_ms > now ? due_ms - now : 0, 0);
}

/* In order of due times; nearly always that is at the end. */
static void
put(struct q_notice *n, uint64_t wait_ms)
{
	struct q_notices *list = &n->loop->notices;
	struct q_notice *before;

	n->due_ms = ga_now_ms(n->loop->worker) + wait_ms;
	TAILQ_FOREACH_REVERSE(before, list, q_notices, entry)
		if (before->due_ms <= n->due_ms)
			break;
	if (before != NULL)
		TAILQ_INSERT_AFTER(list, before, n, entry);
	else
		TAILQ_INSERT_HEAD(list, n, entry);
}

static void
notice_free(struct q_notice *n)
{
	free(n->numbers);
	free(n->indexes);
	free(n);
}

static void
notify(struct q_loop *l, uint32_t message, enum ga_report_kind kind, uint64_t expires_ms)
{
	struct q_message *m = q_message(l, message);
	struct q_notice *n;

	if (l->reporter == NULL || l->draining || (m->notices & 1u << kind) != 0)
		return;
	m->notices |= (uint8_t)(1u << kind);
	n = ga_xcalloc(1, sizeof *n);
	n->loop = l;
	n->message = message;
	n->id = m->id;
	n->report.kind = kind;
	n->report.seq = m->seq;
	n->report.expires_ms = expires_ms;
	put(n, GATHER_MS);
	arm(l);
}

void
q_notify(struct q_loop *l, uint32_t envelope, enum ga_report_kind kind)
{
	notify(l, q_envelope(l, envelope)->message, kind, 0);
}

void
q_delayed(struct q_loop *l, uint32_t envelope, const struct ga_settings *settings, uint64_t expires_ms)
{
	struct q_envelope *e = q_envelope(l, envelope);
	const struct q_message *m = q_message(l, e->message);
	uint64_t after = l->reporter != NULL ? l->reporter->delay_after(settings, m->notify_delay) : 0;

	/* on record it would be as told: when nobody is told any more the next start does it */
	if (after == 0 || l->draining || (e->flags & GA_ENV_DELAY_TOLD) != 0 ||
	    q_wall_ms(l) < m->accepted_ms + after)
		return;
	e->flags |= GA_ENV_DELAY_TOLD | Q_ENV_DELAYED;
	notify(l, e->message, GA_REPORT_DELAYED, expires_ms);
}

/* --- telling --- */

static bool
belongs(const struct q_envelope *e, enum ga_report_kind kind)
{
	switch (kind) {
	case GA_REPORT_FAILED:
		return e->state == Q_ENDED && (e->flags & GA_ENV_FAILED) != 0;
	case GA_REPORT_RELAYED:
		return e->state == Q_ENDED && (e->flags & GA_ENV_FAILED) == 0;
	case GA_REPORT_DELAYED:
		return (e->flags & Q_ENV_DELAYED) != 0 && e->state != Q_ENDED;
	}
	return false;
}

static struct q_message *
message_of(const struct q_notice *n)
{
	return q_id_has(n->loop, n->id, n->message) ? q_message(n->loop, n->message) : NULL;
}

/* Up to GA_REPORT_MAX envelopes that are to be told of. */
static void
gather(struct q_notice *n, const struct q_message *m)
{
	struct q_loop *l = n->loop;
	unsigned room = m->nlive < GA_REPORT_MAX ? m->nlive : GA_REPORT_MAX;

	free(n->numbers);
	free(n->indexes);
	n->numbers = ga_xcalloc(room, sizeof *n->numbers);
	n->indexes = ga_xcalloc(room, sizeof *n->indexes);
	for (uint32_t i = m->envelopes; i != 0 && n->report.n < room; i = q_envelope(l, i)->next) {
		const struct q_envelope *e = q_envelope(l, i);

		if (!belongs(e, n->report.kind))
			continue;
		n->numbers[n->report.n] = i;
		n->indexes[n->report.n++] = e->index;
	}
	n->report.envelopes = n->indexes;
}

/* They go on waiting, unless they have ended meanwhile: then the numbers are others'. */
static void
delays_told(struct q_notice *n)
{
	for (unsigned i = 0; message_of(n) != NULL && i < n->report.n; i++) {
		struct q_envelope *e = q_envelope(n->loop, n->numbers[i]);

		if (e->message == n->message && e->index == n->indexes[i])
			e->flags &= (uint8_t)~Q_ENV_DELAYED;
	}
}

static bool
full(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

/* Has more of the message ended meanwhile, it is told next. */
static void
look_again(struct q_notice *n)
{
	struct q_loop *l = n->loop;
	struct q_message *m = message_of(n);
	bool more = false;

	for (uint32_t i = m != NULL ? m->envelopes : 0; i != 0 && !more; i = q_envelope(l, i)->next)
		more = belongs(q_envelope(l, i), n->report.kind);
	if (more) {
		put(n, n->report.error == 0 || full(n->report.error) ? 0 : AGAIN_MS);
		return;
	}
	if (m != NULL)
		m->notices &= (uint8_t)~(1u << n->report.kind);
	notice_free(n);
}

static void
told(struct ga_worker *w, struct ga_report *report)
{
	struct q_notice *n = report->arg;
	struct q_loop *l = n->loop;

	TAILQ_REMOVE(&l->told, n, entry);
	l->ntold--;
	if (full(report->error))
		l->notices_ms = ga_now_ms(w) + FULL_MS;
	if (report->error != 0)
		ga_log(q_inst, GA_WARN, "GA-QUE-0005", "%08x: its sender could not be told: %s", n->id,
		    strerror(report->error));
	else if (report->kind == GA_REPORT_DELAYED)
		delays_told(n);
	else
		for (unsigned i = 0; i < report->n; i++)
			q_envelope_finished(l, n->numbers[i]);
	look_again(n);
	if (l->ntold == 0) {
		ga_unhold(l->telling);
		l->telling = NULL;
	}
	arm(l);
}

static void
tell(struct q_loop *l, struct q_notice *n)
{
	const struct q_message *m = message_of(n);

	TAILQ_REMOVE(&l->notices, n, entry);
	n->report.n = 0;
	if (m != NULL)
		gather(n, m);
	if (n->report.n == 0) {		/* what waited too long has been delivered since */
		look_again(n);
		return;
	}
	TAILQ_INSERT_TAIL(&l->told, n, entry);
	l->ntold++;
	n->report.error = 0;
	n->report.cb = told;
	n->report.arg = n;
	l->reporter->report(l->worker, &n->report);
}

static void
due(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct q_loop *l = arg;
	struct q_notice *n;

	(void)inst;
	while (l->ntold < TOLD_MAX && ga_now_ms(w) >= l->notices_ms && (n = TAILQ_FIRST(&l->notices)) != NULL && n->due_ms <= ga_now_ms(w))
		tell(l, n);
	arm(l);
}

/* --- the life of a loop --- */

void
q_notices_start(struct q_loop *l)
{
	TAILQ_INIT(&l->notices);
	TAILQ_INIT(&l->told);
	l->notice_timer = ga_timer_new(q_inst, l->worker, due, l);
	l->reporter = ga_service_get(GA_BOUNCE_SERVICE, GA_BOUNCE_VERSION);
}

/* What is not told yet is found at the next start. */
void
q_notices_drain(struct q_loop *l)
{
	ga_timer_stop(l->notice_timer);
	if (l->ntold > 0)
		l->telling = ga_hold(q_inst, "reports to senders");
}

void
q_notices_end(struct q_loop *l)
{
	struct q_notice *n;

	TAILQ_CONCAT(&l->told, &l->notices, entry);
	while ((n = TAILQ_FIRST(&l->told)) != NULL) {
		TAILQ_REMOVE(&l->told, n, entry);
		notice_free(n);
	}
}
