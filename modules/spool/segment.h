/*
 * segment.h - one file of the spool: its header, its index, and what is in it.
 *
 * The functions work on files only; who may call them when, and the counts in
 * struct segment, are the ledger's business (ledger.h).
 */
#ifndef SPOOL_SEGMENT_H
#define SPOOL_SEGMENT_H

#include "fs.h"
#include "record.h"

#define SEG_FORMAT 1u			/* of segments and indexes */
#define SEG_START 4096u			/* where records begin */
#define SEG_NAME 32u
#define SEG_NONE UINT32_MAX

enum seg_kind { SEG_RECORDS = 0, SEG_BODIES = 1 };
enum seg_state {
	SEG_READY,		/* made, empty, waiting to be written */
	SEG_ACTIVE,		/* the one that is written */
	SEG_SEALED,		/* complete; takes no more writes */
	SEG_FAILED		/* a write or sync failed: sealed at `end`, never recycled */
};

/* A range of sequences; empty when min > max. */
struct seg_range {
	uint64_t min, max;
};

struct segment {
	uint32_t slot;			/* in the ledger */
	uint64_t number;		/* its name */
	unsigned char tag[REC_TAG];
	int fd;
	enum seg_kind kind;
	enum seg_state state;
	uint64_t size;			/* of the file */
	uint64_t end;			/* after the last good record; `synced` of the active one */
	uint64_t order;			/* number of its first batch: when it became active; 0 none */
	bool indexed;			/* its index is on disk */
	bool damaged;			/* something in it cannot be read: not compacted */
	bool unlinked;			/* its name is gone, but not yet durably */
	bool cleared;			/* compacted: what it said of others stands elsewhere too */
	bool unsynced;			/* bodies: written since the last sync */
	uint32_t users;			/* readers, uploads: not to be removed */
	uint32_t live;			/* messages (or pieces of bodies) that are needed */
	uint32_t states;		/* current STATE records in it */
	uint64_t live_bytes;
	struct seg_range messages;	/* sequences of the MESSAGE records in it */
	struct seg_range named;		/* sequences that its UPDATE and DONE speak of */
	uint64_t *voided;		/* numbers of the segments that its ABANDONs name */
	uint32_t nvoided;
};

void seg_name(char out[SEG_NAME], uint64_t number, const char *suffix);
/* The number in "<16 hex>suffix", or false. */
bool seg_parse_name(const char *name, const char *suffix, uint64_t *number);
struct segment *seg_new(uint64_t number);
void seg_free(struct segment *, const struct spool_fs *);	/* closes the descriptor */
void range_add(struct seg_range *, uint64_t);

/*
 * Header: two copies in the first 4096 octets, so that one bad sector costs
 * nothing.  put draws a new tag; get returns 0, -EBADMSG when both copies are
 * damaged, -EPROTONOSUPPORT for a format that we do not know (*format is set).
 */
int seg_put_header(const struct spool_fs *, struct segment *, uint64_t floor);
int seg_get_header(const struct spool_fs *, struct segment *, uint64_t *floor, uint32_t *format);

/* What a segment says, without bodies: headers and meta one after the other. */
struct seg_index {
	unsigned char *p;
	size_t n, room;
	uint64_t count, order, end, max_seq;
	bool has_abandon;
};
void seg_index_free(struct seg_index *);
/* pos 0 at first; false at the end or where it makes no sense (bad is set). */
bool seg_index_next(const struct seg_index *, size_t *pos, struct rec_header *, struct ga_str *meta,
    bool *bad);
/* Position of the record at this offset of the segment, by search from the front of
 * a list of positions; see recover.c. */
void seg_index_add(struct seg_index *, const unsigned char header[REC_HEADER], struct ga_str meta);
/* Drops what stands at or after the offset. */
void seg_index_cut(struct seg_index *, uint64_t cut);

/* <name>.tmp, sync, rename to <name>.idx. */
int seg_index_save(const struct spool_fs *, int dir, const struct segment *, const struct seg_index *);
/* -ENOENT none, -EBADMSG damaged or another life's; head: only the numbers, no data. */
int seg_index_load(const struct spool_fs *, int dir, const struct segment *, bool head, struct seg_index *);

/*
 * Reads the whole file and finds every good record, whatever stands between
 * them; makes the index.  damage is called for each stretch that is not records
 * but should be: bytes are its octets, acknowledged says that a later batch knew
 * it synced (else it is a torn tail).
 */
typedef void seg_damage_fn(void *arg, uint64_t from, uint64_t to, bool acknowledged,
    const unsigned char *bytes);
int seg_scan(const struct spool_fs *, const struct segment *, struct seg_index *, seg_damage_fn *, void *arg);

#endif
