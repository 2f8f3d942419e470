/*
 * commit.c - the committer: many requests, one write, one sync.
 *
 * Runs on the committer thread (spool.c), or is stepped by a test.  Owns the
 * batch, the pending requests and the end of the active segment.  It never
 * creates, removes or renames a file: segments come ready from the maintenance
 * thread.  A batch is what arrived while the last one synced; nothing is ever
 * held back to make it larger.
 *
 * A write or sync that fails is final for its segment: the segment is closed
 * where it was good, the next batch begins with an ABANDON that says so, and
 * only then the messages that were in the failed batch are answered.  UPDATE,
 * DONE and bounces of it are written again.
 *
 * Limits: one record must fit into a segment; a batch is written in several
 * calls when it has more than IOV_MAX pieces.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "engine.h"

#define ARENA_BLOCK (512u * 1024)

/* One record of the batch being built. */
struct entry {
	struct rec_header h;
	struct ga_str meta;		/* in the arena, or in the copy */
};

struct block {
	struct block *next;
	size_t used, size;
	unsigned char bytes[];
};

struct commit_batch {
	struct op_list copies, pending;		/* not in the batch yet */
	struct op_list taken;			/* in it */
	struct op_list refused;			/* answered when the ABANDON is synced */
	int refused_error;
	struct void_tail *voids;		/* to be abandoned */
	uint32_t nvoids, voids_in_batch;
	struct iovec *iov;
	size_t niov, iov_room;
	struct entry *entries;
	uint32_t nentries, entries_room;
	uint64_t length;			/* octets after the batch header */
	struct block *arena;
	unsigned char *head;			/* the batch header */
	uint32_t failures;			/* writes in a row */
	uint64_t retry_us;			/* no write before */
};

static const unsigned char zeros[8];

struct commit_batch *
commit_new(void)
{
	return (ga_xcalloc(1, sizeof(struct commit_batch)));
}

static void
forget_all(struct spool *s, struct op_list *l)
{
	struct ga_spool_link *op;

	while ((op = op_shift(l)) != NULL)
		spool_forget(s, op);
}

void
commit_free(struct spool *s)
{
	struct commit_batch *b = s->batch;
	struct block *next;

	forget_all(s, &b->copies);
	forget_all(s, &b->pending);
	forget_all(s, &b->refused);

	for (; b->arena != NULL; b->arena = next) {
		next = b->arena->next;
		free(b->arena);
	}
	free(b->voids);
	free(b->iov);
	free(b->entries);
	free(b);
}

/* Alive until the batch is over; what is in it never moves. */
static unsigned char *
arena_get(struct commit_batch *b, size_t n)
{
	struct block *k = b->arena;
	size_t size;

	n = REC_ALIGN(n);
	if (k == NULL || k->size - k->used < n) {
		size = n > ARENA_BLOCK ? n : ARENA_BLOCK;
		k = ga_xmalloc(sizeof *k + size);
		k->size = size;
		k->used = 0;
		k->next = b->arena;
		b->arena = k;
	}
	k->used += n;
	return (k->bytes + k->used - n);
}

static void
arena_reset(struct commit_batch *b)
{
	struct block *k;

	while (b->arena != NULL && b->arena->next != NULL) {
		k = b->arena;
		b->arena = k->next;
		free(k);
	}
	if (b->arena != NULL)
		b->arena->used = 0;
}

static void
add_iov(struct commit_batch *b, const void *p, size_t n)
{
	if (n == 0)
		return;
	if (b->niov == b->iov_room) {
		b->iov_room = b->iov_room * 2 + 64;
		b->iov = ga_xrealloc(b->iov, b->iov_room * sizeof *b->iov);
	}
	b->iov[b->niov++] = (struct iovec){ (void *)(uintptr_t)p, n };
}

static struct entry *
add_entry(struct commit_batch *b)
{
	if (b->nentries == b->entries_room) {
		b->entries_room = b->entries_room * 2 + 64;
		b->entries = ga_xrealloc(b->entries, b->entries_room * sizeof *b->entries);
	}
	return (memset(&b->entries[b->nentries++], 0, sizeof(struct entry)));
}

/* Header and meta lie together in the arena; returns where meta goes. */
static unsigned char *
begin_record(struct commit_batch *b, struct entry *e, enum rec_type type, uint64_t seq, size_t meta_len)
{
	unsigned char *p = arena_get(b, REC_HEADER + meta_len);

	e->h.type = (uint8_t)type;
	e->h.seq = seq;
	e->h.meta_len = (uint32_t)meta_len;
	e->meta = (struct ga_str){ (char *)p + REC_HEADER, meta_len };
	return (p + REC_HEADER);
}

/* The body's pieces, if any, have been given to body_len and body_crc. */
static void
end_record(struct spool *s, struct commit_batch *b, struct entry *e, const struct ga_body_chunk *chunks,
    struct ga_str body)
{
	unsigned char *head = (unsigned char *)(uintptr_t)e->meta.p - REC_HEADER;
	uint64_t size = rec_size(&e->h);

	e->h.offset = s->active->end + REC_ALIGN(REC_HEADER + REC_BATCH_META) + b->length;
	rec_put_header(head, &e->h, s->active->tag);
	add_iov(b, head, REC_HEADER + e->meta.n);
	for (; chunks != NULL; chunks = chunks->next)
		add_iov(b, chunks->data, chunks->n);
	add_iov(b, body.p, body.n);
	add_iov(b, zeros, (size_t)(size - REC_HEADER - e->h.meta_len - e->h.body_len));
	b->length += size;
}

static const struct ga_str no_body = { NULL, 0 };

static void
put_commit(struct spool *s, struct commit_batch *b, struct ga_spool_commit *c)
{
	struct ga_message *m = c->message;
	uint32_t npieces = c->upload != NULL ? c->upload->npieces : 0;
	const struct ga_body_chunk *k = c->upload == NULL && m->body != NULL ? m->body->chunks : NULL;
	struct entry *e = add_entry(b);
	struct rec_out o;
	const struct ga_body_chunk *i;

	_Static_assert(sizeof(struct ga_spool_end) == sizeof(struct rec_end), "the same thing");
	m->seq = spool_draw_seq(s);
	if (!s->conf.fsync)
		m->flags |= GA_MSG_NO_FSYNC;
	m->body_size = c->upload != NULL ? c->upload->size : m->body != NULL ? m->body->size : 0;
	o.p = begin_record(b, e, REC_MESSAGE, m->seq, rec_message_len(m, c->nends, npieces));
	rec_put_message(&o, m, (const struct rec_end *)c->ends, c->nends,
	    npieces > 0 ? c->upload->pieces : NULL, npieces);
	e->h.meta_crc = spool_crc32c(0, e->meta.p, e->meta.n);
	for (i = k; i != NULL; i = i->next) {
		e->h.body_crc = spool_crc32c(e->h.body_crc, i->data, i->n);
		e->h.body_len += (uint32_t)i->n;
	}
	end_record(s, b, e, k, no_body);
}

static void
put_update(struct spool *s, struct commit_batch *b, const struct ga_spool_update *u)
{
	struct rec_update r = { u->seq, u->envelope, u->attempts, u->flags, u->next_ms, u->attrs };
	struct entry *e = add_entry(b);
	struct rec_out o;

	o.p = begin_record(b, e, REC_UPDATE, spool_draw_seq(s), rec_update_len(u->attrs.n));
	rec_put_update(&o, &r);
	e->h.meta_crc = spool_crc32c(0, e->meta.p, e->meta.n);
	end_record(s, b, e, NULL, no_body);
}

static void
put_done(struct spool *s, struct commit_batch *b, const struct ga_spool_end *end)
{
	struct rec_end r = { end->seq, end->envelope, end->result };
	struct entry *e = add_entry(b);
	struct rec_out o;

	o.p = begin_record(b, e, REC_DONE, spool_draw_seq(s), REC_DONE_META);
	rec_put_end(&o, &r);
	e->h.meta_crc = spool_crc32c(0, e->meta.p, e->meta.n);
	end_record(s, b, e, NULL, no_body);
}

static void
put_state(struct spool *s, struct commit_batch *b, const struct op_state *st)
{
	struct rec_state r = { st->key, st->value };
	struct entry *e = add_entry(b);
	struct rec_out o;

	o.p = begin_record(b, e, REC_STATE, spool_draw_seq(s), rec_state_len(st->key.n, st->value.n));
	rec_put_state(&o, &r);
	e->h.meta_crc = spool_crc32c(0, e->meta.p, e->meta.n);
	end_record(s, b, e, NULL, no_body);
}

static void
put_abandon(struct spool *s, struct commit_batch *b, const struct void_tail *v)
{
	struct rec_abandon r = { v->segment, v->cut };
	struct entry *e = add_entry(b);
	struct rec_out o;

	o.p = begin_record(b, e, REC_ABANDON, spool_draw_seq(s), REC_ABANDON_META);
	rec_put_abandon(&o, &r);
	e->h.meta_crc = spool_crc32c(0, e->meta.p, e->meta.n);
	end_record(s, b, e, NULL, no_body);
}

static void
put_copy(struct spool *s, struct commit_batch *b, const struct op_copy *c)
{
	struct entry *e = add_entry(b);
	struct rec_out o;

	o.p = begin_record(b, e, c->h.type, c->h.seq, c->meta.n);
	rec_bytes(&o, c->meta.p, c->meta.n);
	e->h.rev = c->h.rev;
	e->h.meta_crc = c->h.meta_crc;
	e->h.body_len = c->h.body_len;
	e->h.body_crc = c->h.body_crc;
	end_record(s, b, e, NULL, c->body);
}

/* Octets that the request will take. */
static uint64_t
op_size(const struct ga_spool_link *op)
{
	const struct ga_spool_commit *c;
	uint64_t n;

	switch (op->kind) {
	case OP_COMMIT:
		c = (const struct ga_spool_commit *)op;
		n = rec_message_len(c->message, c->nends, c->upload != NULL ? c->upload->npieces : 0);
		if (c->upload == NULL && c->message->body != NULL)
			n += c->message->body->size;
		break;
	case OP_UPDATE:
		n = rec_update_len(((const struct ga_spool_update *)op)->attrs.n);
		break;
	case OP_STATE:
		n = rec_state_len(((const struct op_state *)op)->key.n,
		    ((const struct op_state *)op)->value.n);
		break;
	case OP_COPY:
		n = ((const struct op_copy *)op)->meta.n + ((const struct op_copy *)op)->body.n;
		break;
	default:
		n = REC_DONE_META;
		break;
	}
	return (REC_ALIGN(REC_HEADER + n));
}

static void
put_op(struct spool *s, struct commit_batch *b, struct ga_spool_link *op)
{
	switch (op->kind) {
	case OP_COMMIT:
		put_commit(s, b, (struct ga_spool_commit *)op);
		break;
	case OP_UPDATE:
		put_update(s, b, (const struct ga_spool_update *)op);
		break;
	case OP_DONE:
		put_done(s, b, &((const struct ga_spool_done *)op)->end);
		break;
	case OP_STATE:
		put_state(s, b, (const struct op_state *)op);
		break;
	case OP_COPY:
		put_copy(s, b, (const struct op_copy *)op);
		break;
	}
}

/* Mail from outside, which may be refused while there is no room; the rest
 * (results, reports, pauses) is what empties the queue again. */
static bool
is_new_mail(const struct ga_spool_link *op)
{
	const struct ga_spool_commit *c = (const struct ga_spool_commit *)op;

	return (op->kind == OP_COMMIT && c->nends == 0 && !(c->message->flags & GA_MSG_BOUNCE));
}

/* How far into the reserve it may go.  The last segment of it is for what ends: reports
 * that filled it would keep deliveries from being recorded. */
static enum spool_reserve_use
use_of(const struct ga_spool_link *op)
{
	if (is_new_mail(op))
		return (SPOOL_NO_RESERVE);
	return (op->kind == OP_COMMIT ? SPOOL_NOT_THE_LAST : SPOOL_ALL);
}

/* (locked) Is what the copy was made from still what holds? */
static bool
still_current(struct spool *s, const struct op_copy *c)
{
	struct table_entry *e = table_find(&s->ledger.table, c->seq);
	const struct table_slot *slots;

	if (c->h.type == REC_DONE || c->h.type == REC_STATE)
		return (true);
	if (e == NULL)
		return (false);
	slots = table_slots(e);
	if (c->h.type == REC_UPDATE)
		return (c->envelope < e->nenvelopes &&
		    memcmp(&slots[c->envelope], &c->slots[0], sizeof *slots) == 0);
	return (e->segment == c->segment && e->offset == c->h.offset &&
	    memcmp(slots, c->slots, e->nenvelopes * sizeof *slots) == 0);
}

static bool
current_state(struct spool *s, const struct op_copy *c)
{
	struct rec_state r;
	uint32_t i;

	if (c->h.type != REC_STATE || !rec_get_state(c->meta, &r))
		return (true);
	for (i = 0; i < s->ledger.nstates; i++)
		if (ga_str_eq(s->ledger.states[i].key, r.key))
			return (s->ledger.states[i].segment == c->segment);
	return (false);
}

/* Somebody to send it to, and all octets here or uploaded? */
static bool
is_sound(const struct ga_spool_commit *c)
{
	const struct ga_body *body = c->message->body;

	return (c->message->nenvelopes > 0 &&
	    (c->upload != NULL || body == NULL || body->size == 0 || body->chunks != NULL));
}

/* 0, or why the request is over without a record. */
static int
refusal(struct spool *s, const struct ga_spool_link *op)
{
	const struct op_copy *c = (const struct op_copy *)op;
	uint64_t seq;
	int error = 0;

	if (op->kind == OP_COMMIT && !is_sound((const struct ga_spool_commit *)op))
		return (EINVAL);
	if (is_new_mail(op)) {
		if (atomic_load_explicit(&s->stats.full, memory_order_relaxed))
			return (ENOSPC);
		return (s->batch->retry_us != 0 ? EIO : 0);
	}
	if (op->kind != OP_UPDATE && op->kind != OP_DONE && op->kind != OP_COPY)
		return (0);
	pthread_mutex_lock(&s->ledger.lock);
	if (op->kind == OP_COPY) {
		if (!still_current(s, c) || !current_state(s, c))
			error = ESTALE;
	} else {
		seq = op->kind == OP_UPDATE ? ((const struct ga_spool_update *)op)->seq :
		    ((const struct ga_spool_done *)op)->end.seq;
		if (table_find(&s->ledger.table, seq) == NULL)
			error = op->kind == OP_UPDATE ? ENOENT : -1;
	}
	pthread_mutex_unlock(&s->ledger.lock);
	return (error);
}

/* (locked) */
static bool
reserve_has_one(const struct spool *s, enum spool_reserve_use use)
{
	return (use == SPOOL_ALL ? s->nreserve > 0 : use == SPOOL_NOT_THE_LAST && s->nreserve > 1);
}

/* (locked) The next segment to write, or NULL. */
static struct segment *
take_segment(struct spool *s, enum spool_reserve_use use)
{
	struct segment *g = NULL;

	if (s->nready > 0) {
		g = s->ready[0];
		memmove(&s->ready[0], &s->ready[1], --s->nready * sizeof s->ready[0]);
		s->active_for = SPOOL_NO_RESERVE;
	} else if (reserve_has_one(s, use)) {
		g = s->reserve[--s->nreserve];
		s->active_for = s->nreserve > 0 ? SPOOL_NOT_THE_LAST : SPOOL_ALL;
	}
	return (g);
}

static void
close_active(struct spool *s, enum seg_state state)
{
	if (s->active == NULL)
		return;
	s->active->state = state;
	s->active = NULL;
}

/* An active segment with this much room; 0, ENOSPC, or EAGAIN: there will be one. */
static int
make_room(struct spool *s, uint64_t need, enum spool_reserve_use use)
{
	struct segment *g;
	int error = 0;

	need += REC_ALIGN(REC_HEADER + REC_BATCH_META);
	if (need > s->conf.segment_size - SEG_START)
		return (EMSGSIZE);
	pthread_mutex_lock(&s->ledger.lock);
	if (s->active != NULL && s->active_for > use) {
		/* this one is not for it, but a segment made meanwhile is */
		if (s->nready == 0 && !reserve_has_one(s, use))
			error = s->no_room ? ENOSPC : EAGAIN;
		else
			close_active(s, SEG_SEALED);
	}
	if (error == 0 && (s->active == NULL || s->active->end + need > s->active->size)) {
		g = take_segment(s, use);
		if (g == NULL)
			/* one that is being made is worth waiting for */
			error = s->no_room ? ENOSPC : EAGAIN;
		else {
			close_active(s, SEG_SEALED);
			g->state = SEG_ACTIVE;
			s->active = g;
		}
		inbox_wake(&s->chores);
	}
	pthread_mutex_unlock(&s->ledger.lock);
	return (error);
}

/* May this much more go into the batch?  New mail does not ride in the reserve. */
static bool
batch_takes(const struct spool *s, const struct commit_batch *b, uint64_t need, enum spool_reserve_use use)
{
	uint64_t at;

	if (b->nentries == 0)
		return (true);
	if (s->active_for > use)
		return (false);
	at = s->active->end + REC_ALIGN(REC_HEADER + REC_BATCH_META) + b->length;
	return (b->nentries < s->conf.batch_records && b->length + need <= s->conf.batch_bytes &&
	    at + need <= s->active->size);
}

static void
begin_batch(struct commit_batch *b)
{
	b->niov = b->nentries = 0;
	b->length = 0;
	b->voids_in_batch = 0;
	arena_reset(b);
	b->head = arena_get(b, REC_HEADER + REC_BATCH_META);
	memset(b->head, 0, REC_ALIGN(REC_HEADER + REC_BATCH_META));
	add_iov(b, b->head, REC_ALIGN(REC_HEADER + REC_BATCH_META));
}

static void
put_voids(struct spool *s, struct commit_batch *b)
{
	if (b->nvoids == 0 || make_room(s, b->nvoids * 80u, SPOOL_ALL) != 0)
		return;
	while (b->voids_in_batch < b->nvoids)
		put_abandon(s, b, &b->voids[b->voids_in_batch++]);
}

/* Takes requests from the list while they fit; false when one must wait for a segment. */
static bool
fill_from(struct spool *s, struct commit_batch *b, struct op_list *from)
{
	struct ga_spool_link *op;
	uint64_t need;
	int error;

	while ((op = from->first) != NULL) {
		need = op_size(op);
		error = refusal(s, op);
		if (error == 0 && !batch_takes(s, b, need, use_of(op)))
			return (true);
		if (error == 0 && b->nentries == 0)
			error = make_room(s, need, use_of(op));
		/* what ends has nobody to be refused to; mail and copies come again */
		if (error == EAGAIN || (error == ENOSPC && op->kind != OP_COMMIT && op->kind != OP_COPY))
			return (false);
		op_shift(from);
		if (error != 0) {
			spool_finish(s, op, error == -1 ? 0 : error);
			continue;
		}
		put_op(s, b, op);
		op_append(&b->taken, op);
	}
	return (true);
}

static void
end_batch(struct spool *s, struct commit_batch *b, uint64_t seq)
{
	struct rec_batch r = { s->conf.fsync ? s->active->end : SEG_START, b->length, b->nentries };
	struct rec_header h = { .type = REC_BATCH, .meta_len = REC_BATCH_META, .seq = seq,
	    .offset = s->active->end };
	struct rec_out o = { b->head + REC_HEADER };

	rec_put_batch(&o, &r);
	h.meta_crc = spool_crc32c(0, b->head + REC_HEADER, REC_BATCH_META);
	rec_put_header(b->head, &h, s->active->tag);
}

static int
sync_active(struct spool *s)
{
	uint64_t from, took;
	int error;

	if (!s->conf.fsync)
		return (0);
	from = spool_now_us(s);
	error = s->fs->sync(s->fs->ctx, s->active->fd);
	took = spool_now_us(s) - from;
	atomic_fetch_add_explicit(&s->stats.syncs, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->stats.sync_us_total, took, memory_order_relaxed);
	if (took > atomic_load_explicit(&s->stats.sync_us_max, memory_order_relaxed))
		atomic_store_explicit(&s->stats.sync_us_max, took, memory_order_relaxed);
	return (error);
}

static void
count_kinds(struct spool *s, const struct commit_batch *b)
{
	uint32_t i, n[REC_STATE + 1] = { 0 };

	for (i = 0; i < b->nentries; i++)
		n[b->entries[i].h.type]++;
	atomic_fetch_add_explicit(&s->stats.commits, n[REC_MESSAGE], memory_order_relaxed);
	atomic_fetch_add_explicit(&s->stats.updates, n[REC_UPDATE], memory_order_relaxed);
	atomic_fetch_add_explicit(&s->stats.dones, n[REC_DONE], memory_order_relaxed);
	atomic_fetch_add_explicit(&s->stats.batches, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->stats.records, b->nentries, memory_order_relaxed);
}

static void
finish_all(struct spool *s, struct op_list *l, int error)
{
	struct ga_spool_link *op;

	while ((op = op_shift(l)) != NULL)
		spool_finish(s, op, error);
}

/* All of the batch is on stable storage: enter it, then tell. */
static void
batch_synced(struct spool *s, struct commit_batch *b, uint64_t seq)
{
	struct segment *g = s->active;
	uint32_t i;

	count_kinds(s, b);
	pthread_mutex_lock(&s->ledger.lock);
	if (g->order == 0)
		g->order = seq;
	for (i = 0; i < b->nentries; i++)
		ledger_enter(&s->ledger, g, &b->entries[i].h, b->entries[i].meta);
	g->end += REC_ALIGN(REC_HEADER + REC_BATCH_META) + b->length;
	pthread_mutex_unlock(&s->ledger.lock);
	b->nvoids -= b->voids_in_batch;
	if (b->nvoids > 0)
		memmove(b->voids, b->voids + b->voids_in_batch, b->nvoids * sizeof *b->voids);
	b->failures = 0;
	b->retry_us = 0;
	finish_all(s, &b->refused, b->refused_error);
	finish_all(s, &b->taken, 0);
}

/* Messages are refused, copies are made another time, the rest is written again. */
static void
sort_failed(struct commit_batch *b)
{
	struct op_list again = { NULL, NULL };
	struct ga_spool_link *op;

	while ((op = op_shift(&b->taken)) != NULL) {
		if (is_new_mail(op) || op->kind == OP_COPY)
			op_append(&b->refused, op);
		else
			op_append(&again, op);
	}
	op_prepend_list(&b->pending, &again);
}

/* Nothing of the batch counts.  error: positive errno. */
static void
batch_failed(struct spool *s, struct commit_batch *b, int error)
{
	struct segment *g = s->active;

	spool_log(s, GA_ERR, "GA-SPOOL-0001", "writing %016llx.seg failed at offset %llu: %s; "
	    "that segment takes no more mail", (unsigned long long)g->number,
	    (unsigned long long)g->end, strerror(error));
	atomic_fetch_add_explicit(&s->stats.failed_syncs, 1, memory_order_relaxed);
	finish_all(s, &b->refused, b->refused_error);
	sort_failed(b);
	b->refused_error = error;
	b->voids = ga_xrealloc(b->voids, (b->nvoids + 1) * sizeof *b->voids);
	b->voids[b->nvoids++] = (struct void_tail){ g->number, g->end };
	pthread_mutex_lock(&s->ledger.lock);
	close_active(s, SEG_FAILED);
	pthread_mutex_unlock(&s->ledger.lock);
	inbox_wake(&s->chores);
	if (++b->failures > 1) {
		finish_all(s, &b->refused, error);
		b->retry_us = spool_now_us(s) + (uint64_t)s->conf.retry_ms * 1000;
	}
}

static void
write_batch(struct spool *s, struct commit_batch *b)
{
	uint64_t seq = spool_draw_seq(s);
	int error;

	end_batch(s, b, seq);
	error = spool_pwritev_all(s->fs, s->active->fd, b->iov, b->niov, s->active->end);
	if (error == 0)
		error = sync_active(s);
	if (error == 0)
		batch_synced(s, b, seq);
	else
		batch_failed(s, b, -error);
}

static void
take_requests(struct spool *s, struct commit_batch *b)
{
	struct ga_spool_link *op, *next;

	for (op = inbox_take(&s->commits); op != NULL; op = next) {
		next = op_next(op);
		op_append(op->kind == OP_COPY ? &b->copies : &b->pending, op);
	}
}

/* What may be refused is told so now; what may not waits on. */
static void
refuse_new_mail(struct spool *s, struct commit_batch *b, int error)
{
	struct op_list keep = { NULL, NULL };
	struct ga_spool_link *op;

	while ((op = op_shift(&b->pending)) != NULL) {
		if (is_new_mail(op))
			spool_finish(s, op, error);
		else
			op_append(&keep, op);
	}
	b->pending = keep;
}

/* Between two failures and the next try only refusals go out. */
static int
wait_for_retry(struct spool *s, struct commit_batch *b)
{
	uint64_t now = spool_now_us(s);

	if (b->retry_us == 0 || now >= b->retry_us) {
		b->retry_us = 0;
		return (0);
	}
	refuse_new_mail(s, b, EIO);
	return ((int)((b->retry_us - now) / 1000) + 1);
}

static bool
out_of_room(struct spool *s)
{
	bool is;

	pthread_mutex_lock(&s->ledger.lock);
	is = s->no_room && s->nready == 0;
	pthread_mutex_unlock(&s->ledger.lock);
	return (is);
}

int
commit_step(struct spool *s)
{
	struct commit_batch *b = s->batch;
	bool went;
	int wait;

	take_requests(s, b);
	if (b->copies.first == NULL && b->pending.first == NULL && b->nvoids == 0)
		return (-1);
	wait = wait_for_retry(s, b);
	if (wait > 0)
		return (wait);
	begin_batch(b);
	put_voids(s, b);
	/* copies first: what is said of a message after it was copied comes after the copy */
	went = fill_from(s, b, &b->copies) && fill_from(s, b, &b->pending);
	if (b->nentries == 0 && b->nvoids > 0)
		finish_all(s, &b->refused, b->refused_error);
	if (b->nentries > 0)
		write_batch(s, b);
	else if (!went || b->nvoids > 0) {
		if (out_of_room(s))
			refuse_new_mail(s, b, ENOSPC);
		inbox_wake(&s->chores);
		return (20);
	}
	return (b->copies.first != NULL || b->pending.first != NULL || b->nvoids > 0 ? 0 : -1);
}

void
commit_seal(struct spool *s)
{
	pthread_mutex_lock(&s->ledger.lock);
	if (s->active != NULL && s->active->order != 0)
		close_active(s, SEG_SEALED);
	pthread_mutex_unlock(&s->ledger.lock);
}
