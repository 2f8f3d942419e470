/*
 * feed.c - handing the recovered messages to the loops that they live on.
 *
 * Maintenance thread; found() and end() run on the loops.  Messages are built
 * from the indexes, thirty-two a post, at most four posts under way to a loop:
 * a loop is never busy with it for long, and memory stays small.  It begins once
 * every loop has called recover(), and it compacts nothing meanwhile.
 *
 * index_cache keeps the indexes that are in use, up to 256 MiB of them.
 */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define PACK 32u
#define UNDER_WAY 4u
#define CACHE_BYTES (256u << 20)

struct cached {
	uint64_t number, used;
	struct seg_index ix;
	uint32_t *offsets;		/* of its records, ascending */
	size_t *positions, n;
};

struct index_cache {
	struct cached *list;
	size_t n, bytes;
	uint64_t clock;
};

struct index_cache *
cache_new(void)
{
	return (ga_xcalloc(1, sizeof(struct index_cache)));
}

static void
forget(struct index_cache *c, size_t i)
{
	struct cached *k = &c->list[i];

	c->bytes -= k->ix.n;
	seg_index_free(&k->ix);
	free(k->offsets);
	free(k->positions);
	*k = c->list[--c->n];
}

void
cache_free(struct index_cache *c)
{
	while (c->n > 0)
		forget(c, c->n - 1);
	free(c->list);
	free(c);
}

static void
forget_oldest(struct index_cache *c)
{
	size_t i, oldest = 0;

	for (i = 1; i < c->n; i++)
		if (c->list[i].used < c->list[oldest].used)
			oldest = i;
	forget(c, oldest);
}

static void
list_records(struct cached *k)
{
	struct rec_header h;
	struct ga_str meta;
	size_t pos = 0, here = 0;
	bool bad;

	k->offsets = ga_xmalloc((k->ix.count + 1) * sizeof *k->offsets);
	k->positions = ga_xmalloc((k->ix.count + 1) * sizeof *k->positions);
	for (; k->n < k->ix.count && seg_index_next(&k->ix, &pos, &h, &meta, &bad); here = pos) {
		k->offsets[k->n] = (uint32_t)h.offset;
		k->positions[k->n++] = here;
	}
}

static struct cached *
cached_index(struct spool *s, struct index_cache *c, const struct segment *g)
{
	struct cached k = { .number = g->number };
	size_t i;

	for (i = 0; i < c->n; i++)
		if (c->list[i].number == g->number) {
			c->list[i].used = ++c->clock;
			return (&c->list[i]);
		}
	if (!g->indexed || seg_index_load(s->fs, s->dir, g, false, &k.ix) != 0)
		return (NULL);
	while (c->n > 0 && c->bytes + k.ix.n > CACHE_BYTES)
		forget_oldest(c);
	list_records(&k);
	k.used = ++c->clock;
	c->bytes += k.ix.n;
	c->list = ga_xrealloc(c->list, (c->n + 1) * sizeof *c->list);
	c->list[c->n] = k;
	return (&c->list[c->n++]);
}

bool
cache_meta(struct spool *s, struct index_cache *c, const struct segment *g, uint32_t offset,
    struct rec_header *h, struct ga_str *meta)
{
	struct cached *k = cached_index(s, c, g);
	size_t low = 0, high, mid, pos;
	bool bad;

	if (k == NULL)
		return (false);
	for (high = k->n; low < high;) {
		mid = (low + high) / 2;
		if (k->offsets[mid] < offset)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == k->n || k->offsets[low] != offset)
		return (false);
	pos = k->positions[low];
	return (seg_index_next(&k->ix, &pos, h, meta, &bad));
}

/* Some messages on their way to a loop. */
struct pack {
	struct ga_spool_link link;
	struct spool *s;
	struct feed_loop *to;
	struct ga_message *messages[PACK];
	uint32_t n;
	bool last;
};

struct feed_loop {
	struct op_recover *op;
	struct pack *pack;		/* being filled */
	uint32_t under_way;
};

struct feed {
	uint64_t *seqs;			/* of what was live at the start, ascending */
	size_t n, next;
	struct feed_loop *loops;
	unsigned count, asked;
	bool over;
	struct index_cache *cache;
};

struct feed *
feed_new(void)
{
	return (ga_xcalloc(1, sizeof(struct feed)));
}

static void
free_pack(struct pack *p)
{
	uint32_t i;

	for (i = 0; i < p->n; i++)
		ga_message_unref(p->messages[i]);
	free(p);
}

static void
free_loops(struct feed *f)
{
	unsigned i;

	for (i = 0; i < f->count; i++) {
		free(f->loops[i].op);
		if (f->loops[i].pack != NULL)
			free_pack(f->loops[i].pack);
	}
	free(f->loops);
	f->loops = NULL;
	f->count = 0;
}

void
feed_free(struct feed *f)
{
	free_loops(f);
	free(f->seqs);
	if (f->cache != NULL)
		cache_free(f->cache);
	free(f);
}

static void
take_seq(void *arg, struct table_entry *e)
{
	struct feed *f = arg;

	f->seqs[f->n++] = e->seq;
}

static int
by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x < *y ? -1 : *x > *y);
}

void
feed_prepare(struct spool *s, struct feed *f)
{
	pthread_mutex_lock(&s->ledger.lock);
	f->seqs = ga_xmalloc((s->ledger.table.count + 1u) * sizeof *f->seqs);
	table_walk(&s->ledger.table, take_seq, f);
	pthread_mutex_unlock(&s->ledger.lock);
	qsort(f->seqs, f->n, sizeof *f->seqs, by_number);
	f->cache = cache_new();
}

void
feed_add(struct feed *f, struct ga_spool_link *link)
{
	struct op_recover *op = GA_CONTAINER(link, struct op_recover, link);

	if (f->loops == NULL) {
		f->count = op->count;
		f->loops = ga_xcalloc(op->count, sizeof *f->loops);
	}
	if (op->index >= f->count || f->loops[op->index].op != NULL || f->over) {
		free(op);
		return;
	}
	f->loops[op->index].op = op;
	f->asked++;
}

/* On the loop. */
static void
unpack(struct ga_worker *w, struct ga_post *post)
{
	struct pack *p = GA_CONTAINER(post, struct pack, link.post);
	const struct ga_spool_recovery *r = &p->to->op->r;
	uint32_t i;

	for (i = 0; i < p->n; i++)
		r->found(w, p->messages[i], r->arg);
	if (p->last)
		r->end(w, r->arg);
	p->link.kind = OP_FED;
	inbox_put(&p->s->chores, &p->link);
}

static void
send_pack(struct spool *s, struct feed_loop *l, bool last)
{
	struct pack *p = l->pack != NULL ? l->pack : ga_xcalloc(1, sizeof *p);

	l->pack = NULL;
	l->under_way++;
	p->s = s;
	p->to = l;
	p->last = last;
	p->link.post.fn = unpack;
	s->post(l->op->link.home, &p->link.post);
}

/* What put_state() kept, on the loop, before the first message. */
struct states {
	struct ga_post post;
	struct ga_spool_recovery r;
	uint32_t n;
	struct ga_str *pairs;		/* key, value, ... */
};

static void
tell_states(struct ga_worker *w, struct ga_post *post)
{
	struct states *st = GA_CONTAINER(post, struct states, post);
	uint32_t i;

	for (i = 0; i < st->n; i++) {
		st->r.state(w, st->pairs[2 * i], st->pairs[2 * i + 1], st->r.arg);
		free((void *)(uintptr_t)st->pairs[2 * i].p);
	}
	free(st->pairs);
	free(st);
}

static void
send_states(struct spool *s, struct feed_loop *l)
{
	struct states *st;
	const struct ledger_state *k;
	uint32_t i;
	char *p;

	if (l->op->r.state == NULL)
		return;
	st = ga_xcalloc(1, sizeof *st);
	st->r = l->op->r;
	st->post.fn = tell_states;
	pthread_mutex_lock(&s->ledger.lock);
	st->pairs = ga_xcalloc(2 * s->ledger.nstates + 1, sizeof *st->pairs);
	for (i = 0; i < s->ledger.nstates; i++) {
		k = &s->ledger.states[i];
		if (k->value.n == 0)
			continue;
		p = ga_xmalloc(k->key.n + k->value.n);
		memcpy(p, k->key.p, k->key.n + k->value.n);
		st->pairs[2 * st->n] = (struct ga_str){ p, k->key.n };
		st->pairs[2 * st->n++ + 1] = (struct ga_str){ p + k->key.n, k->value.n };
	}
	pthread_mutex_unlock(&s->ledger.lock);
	s->post(l->op->link.home, &st->post);
}

static struct ga_message *
build(struct spool *s, struct feed *f, uint64_t seq)
{
	struct ga_message *m = NULL;
	struct rec_header h;
	unsigned char *buf = NULL;
	struct located at;
	struct ga_str meta;
	int error = 0;

	if (!read_locate(s, seq, &at))
		return (NULL);
	if (!cache_meta(s, f->cache, at.segment, at.offset, &h, &meta)) {
		error = read_record(s, at.segment, at.offset, &h, &buf, false);
		meta = (struct ga_str){ (char *)buf, error == 0 ? h.meta_len : 0 };
	}
	if (error == 0)
		m = read_build(s, f->cache, &at, meta, &error);
	if (m == NULL)
		spool_log(s, GA_ERR, "GA-SPOOL-0017", "message %llu in %016llx.seg at %u cannot be "
		    "read: it waits there, unseen", (unsigned long long)seq,
		    (unsigned long long)at.segment->number, at.offset);
	free(buf);
	free(at.slots);
	return (m);
}

static void
deliver(struct spool *s, struct feed_loop *l, struct ga_message *m)
{
	if (l->pack == NULL)
		l->pack = ga_xcalloc(1, sizeof *l->pack);
	l->pack->messages[l->pack->n++] = m;
	if (l->pack->n == PACK)
		send_pack(s, l, false);
}

static void
end_feed(struct spool *s, struct feed *f)
{
	unsigned i;

	for (i = 0; i < f->count; i++)
		send_pack(s, &f->loops[i], true);
	f->over = true;
	free(f->seqs);
	f->seqs = NULL;
	f->n = f->next = 0;
	cache_free(f->cache);
	f->cache = NULL;
}

static bool
some_loop_is_busy(const struct feed *f)
{
	unsigned i;

	for (i = 0; i < f->count; i++)
		if (f->loops[i].under_way >= UNDER_WAY)
			return (true);
	return (false);
}

bool
feed_step(struct spool *s, struct feed *f)
{
	struct ga_message *m;
	unsigned i;

	if (f->over || f->count == 0 || f->asked < f->count || some_loop_is_busy(f))
		return (false);
	if (f->next == 0)
		for (i = 0; i < f->count; i++)
			send_states(s, &f->loops[i]);
	for (i = 0; i < PACK && f->next < f->n; i++) {
		m = build(s, f, f->seqs[f->next++]);
		if (m != NULL)
			deliver(s, &f->loops[m->id % f->count], m);
	}
	if (f->next == f->n)
		end_feed(s, f);
	return (true);
}

void
feed_fed(struct ga_spool_link *link)
{
	struct pack *p = GA_CONTAINER(link, struct pack, link);

	p->to->under_way--;
	free_pack(p);
}

bool
feed_busy(const struct feed *f)
{
	return (f->count > 0 && !f->over);
}
