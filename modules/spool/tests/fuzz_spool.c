/*
 * fuzz_spool.c - records of any content, and octets that are no records, to recovery.
 *
 * The input is a list of: type u8, sequence u8, revision u8, meta length u16, body
 * length u8, meta, body.  Each becomes a record whose header and checksums are
 * right, so that the fuzzer gets past them to what reads the content; type 255
 * becomes raw octets.  The spool must start, hand out what it found, read every
 * body, compact, and start once more to the same count.
 */
#include <errno.h>
#include <fcntl.h>

#include "../../../tests/fuzz/fuzz.h"
#include "../crc32c.h"
#include "../engine.h"
#include "memfs.h"

#define SEGMENT (64u * 1024)
#define MAX_FOUND 64

struct bed {
	struct memfs *disk;
	struct spool_fs fs;
	struct spool *s;
	uint64_t found[MAX_FOUND];
	unsigned n;
	struct ga_post *posts, **end;
};

static struct bed *bed;
static struct ga_worker *const loop = (struct ga_worker *)(uintptr_t)16;

static void
post(struct ga_worker *w, struct ga_post *p)
{
	(void)w;
	p->next = NULL;
	*bed->end = p;
	bed->end = &p->next;
}

static void
ignore(void *ctx, enum ga_level level, const char *tag, const char *text)
{
	(void)ctx, (void)level, (void)tag, (void)text;
}

static void
pump(struct bed *b)
{
	struct ga_post *p;
	int turns, wait;
	bool busy;

	for (turns = 0; turns < 400; turns++) {
		wait = commit_step(b->s);
		busy = maint_step(b->s) == 0 || wait == 0;
		for (; (p = b->posts) != NULL; busy = true) {
			b->posts = p->next;
			if (b->posts == NULL)
				b->end = &b->posts;
			p->fn(loop, p);
		}
		if (!busy)
			return;
	}
}

/* One record of the input at the end of the segment; false when there is no more. */
static bool
put_record(struct bed *b, struct segment *g, struct rec_in *in)
{
	struct rec_header h = { .offset = g->end };
	unsigned char head[REC_HEADER];
	struct ga_str meta, body;
	struct iovec iov[3];
	size_t body_len;

	h.type = rec_get_u8(in);
	h.seq = rec_get_u8(in);
	h.rev = rec_get_u8(in);
	h.meta_len = rec_get_u16(in);
	body_len = rec_get_u8(in);
	meta = rec_get_bytes(in, in->bad || h.meta_len > (size_t)(in->end - in->p) ?
	    (size_t)(in->end - in->p) : h.meta_len);
	body = rec_get_bytes(in, body_len < (size_t)(in->end - in->p) ? body_len : (size_t)(in->end - in->p));
	if (in->bad || g->end + REC_HEADER + meta.n + body.n + 8 > SEGMENT)
		return (false);
	h.meta_len = (uint32_t)meta.n;
	h.body_len = (uint32_t)body.n;
	h.meta_crc = spool_crc32c(0, meta.p, meta.n);
	h.body_crc = spool_crc32c(0, body.p, body.n);
	rec_put_header(head, &h, g->tag);
	iov[0] = (struct iovec){ head, sizeof head };
	iov[1] = (struct iovec){ (void *)(uintptr_t)meta.p, meta.n };
	iov[2] = (struct iovec){ (void *)(uintptr_t)body.p, body.n };
	if (h.type == 255)
		spool_pwritev_all(&b->fs, g->fd, iov + 1, 1, g->end);
	else
		spool_pwritev_all(&b->fs, g->fd, iov, 3, g->end);
	g->end += h.type == 255 ? REC_ALIGN(meta.n) : rec_size(&h);
	return (true);
}

static void
make_segment(struct bed *b, const uint8_t *data, size_t n)
{
	static const unsigned char batch[] = { 1, 200, 0, 20, 0, 0,
	    0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0 };
	struct rec_in head = { batch, batch + sizeof batch, false };
	struct rec_in in = { data, data + n, false };
	struct segment *g = seg_new(1);

	g->size = SEGMENT;
	g->fd = b->fs.open(b->fs.ctx, MEMFS_SPOOL, "0000000000000001.seg", O_RDWR | O_CREAT | O_EXCL);
	FUZZ_CHECK(g->fd >= 0);
	FUZZ_CHECK(b->fs.allocate(b->fs.ctx, g->fd, SEGMENT) == 0);
	FUZZ_CHECK(seg_put_header(&b->fs, g, 1) == 0);
	put_record(b, g, &head);
	while (in.p < in.end && put_record(b, g, &in))
		;
	seg_free(g, &b->fs);
}

static void
found(struct ga_worker *w, const struct ga_message *m, void *arg)
{
	struct bed *b = arg;
	uint32_t i;

	(void)w;
	for (i = 0; i < m->nenvelopes; i++)
		FUZZ_CHECK(m->envelopes[i].recipient.n <= m->envelopes[i].attrs.n);
	if (b->n < MAX_FOUND)
		b->found[b->n] = m->seq;
	b->n++;
}

static void
ended(struct ga_worker *w, void *arg)
{
	(void)w, (void)arg;
}

static void
was_read(struct ga_worker *w, struct ga_spool_read *r)
{
	(void)w;
	FUZZ_CHECK((r->error == 0) == (r->message != NULL));
	if (r->message != NULL)
		ga_message_unref(r->message);
}

static unsigned
start(struct bed *b)
{
	const struct spool_conf conf = { .segment_size = SEGMENT, .large = 8192, .fsync = true,
	    .batch_bytes = 1u << 20, .batch_records = 256, .retry_ms = 1 };
	const struct ga_spool_recovery r = { found, ended, NULL, b };
	struct ga_spool_read reads[MAX_FOUND] = { 0 };
	unsigned i;

	b->n = 0;
	b->posts = NULL;
	b->end = &b->posts;
	b->s = spool_new(&b->fs, MEMFS_SPOOL, MEMFS_CORRUPT, &conf, post, ignore, NULL);
	FUZZ_CHECK(recover_open(b->s) == 0);
	FUZZ_CHECK(recover_load(b->s) == 0);
	maint_prepare(b->s);
	atomic_store(&b->s->recovered, true);
	spool_recover(b->s, loop, 0, 1, &r);
	pump(b);
	for (i = 0; i < b->n && i < MAX_FOUND; i++) {
		reads[i].seq = b->found[i];
		reads[i].body_limit = UINT64_MAX;
		reads[i].cb = was_read;
		spool_read(b->s, loop, &reads[i]);
	}
	pump(b);
	commit_seal(b->s);
	pump(b);
	spool_free(b->s);
	return (b->n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct bed b = { .disk = memfs_new() };
	unsigned first;

	bed = &b;
	memfs_ops(b.disk, &b.fs);
	make_segment(&b, data, n);
	first = start(&b);
	FUZZ_CHECK(start(&b) == first);
	memfs_free(b.disk);
	return (0);
}

/* A message of one envelope with a body; an update and an end of it; a state; an
 * ABANDON; raw octets. */
#define MESSAGE									\
	"\2\1\0\x52\0\5"							\
	"\1\0\0\0" "\0\0\0\0" "\1\0\0\0" "\0\0\0\0" "\0\0\0\0"			\
	"\7\0\0\0\0\0\0\0" "\5\0\0\0\0\0\0\0" "\x09\0\0\0" "\1\0\3\0\0\0a@b"	\
	"\x11\x22\x33\x44" "\0\0\0\0" "\0\0\0\0" "\0\0\0\0\0\0\0\0" "\x09\0\0\0"	\
	"\x40\0\3\0\0\0c@d" "hello"
#define UPDATE									\
	"\4\2\0\x25\0\0" "\1\0\0\0\0\0\0\0" "\0\0\0\0" "\1\0\0\0" "\0\0\0\0"	\
	"\1\1\0\0\0\0\0\0" "\x43\0\3\0\0\0" "451"
#define DONE "\5\3\0\x10\0\0" "\1\0\0\0\0\0\0\0" "\0\0\0\0" "\0\0\0\0"
#define STATE "\7\4\0\4\0\0" "\1\0kv"
#define ABANDON "\6\5\0\x10\0\0" "\1\0\0\0\0\0\0\0" "\0\x20\0\0\0\0\0\0"
#define RAW "\377\0\0\x10\0\0" "GAr1GAr1GAr1GAr1"

static const struct fuzz_input inputs[] = {
	FUZZ_INPUT(MESSAGE),
	FUZZ_INPUT(MESSAGE UPDATE STATE),
	FUZZ_INPUT(MESSAGE UPDATE DONE MESSAGE),
	FUZZ_INPUT(MESSAGE RAW UPDATE ABANDON STATE),
};

FUZZ_MAIN(inputs);
