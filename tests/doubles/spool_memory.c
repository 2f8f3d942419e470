/*
 * spool_memory.c - a second provider of the service "spool": everything in memory.
 *
 * Loaded after, or in place of, the module spool it shows that the service can
 * be replaced by configuration alone.  Keeps messages, states and bodies as the
 * contract in <greenarrow/service/spool.h> says, but for surviving a crash: for
 * tests and measurements, not for mail.
 *
 * `spool_memory_error` makes commits and room() fail as a full or broken disk
 * does.  One lock around one table; callbacks are posted to the asking loop.
 */
#define GA_LEVEL GA_ABI_STRICT
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include <greenarrow/run.h>

#include "spool_memory.h"

#define SPOOL_MEMORY_DIRECTIVES(X)								\
	X(choice, spool_memory_error, "none", "oneof=none|full|broken", "general",		\
	    "What commits end in: nothing wrong, no space (ENOSPC), or an error (EIO)")

GA_CONF_STRUCT(spool_memory_conf, SPOOL_MEMORY_DIRECTIVES);
#define GA_CF_SELF_ struct spool_memory_conf
GA_CONF_SCHEMA(spool_memory_conf, SPOOL_MEMORY_DIRECTIVES);

struct kept {
	UT_hash_handle hh;			/* in order of acceptance */
	uint64_t seq;
	struct ga_message *message;		/* body in it; envelopes as last recorded */
	struct ga_attrs *attrs;			/* replaced envelope attributes: owned */
	unsigned left;				/* envelopes not done */
};

struct ga_spool_upload {
	struct ga_body *body;
	int error;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept *table;
static uint64_t last_seq;
static struct spool_memory_counts counts;
static _Atomic int error_next, error_next_piece;
static _Atomic unsigned error_conf;

/* --- the table; under the lock --- */

static struct kept *
find(uint64_t seq)
{
	struct kept *k;

	HASH_FIND(hh, table, &seq, sizeof seq, k);
	return k;
}

static void
forget(struct kept *k)
{
	HASH_DEL(table, k);
	for (uint32_t i = 0; i < k->message->nenvelopes; i++)
		ga_attrs_free(&k->attrs[i]);
	free(k->attrs);
	ga_message_unref(k->message);
	free(k);
}

static void
keep(struct ga_message *m, uint64_t seq)
{
	struct kept *k = ga_xcalloc(1, sizeof *k);

	k->seq = seq;
	k->message = m;
	k->attrs = ga_xcalloc(m->nenvelopes + 1, sizeof *k->attrs);
	for (uint32_t i = 0; i < m->nenvelopes; i++)
		k->left += (m->envelopes[i].flags & GA_ENV_DONE) == 0;
	HASH_ADD(hh, table, seq, sizeof k->seq, k);
}

static void
end_envelope(const struct ga_spool_end *end)
{
	struct kept *k = find(end->seq);

	if (k == NULL || end->envelope >= k->message->nenvelopes ||
	    (k->message->envelopes[end->envelope].flags & GA_ENV_DONE) != 0)
		return;
	k->message->envelopes[end->envelope].flags |= GA_ENV_DONE;
	counts.ends++;
	if (--k->left == 0)
		forget(k);
}

static struct ga_str
attrs_of(const struct kept *k, uint32_t i)
{
	const struct ga_attrs *a = &k->attrs[i];

	return a->n > 0 ? (struct ga_str){ a->p, a->n } : k->message->envelopes[i].attrs;
}

/* A message of its own for somebody else: the one in the table changes. */
static struct ga_message *
copy(const struct kept *k, bool body)
{
	const struct ga_message *m = k->message;
	struct ga_str *attrs = ga_xcalloc(m->nenvelopes + 1, sizeof *attrs);
	uint32_t *randoms = ga_xcalloc(m->nenvelopes + 1, sizeof *randoms);
	struct ga_message *c;

	for (uint32_t i = 0; i < m->nenvelopes; i++) {
		attrs[i] = attrs_of(k, i);
		randoms[i] = m->envelopes[i].random;
	}
	c = ga_message_new(m->id, m->accepted_ms, m->attrs, attrs, randoms, m->nenvelopes,
	    body && m->body != NULL ? ga_body_ref(m->body) : NULL);
	c->seq = k->seq;
	c->body_size = m->body_size;
	for (uint32_t i = 0; i < m->nenvelopes; i++) {
		c->envelopes[i].attempts = m->envelopes[i].attempts;
		c->envelopes[i].flags = m->envelopes[i].flags;
		c->envelopes[i].next_ms = m->envelopes[i].next_ms;
	}
	free(attrs);
	free(randoms);
	return c;
}

/* --- commit --- */

static int
error_now(void)
{
	static const int errors[] = { 0, ENOSPC, EIO };
	int e = atomic_exchange(&error_next, 0);

	return e != 0 ? e : errors[error_conf];
}

static void
commit_done(struct ga_worker *w, struct ga_post *post)
{
	struct ga_spool_commit *c = GA_CONTAINER(post, struct ga_spool_commit, link.post);

	c->cb(w, c);
}

static void
drop_upload(struct ga_spool_upload *u)
{
	if (u == NULL)
		return;
	ga_body_unref(u->body);
	free(u);
	counts.uploads--;
}

static void
put_in(struct ga_spool_commit *c)
{
	struct kept k = { .message = c->message };
	struct ga_attrs none[1] = { { NULL, 0, 0 } };
	struct ga_message *m;

	c->message->seq = ++last_seq;
	k.seq = last_seq;
	k.attrs = ga_xcalloc(c->message->nenvelopes + 1, sizeof none[0]);
	m = copy(&k, true);
	free(k.attrs);
	if (c->upload != NULL) {
		m->body = ga_body_ref(c->upload->body);
		m->body_size = c->upload->body->size;
		c->message->body_size = m->body_size;
	}
	keep(m, last_seq);
}

static void
commit(struct ga_worker *w, struct ga_spool_commit *c)
{
	pthread_mutex_lock(&lock);
	c->error = error_now();
	if (c->error == 0 && c->upload != NULL)
		c->error = c->upload->error;
	if (c->error == 0) {
		put_in(c);
		for (uint32_t i = 0; i < c->nends; i++)
			end_envelope(&c->ends[i]);
		counts.commits++;
	}
	drop_upload(c->upload);
	pthread_mutex_unlock(&lock);
	c->link.post.fn = commit_done;
	ga_loop_post(w, &c->link.post);
}

/* --- update, done: without callback only what the queue asks for --- */

static void
update_done(struct ga_worker *w, struct ga_post *post)
{
	struct ga_spool_update *u = GA_CONTAINER(post, struct ga_spool_update, link.post);

	u->cb(w, u);
}

static void
update(struct ga_worker *w, struct ga_spool_update *u)
{
	struct kept *k;

	pthread_mutex_lock(&lock);
	counts.updates++;
	k = find(u->seq);
	if (k != NULL && u->envelope < k->message->nenvelopes) {
		struct ga_envelope *e = &k->message->envelopes[u->envelope];
		struct ga_attrs *a = &k->attrs[u->envelope], now = { NULL, 0, 0 };
		struct ga_str before = e->attrs, v;
		unsigned key;

		e->attempts = u->attempts;
		e->flags = u->flags;
		e->next_ms = u->next_ms;
		for (size_t at = 0; ga_attr_next(u->attrs, &at, &key, &v);)
			ga_attrs_put(&now, key, v);
		for (size_t at = 0; ga_attr_next(before, &at, &key, &v);) {
			struct ga_str other;

			if (!ga_attr_get(u->attrs, key, &other))
				ga_attrs_put(&now, key, v);
		}
		ga_attrs_free(a);
		*a = now;
	}
	pthread_mutex_unlock(&lock);
	if (u->cb != NULL) {
		u->error = k != NULL ? 0 : ENOENT;
		u->link.post.fn = update_done;
		ga_loop_post(w, &u->link.post);
	}
}

static void
done_done(struct ga_worker *w, struct ga_post *post)
{
	struct ga_spool_done *d = GA_CONTAINER(post, struct ga_spool_done, link.post);

	d->cb(w, d);
}

static void
done(struct ga_worker *w, struct ga_spool_done *d)
{
	pthread_mutex_lock(&lock);
	counts.dones++;
	end_envelope(&d->end);
	pthread_mutex_unlock(&lock);
	if (d->cb != NULL) {
		d->error = 0;
		d->link.post.fn = done_done;
		ga_loop_post(w, &d->link.post);
	}
}

/* --- read --- */

static void
read_done(struct ga_worker *w, struct ga_post *post)
{
	struct ga_spool_read *r = GA_CONTAINER(post, struct ga_spool_read, link.post);

	r->cb(w, r);
}

static void
read_message(struct ga_worker *w, struct ga_spool_read *r)
{
	struct kept *k;

	pthread_mutex_lock(&lock);
	counts.reads++;
	k = find(r->seq);
	r->error = k != NULL ? 0 : ENOENT;
	r->message = k != NULL ? copy(k, k->message->body_size <= r->body_limit) : NULL;
	pthread_mutex_unlock(&lock);
	r->link.post.fn = read_done;
	ga_loop_post(w, &r->link.post);
}

static void
piece_read(struct ga_worker *w, struct ga_post *post)
{
	struct ga_spool_read_body *r = GA_CONTAINER(post, struct ga_spool_read_body, link.post);

	r->cb(w, r);
}

static void
read_body(struct ga_worker *w, struct ga_spool_read_body *r)
{
	struct kept *k;

	pthread_mutex_lock(&lock);
	k = find(r->seq);
	r->error = k != NULL && k->message->body != NULL ? 0 : ENOENT;
	r->piece = NULL;
	if (r->error == 0) {
		struct ga_pool *pool = ga_pool_new(0);
		struct ga_str all = ga_body_flat(k->message->body, pool);
		size_t n = r->offset < all.n ? all.n - (size_t)r->offset : 0;

		r->piece = ga_body_new();
		if (n > 0)
			ga_body_append(r->piece, all.p + r->offset, n < r->len ? n : r->len);
		ga_pool_free(pool);
	}
	pthread_mutex_unlock(&lock);
	r->link.post.fn = piece_read;
	ga_loop_post(w, &r->link.post);
}

/* --- uploads --- */

static struct ga_spool_upload *
upload_begin(struct ga_worker *w)
{
	struct ga_spool_upload *u = ga_xcalloc(1, sizeof *u);

	(void)w;
	u->body = ga_body_new();
	pthread_mutex_lock(&lock);
	counts.uploads++;
	pthread_mutex_unlock(&lock);
	return u;
}

static void
piece_done(struct ga_worker *w, struct ga_post *post)
{
	struct ga_spool_piece *p = GA_CONTAINER(post, struct ga_spool_piece, link.post);

	p->cb(w, p);
}

static void
upload_piece(struct ga_worker *w, struct ga_spool_piece *p)
{
	for (const struct ga_body_chunk *c = p->body->chunks; c != NULL; c = c->next)
		ga_body_append(p->upload->body, c->data, c->n);
	ga_body_unref(p->body);
	p->error = atomic_exchange(&error_next_piece, 0);
	if (p->error != 0)
		p->upload->error = p->error;
	p->link.post.fn = piece_done;
	ga_loop_post(w, &p->link.post);
}

static void
upload_abort(struct ga_worker *w, struct ga_spool_upload *u)
{
	(void)w;
	pthread_mutex_lock(&lock);
	drop_upload(u);
	pthread_mutex_unlock(&lock);
}

/* --- what put_state() keeps --- */

struct state {
	UT_hash_handle hh;
	struct ga_str value;
	char text[];			/* key, value */
};
static struct state *states;		/* under the lock */

static void
put_state(struct ga_worker *w, struct ga_str key, struct ga_str value)
{
	struct state *s;

	(void)w;
	pthread_mutex_lock(&lock);
	HASH_FIND(hh, states, key.p, key.n, s);
	if (s != NULL) {
		HASH_DEL(states, s);
		free(s);
	}
	if (value.n > 0) {
		s = ga_xcalloc(1, sizeof *s + key.n + value.n);
		memcpy(s->text, key.p, key.n);
		memcpy(s->text + key.n, value.p, value.n);
		s->value = (struct ga_str){ s->text + key.n, value.n };
		HASH_ADD_KEYPTR(hh, states, s->text, key.n, s);
	}
	pthread_mutex_unlock(&lock);
}

/* The callee may put another value, or none, in the place of what it is told of. */
static void
tell_states(struct ga_worker *w, const struct ga_spool_recovery *r)
{
	if (r->state == NULL)
		return;
	for (struct state *s = states, *next; s != NULL; s = next) {
		next = s->hh.next;
		r->state(w, (struct ga_str){ s->text, s->hh.keylen }, s->value, r->arg);
	}
}

/* --- recovery: one post a message --- */

struct found {
	struct ga_post post;
	struct ga_spool_recovery r;
	struct ga_message **messages;
	size_t n, at;
	bool told;			/* of what put_state() kept */
};

static void
found_next(struct ga_worker *w, struct ga_post *post)
{
	struct found *f = GA_CONTAINER(post, struct found, post);

	if (!f->told)
		tell_states(w, &f->r);
	f->told = true;
	if (f->at == f->n) {
		f->r.end(w, f->r.arg);
		free(f->messages);
		free(f);
		return;
	}
	f->r.found(w, f->messages[f->at], f->r.arg);
	ga_message_unref(f->messages[f->at++]);
	ga_loop_post(w, &f->post);
}

static void
recover(struct ga_worker *w, const struct ga_spool_recovery *r)
{
	struct found *f = ga_xcalloc(1, sizeof *f);
	struct kept *k, *tmp;

	f->r = *r;
	pthread_mutex_lock(&lock);
	f->messages = ga_xcalloc(HASH_COUNT(table) + 1, sizeof *f->messages);
	HASH_ITER(hh, table, k, tmp)
		if (k->message->id % ga_worker_count() == ga_worker_index(w))
			f->messages[f->n++] = copy(k, false);
	pthread_mutex_unlock(&lock);
	f->post.fn = found_next;
	ga_loop_post(w, &f->post);
}

static int
room(uint64_t octets)
{
	(void)octets;
	return error_conf == 1 ? ENOSPC : 0;
}

static void
stats(struct ga_spool_stats *s)
{
	memset(s, 0, sizeof *s);
	pthread_mutex_lock(&lock);
	s->messages = HASH_COUNT(table);
	s->commits = counts.commits;
	s->updates = counts.updates;
	s->dones = counts.dones;
	pthread_mutex_unlock(&lock);
	s->full = error_conf == 1;
}

static const struct ga_spool service = {
	sizeof service, GA_SPOOL_VERSION, commit, update, done, read_message, read_body,
	upload_begin, upload_piece, upload_abort, put_state, recover, room, stats
};

/* --- for tests that have it linked in --- */

void
spool_memory_counts(struct spool_memory_counts *c)
{
	pthread_mutex_lock(&lock);
	*c = counts;
	c->live = HASH_COUNT(table);
	pthread_mutex_unlock(&lock);
}

struct ga_message *
spool_memory_message(uint64_t seq)
{
	struct kept *k;
	struct ga_message *m;

	pthread_mutex_lock(&lock);
	k = find(seq);
	m = k != NULL ? copy(k, true) : NULL;
	pthread_mutex_unlock(&lock);
	return m;
}

uint64_t
spool_memory_last_seq(void)
{
	return last_seq;
}

void
spool_memory_fail(int error)
{
	error_next = error;
}

void
spool_memory_fail_piece(int error)
{
	error_next_piece = error;
}

void
spool_memory_put(struct ga_message *m)
{
	pthread_mutex_lock(&lock);
	m->seq = ++last_seq;
	keep(m, m->seq);
	pthread_mutex_unlock(&lock);
}

void
spool_memory_forget_all(void)
{
	struct kept *k, *tmp;
	struct state *s, *next;

	pthread_mutex_lock(&lock);
	HASH_ITER(hh, table, k, tmp)
		forget(k);
	HASH_ITER(hh, states, s, next) {
		HASH_DEL(states, s);
		free(s);
	}
	memset(&counts, 0, sizeof counts);
	pthread_mutex_unlock(&lock);
}

/* --- the module --- */

static void
take(const void *conf)
{
	error_conf = ((const struct spool_memory_conf *)conf)->spool_memory_error;
}

static bool
init(struct ga_inst *inst, const void *conf)
{
	take(conf);
	ga_service_provide(inst, GA_SPOOL_SERVICE, GA_SPOOL_VERSION, &service);
	return true;
}

static bool
reload(struct ga_inst *inst, const void *conf)
{
	(void)inst;
	take(conf);
	return true;
}

GA_MODULE(spool_memory, "1.0.0", "", GA_NO_HOOKS, SPOOL_MEMORY_DIRECTIVES,
	.summary = "A spool in memory, for tests",
	.conf = &spool_memory_conf_schema,
	.flags = GA_KEEP_INSTANCE,
	.init = init,
	.reload = reload);
