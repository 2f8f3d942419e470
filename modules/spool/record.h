/*
 * record.h - how a record looks on disk: encode, decode, check.
 *
 * Pure: bytes in, bytes out, no file, no lock.  Everything is little endian and
 * written octet by octet.  A record is a header of 64 octets, `meta` (what an
 * index keeps), `body` (what it does not), and zeros to a multiple of eight.
 */
#ifndef SPOOL_RECORD_H
#define SPOOL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <greenarrow/message.h>

#define REC_MAGIC 0x31724147u		/* "GAr1" */
#define REC_HEADER 64u
#define REC_TAG 16u
#define REC_ALIGN(n) (((n) + 7u) & ~(uint64_t)7u)

enum rec_type {
	REC_BATCH = 1,		/* stands before the records of one write */
	REC_MESSAGE = 2,
	REC_BODY = 3,		/* a piece of a large body, in a segment of bodies */
	REC_UPDATE = 4,
	REC_DONE = 5,
	REC_ABANDON = 6,	/* a segment's octets from `cut` on are void */
	REC_STATE = 7		/* a key and its value */
};

struct rec_header {
	uint8_t type;
	uint32_t meta_len, meta_crc;
	uint32_t body_len, body_crc;
	uint64_t offset;		/* its own, in its segment */
	uint64_t seq;			/* never used twice; a copy keeps its original's */
	uint32_t rev;			/* of a MESSAGE: 0, +1 for each copy */
};

/* Octets on disk, padding included. */
uint64_t rec_size(const struct rec_header *);
void rec_put_header(unsigned char out[REC_HEADER], const struct rec_header *,
    const unsigned char tag[REC_TAG]);
/* False unless magic, checksum, tag, type and offset are what they must be. */
bool rec_get_header(const unsigned char in[REC_HEADER], struct rec_header *,
    const unsigned char tag[REC_TAG], uint64_t offset);

/* Writing: the caller has made room. */
struct rec_out {
	unsigned char *p;
};
void rec_u8(struct rec_out *, uint8_t);
void rec_u16(struct rec_out *, uint16_t);
void rec_u32(struct rec_out *, uint32_t);
void rec_u64(struct rec_out *, uint64_t);
void rec_bytes(struct rec_out *, const void *, size_t);

/* Reading: after the first thing that does not fit, all is zero and bad is set. */
struct rec_in {
	const unsigned char *p, *end;
	bool bad;
};
uint8_t rec_get_u8(struct rec_in *);
uint16_t rec_get_u16(struct rec_in *);
uint32_t rec_get_u32(struct rec_in *);
uint64_t rec_get_u64(struct rec_in *);
struct ga_str rec_get_bytes(struct rec_in *, size_t);

/* A piece of a large body. */
struct rec_piece {
	uint64_t segment;		/* number of its segment */
	uint32_t offset;		/* of the BODY record */
	uint32_t len;			/* octets of body in it */
};

struct rec_end {
	uint64_t seq;			/* message */
	uint32_t envelope, result;
};

/* meta of BATCH, UPDATE, DONE (struct rec_end), ABANDON, STATE */
struct rec_batch {
	uint64_t frontier;		/* all before it was synced when this was written */
	uint64_t length;		/* octets of the records that follow */
	uint32_t count;
};
struct rec_update {
	uint64_t seq;			/* message */
	uint32_t envelope, attempts, flags;
	uint64_t next_ms;
	struct ga_str attrs;
};
struct rec_abandon {
	uint64_t segment, cut;
};
struct rec_state {
	struct ga_str key, value;
};

#define REC_BATCH_META 20u
#define REC_DONE_META 16u
#define REC_ABANDON_META 16u

void rec_put_batch(struct rec_out *, const struct rec_batch *);
void rec_put_end(struct rec_out *, const struct rec_end *);
void rec_put_update(struct rec_out *, const struct rec_update *);
void rec_put_abandon(struct rec_out *, const struct rec_abandon *);
void rec_put_state(struct rec_out *, const struct rec_state *);
size_t rec_update_len(size_t attrs);
size_t rec_state_len(size_t key, size_t value);
bool rec_get_batch(struct ga_str meta, struct rec_batch *);
bool rec_get_end(struct ga_str meta, struct rec_end *);
bool rec_get_update(struct ga_str meta, struct rec_update *);
bool rec_get_abandon(struct ga_str meta, struct rec_abandon *);
bool rec_get_state(struct ga_str meta, struct rec_state *);

/*
 * MESSAGE.  Written from a struct ga_message; read by a cursor, because most
 * readers want a number or two and the rest costs memory.
 */
struct rec_message {
	uint32_t id, flags, nenvelopes, nends, npieces;
	uint64_t accepted_ms, body_size;
	struct ga_str attrs;
	struct rec_in rest;		/* envelopes, then ends, then pieces */
};
struct rec_envelope {
	uint32_t random, attempts, flags;
	uint64_t next_ms;
	struct ga_str attrs;
};

size_t rec_message_len(const struct ga_message *, size_t nends, size_t npieces);
/* env_state of each envelope is taken from the message. */
void rec_put_message(struct rec_out *, const struct ga_message *, const struct rec_end *, size_t nends,
    const struct rec_piece *, size_t npieces);
bool rec_get_message(struct ga_str meta, struct rec_message *);
/* To be called nenvelopes, nends, npieces times, in this order. */
bool rec_next_envelope(struct rec_message *, struct rec_envelope *);
bool rec_next_end(struct rec_message *, struct rec_end *);
bool rec_next_piece(struct rec_message *, struct rec_piece *);
/* Skips to the ends (what = 1) or the pieces (what = 2). */
bool rec_skip_to(struct rec_message *, int what);

#endif
