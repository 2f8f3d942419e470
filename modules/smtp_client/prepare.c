/*
 * prepare.c - what must be known before MAIL: the message, and what modules make
 * of it for this attempt.
 *
 * Called with a fresh batch when a connection begins (the message is read from
 * the spool while the connection is made) and for each further transaction.
 * Runs on the connection's loop; when all is there txn.ready is set, and a
 * connection that waits for it (state PREPARE) goes on.  A batch over the limit
 * of recipients is split: the rest is carried to the next transaction.
 * A body over SMTPC_LOAD octets stays in the spool and is read piece by piece,
 * unless a module wants to edit it (hook `outgoing`): then it is read whole.
 */
#include "client.h"

#include <string.h>

#define SMTPC_LOAD (256u * 1024)

static void outgoing_answered(struct ga_run *, enum ga_verdict, void *arg);

/* A message read back may hold fewer envelopes than it had. */
const struct ga_envelope *
smtpc_envelope(const struct ga_message *m, const struct ga_ticket *t)
{
	if (t->envelope < m->nenvelopes && m->envelopes[t->envelope].index == t->envelope)
		return &m->envelopes[t->envelope];
	for (uint32_t i = 0; i < m->nenvelopes; i++)
		if (m->envelopes[i].index == t->envelope)
			return &m->envelopes[i];
	return NULL;
}

static bool
all_envelopes(const struct smtpc_txn *x)
{
	for (const struct ga_ticket *t = x->first; t != NULL; t = t->next)
		if (smtpc_envelope(x->message, t) == NULL)
			return false;
	return true;
}

/* The session has nothing to do until this is known. */
static bool
awaited(const struct smtpc_conn *c)
{
	return c->state == SMTPC_PREPARE && !c->preparing;
}

static void
ready(struct smtpc_conn *c)
{
	c->txn.ready = true;
	if (awaited(c))
		smtpc_txn_begin(c);
}

/* No MAIL for these; the connection, when it waited for them, goes on with others. */
static void
not_ready(struct smtpc_conn *c, const struct smtpc_verdict *v)
{
	smtpc_result_rest(c, v);
	smtpc_results_end(c);
	if (awaited(c))
		smtpc_txn_next(c);
}

static void
ask_outgoing(struct smtpc_conn *c)
{
	struct smtpc_txn *t = &c->txn;
	const struct ga_message *m = t->message;
	const struct ga_envelope *e = smtpc_envelope(m, t->first);
	enum ga_verdict v;

	t->content = ga_content_new(m->body, ga_attr_u32(m->attrs, GA_ATTR_HEADER_SIZE, 0));
	t->asked = true;
	t->run = (struct ga_run){ .worker = c->loop->worker, .settings = c->route->settings,
		.content = t->content, .message = t->message, .object_id = c->id,
		.done = outgoing_answered, .arg = c };
	t->event = (struct ga_ev_outgoing){ .sender = m->sender, .recipient = e->recipient,
		.domain = e->domain, .virtual_mta = c->route->virtual_mta, .message_id = m->id,
		.size = m->body_size, .nrcpt = t->n };
	v = ga_run_hook(&t->run, GA_HOOK_outgoing, &t->event);
	if (v != GA_SUSPENDED_)
		outgoing_answered(&t->run, v, c);
}

static void
outgoing_answered(struct ga_run *run, enum ga_verdict verdict, void *arg)
{
	struct smtpc_conn *c = arg;
	struct smtpc_verdict v = { .code = 0, .enhanced = run->reply.enhanced };
	uint32_t header_size;

	if (verdict != GA_TEMPFAIL && verdict != GA_REJECT) {
		if (ga_content_changed(c->txn.content))
			c->txn.body.whole = ga_content_body(c->txn.content, &header_size);
		ready(c);
		return;
	}
	v.result = verdict == GA_REJECT ? GA_RESULT_FAILURE : GA_RESULT_DEFERRAL;
	v.text = ga_str_c(run->reply.text[0] != '\0' ? run->reply.text :
	    "a module refused this message");
	if (v.enhanced[0] == '\0')
		v.enhanced = verdict == GA_REJECT ? "5.7.1" : "4.7.1";
	not_ready(c, &v);
}

static bool
in_memory(const struct ga_message *m)
{
	return m->body != NULL && m->body->chunks != NULL;
}

static void
have_message(struct smtpc_conn *c)
{
	struct smtpc_verdict v = { .result = GA_RESULT_DEFERRAL, .enhanced = "4.3.0" };
	bool edit = GA_WANTED(c->plan, outgoing);

	if (!all_envelopes(&c->txn)) {
		v.text = GA_STR("the spool has the message without this recipient");
		not_ready(c, &v);
	} else if (edit && !in_memory(c->txn.message)) {
		v.text = GA_STR("the message is too large to be edited by a module");
		not_ready(c, &v);
	} else if (edit) {
		ask_outgoing(c);
	} else {
		ready(c);
	}
}

static void
loaded(struct ga_worker *w, struct ga_spool_read *read)
{
	struct smtpc_conn *c = read->arg;
	struct smtpc_txn *t = &c->txn;
	struct smtpc_verdict v = { .result = GA_RESULT_DEFERRAL, .enhanced = "4.3.0",
		.text = GA_STR("the message could not be read from the spool") };

	t->loading = false;
	if (t->first == NULL) {
		if (read->message != NULL)
			ga_message_unref(read->message);
	} else {
		t->message = read->message;
		t->loaded = read->message != NULL;
		if (c->given_up) {
			smtpc_give_up(c);
		} else if (read->error != 0 || read->message == NULL) {
			ga_log(smtpc.inst, GA_ERR, "GA-SMC-0002",
			    "message %08x cannot be read from the spool: %s",
			    (unsigned)(t->first->envelope_id >> 32), strerror(read->error));
			not_ready(c, &v);
		} else {
			have_message(c);
		}
	}
	smtpc_conn_unref(c);
}

static void
load(struct smtpc_conn *c, uint64_t limit)
{
	struct smtpc_txn *t = &c->txn;

	t->loading = true;
	t->read = (struct ga_spool_read){ .seq = t->first->seq, .body_limit = limit,
		.cb = loaded, .arg = smtpc_conn_ref(c) };
	smtpc.spool->read(c->loop->worker, &t->read);
}

/* The first `limit` tickets of the batch; the rest is carried. */
static void
take(struct smtpc_conn *c, struct ga_batch batch, unsigned limit)
{
	struct ga_ticket *last = batch.first;

	c->txn.first = batch.first;
	c->txn.n = batch.n < limit ? batch.n : limit;
	for (unsigned i = 1; i < c->txn.n; i++)
		last = last->next;
	c->carry = last->next;
	c->ncarry = batch.n - c->txn.n;
	last->next = NULL;
	for (struct ga_ticket *t = c->txn.first; t != NULL; t = t->next)
		t->result = GA_RESULT_NONE;
}

void
smtpc_prepare(struct smtpc_conn *c, struct ga_batch batch)
{
	unsigned limit = (unsigned)c->conf->max_recipients_per_delivery;
	struct ga_message *m = batch.first->message;
	bool edit = GA_WANTED(c->plan, outgoing);

	if (c->rcpt_limit > 0 && c->rcpt_limit < limit)
		limit = c->rcpt_limit;
	take(c, batch, limit);
	c->txn.begun_ms = ga_now_ms(c->loop->worker);
	c->txn.message = m;
	c->preparing = true;
	if (m != NULL && (in_memory(m) || (!edit && m->body_size > SMTPC_LOAD)))
		have_message(c);
	else
		load(c, edit ? UINT64_MAX : SMTPC_LOAD);
	c->preparing = false;
}

void
smtpc_prepare_cancel(struct smtpc_conn *c)
{
	struct smtpc_txn *t = &c->txn;

	if (t->asked && ga_run_busy(&t->run))
		ga_run_cancel(&t->run, GA_WHY_PEER_GONE);
	ga_content_free(t->content);
	t->content = NULL;
	t->asked = false;
	if (t->loaded)
		ga_message_unref(t->message);
	t->loaded = false;
	t->message = NULL;
}
