/*
 * engine.c - the life of the spool, and the way in and out of requests.
 *
 * The request functions run on the caller's loop: they put the request into an
 * inbox and return.  spool_finish() runs on the committer or the maintenance
 * thread and posts the callback back to the loop that asked.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define MAX_ATTRS 65536u		/* of one update */
#define MAX_KEY 1024u

void
spool_log(struct spool *s, enum ga_level level, const char *tag, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	s->log(s->log_ctx, level, tag, text);
}

struct spool *
spool_new(const struct spool_fs *fs, int dir, int corrupt, const struct spool_conf *conf,
    void (*post)(struct ga_worker *, struct ga_post *),
    void (*log)(void *, enum ga_level, const char *, const char *), void *log_ctx)
{
	struct spool *s = ga_xcalloc(1, sizeof *s);

	s->fs = fs;
	s->dir = dir;
	s->corrupt = corrupt;
	s->conf = *conf;
	s->post = post;
	s->log = log;
	s->log_ctx = log_ctx;
	s->next_seq = s->next_number = 1;
	ledger_init(&s->ledger);
	s->batch = commit_new();
	s->maint = maint_new();
	maint_measure(s);	/* before the first mail asks whether there is room */
	if (inbox_init(&s->commits) != 0 || inbox_init(&s->chores) != 0) {
		spool_log(s, GA_ERR, "GA-SPOOL-0002", "no descriptor left for the spool's threads");
		abort();
	}
	return (s);
}

void
spool_forget(struct spool *s, struct ga_spool_link *op)
{
	switch (op->kind) {
	case OP_COMMIT:
		if (((struct ga_spool_commit *)op)->upload != NULL)
			upload_release(s, ((struct ga_spool_commit *)op)->upload);
		break;
	case OP_UPDATE:
		if (((struct ga_spool_update *)op)->cb == NULL)
			free(op);
		break;
	case OP_DONE:
		if (((struct ga_spool_done *)op)->cb == NULL)
			free(op);
		break;
	case OP_COPY:
		copy_free((struct op_copy *)op);
		break;
	case OP_ABORT:
		upload_release(s, (struct ga_spool_upload *)op);
		break;
	case OP_FED:
		feed_fed(op);
		break;
	case OP_STATE:
	case OP_RECOVER:
		free(op);
		break;
	}
}

static void
forget_inbox(struct spool *s, struct spool_inbox *b)
{
	struct ga_spool_link *op, *next;

	for (op = inbox_take(b); op != NULL; op = next) {
		next = op_next(op);
		spool_forget(s, op);
	}
}

void
spool_free(struct spool *s)
{
	forget_inbox(s, &s->commits);
	commit_free(s);
	forget_inbox(s, &s->chores);
	maint_free(s);
	ledger_free(&s->ledger, s->fs);
	inbox_fini(&s->commits);
	inbox_fini(&s->chores);
	free(s);
}

uint64_t
spool_draw_seq(struct spool *s)
{
	return (__atomic_fetch_add(&s->next_seq, 1, __ATOMIC_RELAXED));
}

uint64_t
spool_now_us(const struct spool *s)
{
	return (s->fs->now_us(s->fs->ctx));
}

static void
on_commit(struct ga_worker *w, struct ga_post *p)
{
	struct ga_spool_commit *c = GA_CONTAINER(p, struct ga_spool_commit, link.post);

	c->cb(w, c);
}

static void
on_update(struct ga_worker *w, struct ga_post *p)
{
	struct ga_spool_update *u = GA_CONTAINER(p, struct ga_spool_update, link.post);

	u->cb(w, u);
}

static void
on_done(struct ga_worker *w, struct ga_post *p)
{
	struct ga_spool_done *d = GA_CONTAINER(p, struct ga_spool_done, link.post);

	d->cb(w, d);
}

static void
on_read(struct ga_worker *w, struct ga_post *p)
{
	struct ga_spool_read *r = GA_CONTAINER(p, struct ga_spool_read, link.post);

	r->cb(w, r);
}

static void
on_read_body(struct ga_worker *w, struct ga_post *p)
{
	struct ga_spool_read_body *r = GA_CONTAINER(p, struct ga_spool_read_body, link.post);

	r->cb(w, r);
}

static void
on_piece(struct ga_worker *w, struct ga_post *p)
{
	struct ga_spool_piece *u = GA_CONTAINER(p, struct ga_spool_piece, link.post);

	u->cb(w, u);
}

static void
send_back(struct spool *s, struct ga_spool_link *op, void (*fn)(struct ga_worker *, struct ga_post *))
{
	op->post.fn = fn;
	s->post(op->home, &op->post);
}

static void
finish_commit(struct spool *s, struct ga_spool_commit *c, int error)
{
	c->error = error;
	if (c->upload != NULL) {
		upload_release(s, c->upload);
		c->upload = NULL;
	}
	send_back(s, &c->link, on_commit);
}

void
spool_finish(struct spool *s, struct ga_spool_link *op, int error)
{
	switch (op->kind) {
	case OP_COMMIT:
		finish_commit(s, (struct ga_spool_commit *)op, error);
		break;
	case OP_UPDATE:
		((struct ga_spool_update *)op)->error = error;
		if (((struct ga_spool_update *)op)->cb == NULL)
			free(op);
		else
			send_back(s, op, on_update);
		break;
	case OP_DONE:
		((struct ga_spool_done *)op)->error = error;
		if (((struct ga_spool_done *)op)->cb == NULL)
			free(op);
		else
			send_back(s, op, on_done);
		break;
	case OP_STATE:
		free(op);
		break;
	case OP_COPY:
		((struct op_copy *)op)->error = error;
		inbox_put(&s->chores, op);
		break;
	case OP_READ:
		((struct ga_spool_read *)op)->error = error;
		send_back(s, op, on_read);
		break;
	case OP_READ_BODY:
		((struct ga_spool_read_body *)op)->error = error;
		send_back(s, op, on_read_body);
		break;
	case OP_PIECE:
		((struct ga_spool_piece *)op)->error = error;
		send_back(s, op, on_piece);
		break;
	}
}

static void
ask(struct spool_inbox *b, struct ga_worker *w, struct ga_spool_link *op, enum op_kind kind)
{
	op->home = w;
	op->kind = kind;
	inbox_put(b, op);
}

void
spool_commit(struct spool *s, struct ga_worker *w, struct ga_spool_commit *c)
{
	const struct ga_body *body = c->message->body;
	bool large = c->upload != NULL || (body != NULL && body->size > s->conf.large);

	/* large bodies first go through the maintenance thread */
	ask(large ? &s->chores : &s->commits, w, &c->link, OP_COMMIT);
}

void
spool_update(struct spool *s, struct ga_worker *w, struct ga_spool_update *u)
{
	struct ga_spool_update *own;
	size_t n = u->attrs.n <= MAX_ATTRS ? u->attrs.n : 0;

	if (u->cb == NULL) {
		own = ga_xmalloc(sizeof *own + n);
		*own = *u;
		if (n > 0)
			memcpy(own + 1, u->attrs.p, n);
		own->attrs = (struct ga_str){ (char *)(own + 1), n };
		u = own;
	}
	u->attrs.n = n;
	ask(&s->commits, w, &u->link, OP_UPDATE);
}

void
spool_done(struct spool *s, struct ga_worker *w, struct ga_spool_done *d)
{
	struct ga_spool_done *own;

	if (d->cb == NULL) {
		own = ga_xmalloc(sizeof *own);
		*own = *d;
		d = own;
	}
	ask(&s->commits, w, &d->link, OP_DONE);
}

void
spool_put_state(struct spool *s, struct ga_worker *w, struct ga_str key, struct ga_str value)
{
	struct op_state *st;

	if (key.n > MAX_KEY || value.n > MAX_ATTRS) {
		spool_log(s, GA_ERR, "GA-SPOOL-0003", "a state of %zu octets is not kept", value.n);
		return;
	}
	st = ga_xmalloc(sizeof *st + key.n + value.n);
	memset(st, 0, sizeof *st);
	memcpy(st->bytes, key.p, key.n);
	if (value.n > 0)
		memcpy(st->bytes + key.n, value.p, value.n);
	st->key = (struct ga_str){ st->bytes, key.n };
	st->value = (struct ga_str){ st->bytes + key.n, value.n };
	ask(&s->commits, w, &st->link, OP_STATE);
}

void
spool_read(struct spool *s, struct ga_worker *w, struct ga_spool_read *r)
{
	r->message = NULL;
	ask(&s->chores, w, &r->link, OP_READ);
}

void
spool_read_body(struct spool *s, struct ga_worker *w, struct ga_spool_read_body *r)
{
	r->piece = NULL;
	ask(&s->chores, w, &r->link, OP_READ_BODY);
}

struct ga_spool_upload *
spool_upload_begin(void)
{
	return (ga_xcalloc(1, sizeof(struct ga_spool_upload)));
}

void
spool_upload_piece(struct spool *s, struct ga_worker *w, struct ga_spool_piece *p)
{
	ask(&s->chores, w, &p->link, OP_PIECE);
}

void
spool_upload_abort(struct spool *s, struct ga_worker *w, struct ga_spool_upload *u)
{
	/* pieces that were asked for earlier are before it in the inbox */
	ask(&s->chores, w, &u->link, OP_ABORT);
}

void
spool_recover(struct spool *s, struct ga_worker *w, unsigned index, unsigned count,
    const struct ga_spool_recovery *r)
{
	struct op_recover *op = ga_xcalloc(1, sizeof *op);

	op->index = index;
	op->count = count;
	op->r = *r;
	ask(&s->chores, w, &op->link, OP_RECOVER);
}

int
spool_room(struct spool *s, uint64_t octets)
{
	if (atomic_load_explicit(&s->stats.full, memory_order_relaxed) ||
	    atomic_load_explicit(&s->stats.free_bytes, memory_order_relaxed) < s->conf.min_free + octets)
		return (ENOSPC);
	return (0);
}

void
spool_get_stats(struct spool *s, struct ga_spool_stats *st)
{
	uint32_t i;

	memset(st, 0, sizeof *st);
	if (!atomic_load(&s->recovered))
		return;			/* the lock is held for as long as reading takes */
	pthread_mutex_lock(&s->ledger.lock);
	st->messages = s->ledger.table.count;
	st->envelopes = s->ledger.table.envelopes;
	st->live_bytes = s->ledger.live_bytes;
	for (i = 0; i < s->ledger.nsegments; i++)
		if (s->ledger.segments[i] != NULL) {
			st->segments++;
			st->bytes += s->ledger.segments[i]->size;
		}
	pthread_mutex_unlock(&s->ledger.lock);
	st->commits = atomic_load(&s->stats.commits);
	st->updates = atomic_load(&s->stats.updates);
	st->dones = atomic_load(&s->stats.dones);
	st->batches = atomic_load(&s->stats.batches);
	st->syncs = atomic_load(&s->stats.syncs);
	st->sync_us_total = atomic_load(&s->stats.sync_us_total);
	st->sync_us_max = atomic_load(&s->stats.sync_us_max);
	st->compacted = atomic_load(&s->stats.compacted);
	st->quarantined = atomic_load(&s->stats.quarantined);
	st->failed_syncs = atomic_load(&s->stats.failed_syncs);
	st->full = atomic_load(&s->stats.full);
	st->free_bytes = atomic_load(&s->stats.free_bytes);
}
