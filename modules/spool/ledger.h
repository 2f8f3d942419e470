/*
 * ledger.h - what the spool holds, as the sum of all records in their order.
 *
 * The committer enters each record once it is synced, recovery enters the same
 * records in the same order from the indexes: so both end at the same state by
 * the same code.  The ledger knows no file; the maintenance thread asks it what
 * may be removed and what is worth compacting.
 *
 * Locked by its mutex; the functions marked (locked) expect that.
 */
#ifndef SPOOL_LEDGER_H
#define SPOOL_LEDGER_H

#include <pthread.h>

#include "segment.h"
#include "table.h"

struct ledger_state {			/* put_state() */
	struct ga_str key, value;	/* one malloc at key.p */
	uint32_t segment;		/* slot of its current record */
};

struct ledger_hole {			/* a piece of a body that nobody needs */
	uint32_t segment;
	struct rec_piece piece;
};

struct ledger {
	pthread_mutex_t lock;
	struct table table;
	struct segment **segments;	/* by slot; NULL where free */
	uint32_t nsegments;
	struct ledger_state *states;
	uint32_t nstates;
	struct ledger_hole *holes;
	size_t nholes, holes_room;
	uint64_t live_bytes;
};

void ledger_init(struct ledger *);
void ledger_free(struct ledger *, const struct spool_fs *);
void ledger_add(struct ledger *, struct segment *);		/* (locked) gives it a slot */
void ledger_drop(struct ledger *, struct segment *);		/* (locked) does not free it */
struct segment *ledger_segment(const struct ledger *, uint64_t number);	/* (locked) */

/* (locked) One record of this segment; false if its meta makes no sense. */
bool ledger_enter(struct ledger *, struct segment *, const struct rec_header *, struct ga_str meta);

/* (locked) No file that is still there could say of a finished envelope, if this
 * one were gone, that it is open; and nothing live is in it. */
bool ledger_removable(const struct ledger *, const struct segment *);
/* (locked) A record of this segment about this message still matters: some earlier
 * segment may hold a copy of the MESSAGE. */
bool ledger_still_named(const struct ledger *, const struct segment *, uint64_t seq);
/* (locked) The number is that of a segment that exists. */
bool ledger_voids(const struct ledger *, const struct segment *);

#endif
