/*
 * result.c - ending tickets: what the throttle, the spool and the queue learn.
 *
 * Called by all that end a transaction, on the connection's loop.  Modules come first
 * (attempt.c).  A deferral or
 * failure goes back to the queue at once.  A success goes to the spool first and
 * to the queue when its DONE is durable; until then the connection counts it as
 * undurable and the dot of its next transaction waits (at most one transaction a
 * connection is lost to a crash in that window, and delivered twice).
 */
#include "client.h"

#include <stdlib.h>
#include <string.h>

struct smtpc_verdict
smtpc_verdict_reply(const struct smtpc_conn *c)
{
	struct smtpc_verdict v = { .code = c->reply.code, .stage = smtpc_stage(c), .text = { c->reply.text, c->reply.n },
		.enhanced = "", .from_reply = true };

	switch (smtpc_kind(v.code)) {
	case SMTPC_OK: v.result = GA_RESULT_SUCCESS; break;
	case SMTPC_PERMANENT: v.result = GA_RESULT_FAILURE; break;
	default: v.result = GA_RESULT_DEFERRAL; break;
	}
	return v;
}

void
smtpc_result(struct smtpc_conn *c, struct ga_ticket *t, const struct smtpc_verdict *v)
{
	struct ga_str enhanced = v->from_reply ? ga_reply_enhanced(&c->reply) :
	    ga_str_c(v->enhanced);

	if (enhanced.n >= sizeof t->enhanced)
		enhanced.n = 0;
	if (enhanced.n > 0)
		memcpy(t->enhanced, enhanced.p, enhanced.n);
	t->enhanced[enhanced.n] = '\0';
	t->result = v->result;
	t->code = v->code;
	t->network = v->network;
	t->stage = (uint8_t)v->stage;
	t->recorded = t->relayed = false;
	if (v->result == GA_RESULT_RECALLED)	/* it had started: limits do not keep it */
		t->since_ms = ga_now_ms(c->loop->worker);
	free(t->text);
	free(t->mx);
	t->text = NULL;
	t->mx = NULL;
	if (v->text.n > 0)
		t->text = smtpc_strdup(v->text);
}

void
smtpc_result_rest(struct smtpc_conn *c, const struct smtpc_verdict *v)
{
	for (struct ga_ticket *t = c->txn.first; t != NULL; t = t->next)
		if (t->result == GA_RESULT_NONE)
			smtpc_result(c, t, v);
	c->txn.accepted = 0;
}

/* --- the end of tickets --- */

static struct smtpc_done *
done_new(struct smtpc_loop *l)
{
	struct smtpc_done *d = LIST_FIRST(&l->free_dones);

	if (d == NULL)
		return ga_xcalloc(1, sizeof *d);
	LIST_REMOVE(d, link);
	return d;
}

static void
recorded(struct smtpc_done *d, int error)
{
	struct smtpc_conn *c = d->conn;
	struct smtpc_loop *l = c->loop;

	if (error != 0)
		ga_log(smtpc.inst, GA_ERR, "GA-SMC-0004",
		    "envelope %016llx was delivered but that could not be recorded: %s",
		    (unsigned long long)d->ticket->envelope_id, strerror(error));
	d->ticket->recorded = error == 0;
	ga_ticket_end(d->ticket);
	LIST_REMOVE(d, link);
	LIST_INSERT_HEAD(&l->free_dones, d, link);
	if (--c->undurable == 0)
		smtpc_txn_release(c);
	smtpc_conn_unref(c);
}

static void
done_recorded(struct ga_worker *w, struct ga_spool_done *done)
{
	recorded(done->arg, done->error);
}

static void
update_recorded(struct ga_worker *w, struct ga_spool_update *update)
{
	struct smtpc_done *d = update->arg;

	ga_attrs_free(&d->attrs);
	recorded(d, update->error);
}

/* Delivered, and kept until its sender has been told (RFC 3461 5.2.2). */
static void
record_relayed(struct smtpc_conn *c, struct smtpc_done *d)
{
	const struct ga_ticket *t = d->ticket;
	struct ga_attrs *attrs = &d->attrs;

	ga_attrs_put(attrs, GA_ATTR_LAST_REPLY, ga_str_c(t->text));
	ga_attrs_put(attrs, GA_ATTR_LAST_STATUS, ga_str_c(t->enhanced));
	if (t->mx != NULL)
		ga_attrs_put(attrs, GA_ATTR_LAST_MX, ga_str_c(t->mx));
	ga_attrs_put_u64(attrs, GA_ATTR_LAST_ATTEMPT, ga_wall_ms());
	d->update = (struct ga_spool_update){ .seq = t->seq, .envelope = t->envelope,
		.attempts = t->attempts + 1, .flags = GA_ENV_RELAYED,
		.attrs = { attrs->p, attrs->n }, .cb = update_recorded, .arg = d };
	smtpc.spool->update(c->loop->worker, &d->update);
}

static void
record(struct smtpc_conn *c, struct ga_ticket *t)
{
	struct smtpc_done *d = done_new(c->loop);

	*d = (struct smtpc_done){ .ticket = t, .conn = smtpc_conn_ref(c),
		.done = { .end = { t->seq, t->envelope, GA_RESULT_SUCCESS }, .cb = done_recorded,
		    .arg = d } };
	LIST_INSERT_HEAD(&c->loop->dones, d, link);
	c->undurable++;
	if (t->relayed)
		record_relayed(c, d);
	else
		smtpc.spool->done(c->loop->worker, &d->done);
}

static void
count_result(const struct ga_ticket *t)
{
	if (t->result == GA_RESULT_SUCCESS)
		smtpc_count(&smtpc.successes, 1);
	else if (t->result == GA_RESULT_FAILURE)
		smtpc_count(&smtpc.failures, 1);
	else if (t->result == GA_RESULT_DEFERRAL)
		smtpc_count(&smtpc.deferrals, 1);
}

/* n tickets with results; m: their message, NULL when it was not read. */
static void
end_list(struct smtpc_conn *c, struct ga_ticket *first, unsigned n)
{
	struct ga_ticket *next;

	smtpc.throttle->ended(c->group, first, n);
	for (struct ga_ticket *t = first; t != NULL; t = next) {
		next = t->next;
		t->next = NULL;
		count_result(t);
		if (t->result == GA_RESULT_SUCCESS)
			record(c, t);
		else
			ga_ticket_end(t);
	}
}

/* Those refused before anybody was asked join the others. */
static struct ga_ticket *
join_refused(struct smtpc_txn *x)
{
	struct ga_ticket **end = &x->first;

	while (*end != NULL)
		end = &(*end)->next;
	*end = x->refused;
	x->n += x->nrefused;
	x->refused = NULL;
	x->nrefused = 0;
	return x->first;
}

/* What the spool still has of a transaction that is over stays as it is. */
static void
clear(struct smtpc_txn *x)
{
	if (!x->loading && !x->body.reading) {
		*x = (struct smtpc_txn){ 0 };
		return;
	}
	x->first = x->cur = NULL;
	x->n = x->accepted = 0;
	x->ready = x->verified_only = x->grouped = x->dot_sent = false;
}

void
smtpc_results_end(struct smtpc_conn *c)
{
	struct smtpc_txn *x = &c->txn;
	struct ga_ticket *first = join_refused(x);
	unsigned n = x->n;

	if (first == NULL)
		return;
	smtpc_attempts_end(c, first);
	smtpc_phases_begin(c);
	smtpc_body_end(c);
	smtpc_prepare_cancel(c);
	clear(x);
	smtpc_count(&smtpc.transactions, 1);
	smtpc_count(&smtpc.recipients, n);
	end_list(c, first, n);
}

void
smtpc_carry_end(struct smtpc_conn *c, const struct smtpc_verdict *v)
{
	struct ga_ticket *first = c->carry;
	unsigned n = c->ncarry;

	if (first == NULL)
		return;
	c->carry = NULL;
	c->ncarry = 0;
	for (struct ga_ticket *t = first; t != NULL; t = t->next)
		smtpc_result(c, t, v);
	smtpc_attempts_end(c, first);
	end_list(c, first, n);
}
