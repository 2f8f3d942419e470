/*
 * record.c - the octets of records: see record.h for who promises what.
 *
 * Header, little endian: 0 magic u32, 4 type u8, 5 zero u8 x3, 8 meta length
 * u32, 12 meta CRC u32, 16 body length u32, 20 body CRC u32, 24 own offset u64,
 * 32 sequence u64, 40 revision u32, 44 CRC u32 of the header with this field
 * zero, 48 the segment's tag, 16 octets.
 *
 * The tag is drawn at random for each life of a segment and never leaves the
 * disk, so what a sender writes into a body cannot look like a record, and what
 * a recycled file held before cannot either.
 */
#include <string.h>

#include "crc32c.h"
#include "record.h"

#define HEADER_CRC_AT 44

void
rec_u8(struct rec_out *o, uint8_t v)
{
	*o->p++ = v;
}

void
rec_u16(struct rec_out *o, uint16_t v)
{
	rec_u8(o, (uint8_t)v);
	rec_u8(o, (uint8_t)(v >> 8));
}

void
rec_u32(struct rec_out *o, uint32_t v)
{
	rec_u16(o, (uint16_t)v);
	rec_u16(o, (uint16_t)(v >> 16));
}

void
rec_u64(struct rec_out *o, uint64_t v)
{
	rec_u32(o, (uint32_t)v);
	rec_u32(o, (uint32_t)(v >> 32));
}

void
rec_bytes(struct rec_out *o, const void *p, size_t n)
{
	if (n > 0)
		memcpy(o->p, p, n);
	o->p += n;
}

struct ga_str
rec_get_bytes(struct rec_in *in, size_t n)
{
	struct ga_str s = { "", 0 };

	if (in->bad || n > (size_t)(in->end - in->p)) {
		in->bad = true;
		return (s);
	}
	s.p = (const char *)in->p;
	s.n = n;
	in->p += n;
	return (s);
}

static uint64_t
get_number(struct rec_in *in, unsigned octets)
{
	struct ga_str s = rec_get_bytes(in, octets);
	uint64_t v = 0;

	while (s.n > 0)
		v = v << 8 | (unsigned char)s.p[--s.n];
	return (v);
}

uint8_t
rec_get_u8(struct rec_in *in)
{
	return ((uint8_t)get_number(in, 1));
}

uint16_t
rec_get_u16(struct rec_in *in)
{
	return ((uint16_t)get_number(in, 2));
}

uint32_t
rec_get_u32(struct rec_in *in)
{
	return ((uint32_t)get_number(in, 4));
}

uint64_t
rec_get_u64(struct rec_in *in)
{
	return (get_number(in, 8));
}

static struct rec_in
reader(struct ga_str s)
{
	struct rec_in in = { (const unsigned char *)s.p, (const unsigned char *)s.p + s.n, false };

	return (in);
}

/* Everything read, nothing left over? */
static bool
all_read(const struct rec_in *in)
{
	return (!in->bad && in->p == in->end);
}

uint64_t
rec_size(const struct rec_header *h)
{
	return (REC_ALIGN((uint64_t)REC_HEADER + h->meta_len + h->body_len));
}

static uint32_t
header_crc(const unsigned char h[REC_HEADER])
{
	static const unsigned char zero[4];
	uint32_t crc;

	crc = spool_crc32c(0, h, HEADER_CRC_AT);
	crc = spool_crc32c(crc, zero, sizeof zero);
	return (spool_crc32c(crc, h + HEADER_CRC_AT + 4, REC_HEADER - HEADER_CRC_AT - 4));
}

void
rec_put_header(unsigned char out[REC_HEADER], const struct rec_header *h,
    const unsigned char tag[REC_TAG])
{
	struct rec_out o = { out };

	rec_u32(&o, REC_MAGIC);
	rec_u8(&o, h->type);
	rec_u8(&o, 0);
	rec_u16(&o, 0);
	rec_u32(&o, h->meta_len);
	rec_u32(&o, h->meta_crc);
	rec_u32(&o, h->body_len);
	rec_u32(&o, h->body_crc);
	rec_u64(&o, h->offset);
	rec_u64(&o, h->seq);
	rec_u32(&o, h->rev);
	rec_u32(&o, 0);
	rec_bytes(&o, tag, REC_TAG);
	o.p = out + HEADER_CRC_AT;
	rec_u32(&o, header_crc(out));
}

bool
rec_get_header(const unsigned char in[REC_HEADER], struct rec_header *h,
    const unsigned char tag[REC_TAG], uint64_t offset)
{
	struct rec_in r = { in, in + REC_HEADER, false };
	uint32_t crc;

	if (rec_get_u32(&r) != REC_MAGIC || memcmp(in + REC_HEADER - REC_TAG, tag, REC_TAG) != 0)
		return (false);
	h->type = rec_get_u8(&r);
	rec_get_bytes(&r, 3);
	h->meta_len = rec_get_u32(&r);
	h->meta_crc = rec_get_u32(&r);
	h->body_len = rec_get_u32(&r);
	h->body_crc = rec_get_u32(&r);
	h->offset = rec_get_u64(&r);
	h->seq = rec_get_u64(&r);
	h->rev = rec_get_u32(&r);
	crc = rec_get_u32(&r);
	return (h->offset == offset && h->type >= REC_BATCH && h->type <= REC_STATE &&
	    crc == header_crc(in));
}

void
rec_put_batch(struct rec_out *o, const struct rec_batch *b)
{
	rec_u64(o, b->frontier);
	rec_u64(o, b->length);
	rec_u32(o, b->count);
}

bool
rec_get_batch(struct ga_str meta, struct rec_batch *b)
{
	struct rec_in in = reader(meta);

	b->frontier = rec_get_u64(&in);
	b->length = rec_get_u64(&in);
	b->count = rec_get_u32(&in);
	return (all_read(&in));
}

void
rec_put_end(struct rec_out *o, const struct rec_end *e)
{
	rec_u64(o, e->seq);
	rec_u32(o, e->envelope);
	rec_u32(o, e->result);
}

static void
read_end(struct rec_in *in, struct rec_end *e)
{
	e->seq = rec_get_u64(in);
	e->envelope = rec_get_u32(in);
	e->result = rec_get_u32(in);
}

bool
rec_get_end(struct ga_str meta, struct rec_end *e)
{
	struct rec_in in = reader(meta);

	read_end(&in, e);
	return (all_read(&in));
}

size_t
rec_update_len(size_t attrs)
{
	return (8 + 4 + 4 + 4 + 8 + attrs);
}

void
rec_put_update(struct rec_out *o, const struct rec_update *u)
{
	rec_u64(o, u->seq);
	rec_u32(o, u->envelope);
	rec_u32(o, u->attempts);
	rec_u32(o, u->flags);
	rec_u64(o, u->next_ms);
	rec_bytes(o, u->attrs.p, u->attrs.n);
}

bool
rec_get_update(struct ga_str meta, struct rec_update *u)
{
	struct rec_in in = reader(meta);

	u->seq = rec_get_u64(&in);
	u->envelope = rec_get_u32(&in);
	u->attempts = rec_get_u32(&in);
	u->flags = rec_get_u32(&in);
	u->next_ms = rec_get_u64(&in);
	u->attrs = rec_get_bytes(&in, in.bad ? 0 : (size_t)(in.end - in.p));
	return (!in.bad);
}

void
rec_put_abandon(struct rec_out *o, const struct rec_abandon *a)
{
	rec_u64(o, a->segment);
	rec_u64(o, a->cut);
}

bool
rec_get_abandon(struct ga_str meta, struct rec_abandon *a)
{
	struct rec_in in = reader(meta);

	a->segment = rec_get_u64(&in);
	a->cut = rec_get_u64(&in);
	return (all_read(&in));
}

size_t
rec_state_len(size_t key, size_t value)
{
	return (2 + key + value);
}

void
rec_put_state(struct rec_out *o, const struct rec_state *s)
{
	rec_u16(o, (uint16_t)s->key.n);
	rec_bytes(o, s->key.p, s->key.n);
	rec_bytes(o, s->value.p, s->value.n);
}

bool
rec_get_state(struct ga_str meta, struct rec_state *s)
{
	struct rec_in in = reader(meta);

	s->key = rec_get_bytes(&in, rec_get_u16(&in));
	s->value = rec_get_bytes(&in, in.bad ? 0 : (size_t)(in.end - in.p));
	return (!in.bad);
}

#define MESSAGE_FIXED (4u * 5 + 8u * 2 + 4u)
#define ENVELOPE_FIXED (4u * 3 + 8u + 4u)
#define PIECE_LEN 16u

size_t
rec_message_len(const struct ga_message *m, size_t nends, size_t npieces)
{
	size_t n = MESSAGE_FIXED + m->attrs.n;
	uint32_t i;

	for (i = 0; i < m->nenvelopes; i++)
		n += ENVELOPE_FIXED + m->envelopes[i].attrs.n;
	return (n + nends * REC_DONE_META + npieces * PIECE_LEN);
}

void
rec_put_message(struct rec_out *o, const struct ga_message *m, const struct rec_end *ends, size_t nends,
    const struct rec_piece *pieces, size_t npieces)
{
	const struct ga_envelope *e;
	size_t i;

	rec_u32(o, m->id);
	rec_u32(o, m->flags);
	rec_u32(o, m->nenvelopes);
	rec_u32(o, (uint32_t)nends);
	rec_u32(o, (uint32_t)npieces);
	rec_u64(o, m->accepted_ms);
	rec_u64(o, m->body_size);
	rec_u32(o, (uint32_t)m->attrs.n);
	rec_bytes(o, m->attrs.p, m->attrs.n);
	for (i = 0; i < m->nenvelopes; i++) {
		e = &m->envelopes[i];
		rec_u32(o, e->random);
		rec_u32(o, e->attempts);
		rec_u32(o, e->flags);
		rec_u64(o, e->next_ms);
		rec_u32(o, (uint32_t)e->attrs.n);
		rec_bytes(o, e->attrs.p, e->attrs.n);
	}
	for (i = 0; i < nends; i++)
		rec_put_end(o, &ends[i]);
	for (i = 0; i < npieces; i++) {
		rec_u64(o, pieces[i].segment);
		rec_u32(o, pieces[i].offset);
		rec_u32(o, pieces[i].len);
	}
}

bool
rec_get_message(struct ga_str meta, struct rec_message *m)
{
	struct rec_in in = reader(meta);
	uint64_t least;

	m->id = rec_get_u32(&in);
	m->flags = rec_get_u32(&in);
	m->nenvelopes = rec_get_u32(&in);
	m->nends = rec_get_u32(&in);
	m->npieces = rec_get_u32(&in);
	m->accepted_ms = rec_get_u64(&in);
	m->body_size = rec_get_u64(&in);
	m->attrs = rec_get_bytes(&in, rec_get_u32(&in));
	m->rest = in;
	/* the counts must be possible before anybody allocates by them */
	least = (uint64_t)m->nenvelopes * ENVELOPE_FIXED + (uint64_t)m->nends * REC_DONE_META +
	    (uint64_t)m->npieces * PIECE_LEN;
	return (!in.bad && m->nenvelopes > 0 && least <= (uint64_t)(in.end - in.p));
}

bool
rec_next_envelope(struct rec_message *m, struct rec_envelope *e)
{
	struct rec_in *in = &m->rest;

	e->random = rec_get_u32(in);
	e->attempts = rec_get_u32(in);
	e->flags = rec_get_u32(in);
	e->next_ms = rec_get_u64(in);
	e->attrs = rec_get_bytes(in, rec_get_u32(in));
	return (!in->bad);
}

bool
rec_next_end(struct rec_message *m, struct rec_end *e)
{
	read_end(&m->rest, e);
	return (!m->rest.bad);
}

bool
rec_next_piece(struct rec_message *m, struct rec_piece *p)
{
	p->segment = rec_get_u64(&m->rest);
	p->offset = rec_get_u32(&m->rest);
	p->len = rec_get_u32(&m->rest);
	return (!m->rest.bad);
}

bool
rec_skip_to(struct rec_message *m, int what)
{
	struct rec_envelope e;
	uint32_t i;

	for (i = 0; i < m->nenvelopes; i++)
		if (!rec_next_envelope(m, &e))
			return (false);
	if (what == 2)
		rec_get_bytes(&m->rest, (size_t)m->nends * REC_DONE_META);
	return (!m->rest.bad);
}
