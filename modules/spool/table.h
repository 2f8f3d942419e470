/*
 * table.h - the live messages: sequence → where it lies and what is open.
 *
 * Not locked: the ledger's lock covers it.  40 octets an entry and 4 to 8 of
 * index, so that a million waiting messages cost about 50 MB.
 */
#ifndef SPOOL_TABLE_H
#define SPOOL_TABLE_H

#include "record.h"

#define SLOT_DONE UINT32_MAX

/* What is known of one envelope besides its MESSAGE record. */
struct table_slot {
	uint32_t segment;	/* ledger slot + 1 of its current UPDATE; 0 none; SLOT_DONE */
	uint32_t offset;
};

/* Of messages with several envelopes or a large body. */
struct table_ext {
	uint32_t npieces;
	struct rec_piece *pieces;
	struct table_slot slots[];
};

struct table_entry {
	uint64_t seq;
	uint32_t segment;		/* ledger slot of its MESSAGE record */
	uint32_t offset, len;
	uint32_t rev;
	uint32_t live;			/* envelopes that are not done */
	uint32_t nenvelopes : 31;
	uint32_t has_ext : 1;
	union {
		struct table_slot one;
		struct table_ext *ext;
	} u;
};

struct table {
	struct table_entry **chunks;
	uint32_t nchunks, used, free;	/* free: head of a list, index + 1 */
	uint32_t *index;		/* entry + 1; 0 empty */
	uint32_t mask, count;
	uint64_t envelopes;		/* live ones */
};

void table_init(struct table *);
void table_free(struct table *);
struct table_entry *table_find(const struct table *, uint64_t seq);
/* A new entry, slots zero, room for npieces; the sequence must not be there yet. */
struct table_entry *table_add(struct table *, uint64_t seq, uint32_t nenvelopes, uint32_t npieces);
void table_remove(struct table *, struct table_entry *);
struct table_slot *table_slots(struct table_entry *);
/* Calls fn for every entry, in no order; fn may not add or remove. */
void table_walk(const struct table *, void (*fn)(void *arg, struct table_entry *), void *arg);
size_t table_memory(const struct table *);

#endif
