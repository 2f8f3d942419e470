/*
 * read.c - from the spool back into memory: messages, envelopes, bodies.
 *
 * Maintenance thread only, which is also the only one that removes segments: so
 * what the ledger named stays where it is until a function here returns.  Every
 * octet that is handed out was checked against its record's CRC.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "engine.h"

#define MAX_READ (1u << 20)

void
set_aside_octets(struct spool *s, const struct segment *g, uint64_t from, uint64_t to, const void *bytes,
    bool torn)
{
	char name[64];
	int error, fd;

	snprintf(name, sizeof name, "%016llx-%llu-%llu", (unsigned long long)g->number,
	    (unsigned long long)from, (unsigned long long)to);
	atomic_fetch_add(&s->stats.quarantined, 1);
	fd = s->fs->open(s->fs->ctx, s->corrupt, name, O_RDWR | O_CREAT | O_TRUNC);
	error = fd < 0 ? fd : spool_pwrite_all(s->fs, fd, bytes, (size_t)(to - from), 0);
	if (error == 0)
		error = s->fs->sync(s->fs->ctx, fd);
	if (fd >= 0)
		s->fs->close(s->fs->ctx, fd);
	if (error == 0)
		error = s->fs->sync_dir(s->fs->ctx, s->corrupt);
	spool_log(s, torn ? GA_WARN : GA_ERR, "GA-SPOOL-0007", "%016llx.seg %s from octet %llu to %llu; they "
	    "are %s corrupt/%s%s%s", (unsigned long long)g->number, torn ?
	    "ends with a write that was under way," : "is damaged", (unsigned long long)from,
	    (unsigned long long)to, error == 0 ? "kept in" : "lost:", name, error == 0 ? "" : ": ",
	    error == 0 ? "" : strerror(-error));
}

int
read_record(struct spool *s, const struct segment *g, uint32_t offset, struct rec_header *h,
    unsigned char **buf, bool with_body)
{
	unsigned char head[REC_HEADER];
	size_t n;
	int error;

	*buf = NULL;
	error = spool_pread_all(s->fs, g->fd, head, sizeof head, offset);
	if (error != 0)
		return (-error);
	if (!rec_get_header(head, h, g->tag, offset) || offset + rec_size(h) > g->size)
		return (EBADMSG);
	n = (size_t)h->meta_len + (with_body ? h->body_len : 0);
	*buf = ga_xmalloc(n + 1);
	error = spool_pread_all(s->fs, g->fd, *buf, n, offset + REC_HEADER);
	if (error == 0 && (spool_crc32c(0, *buf, h->meta_len) != h->meta_crc ||
	    (with_body && spool_crc32c(0, *buf + h->meta_len, h->body_len) != h->body_crc))) {
		set_aside_octets(s, g, offset + REC_HEADER, offset + REC_HEADER + n, *buf, false);
		error = -EBADMSG;
	}
	if (error != 0) {
		free(*buf);
		*buf = NULL;
	}
	return (-error);
}

bool
read_locate(struct spool *s, uint64_t seq, struct located *at)
{
	struct table_entry *e;

	memset(at, 0, sizeof *at);
	pthread_mutex_lock(&s->ledger.lock);
	e = table_find(&s->ledger.table, seq);
	if (e != NULL) {
		at->seq = seq;
		at->segment = s->ledger.segments[e->segment];
		at->offset = e->offset;
		at->nslots = e->nenvelopes;
		at->slots = ga_xmalloc(at->nslots * sizeof *at->slots);
		memcpy(at->slots, table_slots(e), at->nslots * sizeof *at->slots);
	}
	pthread_mutex_unlock(&s->ledger.lock);
	return (e != NULL);
}

/* The envelope's own attributes with the update's in their place. */
static void
lay_over(struct ga_attrs *out, struct ga_str own, struct ga_str update)
{
	struct ga_str v, other;
	size_t pos = 0;
	unsigned key;

	while (ga_attr_next(own, &pos, &key, &v))
		if (!ga_attr_get(update, key, &other))
			ga_attrs_put(out, key, v);
	for (pos = 0; ga_attr_next(update, &pos, &key, &v);)
		ga_attrs_put(out, key, v);
}

/* One envelope while its message is put together. */
struct part {
	struct rec_envelope e;
	struct ga_attrs merged;		/* when an update has attributes */
};

static int
apply_update(struct spool *s, struct index_cache *cache, const struct table_slot *slot, struct part *p)
{
	struct segment *g;
	struct rec_header h;
	struct rec_update u;
	unsigned char *buf = NULL;
	struct ga_str meta;
	int error;

	pthread_mutex_lock(&s->ledger.lock);
	g = s->ledger.segments[slot->segment - 1];
	pthread_mutex_unlock(&s->ledger.lock);
	if (cache == NULL || !cache_meta(s, cache, g, slot->offset, &h, &meta)) {
		error = read_record(s, g, slot->offset, &h, &buf, false);
		if (error != 0)
			return (error);
		meta = (struct ga_str){ (char *)buf, h.meta_len };
	}
	if (h.type != REC_UPDATE || !rec_get_update(meta, &u)) {
		free(buf);
		return (EBADMSG);
	}
	p->e.attempts = u.attempts;
	p->e.flags = u.flags & ~(unsigned)GA_ENV_DONE;
	p->e.next_ms = u.next_ms;
	if (u.attrs.n > 0) {
		lay_over(&p->merged, p->e.attrs, u.attrs);
		p->e.attrs = (struct ga_str){ p->merged.p, p->merged.n };
	}
	free(buf);
	return (0);
}

static int
gather(struct spool *s, struct index_cache *cache, const struct located *at, struct rec_message *m,
    struct part *parts)
{
	const struct table_slot *slot;
	uint32_t i;
	int error;

	for (i = 0; i < m->nenvelopes; i++) {
		if (!rec_next_envelope(m, &parts[i].e))
			return (EBADMSG);
		slot = &at->slots[i];
		if (slot->segment == SLOT_DONE)
			parts[i].e.flags |= GA_ENV_DONE;
		else if (slot->segment != 0) {
			error = apply_update(s, cache, slot, &parts[i]);
			/* an update that cannot be read costs its news, not the mail */
			if (error != 0)
				spool_log(s, GA_ERR, "GA-SPOOL-0008", "the last state of message %08x, "
				    "envelope %u, cannot be read: %s", m->id, i, strerror(error));
		}
	}
	return (0);
}

static struct ga_message *
make_message(const struct rec_message *m, uint64_t seq, const struct part *parts)
{
	struct ga_str *attrs = ga_xmalloc(m->nenvelopes * sizeof *attrs);
	uint32_t *randoms = ga_xmalloc(m->nenvelopes * sizeof *randoms), i;
	struct ga_message *msg;

	for (i = 0; i < m->nenvelopes; i++) {
		attrs[i] = parts[i].e.attrs;
		randoms[i] = parts[i].e.random;
	}
	msg = ga_message_new(m->id, m->accepted_ms, m->attrs, attrs, randoms, m->nenvelopes, NULL);
	free(attrs);
	free(randoms);
	msg->seq = seq;
	msg->flags = m->flags;
	msg->body_size = m->body_size;
	for (i = 0; i < m->nenvelopes; i++) {
		msg->envelopes[i].attempts = parts[i].e.attempts;
		msg->envelopes[i].flags = parts[i].e.flags;
		msg->envelopes[i].next_ms = parts[i].e.next_ms;
	}
	return (msg);
}

struct ga_message *
read_build(struct spool *s, struct index_cache *cache, const struct located *at, struct ga_str meta, int *error)
{
	struct ga_message *msg = NULL;
	struct rec_message m;
	struct part *parts;
	uint32_t i;

	*error = EBADMSG;
	if (!rec_get_message(meta, &m) || m.nenvelopes != at->nslots)
		return (NULL);
	parts = ga_xcalloc(m.nenvelopes, sizeof *parts);
	*error = gather(s, cache, at, &m, parts);
	if (*error == 0)
		msg = make_message(&m, at->seq, parts);
	for (i = 0; i < m.nenvelopes; i++)
		ga_attrs_free(&parts[i].merged);
	free(parts);
	return (msg);
}

/* The part of [from, from+n) that lies in [start, start+len), appended. */
static void
append_part(struct ga_body *out, const unsigned char *bytes, uint64_t start, uint64_t len, uint64_t from,
    uint64_t n)
{
	uint64_t a = from > start ? from : start;
	uint64_t b = from + n < start + len ? from + n : start + len;

	if (a < b)
		ga_body_append(out, bytes + (a - start), (size_t)(b - a));
}

static int
append_piece(struct spool *s, const struct rec_piece *p, uint64_t start, uint64_t from, uint64_t n,
    struct ga_body *out)
{
	struct rec_header h;
	struct segment *g;
	unsigned char *buf;
	int error;

	if (start >= from + n || start + p->len <= from)
		return (0);
	pthread_mutex_lock(&s->ledger.lock);
	g = ledger_segment(&s->ledger, p->segment);
	pthread_mutex_unlock(&s->ledger.lock);
	if (g == NULL)
		return (EIO);
	error = read_record(s, g, p->offset, &h, &buf, true);
	if (error == 0 && (h.type != REC_BODY || h.body_len != p->len))
		error = EBADMSG;
	if (error == 0)
		append_part(out, buf + h.meta_len, start, p->len, from, n);
	free(buf);
	return (error);
}

/* Octets [from, from+n) of the body of the message whose whole record is in buf. */
static int
append_body(struct spool *s, const struct rec_header *h, const unsigned char *buf, uint64_t from, uint64_t n,
    struct ga_body *out)
{
	struct rec_message m;
	struct rec_piece p;
	uint64_t start = 0;
	uint32_t i;
	int error = 0;

	if (!rec_get_message((struct ga_str){ (const char *)buf, h->meta_len }, &m))
		return (EBADMSG);
	if (m.npieces == 0) {
		append_part(out, buf + h->meta_len, 0, h->body_len, from, n);
		return (0);
	}
	if (!rec_skip_to(&m, 2))
		return (EBADMSG);
	for (i = 0; i < m.npieces && error == 0; i++, start += p.len) {
		if (!rec_next_piece(&m, &p))
			return (EBADMSG);
		error = append_piece(s, &p, start, from, n, out);
	}
	return (error);
}

/* The message's record, whole or without its body. */
static int
find_record(struct spool *s, uint64_t seq, bool with_body, struct located *at, struct rec_header *h,
    unsigned char **buf)
{
	int error;

	*buf = NULL;
	if (!read_locate(s, seq, at))
		return (ENOENT);
	error = read_record(s, at->segment, at->offset, h, buf, with_body);
	if (error == 0 && h->type != REC_MESSAGE)
		error = EBADMSG;
	return (error);
}

void
read_request(struct spool *s, struct ga_spool_read *r)
{
	struct located at;
	struct rec_header h;
	unsigned char *buf;
	struct ga_body *body;
	int error;

	error = find_record(s, r->seq, r->body_limit > 0, &at, &h, &buf);
	if (error == 0)
		r->message = read_build(s, NULL, &at, (struct ga_str){ (char *)buf, h.meta_len }, &error);
	if (error == 0 && r->body_limit > 0 && r->message->body_size <= r->body_limit) {
		body = ga_body_new();
		error = append_body(s, &h, buf, 0, r->message->body_size, body);
		if (error == 0)
			r->message->body = body;
		else
			ga_body_unref(body);
	}
	if (error != 0 && r->message != NULL) {
		ga_message_unref(r->message);
		r->message = NULL;
	}
	free(buf);
	free(at.slots);
	spool_finish(s, &r->link, error);
}

void
read_body_request(struct spool *s, struct ga_spool_read_body *r)
{
	struct located at;
	struct rec_header h;
	unsigned char *buf;
	int error;

	error = find_record(s, r->seq, true, &at, &h, &buf);
	if (error == 0) {
		r->piece = ga_body_new();
		error = append_body(s, &h, buf, r->offset, r->len < MAX_READ ? r->len : MAX_READ, r->piece);
	}
	if (error != 0 && r->piece != NULL) {
		ga_body_unref(r->piece);
		r->piece = NULL;
	}
	free(buf);
	free(at.slots);
	spool_finish(s, &r->link, error);
}
