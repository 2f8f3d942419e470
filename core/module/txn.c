/*
 * txn.c - sessions and transactions as hooks see them.
 *
 * A session or transaction costs one allocation; the memory that modules keep
 * with it (session_size, txn_size) and its pool are made when first asked for.
 * A session holds a reference to its snapshot, so its settings, its plan and the
 * instances in it stay as long as it does: a reload does not touch it.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "module/call.h"
#include "module/txn.h"

struct ga_session *
ga_session_new(struct ga_worker *w, const struct ga_settings *settings)
{
	struct ga_session *s = ga_xcalloc(1, sizeof *s);

	s->worker = w;
	s->snapshot = ga_snapshot_ref(ga_settings_snapshot(settings));
	s->service_plan = s->plan = ga_settings_plan(settings);
	return s;
}

const struct ga_plan *
ga_session_plan(const struct ga_session *s)
{
	return s->plan;
}

void
ga_session_leave(struct ga_call *call)
{
	struct ga_session *s = call->run->session;

	if (s != NULL)
		s->plan = gac_plan_without(s->snapshot, s->plan, call->step->inst);
}

struct ga_pool *
ga_session_pool(struct ga_session *s)
{
	if (s->pool == NULL)
		s->pool = ga_pool_new(0);
	return s->pool;
}

static void *
object_state(void ***table, struct ga_pool *pool, const struct ga_inst *inst, size_t size)
{
	unsigned i = inst->module->index;

	if (size == 0)
		return NULL;
	if (*table == NULL)
		*table = ga_alloc(pool, GAC_MODULES_MAX * sizeof **table);
	if ((*table)[i] == NULL)
		(*table)[i] = ga_alloc(pool, size);
	return (*table)[i];
}

/* Tells the modules that kept state with the object, last loaded first. */
#define TELL_END(snapshot, table, slot, object, end) do {				\
	for (unsigned i_ = GAC_MODULES_MAX; (table) != NULL && i_-- > 0;) {		\
		struct ga_inst *inst_ = (table)[i_] != NULL ?				\
		    gac_inst_of((snapshot), i_) : NULL;					\
		if (inst_ != NULL && inst_->module->desc.slot != NULL)			\
			inst_->module->desc.slot(inst_, (object), (table)[i_], (end));	\
	}										\
} while (0)

void
ga_session_free(struct ga_session *s, enum ga_end end)
{
	if (s == NULL)
		return;
	TELL_END(s->snapshot, s->states, session_end, s, end);
	ga_pool_free(s->pool);
	ga_snapshot_unref(s->snapshot);
	free(s);
}

struct gac_txn_private *
gac_txn_private(struct ga_txn *t)
{
	return t->private_;
}

struct ga_txn *
ga_txn_new(struct ga_worker *w, struct ga_session *session, const struct ga_settings *settings)
{
	struct ga_pool *pool = ga_pool_new(2048);
	struct ga_txn *t = ga_alloc(pool, sizeof *t);

	t->pool = pool;
	t->session = session;
	t->worker = w;
	t->settings = settings;
	t->plan = session != NULL ? session->plan : ga_settings_plan(settings);
	t->private_ = ga_alloc(pool, sizeof(struct gac_txn_private));
	return t;
}

void
ga_txn_free(struct ga_txn *t, enum ga_end end)
{
	struct gac_txn_private *p;

	if (t == NULL)
		return;
	p = t->private_;
	if (p->content_run != NULL)
		gac_content_run_cancel(p->content_run, GA_WHY_PEER_GONE);
	TELL_END(ga_settings_snapshot(t->settings), p->states, txn_end, t, end);
	if (t->body != NULL)
		ga_body_unref(t->body);
	ga_attrs_free(&t->attrs);
	ga_pool_free(t->pool);
}

struct ga_rcpt *
ga_txn_add_rcpt(struct ga_txn *t)
{
	if (t->nrcpts == t->rcpt_room) {
		size_t room = t->rcpt_room > 0 ? t->rcpt_room * 2 : 4;
		struct ga_rcpt *more = ga_alloc(t->pool, room * sizeof *more);

		if (t->nrcpts > 0)
			memcpy(more, t->rcpts, t->nrcpts * sizeof *more);
		t->rcpts = more;
		t->rcpt_room = room;
	}
	return &t->rcpts[t->nrcpts++];
}

/* --- what a call sees of them --- */

void *
ga_call_state(struct ga_call *call, enum ga_lifetime life)
{
	const struct ga_inst *inst = call->step->inst;
	const struct ga_module *desc = &inst->module->desc;

	switch (life) {
	case GA_LIFE_SESSION:
		return call->run->session == NULL ? NULL : object_state(&call->run->session->states,
		    ga_session_pool(call->run->session), inst, desc->session_size);
	case GA_LIFE_TXN:
		return call->run->txn == NULL ? NULL : object_state(
		    &gac_txn_private(call->run->txn)->states, call->run->txn->pool, inst,
		    desc->txn_size);
	case GA_LIFE_CONNECTION:
		return call->run->connection == NULL ? NULL : gac_connection_state(call);
	case GA_LIFE_INSTANCE:
		return inst->state;
	case GA_LIFE_CALL:
		break;
	}
	return NULL;
}

struct ga_pool *
ga_call_pool(struct ga_call *call, enum ga_lifetime life)
{
	switch (life) {
	case GA_LIFE_SESSION:
		return call->run->session != NULL ? ga_session_pool(call->run->session) : NULL;
	case GA_LIFE_TXN:
		return call->run->txn != NULL ? call->run->txn->pool : NULL;
	case GA_LIFE_CALL:
		if (call->pool == NULL)
			call->pool = ga_pool_new(0);
		return call->pool;
	case GA_LIFE_CONNECTION:
	case GA_LIFE_INSTANCE:
		break;
	}
	return NULL;
}

/* --- notes --- */

static struct ga_str
note_key(struct ga_call *call, const char *key)
{
	return ga_fmt(ga_call_pool(call, GA_LIFE_CALL), "%s/%s",
	    ga_inst_name(call->step->inst), key);
}

bool
ga_note_set(struct ga_call *call, const char *key, struct ga_str value)
{
	struct ga_str full, note;
	char *p;

	if (call->run->txn == NULL ||
	    (call->hook != GA_HOOK_eom && call->hook != GA_HOOK_queue_commit))
		return false;
	full = note_key(call, key);
	p = ga_alloc(ga_call_pool(call, GA_LIFE_CALL), full.n + 1 + value.n);
	memcpy(p, full.p, full.n);
	if (value.n > 0)
		memcpy(p + full.n + 1, value.p, value.n);
	note = (struct ga_str){ p, full.n + 1 + value.n };
	ga_attrs_put(&call->run->txn->attrs, GA_ATTR_NOTE, note);
	return true;
}

struct ga_str
ga_note_get(struct ga_call *call, const char *key)
{
	struct ga_str none = { NULL, 0 }, full, attrs, v;
	unsigned k;

	if (call->run->message != NULL)
		attrs = call->run->message->attrs;
	else if (call->run->txn != NULL)
		attrs = (struct ga_str){ call->run->txn->attrs.p, call->run->txn->attrs.n };
	else
		return none;
	full = note_key(call, key);
	for (size_t pos = 0; ga_attr_next(attrs, &pos, &k, &v);)
		if (k == GA_ATTR_NOTE && v.n > full.n && v.p[full.n] == '\0' &&
		    memcmp(v.p, full.p, full.n) == 0)
			return (struct ga_str){ v.p + full.n + 1, v.n - full.n - 1 };
	return none;
}
