/*
 * intake.c - the one way in: a transaction becomes a message on stable storage,
 * and only then is it accepted.
 *
 * submit → hook queue_commit → message built (attributes, envelopes, trace field
 * on top of the body) → spool commit → queue → answer.  When the caller goes
 * away meanwhile nothing is lost: the message is in the queue, and the sender,
 * which got no answer, may send it again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue.h"

struct submit {
	struct ga_spool_commit commit;
	struct ga_run run;
	struct ga_ev_commit ev;
	struct q_loop *loop;
	struct ga_intake_submit *s;
	struct ga_message *message;
	const struct ga_settings *settings;	/* of the service; its snapshot is held */
	struct ga_snapshot *snapshot;
	uint32_t number;		/* in the table */
	unsigned nrcpts;
	bool hold;
	bool decided;			/* the answer that is on its way needs no commit */
	struct ga_post later;
	struct submit *next, **prev;	/* all of the loop */
};

static void
reply(struct ga_intake_submit *s, unsigned code, const char *enhanced, const char *text)
{
	s->reply.code = code;
	snprintf(s->reply.enhanced, sizeof s->reply.enhanced, "%s", enhanced);
	snprintf(s->reply.text, sizeof s->reply.text, "%s", text);
}

static void
submit_free(struct submit *b)
{
	*b->prev = b->next;
	if (b->next != NULL)
		b->next->prev = b->prev;
	if (b->message != NULL)
		ga_message_unref(b->message);
	ga_snapshot_unref(b->snapshot);
	free(b);
}

static void
answer(struct submit *b, enum ga_verdict verdict)
{
	struct ga_intake_submit *s = b->s;
	struct ga_worker *w = b->loop->worker;

	s->verdict = verdict;
	s->private_ = NULL;
	submit_free(b);
	s->cb(w, s);
}

static void
answer_now(struct ga_worker *w, struct ga_post *post)
{
	struct submit *b = GA_CONTAINER(post, struct submit, later);

	(void)w;
	answer(b, b->s->verdict);
}

/* Never inside submit(). */
static void
answer_later(struct submit *b, enum ga_verdict verdict)
{
	b->s->verdict = verdict;
	b->decided = true;
	b->later.fn = answer_now;
	ga_loop_post(b->loop->worker, &b->later);
}

/* --- after the commit --- */

static void
tell_queued(struct submit *b)
{
	const struct ga_message *m = b->message;
	struct ga_ev_queued ev = { m->id, m->sender, m->body_size, b->nrcpts };
	struct ga_run run = { .worker = b->loop->worker, .settings = b->settings, .object_id = m->id };

	if (GA_WANTED(ga_settings_plan(b->settings), message_queued))
		ga_run_hook(&run, GA_HOOK_message_queued, &ev);
}

static bool
keep_in_memory(const struct ga_message *m)
{
	/* past half of queue_memory what waits is read back when its turn comes */
	return m->body != NULL && m->body->chunks != NULL && !q_memory_half_full();
}

static void
into_queue(struct submit *b)
{
	struct q_loop *l = b->loop;

	q_message_fill(l, b->number, b->message);
	if (keep_in_memory(b->message))
		q_message(l, b->number)->live = ga_message_ref(b->message);
	Q_ADD(l, accepted_total, 1);
	q_message_schedule(l, b->number, b->message, b->hold);
}

static void
committed(struct ga_worker *w, struct ga_spool_commit *c)
{
	struct submit *b = GA_CONTAINER(c, struct submit, commit);

	(void)w;
	if (c->error != 0) {
		q_message_forget(b->loop, b->number);
		if (c->error == ENOSPC || c->error == EDQUOT)
			reply(b->s, 452, "4.3.1", "Insufficient system storage");
		else
			reply(b->s, 451, "4.3.0", "Local error in processing");
		answer(b, GA_TEMPFAIL);
		return;
	}
	into_queue(b);
	tell_queued(b);
	answer(b, GA_ACCEPT);
}

/* --- building the message --- */

static void
put_msguid(struct ga_attrs *attrs, uint64_t ms)
{
	char text[40];
	int n = snprintf(text, sizeof text, "%llu.%08u", (unsigned long long)(ms / 1000),
	    ga_random32() % 100000000u);

	ga_attrs_put(attrs, GA_ATTR_MSGUID, (struct ga_str){ text, (size_t)n });
}

static struct ga_attrs
message_attrs(const struct ga_txn *t, size_t trace)
{
	struct ga_attrs attrs = { NULL, 0, 0 };
	struct ga_str own = { t->attrs.p, t->attrs.n }, v;
	unsigned key;

	ga_attrs_put(&attrs, GA_ATTR_SENDER, t->sender);
	ga_attrs_put_u32(&attrs, GA_ATTR_FLAGS, t->flags);
	ga_attrs_put_u32(&attrs, GA_ATTR_HEADER_SIZE, t->header_size + (uint32_t)trace);
	put_msguid(&attrs, t->accepted_ms);
	for (size_t pos = 0; ga_attr_next(own, &pos, &key, &v);)
		ga_attrs_put(&attrs, key, v);
	return attrs;
}

static struct ga_attrs
envelope_attrs(const struct ga_rcpt *r)
{
	struct ga_attrs attrs = { NULL, 0, 0 };

	ga_attrs_put(&attrs, GA_ATTR_RECIPIENT, r->to);
	if (r->orcpt.n > 0)
		ga_attrs_put(&attrs, GA_ATTR_ORCPT, r->orcpt);
	if (r->notify != 0)
		ga_attrs_put_u32(&attrs, GA_ATTR_NOTIFY, r->notify);
	return attrs;
}

static struct ga_message *
build(struct submit *b)
{
	struct ga_txn *t = b->s->txn;
	struct ga_attrs attrs = message_attrs(t, b->s->trace.n), *each;
	struct ga_str *packed = ga_xcalloc(t->nrcpts, sizeof *packed);
	struct ga_message *m;
	size_t n = 0;

	each = ga_xcalloc(t->nrcpts, sizeof *each);
	for (size_t i = 0; i < t->nrcpts; i++) {
		if (t->rcpts[i].discard)
			continue;
		each[n] = envelope_attrs(&t->rcpts[i]);
		packed[n] = (struct ga_str){ each[n].p, each[n].n };
		n++;
	}
	if (t->body == NULL && b->s->upload == NULL)
		t->body = ga_body_new();
	if (b->s->trace.n > 0 && b->s->upload == NULL)
		ga_body_prepend(t->body, b->s->trace.p, b->s->trace.n);
	m = ga_message_new(t->id, t->accepted_ms, (struct ga_str){ attrs.p, attrs.n }, packed, NULL, n,
	    b->s->upload == NULL ? ga_body_ref(t->body) : NULL);
	for (size_t i = 0; i < n; i++)
		ga_attrs_free(&each[i]);
	ga_attrs_free(&attrs);
	free(each);
	free(packed);
	return m;
}

static void
commit(struct submit *b)
{
	struct ga_intake_submit *s = b->s;

	b->message = build(b);
	/* in the same record: a crash must not let go what a module holds */
	for (uint32_t i = 0; b->hold && i < b->message->nenvelopes; i++)
		b->message->envelopes[i].flags |= GA_ENV_SUSPENDED;
	b->commit.message = b->message;
	b->commit.upload = s->upload;
	b->commit.ends = s->ends;
	b->commit.nends = s->nends;
	b->commit.cb = committed;
	q_spool->commit(b->loop->worker, &b->commit);
}

/* --- the hook --- */

static void
drop_upload(struct submit *b)
{
	if (b->s->upload != NULL)
		q_spool->upload_abort(b->loop->worker, b->s->upload);
	q_message_forget(b->loop, b->number);
}

static void
permitted(struct submit *b, enum ga_verdict verdict)
{
	struct ga_intake_submit *s = b->s;

	switch (verdict) {
	case GA_HOLD:
		b->hold = true;
		commit(b);
		return;
	case GA_PASS:
	case GA_ACCEPT:
		commit(b);
		return;
	case GA_DISCARD:
		drop_upload(b);
		s->discarded = true;
		answer_later(b, GA_ACCEPT);
		return;
	case GA_TEMPFAIL:
	case GA_REJECT:
	case GA_CLOSE:
	case GA_SUSPENDED_:
	case GA_FAILED_:
		break;
	}
	drop_upload(b);
	s->reply = b->run.reply;
	if (s->reply.code == 0 && verdict == GA_REJECT)
		reply(s, 554, "5.7.1", "Message refused");
	else if (s->reply.code == 0)
		reply(s, 451, "4.7.1", "Try again later");
	answer_later(b, verdict == GA_REJECT ? GA_REJECT : GA_TEMPFAIL);
}

static void
hook_answered(struct ga_run *run, enum ga_verdict verdict, void *arg)
{
	(void)run;
	permitted(arg, verdict);
}

static void
ask(struct submit *b)
{
	struct ga_txn *t = b->s->txn;
	enum ga_verdict verdict;

	if (!GA_WANTED(t->plan, queue_commit)) {
		permitted(b, GA_PASS);
		return;
	}
	b->ev = (struct ga_ev_commit){ t, t->id };
	b->run = (struct ga_run){ .worker = b->loop->worker, .settings = t->settings,
		.session = t->session, .txn = t, .object_id = t->id, .done = hook_answered, .arg = b };
	verdict = ga_run_hook(&b->run, GA_HOOK_queue_commit, &b->ev);
	if (verdict != GA_SUSPENDED_)
		permitted(b, verdict);
}

/* --- the service --- */

static unsigned
wanted_recipients(const struct ga_txn *t)
{
	unsigned n = 0;

	for (size_t i = 0; i < t->nrcpts; i++)
		n += t->rcpts[i].discard ? 0 : 1;
	return t->discard ? 0 : n;
}

static void
submit(struct ga_worker *w, struct ga_intake_submit *s)
{
	struct q_loop *l = q_loop(w);
	struct submit *b = ga_xcalloc(1, sizeof *b);
	struct ga_txn *t = s->txn;

	b->loop = l;
	b->next = l->submits;
	b->prev = &l->submits;
	if (b->next != NULL)
		b->next->prev = &b->next;
	l->submits = b;
	b->s = s;
	b->settings = t->settings;
	b->snapshot = ga_snapshot_ref(ga_settings_snapshot(t->settings));
	b->hold = t->hold;
	b->nrcpts = wanted_recipients(t);
	s->private_ = b;
	s->reply.code = 0;
	s->discarded = false;
	if (b->nrcpts == 0) {
		if (s->upload != NULL)
			q_spool->upload_abort(w, s->upload);
		s->discarded = true;
		answer_later(b, GA_ACCEPT);
		return;
	}
	if (t->accepted_ms == 0)
		t->accepted_ms = q_wall_ms(l);
	if (t->id == 0 || q_id_find(l, t->id) != 0)
		t->id = q_id_draw(l);
	b->number = q_message_new(l, t->id);
	ask(b);
}

/* --- the end --- */

/* The loop ends: who waits for a module, or for an answer that needs no commit, gets
 * it now. */
void
q_submits_stop(struct q_loop *l)
{
	struct submit *b, *next;

	for (b = l->submits; b != NULL; b = next) {
		next = b->next;
		if (b->decided) {
			answer(b, b->s->verdict);
		} else if (ga_run_busy(&b->run)) {
			ga_run_cancel(&b->run, GA_WHY_DRAIN);
			drop_upload(b);
			reply(b->s, 451, "4.3.2", "Shutting down");
			answer(b, GA_TEMPFAIL);
		}
	}
}

/* No loop runs any more, and the spool has done with what it was given: whether that
 * is on stable storage is for the next start to find. */
void
q_submits_end(struct q_loop *l)
{
	while (l->submits != NULL)
		submit_free(l->submits);
}

/* --- more of the service --- */

static uint32_t
reserve_id(struct ga_worker *w)
{
	return q_id_draw(q_loop(w));
}

/* An id is only taken when it is submitted; then it is drawn again if it was taken. */
static void
release_id(struct ga_worker *w, uint32_t id)
{
	(void)w;
	(void)id;
}

static int
room(uint64_t octets)
{
	return q_spool != NULL ? q_spool->room(octets) : 0;
}

const struct ga_intake q_intake = {
	sizeof q_intake, GA_INTAKE_VERSION, reserve_id, release_id, room, submit
};
