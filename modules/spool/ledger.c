/*
 * ledger.c - entering records, and the rule of removal.
 *
 * Called under ledger.lock by the committer (after each sync), by recovery and by
 * the maintenance thread.  Owns the table, the segments' counts and the states.
 *
 * The rule.  One segment at a time takes records, so "earlier" is a total order
 * of segments and of records.  What a record says of a message is said of
 * MESSAGE records that are earlier, or in its own segment.  So a segment may go
 * when nothing live is in it and no earlier segment that still exists may hold a
 * MESSAGE that its UPDATE or DONE records name.  Ranges of sequences decide
 * "may hold": too cautious sometimes, never too bold.  A segment that must go
 * sooner is compacted: its records that still matter are written again.
 */
#include <stdlib.h>
#include <string.h>

#include "ledger.h"

void
ledger_init(struct ledger *l)
{
	memset(l, 0, sizeof *l);
	pthread_mutex_init(&l->lock, NULL);
	table_init(&l->table);
}

void
ledger_free(struct ledger *l, const struct spool_fs *fs)
{
	uint32_t i;

	table_free(&l->table);
	for (i = 0; i < l->nsegments; i++)
		if (l->segments[i] != NULL)
			seg_free(l->segments[i], fs);
	for (i = 0; i < l->nstates; i++)
		free((void *)(uintptr_t)l->states[i].key.p);
	free(l->segments);
	free(l->states);
	free(l->holes);
	pthread_mutex_destroy(&l->lock);
}

void
ledger_add(struct ledger *l, struct segment *g)
{
	uint32_t i;

	for (i = 0; i < l->nsegments && l->segments[i] != NULL; i++)
		;
	if (i == l->nsegments) {
		l->segments = ga_xrealloc(l->segments, (i + 1) * sizeof *l->segments);
		l->nsegments++;
	}
	l->segments[i] = g;
	g->slot = i;
}

void
ledger_drop(struct ledger *l, struct segment *g)
{
	l->segments[g->slot] = NULL;
	g->slot = SEG_NONE;
}

struct segment *
ledger_segment(const struct ledger *l, uint64_t number)
{
	uint32_t i;

	for (i = 0; i < l->nsegments; i++)
		if (l->segments[i] != NULL && l->segments[i]->number == number)
			return (l->segments[i]);
	return (NULL);
}

static void
add_live(struct ledger *l, struct segment *g, uint64_t bytes)
{
	g->live++;
	g->live_bytes += bytes;
	l->live_bytes += bytes;
}

static void
sub_live(struct ledger *l, struct segment *g, uint64_t bytes)
{
	g->live--;
	g->live_bytes -= bytes;
	l->live_bytes -= bytes;
}

static void
add_pieces(struct ledger *l, struct table_entry *e, struct rec_message *m)
{
	struct rec_piece *p;
	struct segment *g;
	uint32_t i;

	for (i = 0; i < e->u.ext->npieces; i++) {
		p = &e->u.ext->pieces[i];
		if (!rec_next_piece(m, p))
			return;
		g = ledger_segment(l, p->segment);
		if (g != NULL)
			add_live(l, g, p->len);
	}
}

/* The pieces are nobody's: their room can be given back. */
static void
release_pieces(struct ledger *l, const struct table_ext *x)
{
	struct segment *g;
	uint32_t i;

	for (i = 0; i < x->npieces; i++) {
		g = ledger_segment(l, x->pieces[i].segment);
		if (g == NULL)
			continue;
		sub_live(l, g, x->pieces[i].len);
		if (l->nholes == l->holes_room) {
			l->holes_room = l->holes_room * 2 + 16;
			l->holes = ga_xrealloc(l->holes, l->holes_room * sizeof *l->holes);
		}
		l->holes[l->nholes++] = (struct ledger_hole){ g->slot, x->pieces[i] };
	}
}

static void
finish(struct ledger *l, struct table_entry *e)
{
	sub_live(l, l->segments[e->segment], e->len);
	if (e->has_ext)
		release_pieces(l, e->u.ext);
	table_remove(&l->table, e);
}

static void
end_envelope(struct ledger *l, uint64_t seq, uint32_t envelope)
{
	struct table_entry *e = table_find(&l->table, seq);
	struct table_slot *slot;

	if (e == NULL || envelope >= e->nenvelopes)
		return;
	slot = &table_slots(e)[envelope];
	if (slot->segment == SLOT_DONE)
		return;
	slot->segment = SLOT_DONE;
	l->table.envelopes--;
	if (--e->live == 0)
		finish(l, e);
}

/* Envelope states of a MESSAGE record: they replace whatever was known. */
static bool
take_envelopes(struct ledger *l, struct table_entry *e, struct rec_message *m)
{
	struct table_slot *slots = table_slots(e);
	struct rec_envelope env;
	uint32_t i;

	l->table.envelopes -= e->live;
	e->live = 0;
	for (i = 0; i < e->nenvelopes; i++) {
		if (!rec_next_envelope(m, &env))
			return (false);
		slots[i].segment = env.flags & GA_ENV_DONE ? SLOT_DONE : 0;
		slots[i].offset = 0;
		e->live += !(env.flags & GA_ENV_DONE);
	}
	l->table.envelopes += e->live;
	return (true);
}

static void
take_ends(struct ledger *l, struct segment *g, struct rec_message *m)
{
	struct rec_end end;
	uint32_t i;

	for (i = 0; i < m->nends && rec_next_end(m, &end); i++) {
		range_add(&g->named, end.seq);
		end_envelope(l, end.seq, end.envelope);
	}
}

static bool
enter_message(struct ledger *l, struct segment *g, const struct rec_header *h, struct ga_str meta)
{
	struct table_entry *e;
	struct rec_message m;
	struct rec_in ends;
	bool fresh;

	if (!rec_get_message(meta, &m))
		return (false);
	range_add(&g->messages, h->seq);
	e = table_find(&l->table, h->seq);
	fresh = e == NULL;
	if (fresh)
		e = table_add(&l->table, h->seq, m.nenvelopes, m.npieces);
	else if (h->rev <= e->rev || e->nenvelopes != m.nenvelopes)
		return (h->rev <= e->rev);
	else
		sub_live(l, l->segments[e->segment], e->len);
	e->rev = h->rev;
	e->segment = g->slot;
	e->offset = (uint32_t)h->offset;
	e->len = (uint32_t)rec_size(h);
	add_live(l, g, e->len);
	if (!take_envelopes(l, e, &m))
		return (false);
	ends = m.rest;
	rec_get_bytes(&m.rest, (size_t)m.nends * REC_DONE_META);
	if (fresh && m.npieces > 0)
		add_pieces(l, e, &m);
	m.rest = ends;
	if (e->live == 0)
		finish(l, e);
	take_ends(l, g, &m);
	return (true);
}

static bool
enter_update(struct ledger *l, struct segment *g, const struct rec_header *h, struct ga_str meta)
{
	struct table_slot *slot;
	struct table_entry *e;
	struct rec_update u;

	if (!rec_get_update(meta, &u))
		return (false);
	range_add(&g->named, u.seq);
	e = table_find(&l->table, u.seq);
	if (e == NULL || u.envelope >= e->nenvelopes)
		return (true);
	slot = &table_slots(e)[u.envelope];
	if (slot->segment != SLOT_DONE)
		*slot = (struct table_slot){ g->slot + 1, (uint32_t)h->offset };
	return (true);
}

static bool
enter_done(struct ledger *l, struct segment *g, struct ga_str meta)
{
	struct rec_end end;

	if (!rec_get_end(meta, &end))
		return (false);
	range_add(&g->named, end.seq);
	end_envelope(l, end.seq, end.envelope);
	return (true);
}

static bool
enter_abandon(struct segment *g, struct ga_str meta)
{
	struct rec_abandon a;

	if (!rec_get_abandon(meta, &a))
		return (false);
	g->voided = ga_xrealloc(g->voided, (g->nvoided + 1) * sizeof *g->voided);
	g->voided[g->nvoided++] = a.segment;
	return (true);
}

static struct ledger_state *
find_state(struct ledger *l, struct ga_str key)
{
	uint32_t i;

	for (i = 0; i < l->nstates; i++)
		if (ga_str_eq(l->states[i].key, key))
			return (&l->states[i]);
	l->states = ga_xrealloc(l->states, (l->nstates + 1) * sizeof *l->states);
	l->states[l->nstates] = (struct ledger_state){ .segment = SEG_NONE };
	return (&l->states[l->nstates++]);
}

static bool
enter_state(struct ledger *l, struct segment *g, struct ga_str meta)
{
	struct ledger_state *st;
	struct rec_state s;
	char *p;

	if (!rec_get_state(meta, &s))
		return (false);
	st = find_state(l, s.key);
	if (st->segment != SEG_NONE)
		l->segments[st->segment]->states--;
	g->states++;
	p = ga_xmalloc(s.key.n + s.value.n + 1);
	memcpy(p, s.key.p, s.key.n);
	if (s.value.n > 0)
		memcpy(p + s.key.n, s.value.p, s.value.n);
	free((void *)(uintptr_t)st->key.p);
	st->key = (struct ga_str){ p, s.key.n };
	st->value = (struct ga_str){ p + s.key.n, s.value.n };
	st->segment = g->slot;
	return (true);
}

bool
ledger_enter(struct ledger *l, struct segment *g, const struct rec_header *h, struct ga_str meta)
{
	switch (h->type) {
	case REC_MESSAGE:
		return (enter_message(l, g, h, meta));
	case REC_UPDATE:
		return (enter_update(l, g, h, meta));
	case REC_DONE:
		return (enter_done(l, g, meta));
	case REC_ABANDON:
		return (enter_abandon(g, meta));
	case REC_STATE:
		return (enter_state(l, g, meta));
	default:
		return (true);
	}
}

static bool
earlier(const struct segment *a, const struct segment *b)
{
	return (a->kind == SEG_RECORDS && a->order != 0 && a->order < b->order);
}

bool
ledger_still_named(const struct ledger *l, const struct segment *g, uint64_t seq)
{
	const struct segment *a;
	uint32_t i;

	for (i = 0; i < l->nsegments; i++) {
		a = l->segments[i];
		if (a != NULL && earlier(a, g) && seq >= a->messages.min && seq <= a->messages.max)
			return (true);
	}
	return (false);
}

bool
ledger_voids(const struct ledger *l, const struct segment *g)
{
	uint32_t i;

	for (i = 0; i < g->nvoided; i++)
		if (ledger_segment(l, g->voided[i]) != NULL)
			return (true);
	return (false);
}

/* Some earlier segment may hold a MESSAGE that this one speaks of. */
static bool
named_elsewhere(const struct ledger *l, const struct segment *g)
{
	const struct segment *a;
	uint32_t i;

	for (i = 0; i < l->nsegments; i++) {
		a = l->segments[i];
		if (a != NULL && earlier(a, g) && g->named.min <= a->messages.max &&
		    g->named.max >= a->messages.min)
			return (true);
	}
	return (false);
}

bool
ledger_removable(const struct ledger *l, const struct segment *g)
{
	if ((g->state != SEG_SEALED && g->state != SEG_FAILED) || g->live > 0 || g->states > 0 ||
	    g->users > 0)
		return (false);
	if (g->kind == SEG_BODIES)
		return (true);
	return (!ledger_voids(l, g) && (g->cleared || !named_elsewhere(l, g)));
}
