/*
 * segment.c - files <16 hex>.seg, <16 hex>.idx and the search for records.
 *
 * Called by recovery, the maintenance thread and queue_check.  Owns nothing but
 * the buffers it hands out.  Known limit: seg_scan holds one whole segment in
 * memory (64 MiB by default); it runs only where an index is missing.
 *
 * Segment header, twice, at 0 and 2048: magic "GASPOOL\n", format u32, kind u32,
 * number u64, file size u64, sequence floor u64, tag 16 octets, CRC u32.
 * Index: magic "GAINDEX\n", format u32, flags u32 (1: has ABANDON), number u64,
 * tag 16, order u64, end u64, max sequence u64, count u64, data length u64, data
 * CRC u32, CRC u32 of the header; then the data.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "crc32c.h"
#include "segment.h"

#define SECTOR 4096u
#define FIRST_LOOK (8u << 20)
#define HEADER_LEN 60u
#define HEADER_COPY 2048u
#define INDEX_HEADER 96u
#define INDEX_HAS_ABANDON 1u

static const char seg_magic[] = "GASPOOL\n";
static const char idx_magic[] = "GAINDEX\n";

void
seg_name(char out[SEG_NAME], uint64_t number, const char *suffix)
{
	snprintf(out, SEG_NAME, "%016" PRIx64 "%s", number, suffix);
}

bool
seg_parse_name(const char *name, const char *suffix, uint64_t *number)
{
	uint64_t v = 0;
	int i, digit;

	for (i = 0; i < 16; i++) {
		if (name[i] >= '0' && name[i] <= '9')
			digit = name[i] - '0';
		else if (name[i] >= 'a' && name[i] <= 'f')
			digit = name[i] - 'a' + 10;
		else
			return (false);
		v = v << 4 | (uint64_t)digit;
	}
	*number = v;
	return (strcmp(name + 16, suffix) == 0);
}

void
range_add(struct seg_range *r, uint64_t v)
{
	if (v < r->min)
		r->min = v;
	if (v > r->max)
		r->max = v;
}

struct segment *
seg_new(uint64_t number)
{
	struct segment *g = ga_xcalloc(1, sizeof *g);

	g->number = number;
	g->slot = SEG_NONE;
	g->fd = -1;
	g->end = SEG_START;
	g->messages.min = g->named.min = UINT64_MAX;
	return (g);
}

void
seg_free(struct segment *g, const struct spool_fs *fs)
{
	if (g->fd != -1)
		fs->close(fs->ctx, g->fd);
	free(g->voided);
	free(g);
}

static int
draw_tag(unsigned char tag[REC_TAG])
{
	if (getrandom(tag, REC_TAG, 0) != REC_TAG)
		return (-EIO);
	return (0);
}

int
seg_put_header(const struct spool_fs *fs, struct segment *g, uint64_t floor)
{
	unsigned char block[SEG_START];
	struct rec_out o = { block };
	int error;

	error = draw_tag(g->tag);
	if (error != 0)
		return (error);
	memset(block, 0, sizeof block);
	rec_bytes(&o, seg_magic, 8);
	rec_u32(&o, SEG_FORMAT);
	rec_u32(&o, g->kind);
	rec_u64(&o, g->number);
	rec_u64(&o, g->size);
	rec_u64(&o, floor);
	rec_bytes(&o, g->tag, REC_TAG);
	rec_u32(&o, spool_crc32c(0, block, HEADER_LEN - 4));
	memcpy(block + HEADER_COPY, block, HEADER_LEN);
	return (spool_pwrite_all(fs, g->fd, block, sizeof block, 0));
}

static int
parse_header(const unsigned char *h, struct segment *g, uint64_t *floor, uint32_t *format)
{
	struct rec_in in = { h, h + HEADER_LEN, false };
	uint64_t number;
	uint32_t kind;

	if (memcmp(rec_get_bytes(&in, 8).p, seg_magic, 8) != 0)
		return (-EBADMSG);
	*format = rec_get_u32(&in);
	kind = rec_get_u32(&in);
	number = rec_get_u64(&in);
	rec_get_u64(&in);
	*floor = rec_get_u64(&in);
	memcpy(g->tag, rec_get_bytes(&in, REC_TAG).p, REC_TAG);
	if (rec_get_u32(&in) != spool_crc32c(0, h, HEADER_LEN - 4))
		return (-EBADMSG);
	if (*format != SEG_FORMAT || kind > SEG_BODIES)
		return (-EPROTONOSUPPORT);
	g->kind = (enum seg_kind)kind;
	/* half recycled: the name says what it was, the header what it was to be */
	return (number == g->number ? 0 : -ESTALE);
}

int
seg_get_header(const struct spool_fs *fs, struct segment *g, uint64_t *floor, uint32_t *format)
{
	unsigned char block[HEADER_LEN];
	unsigned at;
	int error;

	for (at = 0; at <= HEADER_COPY; at += HEADER_COPY) {
		error = spool_pread_all(fs, g->fd, block, sizeof block, at);
		if (error == -ENODATA)
			error = -EBADMSG;
		if (error == 0)
			error = parse_header(block, g, floor, format);
		if (error != -EBADMSG)
			return (error);
	}
	return (-EBADMSG);
}

void
seg_index_free(struct seg_index *ix)
{
	free(ix->p);
	memset(ix, 0, sizeof *ix);
}

static unsigned char *
index_room(struct seg_index *ix, size_t n)
{
	if (ix->n + n > ix->room) {
		ix->room = (ix->n + n) * 2 + 4096;
		ix->p = ga_xrealloc(ix->p, ix->room);
	}
	ix->n += n;
	return (ix->p + ix->n - n);
}

void
seg_index_add(struct seg_index *ix, const unsigned char header[REC_HEADER], struct ga_str meta)
{
	size_t n = REC_ALIGN(REC_HEADER + meta.n);
	unsigned char *p = index_room(ix, n);

	memset(p, 0, n);
	memcpy(p, header, REC_HEADER);
	if (meta.n > 0)
		memcpy(p + REC_HEADER, meta.p, meta.n);
	ix->count++;
}

/* The index is checked as a whole, so a header in it only has to be sane. */
static bool
index_entry(const struct seg_index *ix, size_t pos, struct rec_header *h)
{
	const unsigned char *p = ix->p + pos;
	struct rec_in in;
	uint64_t offset;

	if (ix->n - pos < REC_HEADER)
		return (false);
	in = (struct rec_in){ p + 24, p + 32, false };
	offset = rec_get_u64(&in);
	return (rec_get_header(p, h, p + REC_HEADER - REC_TAG, offset) &&
	    h->meta_len <= ix->n - pos - REC_HEADER);
}

bool
seg_index_next(const struct seg_index *ix, size_t *pos, struct rec_header *h, struct ga_str *meta, bool *bad)
{
	*bad = false;
	if (*pos >= ix->n)
		return (false);
	if (!index_entry(ix, *pos, h)) {
		*bad = true;
		return (false);
	}
	meta->p = (const char *)ix->p + *pos + REC_HEADER;
	meta->n = h->meta_len;
	*pos += REC_ALIGN((size_t)REC_HEADER + h->meta_len);
	return (true);
}

void
seg_index_cut(struct seg_index *ix, uint64_t cut)
{
	struct rec_header h;
	struct ga_str meta;
	size_t pos = 0, here;
	uint64_t kept = 0;
	bool bad;

	for (here = 0; seg_index_next(ix, &pos, &h, &meta, &bad) && h.offset < cut; here = pos)
		kept++;
	ix->n = here;
	ix->count = kept;
	if (ix->end > cut)
		ix->end = cut;
}

static void
put_index_header(unsigned char out[INDEX_HEADER], const struct segment *g, const struct seg_index *ix)
{
	struct rec_out o = { out };

	memset(out, 0, INDEX_HEADER);
	rec_bytes(&o, idx_magic, 8);
	rec_u32(&o, SEG_FORMAT);
	rec_u32(&o, ix->has_abandon ? INDEX_HAS_ABANDON : 0);
	rec_u64(&o, g->number);
	rec_bytes(&o, g->tag, REC_TAG);
	rec_u64(&o, ix->order);
	rec_u64(&o, ix->end);
	rec_u64(&o, ix->max_seq);
	rec_u64(&o, ix->count);
	rec_u64(&o, ix->n);
	rec_u32(&o, spool_crc32c(0, ix->p, ix->n));
	o.p = out + INDEX_HEADER - 4;
	rec_u32(&o, spool_crc32c(0, out, INDEX_HEADER - 4));
}

/* *crc is of the data, to be compared once they are read. */
static int
get_index_header(const unsigned char in[INDEX_HEADER], const struct segment *g, struct seg_index *ix,
    uint32_t *crc)
{
	struct rec_in r = { in, in + INDEX_HEADER, false };
	struct rec_in last = { in + INDEX_HEADER - 4, in + INDEX_HEADER, false };

	if (memcmp(rec_get_bytes(&r, 8).p, idx_magic, 8) != 0 || rec_get_u32(&r) != SEG_FORMAT ||
	    rec_get_u32(&last) != spool_crc32c(0, in, INDEX_HEADER - 4))
		return (-EBADMSG);
	ix->has_abandon = (rec_get_u32(&r) & INDEX_HAS_ABANDON) != 0;
	if (rec_get_u64(&r) != g->number || memcmp(rec_get_bytes(&r, REC_TAG).p, g->tag, REC_TAG) != 0)
		return (-EBADMSG);
	ix->order = rec_get_u64(&r);
	ix->end = rec_get_u64(&r);
	ix->max_seq = rec_get_u64(&r);
	ix->count = rec_get_u64(&r);
	ix->n = rec_get_u64(&r);
	*crc = rec_get_u32(&r);
	return (0);
}

static int
write_index(const struct spool_fs *fs, int fd, const struct segment *g, const struct seg_index *ix)
{
	unsigned char head[INDEX_HEADER];
	struct iovec iov[2] = { { head, sizeof head }, { ix->p, ix->n } };
	int error;

	put_index_header(head, g, ix);
	error = spool_pwritev_all(fs, fd, iov, 2, 0);
	if (error == 0)
		error = fs->sync(fs->ctx, fd);
	return (error);
}

int
seg_index_save(const struct spool_fs *fs, int dir, const struct segment *g, const struct seg_index *ix)
{
	char tmp[SEG_NAME], name[SEG_NAME];
	int error, fd;

	seg_name(tmp, g->number, ".tmp");
	seg_name(name, g->number, ".idx");
	fd = fs->open(fs->ctx, dir, tmp, O_RDWR | O_CREAT | O_TRUNC);
	if (fd < 0)
		return (fd);
	error = write_index(fs, fd, g, ix);
	fs->close(fs->ctx, fd);
	if (error == 0)
		error = fs->rename(fs->ctx, dir, tmp, dir, name);
	if (error != 0)
		fs->unlink(fs->ctx, dir, tmp);
	return (error);
}

static int
read_index(const struct spool_fs *fs, int fd, const struct segment *g, bool head, struct seg_index *ix)
{
	unsigned char h[INDEX_HEADER];
	uint64_t size;
	uint32_t crc;
	int error;

	error = spool_pread_all(fs, fd, h, sizeof h, 0);
	if (error == 0)
		error = get_index_header(h, g, ix, &crc);
	if (error == 0)
		error = fs->size(fs->ctx, fd, &size);
	if (error == 0 && size - INDEX_HEADER != ix->n)
		error = -EBADMSG;
	if (error != 0 || head)
		return (error);
	ix->room = ix->n + 1;
	ix->p = ga_xmalloc(ix->room);
	error = spool_pread_all(fs, fd, ix->p, ix->n, INDEX_HEADER);
	if (error == 0 && spool_crc32c(0, ix->p, ix->n) != crc)
		error = -EBADMSG;
	return (error);
}

int
seg_index_load(const struct spool_fs *fs, int dir, const struct segment *g, bool head, struct seg_index *ix)
{
	char name[SEG_NAME];
	int error, fd;

	memset(ix, 0, sizeof *ix);
	seg_name(name, g->number, ".idx");
	fd = fs->open(fs->ctx, dir, name, O_RDONLY);
	if (fd < 0)
		return (fd);
	error = read_index(fs, fd, g, head, ix);
	fs->close(fs->ctx, fd);
	/* a file that lost its tail cannot be what the index speaks of */
	if (error == 0 && ix->end > g->size)
		error = -EBADMSG;
	if (error == -ENODATA)
		error = -EBADMSG;
	if (error != 0)
		seg_index_free(ix);
	return (error);
}

/* One pass over a segment in memory. */
struct scan {
	const struct segment *g;
	const unsigned char *p;
	uint64_t size;			/* of the file */
	struct seg_index *ix;
	uint64_t frontier;		/* the highest that a good batch header knew */
	uint64_t promised;		/* where the last batch should end */
	uint64_t good;			/* end of the last good record */
	struct seg_range *gaps;
	size_t ngaps, room;
};

static void
add_gap(struct scan *s, uint64_t from, uint64_t to)
{
	if (s->ngaps == s->room) {
		s->room = s->room * 2 + 8;
		s->gaps = ga_xrealloc(s->gaps, s->room * sizeof *s->gaps);
	}
	s->gaps[s->ngaps++] = (struct seg_range){ from, to };
}

/* Is there a whole good record here? */
static bool
good_record(const struct scan *s, uint64_t pos, struct rec_header *h, struct ga_str *meta)
{
	const unsigned char *p = s->p + pos;

	if (s->size - pos < REC_HEADER || !rec_get_header(p, h, s->g->tag, pos) ||
	    rec_size(h) > s->size - pos)
		return (false);
	meta->p = (const char *)p + REC_HEADER;
	meta->n = h->meta_len;
	return (spool_crc32c(0, meta->p, meta->n) == h->meta_crc &&
	    spool_crc32c(0, meta->p + meta->n, h->body_len) == h->body_crc);
}

static void
take_record(struct scan *s, uint64_t pos, const struct rec_header *h, struct ga_str meta)
{
	struct rec_batch b;

	if (h->seq > s->ix->max_seq && h->type != REC_BODY)
		s->ix->max_seq = h->seq;
	s->ix->has_abandon |= h->type == REC_ABANDON;
	if (h->type != REC_BATCH) {
		if (h->type != REC_BODY)
			seg_index_add(s->ix, s->p + pos, meta);
		return;
	}
	if (!rec_get_batch(meta, &b))
		return;
	if (s->ix->order == 0)
		s->ix->order = h->seq;
	if (b.frontier > s->frontier)
		s->frontier = b.frontier;
	s->promised = pos + rec_size(h) + b.length;
}

/* After the last good record: what its batch still promised, and any trace of our tag. */
static uint64_t
torn_end(const struct scan *s)
{
	uint64_t end = s->good, pos;
	const unsigned char *hit;

	if (s->promised > end)
		end = s->promised < s->size ? s->promised : s->size;
	for (pos = s->good; pos + REC_TAG <= s->size; pos++) {
		hit = memmem(s->p + pos, s->size - pos, s->g->tag, REC_TAG);
		if (hit == NULL)
			break;
		pos = (uint64_t)(hit - s->p);
		if (pos + REC_TAG > end)
			end = pos + REC_TAG;
	}
	return (end);
}

static void
scan_records(struct scan *s)
{
	uint64_t pos = SEG_START, end;
	struct rec_header h;
	struct ga_str meta;

	s->good = SEG_START;
	while (pos < s->size) {
		if (!good_record(s, pos, &h, &meta)) {
			pos += 8;
			continue;
		}
		if (pos > s->good)
			add_gap(s, s->good, pos);
		take_record(s, pos, &h, meta);
		pos += rec_size(&h);
		s->good = pos;
	}
	end = torn_end(s);
	if (end > s->good)
		add_gap(s, s->good, end);
	s->ix->end = s->good;
}

/* What cannot be read is zeros, which is damage like any other. */
static int
read_range(const struct spool_fs *fs, int fd, unsigned char *buf, uint64_t from, uint64_t to)
{
	uint64_t at;
	int error;

	error = spool_pread_all(fs, fd, buf + from, to - from, from);
	for (at = from; error == -EIO && at < to; at += SECTOR)
		if (spool_pread_all(fs, fd, buf + at, to - at < SECTOR ? to - at : SECTOR, at) != 0)
			memset(buf + at, 0, to - at < SECTOR ? to - at : SECTOR);
	return (error == -EIO ? 0 : error);
}

/*
 * The whole file in memory.  *n is 0 when it was never written: a batch is smaller
 * than FIRST_LOOK, so a segment without a trace of its tag there is a ready one.
 */
static int
read_segment(const struct spool_fs *fs, const struct segment *g, unsigned char *buf, uint64_t *n)
{
	uint64_t look = *n < FIRST_LOOK ? *n : FIRST_LOOK;
	int error;

	error = read_range(fs, g->fd, buf, 0, look);
	if (error == 0 && look > SEG_START &&
	    memmem(buf + SEG_START, look - SEG_START, g->tag, REC_TAG) == NULL)
		*n = 0;
	if (error == 0 && *n > look)
		error = read_range(fs, g->fd, buf, look, *n);
	return (error);
}

int
seg_scan(const struct spool_fs *fs, const struct segment *g, struct seg_index *ix, seg_damage_fn *damage, void *arg)
{
	struct scan s = { .g = g, .ix = ix };
	unsigned char *buf;
	size_t i;
	int error;

	memset(ix, 0, sizeof *ix);
	error = fs->size(fs->ctx, g->fd, &s.size);
	if (error != 0)
		return (error);
	buf = ga_xmalloc(s.size + 1);
	error = read_segment(fs, g, buf, &s.size);
	s.p = buf;
	ix->end = SEG_START;
	if (error == 0 && s.size > SEG_START)
		scan_records(&s);
	for (i = 0; i < s.ngaps && damage != NULL; i++)
		damage(arg, s.gaps[i].min, s.gaps[i].max, s.gaps[i].min < s.frontier,
		    buf + s.gaps[i].min);
	free(s.gaps);
	free(buf);
	if (error != 0)
		seg_index_free(ix);
	return (error);
}
