/*
 * table.c - entries in chunks that never move, found through an open hash.
 *
 * Used under the ledger's lock by the committer, the maintenance thread and
 * recovery.  The hash holds 32-bit positions, linear probing, deletion by moving
 * later ones back, at most three quarters full.  Limit: 2^31 messages.
 */
#include <stdlib.h>
#include <string.h>

#include "table.h"

#define CHUNK 4096u

void
table_init(struct table *t)
{
	memset(t, 0, sizeof *t);
	t->mask = 1023;
	t->index = ga_xcalloc(t->mask + 1, sizeof *t->index);
}

static struct table_entry *
entry_at(const struct table *t, uint32_t i)
{
	return (&t->chunks[i / CHUNK][i % CHUNK]);
}

static void
drop_ext(struct table_entry *e)
{
	if (e->has_ext) {
		free(e->u.ext->pieces);
		free(e->u.ext);
	}
}

void
table_free(struct table *t)
{
	uint32_t i;

	for (i = 0; i <= t->mask; i++)
		if (t->index[i] != 0)
			drop_ext(entry_at(t, t->index[i] - 1));
	for (i = 0; i < t->nchunks; i++)
		free(t->chunks[i]);
	free(t->chunks);
	free(t->index);
}

static uint32_t
home(const struct table *t, uint64_t seq)
{
	return ((uint32_t)((seq * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & t->mask);
}

/* Where the sequence is in the index, or the empty place where it would be. */
static uint32_t
probe(const struct table *t, uint64_t seq)
{
	uint32_t i;

	for (i = home(t, seq); t->index[i] != 0; i = (i + 1) & t->mask)
		if (entry_at(t, t->index[i] - 1)->seq == seq)
			break;
	return (i);
}

struct table_entry *
table_find(const struct table *t, uint64_t seq)
{
	uint32_t i = probe(t, seq);

	return (t->index[i] == 0 ? NULL : entry_at(t, t->index[i] - 1));
}

static void
grow(struct table *t)
{
	uint32_t *old = t->index, was = t->mask, i;

	t->mask = t->mask * 2 + 1;
	t->index = ga_xcalloc((size_t)t->mask + 1, sizeof *t->index);
	for (i = 0; i <= was; i++)
		if (old[i] != 0)
			t->index[probe(t, entry_at(t, old[i] - 1)->seq)] = old[i];
	free(old);
}

static uint32_t
take_entry(struct table *t)
{
	uint32_t i;

	if (t->free != 0) {
		i = t->free - 1;
		t->free = entry_at(t, i)->offset;
		return (i);
	}
	if (t->used == t->nchunks * CHUNK) {
		t->chunks = ga_xrealloc(t->chunks, (t->nchunks + 1) * sizeof *t->chunks);
		t->chunks[t->nchunks++] = ga_xmalloc(CHUNK * sizeof **t->chunks);
	}
	return (t->used++);
}

struct table_entry *
table_add(struct table *t, uint64_t seq, uint32_t nenvelopes, uint32_t npieces)
{
	struct table_entry *e;
	struct table_ext *x;
	uint32_t i;

	if (t->count >= t->mask / 4 * 3)
		grow(t);
	i = take_entry(t);
	e = entry_at(t, i);
	memset(e, 0, sizeof *e);
	e->seq = seq;
	e->nenvelopes = nenvelopes & 0x7fffffffu;
	if (nenvelopes > 1 || npieces > 0) {
		e->has_ext = 1;
		x = e->u.ext = ga_xcalloc(1, sizeof *x + (size_t)nenvelopes * sizeof x->slots[0]);
		x->npieces = npieces;
		if (npieces > 0)
			x->pieces = ga_xcalloc(npieces, sizeof *x->pieces);
	}
	t->index[probe(t, seq)] = i + 1;
	t->count++;
	return (e);
}

void
table_remove(struct table *t, struct table_entry *e)
{
	uint32_t hole = probe(t, e->seq), i, want, id = t->index[hole];

	for (i = (hole + 1) & t->mask; t->index[i] != 0; i = (i + 1) & t->mask) {
		want = home(t, entry_at(t, t->index[i] - 1)->seq);
		/* may it move back to the hole without passing its home? */
		if (((i - want) & t->mask) >= ((i - hole) & t->mask)) {
			t->index[hole] = t->index[i];
			hole = i;
		}
	}
	t->index[hole] = 0;
	drop_ext(e);
	e->has_ext = 0;
	e->offset = t->free;
	t->free = id;
	t->count--;
}

struct table_slot *
table_slots(struct table_entry *e)
{
	return (e->has_ext ? e->u.ext->slots : &e->u.one);
}

void
table_walk(const struct table *t, void (*fn)(void *arg, struct table_entry *), void *arg)
{
	uint32_t i;

	for (i = 0; i <= t->mask; i++)
		if (t->index[i] != 0)
			fn(arg, entry_at(t, t->index[i] - 1));
}

size_t
table_memory(const struct table *t)
{
	return (((size_t)t->mask + 1) * sizeof *t->index +
	    (size_t)t->nchunks * CHUNK * sizeof(struct table_entry));
}
