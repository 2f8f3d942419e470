/*
 * compact.c - writing again what still matters of a segment that is mostly waste.
 *
 * Maintenance thread.  One segment at a time: its index is walked, each record
 * that is current becomes a request to the committer, which writes it like any
 * other and drops it when it is current no more.  A few hundred KiB are under
 * way at once, so that mail does not wait behind compaction.  When all is copied
 * the segment is `cleared`: nothing depends on it.
 *
 *   MESSAGE live and here      → MESSAGE, next revision, envelopes as they stand
 *   UPDATE that is the current → as it is
 *   DONE, ends of a MESSAGE    → DONE, if an earlier segment may hold the message
 *   STATE that is the current  → as it is
 *   ABANDON                    → the segment is left alone until that one is gone
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "engine.h"

#define UNDER_WAY (512u * 1024)
#define PASSES 4u
#define PAUSE_US UINT64_C(5000000)

struct compaction {
	struct segment *victim;
	struct seg_index ix;
	size_t pos;
	uint32_t passes;
	uint64_t pending, pending_bytes;	/* copies at the committer */
	int error;
	uint64_t not_before_us;
	uint64_t useless_number;	/* not worth it when last looked at */
	uint64_t useless_us;
};

struct compaction *
compact_new(void)
{
	return (ga_xcalloc(1, sizeof(struct compaction)));
}

void
compact_free(struct compaction *c)
{
	seg_index_free(&c->ix);
	free(c);
}

bool
compact_idle(const struct compaction *c)
{
	return (c->victim == NULL);
}

static void
send_copy(struct spool *s, struct compaction *c, struct op_copy *k)
{
	k->link.kind = OP_COPY;
	k->segment = c->victim->slot;
	c->pending++;
	c->pending_bytes += REC_HEADER + k->meta.n + k->body.n;
	inbox_put(&s->commits, &k->link);
}

static struct op_copy *
new_copy(const struct rec_header *h, size_t meta, size_t body)
{
	struct op_copy *k = ga_xcalloc(1, sizeof *k);
	char *p = ga_xmalloc(meta + body + 1);

	k->h = *h;
	k->h.meta_len = (uint32_t)meta;
	k->h.body_len = (uint32_t)body;
	k->meta = (struct ga_str){ p, meta };
	k->body = (struct ga_str){ p + meta, body };
	return (k);
}

void
copy_free(struct op_copy *k)
{
	free((void *)(uintptr_t)k->meta.p);
	free(k->slots);
	free(k);
}

/* UPDATE, DONE, STATE: the same octets once more. */
static struct op_copy *
copy_as_is(const struct rec_header *h, struct ga_str meta)
{
	struct op_copy *k = new_copy(h, meta.n, 0);

	if (meta.n > 0)
		memcpy((char *)(uintptr_t)k->meta.p, meta.p, meta.n);
	return (k);
}

static void
copy_end(struct spool *s, struct compaction *c, const struct rec_end *end)
{
	struct rec_header h = { .type = REC_DONE, .seq = spool_draw_seq(s) };
	unsigned char meta[REC_DONE_META];
	struct rec_out o = { meta };
	struct op_copy *k;

	rec_put_end(&o, end);
	h.meta_crc = spool_crc32c(0, meta, sizeof meta);
	k = copy_as_is(&h, (struct ga_str){ (char *)meta, sizeof meta });
	k->seq = end->seq;
	send_copy(s, c, k);
}

static bool
still_named(struct spool *s, struct compaction *c, uint64_t seq)
{
	bool is;

	pthread_mutex_lock(&s->ledger.lock);
	is = ledger_still_named(&s->ledger, c->victim, seq);
	pthread_mutex_unlock(&s->ledger.lock);
	return (is);
}

/* The ends that came in one group with a bounce. */
static void
copy_ends(struct spool *s, struct compaction *c, struct ga_str meta)
{
	struct rec_message m;
	struct rec_end end;
	uint32_t i;

	if (!rec_get_message(meta, &m) || m.nends == 0 || !rec_skip_to(&m, 1))
		return;
	for (i = 0; i < m.nends && rec_next_end(&m, &end); i++)
		if (still_named(s, c, end.seq))
			copy_end(s, c, &end);
}

static struct rec_piece *
pieces_of(struct ga_str meta, uint32_t *n)
{
	struct rec_piece *pieces;
	struct rec_message m;
	uint32_t i;

	*n = 0;
	if (!rec_get_message(meta, &m) || m.npieces == 0 || !rec_skip_to(&m, 2))
		return (NULL);
	pieces = ga_xcalloc(m.npieces, sizeof *pieces);
	for (i = 0; i < m.npieces && rec_next_piece(&m, &pieces[i]); i++)
		;
	*n = m.npieces;
	return (pieces);
}

/* The record of the message as it stands now; takes at->slots over. */
static void
send_message(struct spool *s, struct compaction *c, struct located *at, const struct rec_header *h,
    const unsigned char *buf, uint32_t rev)
{
	struct ga_str meta = { (const char *)buf, h->meta_len };
	struct ga_message *m;
	struct rec_piece *pieces;
	struct op_copy *k;
	struct rec_out o;
	uint32_t npieces;
	int error;

	m = read_build(s, NULL, at, meta, &error);
	if (m == NULL) {
		c->victim->damaged = true;
		return;
	}
	pieces = pieces_of(meta, &npieces);
	k = new_copy(h, rec_message_len(m, 0, npieces), h->body_len);
	o.p = (unsigned char *)(uintptr_t)k->meta.p;
	rec_put_message(&o, m, NULL, 0, pieces, npieces);
	if (h->body_len > 0)
		memcpy((char *)(uintptr_t)k->body.p, buf + h->meta_len, h->body_len);
	k->h.meta_crc = spool_crc32c(0, k->meta.p, k->meta.n);
	k->h.rev = rev;
	k->seq = h->seq;
	k->slots = at->slots;
	at->slots = NULL;
	ga_message_unref(m);
	free(pieces);
	send_copy(s, c, k);
}

static void
copy_message(struct spool *s, struct compaction *c, const struct rec_header *h, struct ga_str meta)
{
	struct rec_header read;
	struct located at;
	unsigned char *buf;
	uint32_t rev = h->rev + 1;

	copy_ends(s, c, meta);
	if (!read_locate(s, h->seq, &at))
		return;
	if (at.segment == c->victim && at.offset == h->offset) {
		if (read_record(s, c->victim, at.offset, &read, &buf, true) == 0)
			send_message(s, c, &at, &read, buf, rev);
		else
			c->victim->damaged = true;
		free(buf);
	}
	free(at.slots);
}

static void
copy_update(struct spool *s, struct compaction *c, const struct rec_header *h, struct ga_str meta)
{
	struct table_slot here = { c->victim->slot + 1, (uint32_t)h->offset };
	struct table_entry *e;
	struct rec_update u;
	struct op_copy *k;
	bool current;

	if (!rec_get_update(meta, &u))
		return;
	pthread_mutex_lock(&s->ledger.lock);
	e = table_find(&s->ledger.table, u.seq);
	current = e != NULL && u.envelope < e->nenvelopes &&
	    memcmp(&table_slots(e)[u.envelope], &here, sizeof here) == 0;
	pthread_mutex_unlock(&s->ledger.lock);
	if (!current)
		return;
	k = copy_as_is(h, meta);
	k->seq = u.seq;
	k->envelope = u.envelope;
	k->slots = ga_xmalloc(sizeof *k->slots);
	*k->slots = here;
	send_copy(s, c, k);
}

static void
copy_record(struct spool *s, struct compaction *c, const struct rec_header *h, struct ga_str meta)
{
	struct rec_end end;

	switch (h->type) {
	case REC_MESSAGE:
		copy_message(s, c, h, meta);
		break;
	case REC_UPDATE:
		copy_update(s, c, h, meta);
		break;
	case REC_DONE:
		if (rec_get_end(meta, &end) && still_named(s, c, end.seq))
			copy_end(s, c, &end);
		break;
	case REC_STATE:
		send_copy(s, c, copy_as_is(h, meta));
		break;
	}
}

/* (locked) How much of the segment is not needed, in percent; -1: not to be touched. */
static int
waste(const struct spool *s, const struct segment *g)
{
	uint64_t used = g->end - SEG_START;

	if (g->kind != SEG_RECORDS || (g->state != SEG_SEALED && g->state != SEG_FAILED) || !g->indexed ||
	    g->damaged || g->cleared || g->unlinked || ledger_voids(&s->ledger, g))
		return (-1);
	if (g->state == SEG_FAILED)
		return (101);
	return (used == 0 ? 100 : (int)(100 - 100 * g->live_bytes / used));
}

/* (locked) Is there so much waste in all that something must be done? */
static bool
pressed(const struct spool *s, int *least)
{
	const struct segment *g;
	uint64_t dead = 0, live = 0;
	uint32_t i;

	for (i = 0; i < s->ledger.nsegments; i++) {
		g = s->ledger.segments[i];
		if (g == NULL || g->kind != SEG_RECORDS || g->state == SEG_READY || g->state == SEG_ACTIVE)
			continue;
		live += g->live_bytes;
		dead += g->end - g->live_bytes;
		if (g->state == SEG_FAILED && waste(s, g) > 0)
			return (true);
	}
	*least = dead > live * 2 ? 10 : 50;
	if (s->nready == 0)
		return (dead >= s->conf.segment_size / 2);
	return (dead > 2 * s->conf.segment_size && dead > live / 2);
}

static struct segment *
choose(struct spool *s, const struct compaction *c)
{
	struct segment *best = NULL, *g;
	int most = 50, w;
	uint32_t i;

	pthread_mutex_lock(&s->ledger.lock);
	if (pressed(s, &most))
		for (i = 0; i < s->ledger.nsegments; i++) {
			g = s->ledger.segments[i];
			w = g == NULL ? -1 : waste(s, g);
			if (w < most || (g->number == c->useless_number && spool_now_us(s) < c->useless_us))
				continue;
			if (w > most || best == NULL || g->order < best->order)
				best = g;
			most = w;
		}
	pthread_mutex_unlock(&s->ledger.lock);
	return (best);
}

/* Of records that say something of messages elsewhere, how much would be written again? */
static uint64_t
to_be_kept(struct spool *s, struct compaction *c)
{
	struct rec_header h;
	struct rec_end end;
	struct ga_str meta;
	uint64_t sum = 0;
	size_t pos = 0;
	bool bad;

	while (seg_index_next(&c->ix, &pos, &h, &meta, &bad))
		if (h.type == REC_DONE && rec_get_end(meta, &end) && still_named(s, c, end.seq))
			sum += rec_size(&h) * 2;
	return (sum);
}

/* It is not removed under our hands. */
static void
hold(struct spool *s, struct compaction *c, struct segment *g)
{
	pthread_mutex_lock(&s->ledger.lock);
	g->users++;
	pthread_mutex_unlock(&s->ledger.lock);
	c->victim = g;
}

static void
let_go(struct spool *s, struct compaction *c)
{
	pthread_mutex_lock(&s->ledger.lock);
	c->victim->users--;
	pthread_mutex_unlock(&s->ledger.lock);
	c->victim = NULL;
	seg_index_free(&c->ix);
}

static bool
begin(struct spool *s, struct compaction *c)
{
	struct segment *g;

	if (spool_now_us(s) < c->not_before_us)
		return (false);
	g = choose(s, c);
	if (g == NULL)
		return (false);
	if (seg_index_load(s->fs, s->dir, g, false, &c->ix) != 0) {
		g->indexed = false;
		return (true);
	}
	c->pos = 0;
	c->passes = 0;
	c->error = 0;
	hold(s, c, g);
	if (g->state == SEG_SEALED && to_be_kept(s, c) + g->live_bytes > g->end / 10 * 9) {
		c->useless_number = g->number;
		c->useless_us = spool_now_us(s) + PAUSE_US;
		let_go(s, c);
		return (false);
	}
	return (true);
}

/* The walk is over and every copy came back. */
static void
end_pass(struct spool *s, struct compaction *c)
{
	struct segment *g = c->victim;
	bool empty;

	pthread_mutex_lock(&s->ledger.lock);
	empty = g->live == 0 && g->states == 0;
	if (c->error == 0 && empty)
		g->cleared = true;
	pthread_mutex_unlock(&s->ledger.lock);
	if (c->error == 0 && !empty && !g->damaged && ++c->passes < PASSES) {
		/* something changed while it was copied */
		c->pos = 0;
		return;
	}
	if (c->error != 0 || !empty)
		c->not_before_us = spool_now_us(s) + PAUSE_US;
	else
		atomic_fetch_add(&s->stats.compacted, 1);
	let_go(s, c);
}

bool
compact_step(struct spool *s, struct compaction *c)
{
	struct rec_header h;
	struct ga_str meta;
	bool bad;

	if (c->victim == NULL)
		return (begin(s, c));
	while (c->error == 0 && c->pending_bytes < UNDER_WAY) {
		if (!seg_index_next(&c->ix, &c->pos, &h, &meta, &bad)) {
			if (c->pending > 0)
				return (false);
			end_pass(s, c);
			return (true);
		}
		copy_record(s, c, &h, meta);
	}
	if (c->error != 0 && c->pending == 0) {
		end_pass(s, c);
		return (true);
	}
	return (false);
}

void
compact_copied(struct spool *s, struct compaction *c, struct op_copy *k)
{
	c->pending--;
	c->pending_bytes -= REC_HEADER + k->meta.n + k->body.n;
	if (k->error != 0 && k->error != ESTALE)
		c->error = k->error;
	copy_free(k);
}
